import COpenSSL
import GatehousePolicy
import NIOCore
import SIPMessage
import TestCertificates
import Testing

@testable import GatehouseTLS

@Suite("TLS records")
struct TLSRecordTests {
    private let pki: TestPKI
    private let edge: TestEdge
    private static let versions = [TLS1_2_VERSION, TLS1_3_VERSION]

    init() throws {
        self.pki = try TestPKI()
        self.edge = try TestEdge([
            DomainConfiguration("a.example", try self.pki.pair("a", TestPKI.Request("a.example")))
        ])
    }

    private func connected(_ version: Int32) throws -> (client: ScriptedClient, engine: TLSEngine) {
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = version...version
        let (outcome, client, engine) = try self.edge.handshake(offer)
        try #require(outcome.isComplete)
        return (client, engine)
    }

    private func read(_ engine: TLSEngine) -> String { String(decoding: engine.readAll().bytes, as: UTF8.self) }

    @Test("bytes cross in both directions, at any size and in any pieces", arguments: Self.versions)
    func bothWays(version: Int32) throws {
        let (client, engine) = try self.connected(version)
        for count in [1, 1200, 16_384, 16_385, 100_000] {
            let text = String(repeating: "x", count: count - 1) + "."
            client.write(text)
            let sent = Array(client.takeOutput().readableBytesView)
            var received = ""
            for start in stride(from: 0, to: sent.count, by: 1399) {
                engine.receive(ByteBuffer(bytes: sent[start..<min(start + 1399, sent.count)]))
                received += self.read(engine)
            }
            #expect(received == text)
            try engine.write(text)
            client.feed(try #require(engine.takeOutput()))
            #expect(String(decoding: client.read(), as: UTF8.self) == text)
            #expect(engine.takeOutput() == nil)
        }
    }

    @Test("input may be fed on before what came earlier was read")
    func queuedInput() throws {
        let (client, engine) = try self.connected(TLS1_3_VERSION)
        for text in ["one ", "two ", "three"] {
            client.write(text)
            engine.receive(client.takeOutput())
        }
        #expect(self.read(engine) == "one two three")
    }

    @Test("the buffer that input came in is let go once it is used up")
    func releasedInput() throws {
        let (client, engine) = try self.connected(TLS1_3_VERSION)
        client.write("hello")
        engine.receive(client.takeOutput())
        #expect(self.read(engine) == "hello")
        #expect(engine.input.capacity == 0)
    }

    @Test("application data that comes with the client's last flight is there when the handshake is complete")
    func dataWithFinished() throws {
        let client = ScriptedClient(ScriptedClient.Offer("a.example"))
        let engine = try self.edge.engine()
        engine.receive(ByteBuffer(bytes: client.nextFlight()))
        guard case .needsInput = engine.handshake() else {
            Issue.record("no answer to the ClientHello")
            return
        }
        client.feed(try #require(engine.takeOutput()))
        let finished = client.nextFlight()
        client.write("OPTIONS")
        engine.receive(ByteBuffer(bytes: finished + Array(client.takeOutput().readableBytesView)))
        guard case .complete = engine.handshake() else {
            Issue.record("not complete")
            return
        }
        #expect(self.read(engine) == "OPTIONS")
    }

    @Test("TLS-08: we say close_notify first, once, and write no more", arguments: Self.versions)
    func ownClose(version: Int32) throws {
        let (client, engine) = try self.connected(version)
        engine.sendCloseNotify()
        let output = try #require(engine.takeOutput())
        engine.sendCloseNotify()
        #expect(engine.takeOutput() == nil)
        client.feed(output)
        #expect(client.read().isEmpty)
        #expect(client.hasSeenCloseNotify)
        #expect(throws: TLSFailure.self) { try engine.write("late") }
        client.write("still reading?")
        engine.receive(client.takeOutput())
        #expect(self.read(engine) == "still reading?")
    }

    @Test(
        "TLS-08: a peer's close_notify ends reading after what came before it, and not writing",
        arguments: Self.versions)
    func peerClose(version: Int32) throws {
        let (client, engine) = try self.connected(version)
        client.write("last words")
        client.closeNotify()
        engine.receive(client.takeOutput())
        let (bytes, end) = engine.readAll()
        #expect(String(decoding: bytes, as: UTF8.self) == "last words")
        guard case .closed = end else {
            Issue.record("\(end)")
            return
        }
        guard case .closed = engine.readAll().end else {
            Issue.record("closed stays closed")
            return
        }
        try engine.write("answer")
        client.feed(try #require(engine.takeOutput()))
    }

    @Test(
        "a record with any one byte changed ends the connection with bad_record_mac or the like",
        arguments: Self.versions)
    func damagedRecord(version: Int32) throws {
        for index in [0, 1, 3, 5, 12, 30] {
            let (client, engine) = try self.connected(version)
            client.write("a message to be damaged on its way")
            var record = Array(client.takeOutput().readableBytesView)
            record[index] ^= 0x40
            engine.receive(ByteBuffer(bytes: record))
            let (bytes, end) = engine.readAll()
            #expect(bytes.isEmpty)
            switch end {
            case .failed(let failure): #expect(failure.cause == .protocolError)
            case .wouldBlock: #expect(index == 3, "a longer record than was sent")
            case .bytes, .closed: Issue.record("\(end)")
            }
            guard case .failed = end else { continue }
            #expect(engine.takeOutput() != nil, "an alert")
            #expect(throws: TLSFailure.self) { try engine.write("after the end") }
            engine.sendCloseNotify()
            #expect(engine.takeOutput() == nil)
            guard case .wouldBlock = engine.readAll().end else {
                Issue.record("a broken connection gives nothing")
                return
            }
        }
    }

    @Test("output over the limit is refused before anything is encrypted")
    func outputLimit() throws {
        let engine = try self.edge.engine(outputLimit: 20_000)
        let client = ScriptedClient(ScriptedClient.Offer("a.example"))
        #expect(client.connect(to: engine).isComplete)
        try engine.write(String(repeating: "x", count: 15_000))
        do {
            try engine.write(String(repeating: "y", count: 10_000))
            Issue.record("over the limit")
        } catch {
            #expect(error.cause == .outputLimit)
        }
        client.feed(try #require(engine.takeOutput()))
        #expect(client.read().count == 15_000)
        try engine.write("room again")
        #expect(engine.takeOutput() != nil)
    }

    @Test("a handshake whose flight does not fit the output limit fails")
    func handshakeOutputLimit() throws {
        let engine = try self.edge.engine(outputLimit: 100)
        let outcome = ScriptedClient(ScriptedClient.Offer("a.example")).connect(to: engine)
        #expect(outcome.failure?.cause == .outputLimit)
        #expect(engine.output.readableBytes <= 100)
    }

    @Test("a peer's alert after the handshake says so")
    func alertFromPeer() throws {
        let (client, engine) = try self.connected(TLS1_3_VERSION)
        client.feed(ByteBuffer(bytes: [0x17, 3, 3, 0, 20] + [UInt8](repeating: 1, count: 20)))
        _ = client.read()  // which answers with bad_record_mac
        engine.receive(client.takeOutput())
        guard case .failed(let failure) = engine.readAll().end else {
            Issue.record("no failure")
            return
        }
        #expect(failure.cause == .refusedByPeer)
        #expect(failure.text.contains("bad record mac"))
        #expect(failure.domain == "a.example")
    }
}
