internal import CSocket
internal import Glibc
internal import SIPMessage

/// Datagrams that wait for the end of the tick, in order.
struct DatagramQueue {
    struct Entry {
        var bytes: [UInt8]
        var destination: Endpoint
    }

    private static let entryLimit = 4096
    private static let byteLimit = 8 << 20

    private var entries = ContiguousArray<Entry>()
    private var start = 0
    private var byteCount = 0

    var isEmpty: Bool { self.start == self.entries.count }
    var count: Int { self.entries.count - self.start }
    var first: Entry? { self.isEmpty ? nil : self.entries[self.start] }

    subscript(index: Int) -> Entry { self.entries[self.start + index] }

    /// - Returns: false where a limit is reached.
    mutating func append(_ bytes: [UInt8], to destination: Endpoint) -> Bool {
        guard self.count < DatagramQueue.entryLimit, self.byteCount + bytes.count <= DatagramQueue.byteLimit else {
            return false
        }
        self.entries.append(Entry(bytes: bytes, destination: destination))
        self.byteCount += bytes.count
        return true
    }

    mutating func removeFirst(_ count: Int) {
        for index in self.start..<self.start + count { self.byteCount -= self.entries[index].bytes.count }
        self.start += count
        if self.isEmpty {
            self.removeAll()
        } else if self.start >= 1024 {
            self.entries.removeFirst(self.start)
            self.start = 0
        }
    }

    mutating func removeAll() {
        self.entries.removeAll(keepingCapacity: self.entries.capacity <= 256)
        self.start = 0
        self.byteCount = 0
    }
}

/// The memory of recvmmsg and sendmmsg, one for all datagram sockets of a loop.
final class DatagramVector {
    /// Room for the largest datagram, and 19 cache lines more: with a power of two, the datagrams of a batch would all
    /// compete for the same few lines of the cache. Memory that no datagram reaches is never touched.
    private static let stride = 65_536 + 19 * 64
    private static let count = DatagramEndpoint.batch
    private static let addressStride = 32

    private let received = UnsafeMutableRawBufferPointer.allocate(
        byteCount: DatagramVector.stride * DatagramVector.count, alignment: 64)
    private let receiving = UnsafeMutablePointer<csocket_message>.allocate(capacity: DatagramVector.count)
    private let sending = UnsafeMutablePointer<csocket_message>.allocate(capacity: DatagramVector.count)
    private let receiveVectors = UnsafeMutablePointer<csocket_vector>.allocate(capacity: DatagramVector.count)
    private let sendVectors = UnsafeMutablePointer<csocket_vector>.allocate(capacity: DatagramVector.count)
    /// Where from or where to: a socket address each.
    private let addresses = UnsafeMutableRawPointer.allocate(
        byteCount: DatagramVector.count * DatagramVector.addressStride, alignment: 8)
    private let destinations = UnsafeMutableRawPointer.allocate(
        byteCount: DatagramVector.count * DatagramVector.addressStride, alignment: 8)
    /// What is sent in one call, one datagram after the other.
    private var arena = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 64)

    init() {
        for index in 0..<DatagramVector.count {
            self.receiveVectors[index] = csocket_vector(
                base: self.received.baseAddress?.advanced(by: index * DatagramVector.stride),
                length: DatagramVector.stride)
            self.sendVectors[index] = csocket_vector()
            var message = csocket_message()
            message.vector_count = 1
            message.vectors = self.receiveVectors + index
            message.name = self.addresses + index * DatagramVector.addressStride
            self.receiving[index] = message
            message.vectors = self.sendVectors + index
            message.name = self.destinations + index * DatagramVector.addressStride
            self.sending[index] = message
        }
    }

    deinit {
        self.received.deallocate()
        self.receiving.deallocate()
        self.sending.deallocate()
        self.receiveVectors.deallocate()
        self.sendVectors.deallocate()
        self.addresses.deallocate()
        self.destinations.deallocate()
        self.arena.deallocate()
    }

    /// - Returns: how many datagrams were read, or -1 and `errno`.
    func receive(_ descriptor: Int32) -> Int {
        for index in 0..<DatagramVector.count {
            self.receiving[index].name_length = UInt32(Endpoint.storageSize)
        }
        return Int(csocket_recvmmsg(descriptor, self.receiving, UInt32(DatagramVector.count)))
    }

    func bytes(_ index: Int) -> UnsafeRawBufferPointer {
        let start = index * DatagramVector.stride
        let length = min(DatagramVector.stride, Int(self.receiving[index].length))
        return UnsafeRawBufferPointer(rebasing: self.received[start..<start + length])
    }

    func source(_ index: Int) -> Endpoint? {
        guard self.receiving[index].name_length >= 16 else { return nil }
        return Endpoint(socketAddress: self.addresses + index * DatagramVector.addressStride)
    }

    /// Sends the first datagrams of a queue that isn't empty, at most a batch.
    ///
    /// - Returns: how many the kernel took, or -1 and `errno`.
    func send(_ queue: DatagramQueue, _ descriptor: Int32) -> Int {
        var count = 0
        var offset = 0
        while count < min(queue.count, DatagramVector.count) {
            let entry = queue[count]
            let length = entry.bytes.count
            if offset + length > self.arena.count {
                if count > 0 { break }
                self.grow(to: length)
            }
            guard let base = self.arena.baseAddress?.advanced(by: offset) else { break }
            entry.bytes.withUnsafeBytes { bytes in
                if let source = bytes.baseAddress { base.copyMemory(from: source, byteCount: length) }
            }
            self.sendVectors[count] = csocket_vector(base: base, length: length)
            self.sending[count].name_length = entry.destination.write(
                to: self.destinations + count * DatagramVector.addressStride)
            offset += length
            count += 1
        }
        return Int(csocket_sendmmsg(descriptor, self.sending, UInt32(count)))
    }

    private func grow(to size: Int) {
        self.arena.deallocate()
        self.arena = .allocate(byteCount: size, alignment: 64)
    }
}
