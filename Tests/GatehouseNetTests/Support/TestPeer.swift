import Glibc
import SIPMessage
import Synchronization
import Testing

@testable import GatehouseNet

/// The other side of a connection or of datagrams: a blocking socket that gives up after 10 s.
final class TestPeer: Sendable {
    struct Failure: Error {
        var call: String
        var errno: Int32
    }

    let descriptor: Int32
    private let isOpen = Mutex(true)

    init(descriptor: Int32) {
        self.descriptor = descriptor
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)  // other tests start processes
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            var limit = timeval(tv_sec: 10, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    /// Connects a stream.
    convenience init(to endpoint: Endpoint, receiveBuffer: Int32? = nil) throws {
        self.init(descriptor: socket(endpoint.family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
        if var size = receiveBuffer {
            setsockopt(self.descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        guard endpoint.withSocketAddress({ connect(self.descriptor, $0, $1) }) == 0 else {
            throw Failure(call: "connect", errno: errno)
        }
    }

    /// Binds a datagram socket, or a listening stream socket, to a free port.
    convenience init(bound address: String, listening: Bool = false) throws {
        let endpoint = Endpoint(address: IPAddress(address)!, port: 0)
        let type = listening ? SOCK_STREAM : SOCK_DGRAM
        self.init(descriptor: socket(endpoint.family, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0))
        guard endpoint.withSocketAddress({ bind(self.descriptor, $0, $1) }) == 0 else {
            throw Failure(call: "bind", errno: errno)
        }
        if listening { Glibc.listen(self.descriptor, 16) }
    }

    deinit { self.close() }

    var local: Endpoint { Endpoint(ofSocket: self.descriptor)! }

    func accept() throws -> TestPeer {
        let accepted = Glibc.accept(self.descriptor, nil, nil)
        guard accepted >= 0 else { throw Failure(call: "accept", errno: errno) }
        return TestPeer(descriptor: accepted)
    }

    func send(_ text: String) throws { try self.send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes {
                Glibc.send(self.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count >= 0 else { throw Failure(call: "send", errno: errno) }
            offset += count
        }
    }

    func send(_ bytes: [UInt8], to endpoint: Endpoint) throws {
        let count = endpoint.withSocketAddress { sendto(self.descriptor, bytes, bytes.count, 0, $0, $1) }
        guard count == bytes.count else { throw Failure(call: "sendto", errno: errno) }
    }

    /// What is there next; empty at the end of the stream.
    func receive(upTo limit: Int = 1 << 16) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = recv(self.descriptor, &bytes, limit, 0)
        guard count >= 0 else { throw Failure(call: "recv", errno: errno) }
        return Array(bytes[..<count])
    }

    /// Exactly as much, or less where the stream ends.
    func receive(exactly count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try self.receive(upTo: min(count - bytes.count, 1 << 16))
            if more.isEmpty { break }
            bytes += more
        }
        return bytes
    }

    /// All until the end of the stream.
    func receiveAll() throws -> String {
        var bytes: [UInt8] = []
        while true {
            let more = try self.receive()
            if more.isEmpty { return String(decoding: bytes, as: UTF8.self) }
            bytes += more
        }
    }

    func sendFIN() { shutdown(self.descriptor, Int32(SHUT_WR)) }

    /// Closes with a reset.
    func sendRST() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(self.descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        self.close()
    }

    func close() {
        let isFirst = self.isOpen.withLock { isOpen in
            defer { isOpen = false }
            return isOpen
        }
        if isFirst { _ = Glibc.close(self.descriptor) }
    }
}
