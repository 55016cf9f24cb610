internal import GatehouseNet
internal import GatehouseTLS

// What the network's and TLS's reasons are called in metrics and in the log.

extension ConnectionEnd {
    init(_ reason: FlowCloseReason) {
        self =
            switch reason {
            case .peerClosed: .peerClosed
            case .truncated: .truncated
            case .peerReset: .peerReset
            case .idle: .idle
            case .headerTimeout: .headerTimeout
            case .bodyTimeout: .bodyTimeout
            case .halfOpenTimeout: .halfOpenTimeout
            case .writeTimeout: .writeTimeout
            case .noPong: .noPong
            case .writeQueueFull: .writeQueueFull
            case .framing: .framing
            case .notSIP: .notSIP
            case .tls: .tls
            case .system: .system
            case .refused: .refused
            case .released: .released
            case .shutdown: .shutdown
            }
    }
}

extension TLSFailure.Cause {
    /// The log's sentence: one a cause, so that a flood of one kind does not hide the others.
    var sentence: StaticString {
        switch self {
        case .unknownName: "TLS handshake failed: no domain on the address has the name that the client asks for"
        case .missingName:
            "TLS handshake failed: the client sends no SNI; tls.default: true on a domain of the address would admit it"
        case .protocolVersion: "TLS handshake failed: the client speaks no version that the domain allows"
        case .noSharedCipher: "TLS handshake failed: client and domain have no cipher in common"
        case .noApplicationProtocol: "TLS handshake failed: the client wants another protocol than SIP (ALPN)"
        case .certificateMissing: "TLS handshake failed: the domain requires a client certificate and none came"
        case .revocationList: "TLS handshake failed: a revocation list of ours is missing or out of date"
        case .certificateInvalid: "TLS handshake failed: the peer's certificate does not verify"
        case .certificateName: "TLS handshake failed: the peer's certificate names somebody else"
        case .refusedByPeer:
            "TLS handshake failed: the peer refuses us, most often because it does not trust our certificate"
        case .notTLS: "TLS handshake failed: what came is not TLS"
        case .protocolError: "TLS handshake failed: the peer breaks the protocol"
        case .closed: "TLS handshake failed: the peer closed the connection"
        case .timeout: "TLS handshake failed: it took longer than edge.timers.handshake"
        case .overloaded: "TLS handshake failed: too many wait already"
        case .outputLimit: "TLS handshake failed: the peer does not read"
        case .internal: "TLS handshake failed: OpenSSL fails"
        }
    }
}
