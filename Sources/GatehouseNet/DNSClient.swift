public import GatehousePolicy
public import NIOCore

/// Asks the DNS, for all workers (RFC 1035): one thread, one cache, and no waiting on an event loop.
///
/// An answer in the cache comes at once; a question that is being asked already is not asked again. The thread lives until
/// `shutDown`, or until the client goes.
public final class DNSClient: Sendable {
    /// The bounds of what the client holds.
    public struct Limits: Sendable {
        /// Answers kept.
        public var answers = 10_000
        /// Questions that wait for a reply; more fail at once.
        public var questions = 1_000
        /// Askers that wait for one question's reply; more fail at once.
        public var askersPerQuestion = 10_000

        public init() {}
    }

    /// Counters since the start.
    public struct Statistics: Sendable, Equatable {
        /// Answers that came from the cache.
        public var cached = 0
        /// Askers that joined a question which was being asked.
        public var joined = 0
        /// Questions that went to a server.
        public var asked = 0
        /// Of those, the ones that failed; `refusedByLimit` are not among them.
        public var failed = 0
        /// Askers that were turned away by a limit.
        public var refusedByLimit = 0

        public init() {}
    }

    private let core: DNSClientCore

    /// - Parameters:
    ///   - settings: which servers to ask; `timeout` is how long an asker waits at most.
    ///   - limits: the bounds of what the client holds.
    /// - Throws: where the servers or the thread cannot be set up.
    public init(_ settings: DNSSettings, limits: Limits = Limits()) throws(DNSClientError) {
        self.core = try DNSClientCore(limits: limits)
        try self.core.startThread(settings)
    }

    deinit {
        self.core.shutDown()
    }

    /// Asks a question; callable from any thread.
    ///
    /// - Returns: a future of `loop` that never fails: what went wrong is in the answer's outcome.
    public func query(_ question: DNSQuestion, on loop: any EventLoop) -> EventLoopFuture<DNSAnswer> {
        switch self.core.ask(question, on: loop) {
        case .answer(let answer): loop.makeSucceededFuture(answer)
        case .later(let future): future
        }
    }

    /// The answer to a question if it is in the cache; callable from any thread.
    public func cachedAnswer(to question: DNSQuestion) -> DNSAnswer? {
        self.core.cachedAnswer(to: question)
    }

    /// Forgets all answers, so that what comes next is asked anew.
    public func clearCache() {
        self.core.clearCache()
    }

    public var statistics: Statistics { self.core.statistics }

    /// Ends the thread; whoever waits, and whoever asks from now on, gets the failure `shutDown`.
    public func shutDown() {
        self.core.shutDown()
    }
}
