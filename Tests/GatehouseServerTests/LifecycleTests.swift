import Logging
import Synchronization
import Testing

@testable import GatehouseServer

/// An edge that notes what is done to it, and lets a test decide when that ends.
private final class ScriptedEdge: RunnableEdge, AdminSource {
    private struct State {
        var calls: [String] = []
        var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
        var gates: [String: CheckedContinuation<Void, Never>] = [:]
    }
    private let state = Mutex(State())

    var calls: [String] { self.state.withLock { $0.calls } }
    var adminSource: any AdminSource { self }
    var isReady: Bool { true }

    func status() async -> EdgeStatus { fatalError("nobody asks") }

    func reload(dryRun: Bool) async -> ReloadReport {
        await self.note("reload", staysOpen: true)
        return ReloadReport(applied: true, changes: [], errors: [], warnings: [], generation: 2)
    }

    func drain() async { await self.note("drain", staysOpen: true) }
    func stop() async { await self.note("stop", staysOpen: false) }

    private func note(_ call: String, staysOpen: Bool) async {
        await withCheckedContinuation { continuation in
            let ready = self.state.withLock { state in
                state.calls.append(call)
                if staysOpen { state.gates[call] = continuation }
                let ready = state.waiters.filter { $0.count <= state.calls.count }
                state.waiters.removeAll { $0.count <= state.calls.count }
                return ready
            }
            for waiter in ready { waiter.continuation.resume() }
            if !staysOpen { continuation.resume() }
        }
    }

    /// Waits until so many calls have come.
    func wait(for count: Int) async {
        await withCheckedContinuation { continuation in
            let isThere = self.state.withLock { state in
                if state.calls.count < count { state.waiters.append((count, continuation)) }
                return state.calls.count >= count
            }
            if isThere { continuation.resume() }
        }
    }

    /// Lets the call that is under way return.
    func finish(_ call: String) {
        self.state.withLock { $0.gates.removeValue(forKey: call) }?.resume()
    }
}

/// Signals one by one; `send` returns when the lifecycle has taken the signal and asks for the next.
private actor SignalFeed {
    private var signal: EdgeSignal?
    private var reader: CheckedContinuation<EdgeSignal?, Never>?
    private var sender: CheckedContinuation<Void, Never>?
    private var isEnded = false

    func next() async -> EdgeSignal? {
        self.sender?.resume()
        self.sender = nil
        if let signal = self.signal {
            self.signal = nil
            return signal
        }
        return await withCheckedContinuation { self.reader = $0 }
    }

    func send(_ signal: EdgeSignal) async {
        if let reader = self.reader {
            self.reader = nil
            reader.resume(returning: signal)
        } else {
            self.signal = signal
        }
        if !self.isEnded { await withCheckedContinuation { self.sender = $0 } }
    }

    /// Nobody reads any more.
    func end() {
        self.isEnded = true
        self.reader?.resume(returning: nil)
        self.reader = nil
        self.sender?.resume()
        self.sender = nil
    }
}

@Suite("Lifecycle", .timeLimit(.minutes(1)))
struct LifecycleTests {
    private func withRunning(_ body: (ScriptedEdge, SignalFeed) async -> Void) async -> [String] {
        let edge = ScriptedEdge()
        let signals = SignalFeed()
        let life = Lifecycle(edge: edge, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let stream = AsyncStream {
            await signals.next()
        } onCancel: {
            Task { await signals.end() }
        }
        let run = Task { await life.run(stream) }
        await body(edge, signals)
        await run.value
        return edge.calls
    }

    @Test("the first signal to end drains, and the edge stops when the drain is over")
    func drains() async {
        let calls = await self.withRunning { edge, signals in
            await signals.send(.terminate)
            await edge.wait(for: 1)
            edge.finish("drain")
        }
        #expect(calls == ["drain", "stop"])
    }

    @Test("a second signal to end stops at once, though calls are still up")
    func stopsAtOnce() async {
        let calls = await self.withRunning { edge, signals in
            await signals.send(.terminate)
            await edge.wait(for: 1)
            await signals.send(.terminate)
            await edge.wait(for: 2)
            edge.finish("drain")
        }
        #expect(calls == ["drain", "stop"])
    }

    @Test("reloads run one at a time; those asked for meanwhile make one more")
    func coalescesReloads() async {
        let calls = await self.withRunning { edge, signals in
            await signals.send(.reload)
            await edge.wait(for: 1)
            for _ in 0..<3 { await signals.send(.reload) }
            #expect(edge.calls == ["reload"])
            edge.finish("reload")
            await edge.wait(for: 2)
            edge.finish("reload")
            await signals.send(.terminate)
            await edge.wait(for: 3)
            edge.finish("drain")
        }
        #expect(calls == ["reload", "reload", "drain", "stop"])
    }

    @Test("a reload that waits for another is dropped when the edge begins to drain")
    func dropsWaitingReload() async {
        let calls = await self.withRunning { edge, signals in
            await signals.send(.reload)
            await edge.wait(for: 1)
            await signals.send(.reload)
            await signals.send(.terminate)
            await edge.wait(for: 2)
            edge.finish("reload")
            edge.finish("drain")
        }
        #expect(calls == ["reload", "drain", "stop"])
    }

    @Test("a reload is ignored while the edge drains, and does not hold up its end")
    func ignoresReloadWhileDraining() async {
        let calls = await self.withRunning { edge, signals in
            await signals.send(.terminate)
            await edge.wait(for: 1)
            await signals.send(.reload)
            await signals.send(.terminate)
            await edge.wait(for: 2)
            edge.finish("drain")
        }
        #expect(calls == ["drain", "stop"])
    }
}
