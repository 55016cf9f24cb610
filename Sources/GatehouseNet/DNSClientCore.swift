internal import CSocket
internal import GatehousePolicy
internal import Glibc
internal import NIOCore
internal import SIPMessage
internal import Synchronization

/// What the client's owners and its thread share.
final class DNSClientCore: Sendable {
    enum Asked {
        case answer(DNSAnswer)
        case later(EventLoopFuture<DNSAnswer>)
    }

    private struct State {
        var askers: [DNSQuestion: [EventLoopPromise<DNSAnswer>]] = [:]
        /// Questions that the thread has yet to begin.
        var inbox: [DNSQuestion] = []
        var isShutDown = false
    }

    /// Questions that the thread begins in a second, and at once: what comes faster waits, lest it flood the servers' sockets.
    private static let beginningsPerSecond = 10_000
    private static let beginningsAtOnce = 100
    private static let niceness: Int32 = 5

    private let limits: DNSClient.Limits
    private let cache: DNSCache
    private let state = Mutex(State())
    private let serverList = Mutex<[DNSClient.Server]>([])
    let counters = DNSCounters()
    /// A pipe: a byte written to it wakes the thread.
    private let wake: (read: Int32, write: Int32)

    init(limits: DNSClient.Limits) throws(DNSClientError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw DNSClientError(errno: errno) }
        for descriptor in ends {
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        }
        self.wake = (ends[0], ends[1])
        self.limits = limits
        self.cache = DNSCache(limit: limits.answers)
    }

    deinit {
        close(self.wake.read)
        close(self.wake.write)
    }

    func startThread(
        _ settings: DNSSettings, serverChanged: @escaping @Sendable (Endpoint, Bool) -> Void
    ) throws(DNSClientError) {
        let exchange = try DNSExchange(
            servers: settings.servers, timeout: settings.timeout,
            serverChanged: { index, isUp in
                let server = self.serverList.withLock { servers -> DNSClient.Server? in
                    guard index < servers.count else { return nil }
                    servers[index].isUp = isUp
                    return servers[index]
                }
                if let server { serverChanged(server.endpoint, isUp) }
            },
            complete: { answer, isLate in self.finish(answer, isLate: isLate) })
        let servers = exchange.endpoints.map { DNSClient.Server(endpoint: $0, isUp: true) }
        self.serverList.withLock { $0 = servers }
        let thread = Unmanaged.passRetained(DNSThread(core: self, exchange: exchange))
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var id = pthread_t()
        // The exchange goes to the thread and is used by nobody else.
        let status = pthread_create(
            &id, &attributes,
            { context in
                guard let context else { return nil }
                let thread = Unmanaged<DNSThread>.fromOpaque(context).takeRetainedValue()
                // Where the cores are busy, calls come before names.
                csocket_describe_thread("dns", DNSClientCore.niceness)
                thread.core.run(thread.exchange)
                return nil
            }, thread.toOpaque())
        pthread_attr_destroy(&attributes)
        guard status == 0 else {
            thread.release()
            throw DNSClientError(errno: status)
        }
    }

    func ask(_ question: DNSQuestion, on loop: any EventLoop) -> Asked {
        if let answer = self.cachedAnswer(to: question) { return .answer(answer) }
        let (asked, isFirst) = self.state.withLock { state -> (Asked, Bool) in
            func fail(_ failure: DNSFailure) -> (Asked, Bool) {
                (.answer(DNSAnswer(question: question, outcome: .failed(failure), timeToLive: .zero)), false)
            }
            guard !state.isShutDown else { return fail(.shutDown) }
            if let count = state.askers[question]?.count {
                guard count < self.limits.askersPerQuestion else {
                    self.counters.count(.refused)
                    return fail(.overloaded)
                }
                self.counters.count(.joined)
                let promise = loop.makePromise(of: DNSAnswer.self)
                state.askers[question]?.append(promise)
                return (.later(promise.futureResult), false)
            }
            // It may have been answered between the two looks.
            if let answer = self.cachedAnswer(to: question) { return (.answer(answer), false) }
            guard state.askers.count < self.limits.questions else {
                self.counters.count(.refused)
                return fail(.overloaded)
            }
            self.counters.count(.asked)
            let promise = loop.makePromise(of: DNSAnswer.self)
            state.askers[question] = [promise]
            state.inbox.append(question)
            return (.later(promise.futureResult), state.inbox.count == 1)
        }
        if isFirst { self.wakeThread() }
        return asked
    }

    func cachedAnswer(to question: DNSQuestion) -> DNSAnswer? {
        guard let answer = self.cache.answer(to: question, now: .now()) else { return nil }
        self.counters.count(.cached)
        return answer
    }

    func clearCache() {
        self.cache.removeAll()
    }

    var servers: [DNSClient.Server] { self.serverList.withLock { $0 } }

    var cacheCount: Int { self.cache.count }

    /// Questions that wait for a reply.
    var waitingCount: Int { self.state.withLock { $0.askers.count } }

    func shutDown() {
        let isFirst = self.state.withLock { state in
            defer { state.isShutDown = true }
            return !state.isShutDown
        }
        if isFirst { self.wakeThread() }
    }

    /// The thread's work, until `shutDown`.
    fileprivate func run(_ exchange: DNSExchange) {
        var questions: ArraySlice<DNSQuestion> = []
        var pace = DNSPace(perSecond: Self.beginningsPerSecond, atOnce: Self.beginningsAtOnce, now: .now())
        while true {
            let (fresh, isShutDown) = self.state.withLock { state in
                defer { state.inbox = [] }
                return (state.inbox, state.isShutDown)
            }
            questions += fresh
            if isShutDown {
                exchange.close()
                for question in questions { self.finish(.init(question, failedFor: .shutDown), isLate: false) }
                return
            }
            let count = pace.take(questions.count, now: .now())
            for question in questions.prefix(count) { exchange.begin(question) }
            questions = questions.dropFirst(count)
            exchange.wait(for: self.wake.read, isBusy: !questions.isEmpty)
            var bytes: UInt64 = 0
            while read(self.wake.read, &bytes, 8) == 8 {}
        }
    }

    private func wakeThread() {
        // A full pipe wakes it as well.
        var byte: UInt8 = 0
        _ = write(self.wake.write, &byte, 1)
    }

    private func finish(_ answer: DNSAnswer, isLate: Bool) {
        var answer = answer
        if case .failed(let failure) = answer.outcome {
            answer.timeToLive = failure == .shutDown ? .zero : self.limits.failureTimeToLive
        }
        self.cache.insert(answer, now: .now())
        guard !isLate else { return }
        self.counters.count(answer)
        let askers = self.state.withLock { $0.askers.removeValue(forKey: answer.question) } ?? []
        for asker in askers { asker.succeed(answer) }
    }
}

/// Lets so many things begin in a second.
struct DNSPace {
    private let intervalInNanoseconds: Int64
    private let atOnce: Int64
    /// As if the last of them had begun then.
    private var last: NIODeadline

    init(perSecond: Int, atOnce: Int, now: NIODeadline) {
        self.intervalInNanoseconds = 1_000_000_000 / Int64(max(1, perSecond))
        self.atOnce = Int64(atOnce)
        self.last = now
    }

    /// How many of `wanted` may begin now.
    mutating func take(_ wanted: Int, now: NIODeadline) -> Int {
        let credit = (now - self.last).nanoseconds / self.intervalInNanoseconds
        if credit > self.atOnce { self.last = now - .nanoseconds(self.atOnce * self.intervalInNanoseconds) }
        let count = max(0, min(Int64(wanted), min(credit, self.atOnce)))
        self.last = self.last + .nanoseconds(count * self.intervalInNanoseconds)
        return Int(count)
    }
}

extension DNSAnswer {
    fileprivate init(_ question: DNSQuestion, failedFor failure: DNSFailure) {
        self.init(question: question, outcome: .failed(failure), timeToLive: .zero)
    }
}

/// What the thread is given.
private final class DNSThread {
    let core: DNSClientCore
    let exchange: DNSExchange

    init(core: DNSClientCore, exchange: DNSExchange) {
        self.core = core
        self.exchange = exchange
    }
}
