public import GatehouseTLS
internal import Glibc

/// Why a flow ended.
public enum FlowCloseReason: Sendable, Equatable {
    // The peer's doing.
    /// It ended the connection between two messages.
    case peerClosed
    /// It ended the connection within a message.
    case truncated
    case peerReset

    // Deadlines.
    case idle
    case headerTimeout
    case bodyTimeout
    /// It sent its last and took no answer in time.
    case halfOpenTimeout
    /// For 64*T1 it acknowledged nothing, or took not all of what waits for it.
    case writeTimeout
    /// No pong came within 10 s of a ping (RFC 5626 §4.4.1).
    case noPong

    // Limits and faults.
    /// More waits for a slow reader than edge.limits allows.
    case writeQueueFull
    /// The stream can't be framed any more; an answer went out if one was possible.
    case framing(cause: String)
    /// What came is no SIP; nothing was answered.
    case notSIP(cause: String)
    /// TLS failed after the handshake.
    case tls(TLSFailure)
    case system(errno: Int32)

    // Ours.
    /// The owner refused the flow, for example over a limit of its domain.
    case refused(cause: String)
    /// The owner has no more use for it.
    case released
    /// The process ends or the listener's domain is gone.
    case shutdown

    /// A value for the `reason` label of a metric: one of a fixed set.
    public var label: String {
        switch self {
        case .peerClosed: "peer_closed"
        case .truncated: "truncated"
        case .peerReset: "peer_reset"
        case .idle: "idle"
        case .headerTimeout: "header_timeout"
        case .bodyTimeout: "body_timeout"
        case .halfOpenTimeout: "half_open_timeout"
        case .writeTimeout: "write_timeout"
        case .noPong: "no_pong"
        case .writeQueueFull: "write_queue_full"
        case .framing: "framing"
        case .notSIP: "not_sip"
        case .tls: "tls"
        case .system: "system"
        case .refused: "refused"
        case .released: "released"
        case .shutdown: "shutdown"
        }
    }

    /// Every ``label``, so that metrics can start at zero.
    public static let labels = [
        "peer_closed", "truncated", "peer_reset", "idle", "header_timeout", "body_timeout", "half_open_timeout",
        "write_timeout", "no_pong", "write_queue_full", "framing", "not_sip", "tls", "system", "refused", "released",
        "shutdown",
    ]
}

extension FlowCloseReason: CustomStringConvertible {
    /// What happened, for the log.
    public var description: String {
        switch self {
        case .peerClosed: "the peer closed the connection"
        case .truncated:
            "the peer closed the connection within a message: what there was of it was discarded"
        case .peerReset: "the peer reset the connection"
        case .idle: "nothing came for edge.timers.idle"
        case .headerTimeout: "a header section was not complete within edge.timers.header"
        case .bodyTimeout: "a body was not complete within edge.timers.body"
        case .halfOpenTimeout: "the peer had sent its last, and no answer was due any more"
        case .writeTimeout: "the peer did not take what was sent to it within 64*T1"
        case .noPong: "the peer did not answer a keep-alive ping within 10 s"
        case .writeQueueFull: "more waits for the peer, a slow reader, than edge.limits.write_queue allows"
        case .framing(let cause): "the stream could not be framed: \(cause)"
        case .notSIP(let cause): "not SIP: \(cause)"
        case .tls(let failure): failure.text
        case .system(let errno): "the system reported: \(systemMessage(errno))"
        case .refused(let cause): "refused: \(cause)"
        case .released: "no longer needed"
        case .shutdown: "the edge is shutting down"
        }
    }

    static func system(_ errno: Int32) -> FlowCloseReason {
        switch errno {
        case ECONNRESET, EPIPE: .peerReset
        case ETIMEDOUT: .writeTimeout  // TCP_USER_TIMEOUT
        default: .system(errno: errno)
        }
    }
}
