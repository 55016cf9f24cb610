public import Logging

/// A running edge, as the command that started it sees it.
public protocol RunnableEdge: Sendable {
    /// What the admin endpoint shows, and by which a signal reloads.
    var adminSource: any AdminSource { get }
    /// Takes no new sessions; returns when the last call has ended or the drain time has passed.
    func drain() async
    /// Closes all that is open.
    func stop() async
}

/// What a signal asks of a running edge.
public enum EdgeSignal: Sendable, Equatable {
    /// SIGHUP.
    case reload
    /// SIGTERM or SIGINT: the first drains, the second stops at once.
    case terminate
}

/// The life of a running edge from start to stop, as signals steer it.
public struct Lifecycle: Sendable {
    private enum Event: Sendable {
        case signal(EdgeSignal)
        case reloaded
        case drained
    }

    private let edge: any RunnableEdge
    private let log: Logger

    public init(edge: any RunnableEdge, log: Logger) {
        self.edge = edge
        self.log = log
    }

    /// Serves until a signal has ended it; the edge is stopped when this returns.
    ///
    /// A reload runs beside the signals, one at a time; signals that come meanwhile make one more. The end of `signals`
    /// ends nothing.
    public func run(_ signals: some AsyncSequence<EdgeSignal, Never> & Sendable) async {
        let (events, continuation) = AsyncStream.makeStream(of: Event.self)
        let forwarder = Task {
            for await signal in signals { continuation.yield(.signal(signal)) }
        }
        var isDraining = false
        var isReloading = false
        var reloadAgain = false
        func reload() {
            isReloading = true
            Task {
                _ = await self.edge.adminSource.reload(dryRun: false)
                continuation.yield(.reloaded)
            }
        }
        loop: for await event in events {
            switch event {
            case .signal(.reload) where isDraining:
                self.log.notice("reload ignored: the edge is draining")
            case .signal(.reload):
                if isReloading { reloadAgain = true } else { reload() }
            case .reloaded:
                isReloading = false
                if reloadAgain && !isDraining { reload() }
                reloadAgain = false
            case .signal(.terminate) where isDraining:
                self.log.notice("stopping at once: a second signal came")
                break loop
            case .signal(.terminate):
                isDraining = true
                self.log.notice("draining: calls may end, nothing new is taken; another signal stops at once")
                Task {
                    await self.edge.drain()
                    continuation.yield(.drained)
                }
            case .drained:
                break loop
            }
        }
        forwarder.cancel()
        await self.edge.stop()
        self.log.notice("stopped")
    }
}

extension ReloadReport {
    /// Writes to the log what a reload did: one line a change, warning and error.
    public func write(to log: Logger) {
        for warning in self.warnings { log.warning("configuration: \(warning)") }
        for error in self.errors { log.error("configuration: \(error)") }
        guard self.errors.isEmpty else {
            log.error(
                "reload failed: nothing changed; correct what the lines above name, and reload again",
                metadata: ["generation": "\(self.generation)", "errors": "\(self.errors.count)"])
            return
        }
        for change in self.changes { log.notice("configuration: \(change)") }
        if self.applied {
            log.notice(
                "configuration reloaded",
                metadata: ["generation": "\(self.generation)", "changes": "\(self.changes.count)"])
        }
    }
}
