internal import CSocket
internal import Glibc
internal import NIOCore
internal import NIOPosix

/// What a `ReadinessPoller` calls.
protocol ReadinessTarget: AnyObject {
    /// - Parameter events: as poll(2) reports them.
    func ready(_ events: UInt32)
}

/// Tells the datagram sockets of one loop when they can be read or written.
///
/// They aren't NIO channels, because NIO takes an ICMP error on a datagram socket (other than port unreachable) for the
/// end of the channel, and its way to that end traps. So the kernel's asynchronous poll (IOCB_CMD_POLL) watches them, and
/// counts what is ready on one eventfd, which NIO reads as a pipe: no thread, and no system call for each datagram.
final class ReadinessPoller {
    /// A socket's request. It lives until the kernel's last report on it has come, which may be after the socket's end.
    private final class Slot {
        weak var target: (any ReadinessTarget)?
        let watch: UnsafeMutablePointer<csocket_watch>
        var isArmed = false

        init(target: any ReadinessTarget) {
            self.target = target
            self.watch = .allocate(capacity: 1)
        }

        deinit { self.watch.deallocate() }
    }

    /// Requests that the kernel holds at a time, one a socket. The host has 65,536 for all programs (fs.aio-max-nr), and
    /// each loop takes its share whether it is used or not.
    private static let capacity = 256

    private var context: UInt = 0
    private let eventDescriptor: Int32
    private var channel: (any Channel)?
    private var isClosed = false
    private var slots: [UInt64: Slot] = [:]
    private var nextTag: UInt64 = 0
    private let reports = UnsafeMutablePointer<csocket_ready>.allocate(capacity: 64)

    /// - Throws: the failed system call's error number: EAGAIN where the kernel has no more requests (fs.aio-max-nr).
    init(eventLoop: any EventLoop) throws(SystemError) {
        var context: UInt = 0
        guard csocket_poller_open(UInt32(ReadinessPoller.capacity), &context) == 0 else {
            throw SystemError(errno: errno, isOfPoller: true)
        }
        let descriptor = csocket_eventfd()
        guard descriptor >= 0 else {
            let error = SystemError(errno: errno)
            _ = csocket_poller_close(context)
            throw error
        }
        self.context = context
        self.eventDescriptor = descriptor
        let handler = NIOLoopBound(EventHandler(poller: self), eventLoop: eventLoop)
        // The pipe owns the descriptor as soon as it exists; reports that come before are counted on it.
        NIOPipeBootstrap(group: eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler.value) }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .assumeIsolated()
            .whenComplete { result in
                switch result {
                case .success(let channel) where self.isClosed: channel.close(promise: nil)
                case .success(let channel): self.channel = channel
                case .failure: _ = Glibc.close(descriptor)
                }
            }
    }

    deinit {
        self.close()
        self.reports.deallocate()
    }

    /// Ends all requests. The sockets are their owners' to close.
    func close() {
        guard !self.isClosed else { return }
        self.isClosed = true
        _ = csocket_poller_close(self.context)  // waits until the kernel has let go of every request
        self.slots.removeAll()
        self.channel?.close(promise: nil)
        self.channel = nil
    }

    /// - Returns: the name under which `arm` and `remove` know the target, which is not kept alive.
    /// - Throws: ENOSPC where there are too many.
    func add(_ target: any ReadinessTarget) throws(SystemError) -> UInt64 {
        guard self.slots.count < ReadinessPoller.capacity else { throw SystemError(errno: ENOSPC, isOfPoller: true) }
        self.nextTag &+= 1
        self.slots[self.nextTag] = Slot(target: target)
        return self.nextTag
    }

    /// Asks for one call of `ready`; until it has come, another request changes nothing.
    ///
    func arm(_ tag: UInt64, descriptor: Int32, events: Int16) throws(SystemError) {
        guard !self.isClosed, let slot = self.slots[tag], !slot.isArmed else { return }
        let count = csocket_poller_watch(self.context, slot.watch, descriptor, events, self.eventDescriptor, tag)
        guard count == 1 else { throw SystemError(errno: errno, isOfPoller: true) }
        slot.isArmed = true
    }

    /// Withdraws the request, so that another can be made.
    func disarm(_ tag: UInt64) {
        guard !self.isClosed, let slot = self.slots[tag], slot.isArmed else { return }
        _ = csocket_poller_cancel(self.context, slot.watch)
    }

    /// Call before the socket is closed.
    func remove(_ tag: UInt64) {
        guard let slot = self.slots[tag] else { return }
        slot.target = nil
        if slot.isArmed {
            self.disarm(tag)  // its report removes the slot
        } else {
            self.slots[tag] = nil
        }
    }

    fileprivate func takeReports() {
        var count: Int32
        repeat {
            guard !self.isClosed else { return }
            count = csocket_poller_take(self.context, self.reports, 64)
            for index in 0..<max(0, Int(count)) {
                let report = self.reports[index]
                guard let slot = self.slots[report.tag] else { continue }
                slot.isArmed = false
                guard let target = slot.target else {
                    self.slots[report.tag] = nil
                    continue
                }
                target.ready(report.events)
                guard !self.isClosed else { return }
            }
        } while count == 64
    }
}

/// The end of the pipe that NIO reads the eventfd through.
private final class EventHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private unowned let poller: ReadinessPoller

    init(poller: ReadinessPoller) { self.poller = poller }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { self.poller.takeReports() }
}

/// The error number of a failed system call.
struct SystemError: Error, Equatable {
    var errno: Int32
    /// Whether the call was one to watch sockets, not one to open them.
    var isOfPoller = false
}
