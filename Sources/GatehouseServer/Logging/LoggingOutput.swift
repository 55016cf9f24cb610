public import GatehousePolicy
internal import Glibc
public import Logging
internal import Synchronization

/// Where the log goes: a bounded queue and one thread that writes it to a file descriptor.
///
/// Whoever logs only copies a line into the queue, so a reader of standard error that stands still stops nobody. While the
/// queue is full, lines are dropped and counted; a line that says how many follows as soon as there is room.
public final class LogOutput: Sendable {
    /// The process's log. Level and format are those of the configuration in force.
    public static let standardError = LogOutput(descriptor: STDERR_FILENO)

    public typealias Format = EdgeSettings.LogFormat

    private struct Queue {
        var lines: [UInt8] = []
        /// Bytes ever queued, and of those, bytes that the thread is done with.
        var queued: UInt64 = 0
        var written: UInt64 = 0
        var lost = 0
        var reportedLost = 0
        var isClosed = false
        /// Run by the thread at `laterDue`, in nanoseconds of the monotonic clock.
        var later: [@Sendable () -> Void] = []
        var laterDue: UInt64 = 0
    }
    private let queue = Monitor(Queue())
    private let descriptor: Int32
    private let capacity: Int
    private let levelRank: Atomic<Int>
    private let isJSON: Atomic<Bool>
    private let suppressed = Atomic<UInt64>(0)

    /// - Parameters:
    ///   - descriptor: stays the caller's to close, after ``close()``.
    ///   - capacity: bytes that may wait.
    public init(
        descriptor: Int32, capacity: Int = 1 << 20, level: Logger.Level = .info, format: Format = .text
    ) {
        self.descriptor = descriptor
        self.capacity = capacity
        self.levelRank = Atomic(level.rank)
        self.isJSON = Atomic(format == .json)
        startThread { self.run() }
    }

    /// A logger that writes here.
    public func logger(label: String = "gatehouse") -> Logger {
        Logger(label: label) { _ in EdgeLogHandler(output: self) }
    }

    /// Takes level and format from a configuration, for lines to come from every logger of this output.
    public func apply(_ settings: EdgeSettings) {
        self.level = Logger.Level(settings.logLevel)
        self.format = settings.logFormat
    }

    public var level: Logger.Level {
        get { Logger.Level.allCases[self.levelRank.load(ordering: .relaxed)] }
        set { self.levelRank.store(newValue.rank, ordering: .relaxed) }
    }

    public var format: Format {
        get { self.isJSON.load(ordering: .relaxed) ? .json : .text }
        set { self.isJSON.store(newValue == .json, ordering: .relaxed) }
    }

    /// Lines lost since the start because the queue was full or the descriptor failed.
    public var linesDropped: Int { self.queue.withLock { $0.lost } }

    /// Lines that a ``RateLimitedLog`` of this output left out.
    public var linesSuppressed: UInt64 { self.suppressed.load(ordering: .relaxed) }

    func countSuppressed() {
        self.suppressed.wrappingAdd(1, ordering: .relaxed)
    }

    /// Queues a line, its line feed included.
    func write(_ line: [UInt8]) {
        self.queue.withLock { queue in
            guard !queue.isClosed, queue.lines.count + line.count <= self.capacity else {
                queue.lost += 1
                return
            }
            queue.lines.append(contentsOf: line)
            queue.queued &+= UInt64(line.count)
        }
        self.queue.signal()
    }

    /// Has the log's thread call `body` once, about a second from now.
    func afterASecond(_ body: @escaping @Sendable () -> Void) {
        self.queue.withLock { queue in
            if queue.later.isEmpty { queue.laterDue = monotonicNanoseconds() &+ 1_000_000_000 }
            queue.later.append(body)
        }
        self.queue.signal()
    }

    /// Waits until all that was queued before is written.
    ///
    /// Blocks: for the end of the process and tests.
    /// - Returns: false when `timeout` passed first.
    @discardableResult
    public func flush(timeout: Duration = .seconds(2)) -> Bool {
        let (seconds, attoseconds) = timeout.components
        let nanoseconds = UInt64(clamping: seconds) &* 1_000_000_000 &+ UInt64(clamping: attoseconds / 1_000_000_000)
        return self.queue.wait(until: monotonicNanoseconds() &+ nanoseconds) { $0.written == $0.queued }
    }

    /// Writes what is queued and ends the thread; lines that come later are dropped.
    public func close(timeout: Duration = .seconds(2)) {
        self.queue.withLock { $0.isClosed = true }
        self.queue.signal()
        self.flush(timeout: timeout)
    }

    // MARK: The thread

    private func run() {
        while true {
            // A thread with nothing to do sleeps; `later` gives the sleep an end.
            let due = self.queue.withLock { $0.later.isEmpty ? nil : $0.laterDue }
            self.queue.wait(until: due) {
                !$0.lines.isEmpty || $0.isClosed || (due == nil && !$0.later.isEmpty)
            }
            let work = self.queue.withLock { Self.takeWork(&$0) }
            if !work.lines.isEmpty {
                let isWritten = self.writeAll(work.lines)
                self.queue.withLock { queue in
                    queue.written &+= UInt64(work.lines.count)
                    if !isWritten { queue.lost += work.lines.count { $0 == 0x0A } }
                }
                self.queue.signal()
            }
            for body in work.due { body() }
            if work.lost > 0 { self.reportLost(work.lost) }
            if work.isClosed && work.lines.isEmpty { return }
        }
    }

    private struct Work {
        var lines: [UInt8]
        var due: [@Sendable () -> Void] = []
        var lost: Int
        var isClosed: Bool
    }

    private static func takeWork(_ queue: inout Queue) -> Work {
        var work = Work(lines: queue.lines, lost: queue.lost - queue.reportedLost, isClosed: queue.isClosed)
        queue.lines = []
        queue.reportedLost = queue.lost
        if !queue.later.isEmpty, monotonicNanoseconds() >= queue.laterDue {
            work.due = queue.later
            queue.later = []
        }
        return work
    }

    /// Past the queue, which may be full.
    private func reportLost(_ count: Int) {
        let line = LogFormat.line(
            self.format, time: LogFormat.now(), level: .warning,
            message: "log lines were lost: standard error was not read fast enough", metadata: ["lines": "\(count)"])
        _ = self.writeAll(line)
    }

    /// - Returns: whether all bytes went out.
    private func writeAll(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let count = Glibc.write(self.descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if errno == EAGAIN {  // somebody made the shared descriptor non-blocking
                    var entry = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                    poll(&entry, 1, 1000)
                } else if errno != EINTR {
                    return false
                }
            }
            return true
        }
    }
}

extension Logger.Level {
    init(_ level: EdgeSettings.LogLevel) {
        self =
            switch level {
            case .trace: .trace
            case .debug: .debug
            case .info: .info
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            case .critical: .critical
            }
    }

    /// From 0 for trace, as in `allCases`.
    var rank: Int {
        switch self {
        case .trace: 0
        case .debug: 1
        case .info: 2
        case .notice: 3
        case .warning: 4
        case .error: 5
        case .critical: 6
        }
    }
}
