internal import CAres
internal import GatehousePolicy
internal import Glibc
internal import SIPMessage

/// The one place that calls c-ares: a channel to the name servers, with its sockets.
///
/// All calls after `init` come from one thread, the one that calls `wait`. Replies larger than a datagram come over TCP.
final class DNSChannel {
    /// How a question ended: c-ares's status, and the reply's bytes if there was one.
    typealias Completion = (DNSQuestion, _ status: Int32, _ reply: [UInt8]?) -> Void

    /// What a callback of c-ares needs; owned by the query until that.
    private final class Pending {
        let channel: DNSChannel
        let question: DNSQuestion

        init(channel: DNSChannel, question: DNSQuestion) {
            self.channel = channel
            self.question = question
        }
    }

    /// Above the 512 bytes of RFC 1035 and below what gets fragmented.
    private static let datagramSize: Int32 = 1232
    /// Each server is asked twice, the second time with twice the patience.
    private static let tries = 2

    private var channel: ares_channel?
    /// The events that c-ares waits for on each of its sockets.
    private var interests: [Int32: Int16] = [:]
    private let complete: Completion

    /// - Parameters:
    ///   - servers: empty for those of the system (`/etc/resolv.conf`), which are read here and not again.
    ///   - timeout: after this the last of the servers has been given up.
    init(
        servers: [Endpoint], timeout: Duration, complete: @escaping Completion
    ) throws(DNSClientError) {
        self.complete = complete
        guard Self.libraryStatus == ARES_SUCCESS else { throw DNSClientError(status: Self.libraryStatus) }
        if servers.isEmpty {
            // A first look at the system's servers tells how many share the time.
            try self.open(servers: [], timeout: timeout, serverCount: 1)
            let count = self.serverCount()
            self.close()
            try self.open(servers: [], timeout: timeout, serverCount: count)
        } else {
            try self.open(servers: servers, timeout: timeout, serverCount: servers.count)
        }
    }

    deinit {
        self.close()
    }

    /// Ends all questions as not answered, and closes the sockets.
    func close() {
        guard let channel = self.channel else { return }
        self.channel = nil
        ares_destroy(channel)
    }

    /// Sends a question; `complete` is called once for it, perhaps before this returns.
    func ask(_ question: DNSQuestion) {
        guard let channel = self.channel else {
            self.complete(question, ARES_EDESTRUCTION, nil)
            return
        }
        let pending = Unmanaged.passRetained(Pending(channel: self, question: question))
        let callback: ares_callback = { context, status, _, bytes, count in
            guard let context else { return }
            let pending = Unmanaged<Pending>.fromOpaque(context).takeRetainedValue()
            let reply = bytes.map { [UInt8](UnsafeBufferPointer(start: $0, count: Int(max(0, count)))) }
            pending.channel.complete(pending.question, status, reply)
        }
        ares_query(
            channel, question.name.text, Int32(DNSReader.internet), Int32(question.type.rawValue), callback,
            pending.toOpaque())
    }

    /// Blocks until a socket has something to read or write, a time-out is due, or `wake` is readable; does the work.
    func wait(for wake: Int32) {
        guard let channel = self.channel else { return }
        var descriptors = [pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
        for (socket, events) in self.interests { descriptors.append(pollfd(fd: socket, events: events, revents: 0)) }
        var time = timeval()
        var milliseconds: Int32 = -1
        if let next = ares_timeout(channel, nil, &time) {
            // Rounded up, or the last millisecond would be spent in turning round.
            let left = next.pointee.tv_sec * 1000 + (next.pointee.tv_usec + 999) / 1000
            milliseconds = Int32(clamping: left)
        }
        let count = poll(&descriptors, nfds_t(descriptors.count), milliseconds)
        if count > 0 {
            for descriptor in descriptors.dropFirst() where descriptor.revents != 0 {
                let isFailed = descriptor.revents & Int16(POLLERR | POLLHUP | POLLNVAL) != 0
                let isReadable = isFailed || descriptor.revents & Int16(POLLIN) != 0
                let isWritable = descriptor.revents & Int16(POLLOUT) != 0
                ares_process_fd(
                    channel, isReadable ? descriptor.fd : Self.noSocket, isWritable ? descriptor.fd : Self.noSocket)
            }
        }
        // Also after a busy round, or time-outs would wait for a quiet one.
        ares_process_fd(channel, Self.noSocket, Self.noSocket)
    }

    private static let noSocket: Int32 = -1

    private static let libraryStatus = ares_library_init(ARES_LIB_INIT_ALL)

    private func open(servers: [Endpoint], timeout: Duration, serverCount: Int) throws(DNSClientError) {
        var options = ares_options()
        options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS
        // Of several servers one that fails is passed over; the failure of an only one is worth telling.
        if serverCount == 1 { options.flags |= ARES_FLAG_NOCHECKRESP }
        options.ednspsz = Self.datagramSize
        options.tries = Int32(Self.tries)
        let share = timeout / (3 * max(1, serverCount))  // once, and once more with twice the patience
        options.timeout = Int32(
            clamping: max(10, share.components.seconds * 1000 + share.components.attoseconds / 1_000_000_000_000_000))
        options.sock_state_cb_data = Unmanaged.passUnretained(self).toOpaque()
        options.sock_state_cb = { context, socket, readable, writable in
            guard let context else { return }
            let channel = Unmanaged<DNSChannel>.fromOpaque(context).takeUnretainedValue()
            let events = Int16((readable != 0 ? POLLIN : 0) | (writable != 0 ? POLLOUT : 0))
            channel.interests[socket] = events == 0 ? nil : events
        }
        let mask =
            ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TRIES | ARES_OPT_TIMEOUTMS | ARES_OPT_SOCK_STATE_CB
            | ARES_OPT_NOROTATE
        let status = ares_init_options(&self.channel, &options, Int32(mask))
        guard status == ARES_SUCCESS else { throw DNSClientError(status: status) }
        guard !servers.isEmpty else { return }
        let list = servers.map(\.description).joined(separator: ",")
        let result = ares_set_servers_ports_csv(self.channel, list)
        guard result == ARES_SUCCESS else { throw DNSClientError(status: result) }
    }

    private func serverCount() -> Int {
        var first: UnsafeMutablePointer<ares_addr_port_node>?
        guard ares_get_servers_ports(self.channel, &first) == ARES_SUCCESS else { return 1 }
        var count = 0
        var node = first
        while let current = node {
            count += 1
            node = current.pointee.next
        }
        ares_free_data(first)
        return max(1, count)
    }
}

extension DNSChannel {
    /// Whether a reply of this status says something about the name, be it that there is nothing.
    static func hasReply(_ status: Int32) -> Bool {
        status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND
    }
}

extension DNSFailure {
    /// What a status of c-ares other than success, no data and not found means.
    init(status: Int32) {
        switch status {
        case ARES_ETIMEOUT: self = .timedOut
        case ARES_ECONNREFUSED: self = .unreachable
        case ARES_EREFUSED: self = .refused
        case ARES_EBADRESP: self = .malformedReply
        case ARES_ENOMEM: self = .overloaded
        case ARES_EDESTRUCTION, ARES_ECANCELLED: self = .shutDown
        default: self = .serverFailed
        }
    }
}

/// c-ares could not be set up.
public struct DNSClientError: Error, CustomStringConvertible {
    public let description: String

    init(status: Int32) {
        let cause = ares_strerror(status).map { String(cString: $0) } ?? "status \(status)"
        self.description =
            "the DNS client cannot start: \(cause); check dns.servers, or /etc/resolv.conf if it is empty"
    }

    init(errno: Int32) {
        let cause = strerror(errno).map { String(cString: $0) } ?? "errno \(errno)"
        self.description = "the DNS client cannot start: \(cause)"
    }
}
