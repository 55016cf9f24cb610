internal import SIPMessage

/// Why a connection's TLS came to nothing.
public struct TLSFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// What to count by: the raw value is the metric's label and never changes.
    public enum Cause: String, Sendable, CaseIterable {
        /// The client asked for a name that no domain on the address has.
        case unknownName = "unknown_name"
        /// The client asked for no name, and no domain answers for the address.
        case missingName = "missing_name"
        case protocolVersion = "protocol_version"
        /// Nothing in common: ciphers, key exchange groups or signature schemes.
        case noSharedCipher = "no_shared_cipher"
        /// ALPN without SIP.
        case noApplicationProtocol = "no_application_protocol"
        case certificateMissing = "certificate_missing"
        case certificateInvalid = "certificate_invalid"
        /// A revocation list of ours is missing or out of date.
        case revocationList = "revocation_list"
        /// A good certificate, but for another name than the one wanted.
        case certificateName = "certificate_name"
        /// The peer refused us with an alert.
        case refusedByPeer = "refused_by_peer"
        /// The first byte is of no TLS record: plain SIP or HTTP on a TLS port.
        case notTLS = "not_tls"
        case protocolError = "protocol_error"
        /// The peer closed before the handshake ended.
        case closed
        case timeout
        /// Too many handshakes wait already.
        case overloaded
        /// The peer does not read what it asks for.
        case outputLimit = "output_limit"
        case `internal`
    }

    public var cause: Cause
    /// The domain that the client reached; nil where it got to none.
    public var domain: String?
    /// The name that the client asked for, made safe for a log.
    public var serverName: String?
    /// What happened and what to do, without the peer's address.
    public var text: String

    public init(cause: Cause, domain: String? = nil, serverName: String? = nil, text: String) {
        self.cause = cause
        self.domain = domain
        self.serverName = serverName
        self.text = text
    }

    public var description: String { self.text }

    /// Whether a setting of ours may be the reason, so that the log should tell the operator.
    public var isForOperator: Bool {
        switch self.cause {
        case .unknownName, .missingName, .revocationList, .certificateName, .refusedByPeer, .internal: true
        case .protocolVersion, .noSharedCipher, .noApplicationProtocol, .certificateMissing, .certificateInvalid,
            .notTLS,
            .protocolError, .closed, .timeout, .overloaded, .outputLimit:
            false
        }
    }

    /// The handshake took longer than `edge.timers.handshake`.
    public static let timeout = TLSFailure(
        cause: .timeout, text: "the TLS handshake did not end in time: see that the peer speaks TLS and is reachable")
    /// The peer closed the connection, or it broke, in mid-handshake.
    public static let closed = TLSFailure(
        cause: .closed, text: "the peer closed the connection before the TLS handshake ended")
    /// As many handshakes wait as `edge.limits.handshake_queue` lets.
    public static let overloaded = TLSFailure(
        cause: .overloaded,
        text: "too many TLS handshakes wait: lower handshakes_per_second, or raise edge.limits.handshake_queue")
}

extension TLSFailure {
    static func unknownName(_ name: String, on listener: Endpoint, servedElsewhere: Bool) -> TLSFailure {
        TLSFailure(
            cause: .unknownName, serverName: name,
            text: servedElsewhere
                ? "\(name) is served, but not on \(listener): add the address to the tls.bind of its domain"
                : "no domain on \(listener) has the name \(name): add it to the aliases of the domain meant, or set "
                    + "tls.unknown_sni: default on the address's default domain")
    }

    static func missingName(on listener: Endpoint) -> TLSFailure {
        TLSFailure(
            cause: .missingName,
            text: "the client names no host (SNI), and none of the domains on \(listener) answers for all: set "
                + "tls.default: true on one of them")
    }

    /// - Parameter commonName: whether the certificate names the peer wanted as common name, without any subjectAltName.
    static func certificateName(wanted: String, presented: [String], commonName: Bool) -> TLSFailure {
        guard !commonName else {
            return TLSFailure(
                cause: .certificateName, serverName: wanted,
                text:
                    "the peer's certificate names \(wanted) as common name alone (RFC 5922 §7.1): have the peer present one "
                    + "with a subject alternative name, or set outbound.accept_common_name")
        }
        let shown = presented.isEmpty ? "no domain" : presented.prefix(5).joined(separator: ", ")
        return TLSFailure(
            cause: .certificateName, serverName: wanted,
            text: "the peer's certificate is for \(shown), not for \(wanted) (RFC 5922 §7.2): have the peer present a "
                + "certificate with that name")
    }
}
