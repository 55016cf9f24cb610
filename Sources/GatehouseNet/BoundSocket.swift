internal import Glibc
internal import SIPMessage

/// Opens sockets on addresses of this host.
enum BoundSocket {
    /// Opens a non-blocking socket that no child process inherits, and binds it.
    ///
    /// - Parameters:
    ///   - type: SOCK_STREAM or SOCK_DGRAM.
    ///   - option: SO_REUSEADDR, SO_REUSEPORT or nil.
    static func open(_ endpoint: Endpoint, type: __socket_type, option: Int32?) throws(SystemError) -> Int32 {
        let flags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(endpoint.family, Int32(type.rawValue) | flags, 0)
        guard descriptor >= 0 else { throw SystemError(errno: errno) }
        do throws(SystemError) {
            if endpoint.address.isIPv6 { try set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
            if let option { try set(descriptor, SOL_SOCKET, option) }
            guard endpoint.withSocketAddress({ bind(descriptor, $0, $1) }) == 0 else {
                throw SystemError(errno: errno)
            }
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    private static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32) throws(SystemError) {
        var on: Int32 = 1
        guard setsockopt(descriptor, level, option, &on, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
            throw SystemError(errno: errno)
        }
    }
}
