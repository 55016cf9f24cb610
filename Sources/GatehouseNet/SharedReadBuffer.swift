internal import NIOCore

/// The one buffer that all stream sockets of a loop read into, so that an idle connection holds none.
///
/// NIO takes it for a read and the flow gives it back when it has consumed the bytes; nobody else is on the loop in
/// between. If one does not come back (no bytes, or an error), the next read makes another.
final class SharedReadBuffer {
    static let size = 64 << 10

    private var buffer: ByteBuffer?

    func take(allocator: ByteBufferAllocator) -> ByteBuffer {
        if var buffer = self.buffer.take() {
            buffer.clear()  // keeps the memory, which nobody else holds by now
            return buffer
        }
        return allocator.buffer(capacity: SharedReadBuffer.size)
    }

    func giveBack(_ buffer: ByteBuffer) {
        if buffer.storageCapacity >= SharedReadBuffer.size { self.buffer = buffer }
    }
}

/// Has a channel read into its loop's shared buffer.
///
/// NIO's pool keeps the first buffer that it is given for as long as the channel lives, and then, as long as `record`
/// says that the next may be bigger, asks for each: so the first one is tiny. Its channel must read once a turn
/// (`maxMessagesPerRead` 1), or the pool keeps more.
struct SharedReadBufferAllocator: RecvByteBufferAllocator {
    /// Bytes of the first read; a flow fetches the rest of what has come itself.
    static let firstRead = 64

    // Sendable as NIO demands, and used on the channel's loop alone, which is that of `shared`.
    nonisolated(unsafe) let shared: SharedReadBuffer
    private var hasRead = false

    init(_ shared: SharedReadBuffer) { self.shared = shared }

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        self.hasRead
            ? self.shared.take(allocator: allocator) : allocator.buffer(capacity: SharedReadBufferAllocator.firstRead)
    }

    func nextBufferSize() -> Int? { nil }

    mutating func record(actualReadBytes: Int) -> Bool {
        self.hasRead = true
        return true
    }
}
