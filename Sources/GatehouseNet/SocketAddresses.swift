internal import Glibc
internal import NIOCore
internal import SIPMessage

// Endpoints as the system writes them, and back: struct sockaddr_in and sockaddr_in6, byte for byte. (Swift attributes the
// fields of these to whichever C module it meets first, so they are of no use here.)

extension Channel {
    /// The channel's socket, which NIO goes on to own; nil where it has none. From now on no child process inherits it: NIO
    /// leaves that to us.
    var socketDescriptor: Int32? {
        let found = try? self.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
            $0
        }
        guard let descriptor = found ?? nil else { return nil }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return descriptor
    }
}

extension Endpoint {
    /// Room for either.
    static let storageSize = 28

    /// Reads what the kernel wrote; nil for anything but IPv4 and IPv6.
    init?(socketAddress bytes: UnsafeRawPointer) {
        let port = UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
        switch Int32(bytes.loadUnaligned(as: UInt16.self)) {
        case AF_INET:
            let address = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
            self.init(address: IPAddress(v4: address), port: port)
        case AF_INET6:
            let high = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            let low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
            self.init(address: IPAddress(v6High: high, v6Low: low), port: port)
        default:
            return nil
        }
    }

    init?(_ address: SocketAddress?) {
        let endpoint = address?.withSockAddr { address, _ in Endpoint(socketAddress: UnsafeRawPointer(address)) }
        guard let endpoint = endpoint ?? nil else { return nil }
        self = endpoint
    }

    /// The address of a socket's own end; nil where the system doesn't say.
    init?(ofSocket descriptor: Int32) {
        let endpoint =
            withUnsafeTemporaryAllocation(byteCount: Endpoint.storageSize, alignment: 8) { storage in
                var length = socklen_t(storage.count)
                guard let base = storage.baseAddress,
                    getsockname(descriptor, base.assumingMemoryBound(to: sockaddr.self), &length) == 0
                else { return nil }
                return Endpoint(socketAddress: base)
            } as Endpoint?
        guard let endpoint else { return nil }
        self = endpoint
    }

    var family: Int32 { self.address.isIPv6 ? AF_INET6 : AF_INET }

    /// Writes the address as the kernel reads it.
    ///
    /// - Parameter bytes: `storageSize` of them.
    /// - Returns: how many are used.
    func write(to bytes: UnsafeMutableRawPointer) -> socklen_t {
        bytes.storeBytes(of: UInt16(self.family), as: UInt16.self)
        bytes.storeBytes(of: self.port.bigEndian, toByteOffset: 2, as: UInt16.self)
        if self.address.isIPv6 {
            bytes.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)  // flow information
            bytes.storeBytes(of: self.address.high.bigEndian, toByteOffset: 8, as: UInt64.self)
            bytes.storeBytes(of: self.address.low.bigEndian, toByteOffset: 16, as: UInt64.self)
            bytes.storeBytes(of: 0, toByteOffset: 24, as: UInt32.self)  // scope
            return 28
        }
        bytes.storeBytes(of: UInt32(truncatingIfNeeded: self.address.low).bigEndian, toByteOffset: 4, as: UInt32.self)
        bytes.storeBytes(of: 0, toByteOffset: 8, as: UInt64.self)
        return 16
    }

    /// Calls `body` with the address as the kernel reads it.
    func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 4) { storage in
            let bytes = UnsafeMutableRawPointer(storage.baseAddress.unsafelyUnwrapped)  // never nil: it isn't empty
            let length = self.write(to: bytes)
            return body(UnsafePointer(bytes.assumingMemoryBound(to: sockaddr.self)), length)
        }
    }

    /// The address as NIO wants it.
    var socketAddress: SocketAddress {
        get throws {
            var packed = ByteBuffer()
            if self.address.isIPv6 {
                packed.writeInteger(self.address.high)
                packed.writeInteger(self.address.low)
            } else {
                packed.writeInteger(UInt32(truncatingIfNeeded: self.address.low))
            }
            return try SocketAddress(packedIPAddress: packed, port: Int(self.port))
        }
    }
}
