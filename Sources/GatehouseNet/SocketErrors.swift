internal import Glibc
internal import NIOCore
public import SIPMessage

/// Why an address could not be listened on.
public struct BindError: Error, Sendable, Equatable {
    public var transport: Transport
    public var endpoint: Endpoint
    /// 0 where it was no system call that failed.
    public var errno: Int32
    /// What the system said.
    public var cause: String

    /// Whether the address itself was free, but the kernel would not watch the socket for us.
    var isUnwatched = false

    public init(transport: Transport, endpoint: Endpoint, errno: Int32) {
        self.transport = transport
        self.endpoint = endpoint
        self.errno = errno
        self.cause = systemMessage(errno)
    }

    init(endpoint: Endpoint, error: SystemError) {
        self.init(transport: .udp, endpoint: endpoint, errno: error.errno)
        self.isUnwatched = error.isOfPoller
        if error.isOfPoller { self.cause = "asynchronous poll: \(self.cause)" }
    }

    init(transport: Transport, endpoint: Endpoint, error: any Error) {
        self.transport = transport
        self.endpoint = endpoint
        self.errno = (error as? IOError)?.errnoCode ?? 0
        self.cause = self.errno == 0 ? String(describing: error) : systemMessage(self.errno)
    }

    /// What an operator can do about it.
    public var cure: String {
        switch self.errno {
        case EAGAIN where self.isUnwatched: "raise the system's fs.aio-max-nr (sysctl)"
        case ENOSPC where self.isUnwatched: "a worker can watch 256 UDP addresses: bind fewer"
        case _ where self.isUnwatched: "let the sandbox allow the system calls of @aio (io_setup, io_submit)"

        case EADDRINUSE:
            "another process has it: find it with `ss -lnp 'sport = :\(self.endpoint.port)'` and stop it, or bind another port"
        case EADDRNOTAVAIL: "this host has no such address: bind one that `ip address` shows"
        case EACCES, EPERM: "ports under 1024 need CAP_NET_BIND_SERVICE"
        case EMFILE, ENFILE: "too many open files: raise LimitNOFILE"
        case EAFNOSUPPORT: "this host has no IPv6: bind an IPv4 address"
        default: "bind another address"
        }
    }
}

extension BindError: CustomStringConvertible {
    public var description: String {
        "cannot listen on \(self.transport):\(self.endpoint): \(self.cause): \(self.cure)"
    }
}

/// Why a connection to a core server or a peer did not come about.
public enum ConnectError: Error, Sendable, Equatable {
    /// The peer refused: nothing listens there.
    case refused
    case timedOut
    /// There is no way to the peer, or no such local address.
    case unreachable(errno: Int32)
    /// Anything else that the system said.
    case failed(errno: Int32, cause: String)
    /// The flow was closed before it was connected.
    case cancelled

    init(_ error: any Error) {
        if let error = error as? ChannelError, case .connectTimeout = error {
            self = .timedOut
            return
        }
        guard let error = error as? IOError else {
            self = .failed(errno: 0, cause: String(describing: error))
            return
        }
        switch error.errnoCode {
        case ECONNREFUSED: self = .refused
        case ETIMEDOUT: self = .timedOut
        case EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, EHOSTDOWN, ENETDOWN, EACCES:
            self = .unreachable(errno: error.errnoCode)
        default: self = .failed(errno: error.errnoCode, cause: systemMessage(error.errnoCode))
        }
    }

    /// A value for the `cause` label of a metric.
    public var label: String {
        switch self {
        case .refused: "refused"
        case .timedOut: "timeout"
        case .unreachable: "unreachable"
        case .failed: "failed"
        case .cancelled: "cancelled"
        }
    }
}

extension ConnectError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .refused: "connection refused: nothing listens there"
        case .timedOut: "no answer to the connection attempt in time"
        case .unreachable(let errno): "no way there: \(systemMessage(errno))"
        case .failed(_, let cause): "connection failed: \(cause)"
        case .cancelled: "given up before it was connected"
        }
    }
}

/// The system's sentence for an error number, in lower case as ours.
func systemMessage(_ errno: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 128)
    return buffer.withUnsafeMutableBufferPointer { buffer in
        guard let base = buffer.baseAddress, strerror_r(errno, base, buffer.count) == 0 else { return "error \(errno)" }
        return String(cString: base).lowercased()
    }
}
