import COpenSSL
import GatehousePolicy
import NIOCore
import NIOPosix
import SIPMessage
import Synchronization
import TestCertificates
import Testing

@testable import GatehouseTLS

/// A flow as the pool sees one: hands steps to the test, and notes where it was told and let go.
private final class TestFlow: HandshakeOwner {
    private let steps: AsyncStream<Step>.Continuation
    private let loop: any EventLoop

    /// What the test looks at of a step. The engine is the test's again once it is told.
    struct Step: @unchecked Sendable {
        var engine: TLSEngine
        var step: HandshakeStep
        var wasOnLoop: Bool
    }

    init(_ loop: any EventLoop, _ steps: AsyncStream<Step>.Continuation) {
        self.loop = loop
        self.steps = steps
    }

    deinit {
        self.steps.finish()
        #expect(self.loop.inEventLoop, "a flow is let go on its loop")
    }

    func handshake(of engine: TLSEngine, reached step: HandshakeStep) {
        self.steps.yield(Step(engine: engine, step: step, wasOnLoop: self.loop.inEventLoop))
    }
}

/// What a test hands to a loop and takes back, never both at once.
private struct Handed<Value>: @unchecked Sendable {
    var value: Value
}

@Suite("HandshakePool")
struct HandshakePoolTests {
    private let pki: TestPKI
    private let edge: TestEdge

    init() throws {
        self.pki = try TestPKI()
        self.edge = try TestEdge([
            DomainConfiguration("a.example", try self.pki.pair("a", TestPKI.Request("a.example")))
        ])
    }

    private var loop: any EventLoop { MultiThreadedEventLoopGroup.singleton.any() }

    /// Submits from the loop, with a flow that nobody but the pool holds.
    private static func submit(
        _ engine: TLSEngine, _ bytes: ByteBuffer, to pool: HandshakePool, on loop: any EventLoop
    ) async throws -> (isTaken: Bool, steps: AsyncStream<TestFlow.Step>) {
        let (steps, continuation) = AsyncStream<TestFlow.Step>.makeStream()
        let handed = Handed(value: engine)
        let isTaken = try await loop.submit {
            pool.submit(handed.value, input: bytes, owner: TestFlow(loop, continuation), on: loop)
        }.get()
        return (isTaken, steps)
    }

    private static func step(
        _ engine: TLSEngine, _ bytes: ByteBuffer, _ pool: HandshakePool, on loop: any EventLoop
    ) async throws -> TestFlow.Step {
        let (isTaken, steps) = try await Self.submit(engine, bytes, to: pool, on: loop)
        #expect(isTaken)
        var all: [TestFlow.Step] = []
        for await step in steps { all.append(step) }
        #expect(all.count == 1, "one outcome a submit")
        let step = try #require(all.first)
        #expect(step.wasOnLoop)
        #expect(step.engine === engine)
        return step
    }

    @Test("a handshake runs on the pool, its outcomes come on the loop, and data with the Finished is fed on")
    func handshake() async throws {
        let pool = HandshakePool(threads: 2, queueLimit: 10)
        defer { pool.shutdown() }
        let loop = self.loop
        let client = ScriptedClient(ScriptedClient.Offer("a.example"))
        let engine = try self.edge.engine()
        let first = try await Self.step(engine, ByteBuffer(bytes: client.nextFlight()), pool, on: loop)
        guard case .needsInput = first.step else {
            Issue.record("\(first.step)")
            return
        }
        client.feed(try #require(engine.takeOutput()))
        let finished = client.nextFlight()
        client.write("OPTIONS")
        let last = Array(client.takeOutput().readableBytesView)
        let second = try await Self.step(engine, ByteBuffer(bytes: finished + last), pool, on: loop)
        guard case .complete = second.step else {
            Issue.record("\(second.step)")
            return
        }
        #expect(String(decoding: engine.readAll().bytes, as: UTF8.self) == "OPTIONS")
        #expect(pool.depth == 0)
    }

    @Test("a failed handshake comes back with its alert")
    func failure() async throws {
        let pool = HandshakePool(threads: 1, queueLimit: 10)
        defer { pool.shutdown() }
        let client = ScriptedClient(ScriptedClient.Offer("b.example"))
        let engine = try self.edge.engine()
        let outcome = try await Self.step(engine, ByteBuffer(bytes: client.nextFlight()), pool, on: self.loop)
        guard case .failed(let failure) = outcome.step else {
            Issue.record("\(outcome.step)")
            return
        }
        #expect(failure.cause == .unknownName)
        #expect(engine.takeOutput() != nil)
    }

    @Test("many handshakes at once on several threads all end, each with its own outcome")
    func manyAtOnce() async throws {
        let pool = HandshakePool(threads: 4, queueLimit: 1000)
        defer { pool.shutdown() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<60 {
                let loop = self.loop
                let isGood = index % 3 != 0
                let client = Handed(value: ScriptedClient(ScriptedClient.Offer(isGood ? "a.example" : "b.example")))
                let engine = Handed(value: try self.edge.engine())
                group.addTask {
                    let (client, engine) = (client.value, engine.value)
                    let first = try await Self.step(engine, ByteBuffer(bytes: client.nextFlight()), pool, on: loop)
                    guard isGood else {
                        guard case .failed = first.step else {
                            Issue.record("\(first.step)")
                            return
                        }
                        return
                    }
                    client.feed(try #require(engine.takeOutput()))
                    let flight = ByteBuffer(bytes: client.nextFlight())
                    guard case .complete = try await Self.step(engine, flight, pool, on: loop).step else {
                        Issue.record("not complete")
                        return
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(pool.depth == 0)
    }

    @Test("an abandoned connection is passed over, and its owner still let go on the loop")
    func abandoned() async throws {
        let pool = HandshakePool(threads: 1, queueLimit: 10)
        defer { pool.shutdown() }
        let client = ScriptedClient(ScriptedClient.Offer("a.example"))
        let engine = try self.edge.engine()
        engine.abandon()
        let outcome = try await Self.step(engine, ByteBuffer(bytes: client.nextFlight()), pool, on: self.loop)
        guard case .failed(let failure) = outcome.step else {
            Issue.record("\(outcome.step)")
            return
        }
        #expect(failure.cause == .closed)
        #expect(engine.takeOutput() == nil)
    }

    @Test("a full queue refuses a handshake that has yet to begin, and none that has")
    func fullQueue() async throws {
        let pool = HandshakePool(threads: 1, queueLimit: 0)
        defer { pool.shutdown() }
        let client = ScriptedClient(ScriptedClient.Offer("a.example"))
        let flight = ByteBuffer(bytes: client.nextFlight())
        let refused = try await Self.submit(try self.edge.engine(), flight, to: pool, on: self.loop)
        #expect(!refused.isTaken)
        for await step in refused.steps { Issue.record("an outcome of a handshake refused: \(step.step)") }
        let begun = try self.edge.engine()
        begun.receive(flight)
        _ = begun.handshake()
        client.feed(try #require(begun.takeOutput()))
        guard
            case .complete = try await Self.step(begun, ByteBuffer(bytes: client.nextFlight()), pool, on: self.loop)
                .step
        else {
            Issue.record("not complete")
            return
        }
    }

    @Test("a pool that is shut down refuses, and tells those that wait that they were closed")
    func shutdown() async throws {
        let pool = HandshakePool(threads: 1, queueLimit: 100)
        var streams: [AsyncStream<TestFlow.Step>] = []
        let loop = self.loop
        for _ in 0..<20 {
            let client = ScriptedClient(ScriptedClient.Offer("a.example"))
            let (isTaken, steps) = try await Self.submit(
                try self.edge.engine(), ByteBuffer(bytes: client.nextFlight()), to: pool, on: loop)
            #expect(isTaken)
            streams.append(steps)
        }
        pool.shutdown()
        pool.shutdown()
        for steps in streams {
            var count = 0
            for await step in steps {
                count += 1
                switch step.step {
                case .needsInput: break
                case .failed(let failure): #expect(failure.cause == .closed)
                case .complete: Issue.record("complete")
                }
            }
            #expect(count == 1)
        }
        let late = try await Self.submit(try self.edge.engine(), ByteBuffer(), to: pool, on: loop)
        #expect(!late.isTaken)
    }
}
