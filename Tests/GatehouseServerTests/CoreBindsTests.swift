import GatehouseNet
import SIPMessage
import Testing

@testable import GatehouseServer

@Suite("Core binds")
struct CoreBindsTests {
    private static func binds(_ entries: [(Transport, String, String)]) -> CoreBinds {
        var binds = CoreBinds()
        for (transport, endpoint, host) in entries {
            guard let endpoint = Endpoint(endpoint) else { continue }
            binds.add(.init(transport: transport, endpoint: endpoint, host: Array(host.utf8), socket: nil))
        }
        return binds
    }

    @Test(
        "PBX-16: other edges learn an address of ours over TCP, the advertised one first",
        arguments: [
            ([(.udp, "10.0.0.1:5060", "10.0.0.1"), (.tcp, "10.0.0.1:5060", "10.0.0.1")], "10.0.0.1:5060"),
            ([(.tcp, "0.0.0.0:5070", "10.0.0.9")], "10.0.0.9:5070"),
            ([(.tcp, "[::]:5070", "[2001:db8::9]")], "[2001:db8::9]:5070"),
            ([(.tcp, "10.0.0.1:5060", "edge.core.example")], "10.0.0.1:5060"),
            ([(.tcp, "0.0.0.0:5060", "edge.core.example")], nil),
            (
                [(.tcp, "0.0.0.0:5060", "edge.core.example"), (.tcp, "10.0.0.2:5060", "edge.core.example")],
                "10.0.0.2:5060"
            ),
            ([(.udp, "10.0.0.1:5060", "10.0.0.1")], nil),
        ] as [([(Transport, String, String)], String?)])
    func forFellows(entries: [(Transport, String, String)], expected: String?) {
        #expect(Self.binds(entries).forFellows == expected.flatMap { Endpoint($0) })
    }

    @Test("an endpoint is ours by its bind and by what it is advertised as")
    func contains() {
        let binds = Self.binds([(.tcp, "0.0.0.0:5060", "10.0.0.9")])
        #expect(Endpoint("10.0.0.9:5060").map { binds.contains($0) } == true)
        #expect(Endpoint("10.0.0.8:5060").map { binds.contains($0) } == false)
        #expect(Endpoint("10.0.0.9:5061").map { binds.contains($0) } == false)
    }

    @Test("connections to the core come from the bind's address, unless that is every address")
    func source() {
        let binds = Self.binds([(.tcp, "10.0.0.1:5060", "x.example"), (.tcp, "[::]:5060", "x.example")])
        #expect(binds.source(isIPv6: false) == IPAddress("10.0.0.1"))
        #expect(binds.source(isIPv6: true) == nil)
    }
}
