internal import Glibc
public import Logging
internal import Synchronization

/// A log for lines that peers can cause: each message passes a few times a second, and then one line tells how many more
/// there were.
///
/// A message is known by its literal, so what varies belongs in the metadata. May be used from any thread; each worker best
/// has its own.
public final class RateLimitedLog: Sendable {
    private struct Window {
        let message: StaticString
        let level: Logger.Level
        var start: UInt64
        var count = 0
        var suppressed = 0
    }
    private let windows = Mutex<[Window]>([])
    private let log: Logger
    private let output: LogOutput
    private let perSecond: Int
    private let now: @Sendable () -> UInt64

    /// - Parameters:
    ///   - perSecond: lines of one message that pass in a second.
    ///   - now: nanoseconds of a clock that never goes back.
    public init(
        output: LogOutput, perSecond: Int = 5, now: @escaping @Sendable () -> UInt64 = monotonicNanoseconds
    ) {
        self.output = output
        self.log = output.logger()
        self.perSecond = perSecond
        self.now = now
    }

    public func warning(_ message: StaticString, _ metadata: @autoclosure () -> Logger.Metadata = [:]) {
        self.log(.warning, message, metadata())
    }

    public func info(_ message: StaticString, _ metadata: @autoclosure () -> Logger.Metadata = [:]) {
        self.log(.info, message, metadata())
    }

    /// - Parameter metadata: made only for a line that passes.
    public func log(
        _ level: Logger.Level, _ message: StaticString, _ metadata: @autoclosure () -> Logger.Metadata = [:]
    ) {
        guard level >= self.log.logLevel else { return }
        let now = self.now()
        let verdict = self.windows.withLock { Self.admit(&$0, level, message, now, self.perSecond) }
        if let ended = verdict.ended { self.report(ended) }
        guard verdict.passes else {
            self.output.countSuppressed()
            if verdict.isFirstSuppressed { self.askForReport() }
            return
        }
        self.log.log(level: level, "\(message.description)", metadata: metadata())
    }

    /// Tells of the lines left out, for messages whose second is over.
    func reportSuppressed() {
        let now = self.now()
        let (ended, isMoreToCome) = self.windows.withLock { windows in
            var ended: [Window] = []
            for index in windows.indices where windows[index].suppressed > 0 && Self.isOver(windows[index], now) {
                ended.append(windows[index])
                windows[index].suppressed = 0
            }
            return (ended, windows.contains { $0.suppressed > 0 })
        }
        for window in ended { self.report(window) }
        if isMoreToCome { self.askForReport() }
    }

    private func report(_ window: Window) {
        self.log.log(
            level: window.level, "\(window.suppressed) more suppressed: \(window.message.description)")
    }

    private func askForReport() {
        self.output.afterASecond { [weak self] in self?.reportSuppressed() }
    }

    private struct Verdict {
        var passes: Bool
        var isFirstSuppressed = false
        /// The window before this line's, if that left lines out.
        var ended: Window?
    }

    private static func admit(
        _ windows: inout [Window], _ level: Logger.Level, _ message: StaticString, _ now: UInt64, _ perSecond: Int
    ) -> Verdict {
        // A few dozen literals at most: a look along them beats hashing.
        guard let index = windows.firstIndex(where: { $0.message.utf8Start == message.utf8Start }) else {
            windows.append(Window(message: message, level: level, start: now, count: 1))
            return Verdict(passes: true)
        }
        var ended: Window?
        if isOver(windows[index], now) {
            if windows[index].suppressed > 0 { ended = windows[index] }
            windows[index] = Window(message: message, level: level, start: now)
        }
        guard windows[index].count < perSecond else {
            windows[index].suppressed += 1
            return Verdict(passes: false, isFirstSuppressed: windows[index].suppressed == 1, ended: ended)
        }
        windows[index].count += 1
        return Verdict(passes: true, ended: ended)
    }

    private static func isOver(_ window: Window, _ now: UInt64) -> Bool {
        now &- window.start >= 1_000_000_000
    }
}

/// Nanoseconds of the machine's monotonic clock.
public func monotonicNanoseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return UInt64(now.tv_sec) &* 1_000_000_000 &+ UInt64(now.tv_nsec)
}
