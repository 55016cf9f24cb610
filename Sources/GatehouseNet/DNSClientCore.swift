internal import GatehousePolicy
internal import Glibc
internal import NIOCore
internal import Synchronization

/// What the client's owners and its thread share.
final class DNSClientCore: Sendable {
    enum Asked {
        case answer(DNSAnswer)
        case later(EventLoopFuture<DNSAnswer>)
    }

    private struct State {
        var cache: DNSCache
        var askers: [DNSQuestion: [EventLoopPromise<DNSAnswer>]] = [:]
        /// Questions that the thread has yet to send.
        var inbox: [DNSQuestion] = []
        var statistics = DNSClient.Statistics()
        var isShutDown = false
    }

    /// How long a question whose answer failed is not asked again: so that a dead server isn't asked once a call, and one
    /// that comes back is soon noticed (RFC 2308 §7 allows 5 minutes).
    private static let failureTimeToLive = Duration.seconds(5)

    private let limits: DNSClient.Limits
    private let state: Mutex<State>
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
        self.state = Mutex(State(cache: DNSCache(limit: limits.answers)))
    }

    deinit {
        close(self.wake.read)
        close(self.wake.write)
    }

    func startThread(_ settings: DNSSettings) throws(DNSClientError) {
        let channel = try DNSChannel(servers: settings.servers, timeout: settings.timeout) { question, status, reply in
            self.finish(question, status: status, reply: reply)
        }
        let thread = Unmanaged.passRetained(DNSThread(core: self, channel: channel))
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var id = pthread_t()
        // The channel goes to the thread and is used by nobody else.
        let status = pthread_create(
            &id, &attributes,
            { context in
                guard let context else { return nil }
                let thread = Unmanaged<DNSThread>.fromOpaque(context).takeRetainedValue()
                thread.core.run(thread.channel)
                return nil
            }, thread.toOpaque())
        pthread_attr_destroy(&attributes)
        guard status == 0 else {
            thread.release()
            throw DNSClientError(errno: status)
        }
    }

    func ask(_ question: DNSQuestion, on loop: any EventLoop) -> Asked {
        let now = NIODeadline.now()
        let (asked, isFirst) = self.state.withLock { state -> (Asked, Bool) in
            func fail(_ failure: DNSFailure) -> (Asked, Bool) {
                (.answer(DNSAnswer(question: question, outcome: .failed(failure), timeToLive: .zero)), false)
            }
            guard !state.isShutDown else { return fail(.shutDown) }
            if let answer = state.cache.answer(to: question, now: now) {
                state.statistics.cached += 1
                return (.answer(answer), false)
            }
            if let count = state.askers[question]?.count {
                guard count < self.limits.askersPerQuestion else {
                    state.statistics.refusedByLimit += 1
                    return fail(.overloaded)
                }
                state.statistics.joined += 1
                let promise = loop.makePromise(of: DNSAnswer.self)
                state.askers[question]?.append(promise)
                return (.later(promise.futureResult), false)
            }
            guard state.askers.count < self.limits.questions else {
                state.statistics.refusedByLimit += 1
                return fail(.overloaded)
            }
            state.statistics.asked += 1
            let promise = loop.makePromise(of: DNSAnswer.self)
            state.askers[question] = [promise]
            state.inbox.append(question)
            return (.later(promise.futureResult), state.inbox.count == 1)
        }
        if isFirst { self.wakeThread() }
        return asked
    }

    func cachedAnswer(to question: DNSQuestion) -> DNSAnswer? {
        let now = NIODeadline.now()
        return self.state.withLock { $0.cache.answer(to: question, now: now) }
    }

    func clearCache() {
        self.state.withLock { $0.cache.removeAll() }
    }

    var statistics: DNSClient.Statistics { self.state.withLock { $0.statistics } }

    func shutDown() {
        let isFirst = self.state.withLock { state in
            defer { state.isShutDown = true }
            return !state.isShutDown
        }
        if isFirst { self.wakeThread() }
    }

    /// The thread's work, until `shutDown`.
    fileprivate func run(_ channel: DNSChannel) {
        while true {
            let (questions, isShutDown) = self.state.withLock { state in
                defer { state.inbox = [] }
                return (state.inbox, state.isShutDown)
            }
            if isShutDown { channel.close() }
            for question in questions { channel.ask(question) }
            if isShutDown { return }
            channel.wait(for: self.wake.read)
            var bytes: UInt64 = 0
            while read(self.wake.read, &bytes, 8) == 8 {}
        }
    }

    private func wakeThread() {
        // A full pipe wakes it as well.
        var byte: UInt8 = 0
        _ = write(self.wake.write, &byte, 1)
    }

    private func finish(_ question: DNSQuestion, status: Int32, reply: [UInt8]?) {
        let answer = Self.answer(to: question, status: status, reply: reply)
        let now = NIODeadline.now()
        let askers = self.state.withLock { state in
            if case .failed = answer.outcome { state.statistics.failed += 1 }
            state.cache.insert(answer, now: now)
            return state.askers.removeValue(forKey: question) ?? []
        }
        for asker in askers { asker.succeed(answer) }
    }

    private static func answer(to question: DNSQuestion, status: Int32, reply: [UInt8]?) -> DNSAnswer {
        func failed(_ failure: DNSFailure) -> DNSAnswer {
            let timeToLive = failure == .shutDown ? .zero : Self.failureTimeToLive
            return DNSAnswer(question: question, outcome: .failed(failure), timeToLive: timeToLive)
        }
        guard DNSChannel.hasReply(status), let reply else { return failed(DNSFailure(status: status)) }
        do throws(DNSMalformed) {
            let reply = try DNSReply(reply, to: question)
            if case .failed(let failure) = reply.outcome { return failed(failure) }
            return DNSAnswer(question: question, outcome: reply.outcome, timeToLive: .seconds(Int64(reply.timeToLive)))
        } catch {
            return failed(.malformedReply)
        }
    }
}

/// What the thread is given.
private final class DNSThread {
    let core: DNSClientCore
    let channel: DNSChannel

    init(core: DNSClientCore, channel: DNSChannel) {
        self.core = core
        self.channel = channel
    }
}
