internal import CAres
internal import GatehousePolicy
internal import Glibc
internal import NIOCore
internal import SIPMessage

/// Takes questions through the name servers, as `DNSServerSelection` says: the work of the DNS thread, and that thread's alone.
///
/// Each server has channels of its own, so that a socket that breaks takes no other server's questions with it: one for UDP,
/// which is replaced now and then for another port of ours (RFC 5452 §9.2), and one for TCP, for what a datagram cannot hold.
final class DNSExchange {
    /// What became of a question; also called for an answer that comes when its question has been given up.
    typealias Completion = (DNSAnswer, _ isLate: Bool) -> Void

    private struct Running {
        var question: DNSQuestion
        var course: DNSServerSelection.Course
        /// Which of its timers counts; earlier ones are stale.
        var timer: UInt32 = 0
    }

    private struct Server {
        let endpoint: Endpoint
        var datagrams: DNSChannel?
        var openedAt = Duration.zero
        var stream: DNSChannel?
    }

    /// How many questions share a UDP port of ours, and for how long.
    private static let asksPerChannel = 2048
    private static let channelAge = Duration.seconds(10)
    /// Channels that still wait for replies while another has taken their place; past it none is replaced.
    private static let retiredLimit = 64
    /// A channel has 65,536 ids.
    private static let openLimit = 32_768
    private static let expiryInterval = Duration.milliseconds(50)

    private var selection: DNSServerSelection
    private var servers: [Server]
    private var retired: [DNSChannel] = []
    private let timeout: Duration
    private var running: [UInt64: Running] = [:]
    private var nextNumber: UInt64 = 1
    private var timers = DNSTimers()
    private var ended: [(ask: DNSAsk, status: Int32, reply: [UInt8]?)] = []
    private var nextExpiry = Duration.zero
    private var descriptors: [pollfd] = []
    private var owners: [DNSChannel] = []
    private let complete: Completion
    private let serverChanged: (_ server: Int, _ isUp: Bool) -> Void

    /// - Parameters:
    ///   - servers: empty for those of the system (`/etc/resolv.conf`), which are read here and not again.
    ///   - timeout: for a question, over all servers.
    init(
        servers: [Endpoint], timeout: Duration, serverChanged: @escaping (Int, Bool) -> Void,
        complete: @escaping Completion
    ) throws(DNSClientError) {
        var endpoints = servers
        if endpoints.isEmpty { endpoints = try DNSChannel.systemServers() }
        if endpoints.isEmpty { endpoints = [Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 53)] }
        self.servers = endpoints.map { Server(endpoint: $0) }
        self.selection = DNSServerSelection(servers: endpoints.count, timeout: timeout)
        self.timeout = timeout
        self.serverChanged = serverChanged
        self.complete = complete
        // What is wrong with c-ares shows now.
        for server in self.servers.indices { try self.openDatagrams(server, now: Self.now) }
    }

    var endpoints: [Endpoint] { self.servers.map(\.endpoint) }

    /// Ends all questions as `shutDown`.
    func close() {
        for server in self.servers {
            server.datagrams?.close()
            server.stream?.close()
        }
        for channel in self.retired { channel.close() }
        self.ended.removeAll()
        let left = self.running.values
        self.running = [:]
        for running in left { self.finish(running.question, .failed(.shutDown), isLate: false) }
    }

    /// Begins a question; its completion comes from within `begin` or `wait`.
    func begin(_ question: DNSQuestion) {
        let number = self.nextNumber
        self.nextNumber &+= 1
        let (course, step) = self.selection.begin(now: Self.now)
        self.running[number] = Running(question: question, course: course)
        self.take(step, number)
        self.deliver()
    }

    /// Blocks until a socket is ready, a time has come or `wake` is readable; does the work.
    ///
    /// - Parameter isBusy: there is more to begin, in a millisecond.
    func wait(for wake: Int32, isBusy: Bool) {
        self.descriptors.removeAll(keepingCapacity: true)
        self.owners.removeAll(keepingCapacity: true)
        self.descriptors.append(pollfd(fd: wake, events: Int16(POLLIN), revents: 0))
        self.forEachChannel { channel in
            for (socket, events) in channel.interests {
                self.descriptors.append(pollfd(fd: socket, events: events, revents: 0))
                self.owners.append(channel)
            }
        }
        let count = poll(&self.descriptors, nfds_t(self.descriptors.count), isBusy ? 1 : self.millisecondsToNextTime())
        if count > 0 {
            for (descriptor, channel) in zip(self.descriptors.dropFirst(), self.owners) where descriptor.revents != 0 {
                channel.process(descriptor.fd, events: descriptor.revents)
                self.deliver()
            }
        }
        let now = Self.now
        if now >= self.nextExpiry {
            self.nextExpiry = now + Self.expiryInterval
            self.forEachChannel { $0.expire() }
            self.retired.removeAll { $0.openCount == 0 }
            self.deliver()
        }
        while let timer = self.timers.popFirst(until: now) {
            guard var running = self.running[timer.number], running.timer == timer.serial else { continue }
            let (step, change) = self.selection.patienceEnded(&running.course, now: now)
            self.running[timer.number] = running
            self.tell(change)
            self.take(step, timer.number)
            self.deliver()
        }
    }

    // MARK: Steps

    private func take(_ step: DNSServerSelection.Step, _ number: UInt64) {
        guard let running = self.running[number] else { return }
        switch step {
        case .ask(let server, let copy, let patience):
            self.startTimer(patience, number)
            self.send(DNSAsk(question: running.question, course: number, server: server, isStream: false))
            if let copy {
                self.send(DNSAsk(question: running.question, course: 0, server: copy, isStream: false))
            }
        case .wait(let patience):
            self.startTimer(patience, number)
        case .fail(let failure):
            self.running[number] = nil
            self.finish(running.question, .failed(failure), isLate: false)
        }
    }

    private func startTimer(_ patience: Duration, _ number: UInt64) {
        guard let serial = self.running[number]?.timer else { return }
        self.running[number]?.timer = serial &+ 1
        self.timers.insert(.init(time: Self.now + patience, number: number, serial: serial &+ 1))
    }

    private func send(_ ask: DNSAsk) {
        do throws(DNSClientError) {
            let channel = try ask.isStream ? self.openStream(ask.server) : self.openDatagrams(ask.server, now: Self.now)
            guard channel.openCount < Self.openLimit else {
                self.ended.append((ask, ARES_ENOMEM, nil))
                return
            }
            channel.send(ask)
        } catch {
            self.ended.append((ask, ARES_ECONNREFUSED, nil))
        }
    }

    /// Deals with what c-ares has reported, outside of its callbacks.
    private func deliver() {
        while !self.ended.isEmpty {
            let ended = self.ended
            self.ended.removeAll(keepingCapacity: true)
            for (ask, status, reply) in ended { self.end(ask, status: status, reply: reply) }
        }
    }

    private func end(_ ask: DNSAsk, status: Int32, reply: [UInt8]?) {
        let now = Self.now
        guard let reply else {
            self.end(ask, withoutReply: status, now: now)
            return
        }
        self.tell(self.selection.heard(ask.server, now: now))
        let outcome: DNSAnswer.Outcome
        var timeToLive = Duration.zero
        do throws(DNSReplyFault) {
            let read = try DNSReply(reply, to: ask.question)
            outcome = read.outcome
            timeToLive = .seconds(Int64(read.timeToLive))
        } catch {
            switch error {
            case .truncated where !ask.isStream:
                self.askAgainOverStream(ask, now: now)
                return
            case .truncated, .malformed:
                outcome = .failed(.malformedReply)
            }
        }
        if case .failed(let failure) = outcome {
            guard var running = self.running[ask.course] else { return }
            let step = self.selection.replied(ask.server, with: failure, &running.course, now: now)
            self.running[ask.course] = running
            if let step { self.take(step, ask.course) }
            return
        }
        let isLate = self.running.removeValue(forKey: ask.course) == nil
        self.finish(ask.question, outcome, timeToLive: timeToLive, isLate: isLate)
    }

    private func end(_ ask: DNSAsk, withoutReply status: Int32, now: Duration) {
        if let failure = DNSFailure(status: status) {
            guard var running = self.running[ask.course] else { return }
            let step = self.selection.replied(ask.server, with: failure, &running.course, now: now)
            self.running[ask.course] = running
            if let step { self.take(step, ask.course) }
            return
        }
        // An ask that was not answered in time has been dealt with by its course's own timer.
        guard status == ARES_ECONNREFUSED, var running = self.running[ask.course] else { return }
        let (step, change) = self.selection.unreachable(
            ask.server, isStream: ask.isStream, &running.course, now: now)
        self.running[ask.course] = running
        self.tell(change)
        if let step { self.take(step, ask.course) }
    }

    private func askAgainOverStream(_ ask: DNSAsk, now: Duration) {
        guard let running = self.running[ask.course] else { return }
        self.take(self.selection.truncated(running.course, now: now), ask.course)
        self.send(DNSAsk(question: ask.question, course: ask.course, server: ask.server, isStream: true))
    }

    private func finish(
        _ question: DNSQuestion, _ outcome: DNSAnswer.Outcome, timeToLive: Duration = .zero, isLate: Bool
    ) {
        self.complete(DNSAnswer(question: question, outcome: outcome, timeToLive: timeToLive), isLate)
    }

    private func tell(_ change: DNSServerSelection.Change?) {
        if let change { self.serverChanged(change.server, change.isUp) }
    }

    // MARK: Channels

    @discardableResult
    private func openDatagrams(_ server: Int, now: Duration) throws(DNSClientError) -> DNSChannel {
        if let channel = self.servers[server].datagrams {
            let isFresh =
                channel.askCount < Self.asksPerChannel && now - self.servers[server].openedAt < Self.channelAge
            if isFresh || self.retired.count >= Self.retiredLimit { return channel }
            self.retired.append(channel)
        }
        let channel = try self.makeChannel(server, isStream: false)
        self.servers[server].datagrams = channel
        self.servers[server].openedAt = now
        return channel
    }

    private func openStream(_ server: Int) throws(DNSClientError) -> DNSChannel {
        if let channel = self.servers[server].stream { return channel }
        let channel = try self.makeChannel(server, isStream: true)
        self.servers[server].stream = channel
        return channel
    }

    private func makeChannel(_ server: Int, isStream: Bool) throws(DNSClientError) -> DNSChannel {
        try DNSChannel(server: self.servers[server].endpoint, isStream: isStream, timeout: self.timeout * 2) {
            [unowned self] ask, status, reply in
            self.ended.append((ask, status, reply))
        }
    }

    private func forEachChannel(_ body: (DNSChannel) -> Void) {
        for server in self.servers {
            if let channel = server.datagrams { body(channel) }
            if let channel = server.stream { body(channel) }
        }
        for channel in self.retired { body(channel) }
    }

    // MARK: Time

    private func millisecondsToNextTime() -> Int32 {
        var next = self.timers.first?.time
        var isWaiting = false
        self.forEachChannel { isWaiting = isWaiting || $0.openCount > 0 }
        if isWaiting { next = min(next ?? self.nextExpiry, self.nextExpiry) }
        guard let next else { return -1 }
        // Rounded up, or the last millisecond would be spent in turning round.
        let left = max(.zero, next - Self.now) + .microseconds(999)
        return Int32(clamping: left / .milliseconds(1) < 60_000 ? Int(left / .milliseconds(1)) : 60_000)
    }

    private static var now: Duration { .nanoseconds(Int64(clamping: NIODeadline.now().uptimeNanoseconds)) }
}
