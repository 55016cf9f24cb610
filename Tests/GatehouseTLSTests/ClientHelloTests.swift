import GatehousePolicy
import NIOCore
import SIPMessage
import TestCertificates
import Testing

@testable import GatehouseTLS

@Suite("ClientHello")
struct ClientHelloTests {
    private let pki: TestPKI

    init() throws {
        self.pki = try TestPKI()
    }

    private func edge() throws -> TestEdge {
        try TestEdge([DomainConfiguration("a.example", self.pki.pair("a", TestPKI.Request("a.example")))])
    }

    @Test(
        "TLS-14: plain SIP on a TLS port is told apart",
        arguments: ["OPTIONS sip:a.example SIP/2.0\r\n", "GET / HTTP/1.1\r\n", "\r\n\r\n"])
    func plainText(text: String) throws {
        let engine = try self.edge().engine()
        engine.receive(ByteBuffer(string: text + "Via: SIP/2.0/TCP x\r\n"))
        guard case .failed(let failure) = engine.handshake() else {
            Issue.record("went on")
            return
        }
        #expect(failure.cause == .notTLS)
        guard case .failed = engine.handshake() else {
            Issue.record("a failed handshake stays failed")
            return
        }
    }

    @Test("a ClientHello cut at any place or with any one byte changed ends in an alert or waits, and never traps")
    func damagedHello() throws {
        let edge = try self.edge()
        let flight = ScriptedClient(ScriptedClient.Offer("a.example")).nextFlight()
        for end in flight.indices {
            let engine = try edge.engine()
            engine.receive(ByteBuffer(bytes: flight[..<end]))
            guard case .needsInput = engine.handshake() else {
                Issue.record("a cut hello at \(end) did not wait")
                return
            }
        }
        for index in flight.indices {
            for change: UInt8 in [0x01, 0x80, 0xFF] {
                var bad = flight
                bad[index] ^= change
                let engine = try edge.engine()
                engine.receive(ByteBuffer(bytes: bad))
                if case .complete = engine.handshake() { Issue.record("complete after one flight") }
            }
        }
    }

    @Test("a ClientHello that dribbles in byte by byte is answered once whole")
    func dribble() throws {
        let client = ScriptedClient(ScriptedClient.Offer("a.example"))
        let engine = try self.edge().engine()
        let flight = client.nextFlight()
        for (index, byte) in flight.enumerated() {
            engine.receive(ByteBuffer(bytes: [byte]))
            guard case .needsInput = engine.handshake() else {
                Issue.record("failed at byte \(index)")
                return
            }
            #expect((engine.output.readableBytes > 0) == (index == flight.count - 1))
        }
    }

    @Test(
        "the server_name extension is read to the letter",
        arguments: [
            ([0, 12, 0, 0, 9] + Array("a.example".utf8), .host("a.example")),
            ([0, 12, 0, 0, 9] + Array("A.Example".utf8), .host("a.example")),
            ([0, 13, 0, 0, 10] + Array("a.example.".utf8), .host("a.example")),
            ([0, 4, 0, 0, 1] + Array(".".utf8), .host(".")),
            ([0, 10, 0, 0, 7] + Array("1.2.3.4".utf8), .other("1.2.3.4")),
            ([0, 6, 0, 0, 3] + Array("::1".utf8), .other("::1")),
            ([0, 6, 0, 0, 3] + [0x61, 0, 0x62], .other("a?b")),
            ([0, 6, 0, 0, 3] + [0x61, 0x0A, 0xFF], .other("a??")),
            ([], nil), ([0, 0], nil), ([0, 3, 0, 0, 0], nil),
            ([0, 12, 1, 0, 9] + Array("a.example".utf8), nil),
            ([0, 12, 0, 0, 10] + Array("a.example".utf8), nil),
            ([0, 13, 0, 0, 9] + Array("a.example".utf8), nil),
            ([1, 3, 0, 1, 0] + [UInt8](repeating: 0x61, count: 256), nil),
        ] as [([UInt8], ClientHello.ServerName?)])
    func serverName(bytes: [UInt8], expected: ClientHello.ServerName?) {
        #expect(ClientHello.serverName(bytes) == expected)
    }
}
