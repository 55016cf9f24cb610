public import GatehousePolicy
public import NIOCore
public import SIPMessage

/// Asks the DNS, for all workers (RFC 1035): one thread, one cache, and no waiting on an event loop.
///
/// An answer in the cache comes at once, whatever is being asked; a question that is being asked already is not asked again.
/// The thread lives until `shutDown`, or until the client goes.
public final class DNSClient: Sendable {
    /// The bounds of what the client holds.
    public struct Limits: Sendable {
        /// Answers kept.
        public var answers: Int
        /// Questions that wait for a reply; more fail at once.
        public var questions: Int
        /// Askers that wait for one question's reply; more fail at once.
        public var askersPerQuestion = 10_000
        /// How long a question whose answer failed is not asked again: so that a dead server isn't asked once a call, and
        /// one that comes back is soon noticed (RFC 2308 §7 allows 5 minutes).
        public var failureTimeToLive = Duration.seconds(5)

        public init(_ settings: DNSSettings) {
            self.answers = settings.cache
            self.questions = settings.questions
        }
    }

    private let core: DNSClientCore

    /// - Parameters:
    ///   - settings: which servers to ask; `timeout` is how long an asker waits at most.
    ///   - limits: the bounds of what the client holds; nil: those of the settings.
    ///   - serverChanged: told when a server has fallen silent and is asked last from then on, and when it is back; called
    ///     on the DNS thread.
    /// - Throws: where the servers or the thread cannot be set up.
    public init(
        _ settings: DNSSettings, limits: Limits? = nil,
        serverChanged: @escaping @Sendable (Endpoint, _ isUp: Bool) -> Void = { _, _ in }
    ) throws(DNSClientError) {
        self.core = try DNSClientCore(limits: limits ?? Limits(settings))
        try self.core.startThread(settings, serverChanged: serverChanged)
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

    /// Answers in the cache, those whose time is over included until they are asked for or pushed out.
    public var cacheCount: Int { self.core.cacheCount }

    /// Questions that wait for a reply.
    public var waitingCount: Int { self.core.waitingCount }

    /// A name server, and whether it is asked in its turn; a silent one is asked last.
    public struct Server: Sendable, Equatable {
        public var endpoint: Endpoint
        public var isUp: Bool
    }

    /// In the order in which they are asked while all are up.
    public var servers: [Server] { self.core.servers }

    /// How often a question was taken so, since the start.
    public func count(of lookup: DNSLookup) -> Int { self.core.counters.total(lookup) }

    /// How often a question of this type that went to a server ended so, since the start.
    public func count(of type: DNSQuestion.RecordType, _ result: DNSResult) -> Int {
        self.core.counters.total(type, result)
    }

    /// Ends the thread; whoever waits, and whoever asks from now on, gets the failure `shutDown`.
    public func shutDown() {
        self.core.shutDown()
    }
}

/// The client could not be set up.
public struct DNSClientError: Error, CustomStringConvertible {
    public let description: String

    init(library cause: String) {
        self.description =
            "the DNS client cannot start: \(cause); check dns.servers, or /etc/resolv.conf if it is empty"
    }

    init(errno: Int32) {
        self.description = "the DNS client cannot start: \(systemMessage(errno))"
    }
}
