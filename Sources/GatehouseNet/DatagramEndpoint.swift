internal import CSocket
internal import Glibc
internal import NIOCore
public import SIPMessage

/// What a datagram endpoint calls, on its loop.
public protocol DatagramOwner: AnyObject {
    /// A datagram came.
    ///
    /// - Parameter bytes: valid for the call only; empty, or up to 65,527 bytes.
    func datagram(_ endpoint: DatagramEndpoint, received bytes: UnsafeRawBufferPointer, from source: Endpoint)

    /// A datagram to `destination` did not arrive, or could not be sent.
    ///
    /// An ICMP error is reported on whichever endpoint of the same address the kernel chooses, so it may concern another
    /// worker's datagram. ICMP time exceeded and source quench are never reported (RFC 3261 §18.4).
    ///
    /// - Parameter quoted: the beginning of that datagram as far as it is known, valid for the call only; ICMP may quote
    ///   as little as nothing of the payload.
    func datagramFailed(
        _ endpoint: DatagramEndpoint, to destination: Endpoint, quoted: UnsafeRawBufferPointer, errno: Int32)
}

/// What an endpoint has counted since it was opened.
public struct DatagramCounters: Sendable, Equatable {
    public var received: UInt64 = 0
    public var sent: UInt64 = 0
    /// Datagrams that found the send queue or the interface's queue full.
    public var droppedQueueFull: UInt64 = 0
    /// Datagrams that could not be sent or, by ICMP, did not arrive.
    public var failed: UInt64 = 0
}

/// One UDP socket on one worker's loop.
///
/// Every worker has its own on the same address (SO_REUSEPORT); the kernel spreads by 4-tuple. Datagrams are read 32 at a
/// time; what is sent within a tick of the loop leaves by one sendmmsg at its end. For its loop only.
public final class DatagramEndpoint {
    /// Datagrams for one sendmmsg, or one recvmmsg.
    static let batch = 32
    /// Reads of a batch before the loop's other work gets its turn.
    private static let readsInARow = 4

    /// The address bound to, with the real port where 0 was asked for.
    public let local: Endpoint
    public private(set) var counters = DatagramCounters()

    private let flows: FlowContext
    private weak var owner: (any DatagramOwner)?
    private let poller: ReadinessPoller
    private var tag: UInt64 = 0
    private var descriptor: Int32
    private var queue = DatagramQueue()
    private var isDirty = false
    /// Whether the kernel's buffer was full, so that POLLOUT is awaited.
    private var isBlocked = false

    /// Binds `endpoint`.
    ///
    /// - Parameters:
    ///   - endpoint: port 0 takes a free one. IPv6 means IPv6 alone.
    ///   - flows: the worker's; the caller is on its loop.
    ///   - owner: not kept alive.
    ///   - isShared: whether the process already has an endpoint on this address. If not, another process's is an error
    ///     (EADDRINUSE) and not shared with.
    public static func bind(
        _ endpoint: Endpoint, in flows: FlowContext, owner: any DatagramOwner, isShared: Bool = false
    ) throws(BindError) -> DatagramEndpoint {
        flows.eventLoop.assertInEventLoop()
        do throws(SystemError) {
            let poller = try flows.poller()
            if !isShared && endpoint.port != 0 { try DatagramEndpoint.probe(endpoint) }
            let descriptor = try DatagramEndpoint.open(endpoint)
            let bound = Endpoint(ofSocket: descriptor) ?? endpoint
            let socket = DatagramEndpoint(
                descriptor: descriptor, local: bound, flows: flows, owner: owner, poller: poller)
            socket.tag = try poller.add(socket)
            try poller.arm(socket.tag, descriptor: descriptor, events: Int16(POLLIN))
            return socket
        } catch {
            throw BindError(endpoint: endpoint, error: error)  // what was opened closes with its object
        }
    }

    private init(
        descriptor: Int32, local: Endpoint, flows: FlowContext, owner: any DatagramOwner, poller: ReadinessPoller
    ) {
        self.descriptor = descriptor
        self.local = local
        self.flows = flows
        self.owner = owner
        self.poller = poller
    }

    deinit {
        self.close()
    }

    /// Closes the socket; what is queued is sent first, as far as the kernel takes it at once.
    public func close() {
        guard self.descriptor >= 0 else { return }
        self.flush()
        guard self.descriptor >= 0 else { return }
        self.poller.remove(self.tag)
        _ = Glibc.close(self.descriptor)
        self.descriptor = -1
        self.queue.removeAll()
    }

    /// Queues a datagram; it leaves at the end of this tick.
    ///
    /// The queue holds 4,096 datagrams and 8 MiB, which only a full kernel buffer can fill; past that the datagram is
    /// dropped and counted. One over 65,507 bytes (IPv6: 65,527) fails with EMSGSIZE.
    public func send(_ bytes: [UInt8], to destination: Endpoint) {
        guard self.descriptor >= 0 else {
            self.counters.failed &+= 1
            return
        }
        guard self.queue.append(bytes, to: destination) else {
            self.counters.droppedQueueFull &+= 1
            return
        }
        if !self.isDirty && !self.isBlocked {
            self.isDirty = true
            self.flows.markDirty(self)
        }
    }
}

// MARK: Opening

extension DatagramEndpoint {
    private static func open(_ endpoint: Endpoint) throws(SystemError) -> Int32 {
        let descriptor = try BoundSocket.open(endpoint, type: SOCK_DGRAM, option: SO_REUSEPORT)
        guard csocket_report_errors(descriptor, endpoint.address.isIPv6 ? 1 : 0) == 0 else {
            let error = SystemError(errno: errno)
            _ = Glibc.close(descriptor)
            throw error
        }
        csocket_set_buffers(descriptor, 4 << 20)
        return descriptor
    }

    /// Fails where any socket, of this process or another, has the address, although it be with SO_REUSEPORT.
    private static func probe(_ endpoint: Endpoint) throws(SystemError) {
        _ = Glibc.close(try BoundSocket.open(endpoint, type: SOCK_DGRAM, option: nil))
    }
}

// MARK: Receiving

extension DatagramEndpoint: ReadinessTarget {
    func ready(_ events: UInt32) {
        guard self.descriptor >= 0 else { return }
        if events & UInt32(POLLERR) != 0 { self.readErrors() }
        if self.isBlocked && events & UInt32(POLLOUT) != 0 {
            self.isBlocked = false
            self.flush()
        }
        self.read()
        guard self.descriptor >= 0 else { return }
        let events = self.isBlocked ? POLLIN | POLLOUT : POLLIN
        do throws(SystemError) {
            try self.poller.arm(self.tag, descriptor: self.descriptor, events: Int16(events))
        } catch {
            // The kernel is out of memory for a moment: look again soon.
            self.flows.wheel.start(after: .milliseconds(10), self, kind: 0)
        }
    }

    private func read() {
        let vector = self.flows.datagramVector
        for _ in 0..<DatagramEndpoint.readsInARow {
            let count = vector.receive(self.descriptor)
            guard count > 0 else {
                // An ICMP error that has just come is reported here first, and once.
                if count < 0 && errno != EAGAIN && errno != EINTR { self.readErrors() }
                return
            }
            self.counters.received &+= UInt64(count)
            for index in 0..<count {
                guard let source = vector.source(index) else { continue }
                self.owner?.datagram(self, received: vector.bytes(index), from: source)
                guard self.descriptor >= 0 else { return }
            }
            if count < DatagramEndpoint.batch { return }
        }
    }

    /// Reports what the socket's error queue holds.
    ///
    /// - Returns: whether there was anything.
    @discardableResult
    private func readErrors() -> Bool {
        var found = false
        let quoted = self.flows.errorBuffer
        // A flood of errors must not hold the loop: what is left makes the socket ready again.
        for _ in 0..<64 {
            var entry = csocket_error()
            guard self.descriptor >= 0,
                csocket_read_error(
                    self.descriptor, &entry, self.flows.errorAddress, quoted.baseAddress, UInt32(quoted.count)) == 1
            else { return found }
            found = true
            guard DatagramEndpoint.isFailure(entry, isIPv6: self.local.address.isIPv6),
                let destination = Endpoint(socketAddress: self.flows.errorAddress)
            else { continue }
            self.counters.failed &+= 1
            let bytes = UnsafeRawBufferPointer(rebasing: quoted[..<min(quoted.count, Int(entry.quoted))])
            self.owner?.datagramFailed(self, to: destination, quoted: bytes, errno: entry.error)
        }
        return found
    }

    /// Destination unreachable and parameter problem are failures; time exceeded, source quench and packet too big are
    /// not (RFC 3261 §18.4).
    private static func isFailure(_ entry: csocket_error, isIPv6: Bool) -> Bool {
        guard entry.is_icmp != 0, entry.error != EMSGSIZE else { return false }
        return isIPv6 ? entry.type == 1 || entry.type == 4 : entry.type == 3 || entry.type == 12
    }
}

// MARK: Sending

extension DatagramEndpoint: TimerTarget {
    public func timerFired(_ kind: UInt8) { self.ready(UInt32(POLLIN | POLLOUT | POLLERR)) }

    /// Hands the queue to the kernel.
    func flush() {
        self.isDirty = false
        let vector = self.flows.datagramVector
        var retries = 0
        while !self.queue.isEmpty && self.descriptor >= 0 && !self.isBlocked {
            let sent = vector.send(self.queue, self.descriptor)
            if sent > 0 {
                self.counters.sent &+= UInt64(sent)
                self.queue.removeFirst(sent)
                retries = 0
                continue
            }
            switch errno {
            case EINTR:
                continue
            case EAGAIN:
                self.awaitRoom()
            case ENOBUFS, ENOMEM:
                // The interface's queue is full: the network's way to lose a datagram, which SIP sends again.
                self.counters.droppedQueueFull &+= 1
                self.queue.removeFirst(1)
            case let error:
                // The error of an earlier datagram is reported to the next call, once; it says nothing about this one.
                if self.readErrors() && retries < 64 {
                    retries += 1
                    continue
                }
                self.failFirst(errno: error)
            }
        }
    }

    private func awaitRoom() {
        self.isBlocked = true
        self.poller.disarm(self.tag)  // its report comes at once, and asks for room as well
    }

    private func failFirst(errno: Int32) {
        self.counters.failed &+= 1
        let first = self.queue.first
        self.queue.removeFirst(1)
        guard let first else { return }
        first.bytes.withUnsafeBytes { bytes in
            self.owner?.datagramFailed(self, to: first.destination, quoted: bytes, errno: errno)
        }
    }
}
