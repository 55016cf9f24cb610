internal import CAres
internal import GatehousePolicy
internal import Glibc
internal import SIPMessage

/// The one place that calls c-ares: a channel to one name server over UDP or TCP, with its sockets.
///
/// It sends each question once and waits for a reply, which must bear the question's id, come from the server's address and
/// repeat the question; others are dropped. Whom to ask next, and when, is not its business. All calls after `init` come
/// from one thread.
final class DNSChannel {
    /// How an ask ended: c-ares's status, and the reply's bytes if there was one.
    typealias Completion = (DNSAsk, _ status: Int32, _ reply: [UInt8]?) -> Void

    /// What a callback of c-ares needs; owned by the query until that.
    private final class Pending {
        let channel: DNSChannel
        let ask: DNSAsk

        init(channel: DNSChannel, ask: DNSAsk) {
            self.channel = channel
            self.ask = ask
        }
    }

    /// Above the 512 bytes of RFC 1035 and below what gets fragmented.
    private static let datagramSize: Int32 = 1232

    private var channel: ares_channel?
    /// The events that c-ares waits for on each of its sockets.
    private(set) var interests: [Int32: Int16] = [:]
    private let complete: Completion
    /// Asks since the beginning, and those that have not ended.
    private(set) var askCount = 0
    private(set) var openCount = 0

    /// - Parameters:
    ///   - isStream: TCP; else UDP, where a truncated reply is handed on as it is.
    ///   - timeout: after this an ask ends, whoever still waits for it.
    init(
        server: Endpoint, isStream: Bool, timeout: Duration, complete: @escaping Completion
    ) throws(DNSClientError) {
        self.complete = complete
        guard Self.libraryStatus == ARES_SUCCESS else { throw DNSClientError(status: Self.libraryStatus) }
        try self.open(
            flags: ARES_FLAG_EDNS | ARES_FLAG_NOCHECKRESP | (isStream ? ARES_FLAG_USEVC : ARES_FLAG_IGNTC),
            timeout: timeout)
        let result = ares_set_servers_ports_csv(self.channel, server.description)
        guard result == ARES_SUCCESS else { throw DNSClientError(status: result) }
    }

    deinit {
        self.close()
    }

    /// Ends all asks as not answered, and closes the sockets.
    func close() {
        guard let channel = self.channel else { return }
        self.channel = nil
        ares_destroy(channel)
    }

    /// Sends a question; `complete` is called once for it, perhaps before this returns.
    func send(_ ask: DNSAsk) {
        guard let channel = self.channel else {
            self.complete(ask, ARES_EDESTRUCTION, nil)
            return
        }
        self.askCount &+= 1
        self.openCount &+= 1
        let pending = Unmanaged.passRetained(Pending(channel: self, ask: ask))
        let callback: ares_callback = { context, status, _, bytes, count in
            guard let context else { return }
            let pending = Unmanaged<Pending>.fromOpaque(context).takeRetainedValue()
            pending.channel.openCount &-= 1
            let reply = bytes.map { [UInt8](UnsafeBufferPointer(start: $0, count: Int(max(0, count)))) }
            pending.channel.complete(pending.ask, status, reply)
        }
        ares_query(
            channel, ask.question.name.text, Int32(DNSReader.internet), Int32(ask.question.type.rawValue), callback,
            pending.toOpaque())
    }

    /// Reads and writes what a socket is ready for.
    ///
    /// - Parameter events: as poll(2) reports them.
    func process(_ socket: Int32, events: Int16) {
        guard let channel = self.channel else { return }
        let isFailed = events & Int16(POLLERR | POLLHUP | POLLNVAL) != 0
        let isReadable = isFailed || events & Int16(POLLIN) != 0
        let isWritable = events & Int16(POLLOUT) != 0
        ares_process_fd(channel, isReadable ? socket : Self.noSocket, isWritable ? socket : Self.noSocket)
    }

    /// Ends the asks whose time is over; to be called now and then while there are any.
    func expire() {
        guard let channel = self.channel, self.openCount > 0 else { return }
        ares_process_fd(channel, Self.noSocket, Self.noSocket)
    }

    private static let noSocket: Int32 = -1

    private static let libraryStatus = ares_library_init(ARES_LIB_INIT_ALL)

    private func open(flags: Int32, timeout: Duration) throws(DNSClientError) {
        var options = ares_options()
        options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | flags
        options.ednspsz = Self.datagramSize
        options.tries = 1
        options.timeout = Int32(clamping: max(10, timeout.components.seconds * 1000 + timeout.milliseconds))
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
    }
}

/// A question on its way to one server.
struct DNSAsk {
    var question: DNSQuestion
    /// The course of `DNSExchange` that it belongs to; 0 for a copy, which belongs to none.
    var course: UInt64
    var server: Int
    var isStream: Bool
}

extension DNSChannel {
    /// The system's name servers (resolv.conf(5)), as they are now.
    static func systemServers() throws(DNSClientError) -> [Endpoint] {
        guard Self.libraryStatus == ARES_SUCCESS else { throw DNSClientError(status: Self.libraryStatus) }
        var channel: ares_channel?
        let status = ares_init(&channel)
        guard status == ARES_SUCCESS else { throw DNSClientError(status: status) }
        defer { ares_destroy(channel) }
        var first: UnsafeMutablePointer<ares_addr_port_node>?
        guard ares_get_servers_ports(channel, &first) == ARES_SUCCESS else { return [] }
        defer { ares_free_data(first) }
        var servers: [Endpoint] = []
        var node = first
        while let current = node {
            let port = current.pointee.udp_port > 0 ? UInt16(clamping: current.pointee.udp_port) : 53
            let bytes = withUnsafeBytes(of: current.pointee.addr) { Array($0) }
            let size = current.pointee.family == AF_INET6 ? 16 : 4
            let value = bytes.prefix(size).reduce((high: UInt64(0), low: UInt64(0))) { value, byte in
                (value.high << 8 | value.low >> 56, value.low << 8 | UInt64(byte))
            }
            let address =
                size == 16
                ? IPAddress(v6High: value.high, v6Low: value.low)
                : IPAddress(v4: UInt32(truncatingIfNeeded: value.low))
            servers.append(Endpoint(address: address, port: port))
            node = current.pointee.next
        }
        return servers
    }
}

extension Duration {
    /// The part of a second, in whole milliseconds.
    fileprivate var milliseconds: Int64 { self.components.attoseconds / 1_000_000_000_000_000 }
}

extension DNSFailure {
    /// What a status of c-ares without a reply means; nil: the time of the ask is over, or nobody is there.
    init?(status: Int32) {
        switch status {
        case ARES_EBADRESP, ARES_EFORMERR: self = .malformedReply
        case ARES_ENOMEM: self = .overloaded
        case ARES_EDESTRUCTION, ARES_ECANCELLED: self = .shutDown
        case ARES_ETIMEOUT, ARES_ECONNREFUSED: return nil
        default: self = .serverFailed
        }
    }
}

extension DNSClientError {
    fileprivate init(status: Int32) {
        self.init(library: ares_strerror(status).map { String(cString: $0) } ?? "status \(status)")
    }
}
