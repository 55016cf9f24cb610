import GatehousePolicy
import SIPMessage
import Testing

@testable import GatehouseServer

private func runtime(_ targets: [CoreTarget], name: String = "a.example", tls: TLSSettings? = nil) throws
    -> DomainRuntime
{
    let configuration = DomainConfiguration(name: name, tls: tls, core: DomainCoreSettings(targets: targets))
    return DomainRuntime(
        configuration, targets: targets.map { TargetRuntime(TargetRuntime.Key($0)) }, counters: DomainCounters(),
        metrics: try #require(Metrics(workers: 1).domains([name]).first))
}

@Suite("DomainRuntime")
struct DomainRuntimeTests {
    @Test("MTU-01: the stream twin of a UDP target is the same server and port over TCP")
    func twins() throws {
        let targets: [(Transport, String, UInt16)] = [
            (.udp, "10.0.0.1", 5060), (.tcp, "10.0.0.1", 5060), (.udp, "10.0.0.1", 5070), (.tcp, "10.0.0.2", 5060),
            (.udp, "pbx.example", 5060), (.udp, "10.0.0.2", 5060), (.tcp, "10.0.0.3", 5060),
        ]
        let domain = try runtime(targets.map { CoreTarget(transport: $0.0, host: $0.1, port: $0.2) })
        #expect(domain.streamTwins == [1, nil, nil, nil, nil, 3, nil])
    }

    @Test(
        "the outside sees the advertised host, else the domain's name",
        arguments: [
            (nil, "a.example"), ("edge.example", "edge.example"), ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "[2001:db8::1]"),
        ] as [(String?, String)])
    func advertise(host: String?, written: String) throws {
        let domain = try runtime([], tls: TLSSettings(binds: [], advertise: host, certificates: []))
        #expect(String(decoding: domain.advertise, as: UTF8.self) == written)
        #expect(domain.key == DomainKey(name: "A.EXAMPLE"))
    }
}
