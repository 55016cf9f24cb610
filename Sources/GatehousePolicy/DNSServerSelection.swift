/// Which name server a question goes to, and when another is asked: the health of the servers, and the course that each
/// question takes through them.
///
///     up ──silenceLimit asks in a row unanswered, while it said nothing at all──▶ down ──upAfter replies──▶ up
///
/// Servers are asked in the order of the configuration, those that are down after the others. A server that is asked after
/// another does not end the other's chance: whoever answers first is believed. Each is asked twice, the second time with
/// twice the patience, so that the whole fits into the time limit. While a server is down a real question goes to it as
/// well now and then, as a copy that nobody waits for.
///
/// Time is a `Duration` since any fixed moment.
public struct DNSServerSelection: Sendable {
    /// What is to be done for a question.
    public enum Step: Sendable, Equatable {
        /// Ask `server`, and `copyTo` if given, then call `patienceEnded` after `patience`.
        case ask(server: Int, copyTo: Int?, patience: Duration)
        /// Call `patienceEnded` after this time.
        case wait(Duration)
        /// The question has failed.
        case fail(DNSFailure)
    }

    /// A server's health has changed.
    public struct Change: Sendable, Equatable {
        public var server: Int
        public var isUp: Bool

        public init(server: Int, isUp: Bool) {
            self.server = server
            self.isUp = isUp
        }
    }

    /// Where a question stands.
    public struct Course: Sendable {
        fileprivate var deadline: Duration
        /// How often each server has been asked.
        fileprivate var asks: [UInt8]
        fileprivate var chances: [Chance]
        /// The server asked last, and when.
        fileprivate var latest = (server: 0, askedAt: Duration.zero)
        /// The first failure that a server replied with.
        fileprivate var failure: DNSFailure?
    }

    /// What a server may still do for a question.
    fileprivate enum Chance {
        case open
        /// It could not be reached when it was asked last.
        case unreachable
        /// It replied with a failure, and is not asked again.
        case failed
    }

    private enum State: Equatable {
        /// `silences`: asks in a row without any reply.
        case up(silences: Int)
        case down(replies: Int)
    }

    private struct Server {
        var state = State.up(silences: 0)
        /// When it last said anything.
        var heardAt: Duration?
        /// When the last copy went to it, and when the next may.
        var copiedAt = Duration.zero
        var nextCopyAt = Duration.zero
        var copyInterval = DNSServerSelection.shortestCopyInterval

        var isUp: Bool {
            switch self.state {
            case .up: true
            case .down: false
            }
        }
    }

    private static let silenceLimit = 3
    private static let upAfter = 3
    private static let shortestCopyInterval = Duration.seconds(1)
    private static let longestCopyInterval = Duration.seconds(60)
    /// How long a server that nobody runs is given to come back.
    private static let restartPause = Duration.milliseconds(250)
    private static let rounds: UInt8 = 2

    private var servers: [Server]
    private let timeout: Duration
    /// A server's share of the time in the first round; the second has twice as much.
    private let share: Duration

    /// - Parameters:
    ///   - servers: at least one, known by their number from 0.
    ///   - timeout: for a question from its beginning to its end.
    public init(servers: Int, timeout: Duration) {
        precondition(servers > 0)
        self.servers = Array(repeating: Server(), count: servers)
        self.timeout = timeout
        self.share = timeout / (3 * servers)
    }

    public func isUp(_ server: Int) -> Bool {
        server >= 0 && server < self.servers.count && self.servers[server].isUp
    }

    // MARK: A question

    /// A question is asked.
    public mutating func begin(now: Duration) -> (Course, Step) {
        var course = Course(
            deadline: now + self.timeout, asks: Array(repeating: 0, count: self.servers.count),
            chances: Array(repeating: .open, count: self.servers.count))
        let step = self.next(&course, now: now)
        guard case .ask(let server, _, let patience) = step else { return (course, step) }
        return (course, .ask(server: server, copyTo: self.takeCopy(besides: server, now: now), patience: patience))
    }

    /// The time that the last step named has passed without an answer.
    public mutating func patienceEnded(_ course: inout Course, now: Duration) -> (Step, Change?) {
        let (server, askedAt) = course.latest
        let change = course.chances[server] == .open ? self.silent(server, since: askedAt, now: now) : nil
        return (self.next(&course, now: now), change)
    }

    /// A server replied with a failure of its own, or with what cannot be read; nil: no step is due.
    public mutating func replied(
        _ server: Int, with failure: DNSFailure, _ course: inout Course, now: Duration
    ) -> Step? {
        guard server >= 0, server < self.servers.count, course.chances[server] != .failed else { return nil }
        course.chances[server] = .failed
        if course.failure == nil { course.failure = failure }
        if let other = self.candidate(course), course.asks[other] == 0, self.servers[other].isUp {
            return self.next(&course, now: now)
        }
        let isWaiting = self.servers.indices.contains { other in
            course.asks[other] > 0 && course.chances[other] == .open && self.servers[other].isUp
        }
        guard isWaiting else { return .fail(course.failure ?? failure) }
        // Another may still answer, and has the time that it was given.
        return server == course.latest.server ? .wait(self.clip(self.share, course, now)) : nil
    }

    /// A server's datagram was cut short, so it is asked again over TCP; the caller waits as told.
    public func truncated(_ course: Course, now: Duration) -> Step {
        .wait(self.clip(self.share * 2, course, now))
    }

    /// A server could not be reached; nil: no step is due.
    ///
    /// - Parameter isStream: over TCP, which says nothing about the server's health.
    public mutating func unreachable(
        _ server: Int, isStream: Bool, _ course: inout Course, now: Duration
    ) -> (Step?, Change?) {
        guard server >= 0, server < self.servers.count else { return (nil, nil) }
        if course.chances[server] == .open { course.chances[server] = isStream ? .failed : .unreachable }
        let change = isStream ? nil : self.wentDown(server, now: now)
        guard server == course.latest.server else { return (nil, change) }
        guard let other = self.candidate(course) else {
            let isOver = !course.chances.contains(.open)
            return (isOver ? .fail(Self.verdict(course)) : .wait(self.clip(self.timeout, course, now)), change)
        }
        if course.asks[other] == 0 { return (self.next(&course, now: now), change) }
        return (.wait(self.clip(min(self.share, Self.restartPause), course, now)), change)
    }

    // MARK: Health

    /// A server said anything at all to a question that was asked of it.
    public mutating func heard(_ server: Int, now: Duration) -> Change? {
        guard server >= 0, server < self.servers.count else { return nil }
        self.servers[server].heardAt = now
        switch self.servers[server].state {
        case .up:
            self.servers[server].state = .up(silences: 0)
            return nil
        case .down(let replies) where replies + 1 < Self.upAfter:
            self.servers[server].state = .down(replies: replies + 1)
            self.servers[server].nextCopyAt = now  // it seems to be back: no need to wait
            return nil
        case .down:
            self.servers[server].state = .up(silences: 0)
            self.servers[server].copyInterval = Self.shortestCopyInterval
            return Change(server: server, isUp: true)
        }
    }

    /// An ask was not answered: counts only if the server said nothing to anybody since then.
    private mutating func silent(_ server: Int, since askedAt: Duration, now: Duration) -> Change? {
        if let heardAt = self.servers[server].heardAt, heardAt >= askedAt { return nil }
        switch self.servers[server].state {
        case .up(let silences) where silences + 1 < Self.silenceLimit:
            self.servers[server].state = .up(silences: silences + 1)
            return nil
        case .up, .down:
            return self.wentDown(server, now: now)
        }
    }

    private mutating func wentDown(_ server: Int, now: Duration) -> Change? {
        let wasUp = self.servers[server].isUp
        self.servers[server].state = .down(replies: 0)
        guard wasUp else { return nil }
        self.servers[server].copyInterval = Self.shortestCopyInterval
        self.servers[server].nextCopyAt = now + Self.shortestCopyInterval
        self.servers[server].copiedAt = now
        return Change(server: server, isUp: false)
    }

    /// A server that is down and whose turn for a copy has come.
    private mutating func takeCopy(besides server: Int, now: Duration) -> Int? {
        for other in self.servers.indices where other != server && !self.servers[other].isUp {
            guard self.servers[other].nextCopyAt <= now else { continue }
            let wasHeard = self.servers[other].heardAt.map { $0 >= self.servers[other].copiedAt } ?? false
            if !wasHeard {
                self.servers[other].state = .down(replies: 0)
                self.servers[other].copyInterval = min(self.servers[other].copyInterval * 2, Self.longestCopyInterval)
            }
            self.servers[other].copiedAt = now
            self.servers[other].nextCopyAt = now + self.servers[other].copyInterval
            return other
        }
        return nil
    }

    // MARK: The order

    /// The server to ask next; nil: each has been asked as often as it is, or has failed.
    private func candidate(_ course: Course) -> Int? {
        var best: Int?
        for server in self.servers.indices where course.asks[server] < Self.rounds {
            guard course.chances[server] != .failed else { continue }
            guard let old = best else {
                best = server
                continue
            }
            let (asks, oldAsks) = (course.asks[server], course.asks[old])
            if asks < oldAsks || (asks == oldAsks && self.servers[server].isUp && !self.servers[old].isUp) {
                best = server
            }
        }
        return best
    }

    private func next(_ course: inout Course, now: Duration) -> Step {
        guard now < course.deadline else { return .fail(Self.verdict(course)) }
        if let server = self.candidate(course) {
            let isFirst = course.asks[server] == 0
            // After one server's failure the others that are up have a chance each, and no second one.
            if course.failure == nil || (isFirst && self.servers[server].isUp) {
                course.asks[server] += 1
                course.chances[server] = .open
                course.latest = (server, now)
                return .ask(
                    server: server, copyTo: nil, patience: self.clip(self.share * (isFirst ? 1 : 2), course, now))
            }
        }
        let isOver = course.failure != nil || !course.chances.contains(.open)
        return isOver ? .fail(Self.verdict(course)) : .wait(course.deadline - now)
    }

    private static func verdict(_ course: Course) -> DNSFailure {
        course.failure ?? (course.chances.contains(.open) ? .timedOut : .unreachable)
    }

    /// Never past the deadline.
    private func clip(_ time: Duration, _ course: Course, _ now: Duration) -> Duration {
        min(time, max(.zero, course.deadline - now))
    }
}
