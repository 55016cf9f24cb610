internal import GatehousePolicy
internal import SIPMessage

// The values of the labels, as enums: a counter is found by array index, and a label that is not listed cannot be counted.

/// A label's values; the case `writeQueue` is written `write_queue`.
protocol MetricLabel: CaseIterable, RawRepresentable<UInt8>, Sendable {}

extension MetricLabel {
    static var count: Int { Self.allCases.count }
    var index: Int { Int(self.rawValue) }
    /// Made anew at each call: for the scrape alone.
    var label: String { snakeCase("\(self)") }
}

extension Refusal.Rule: MetricLabel {}
extension Arrival: MetricLabel {
    var label: String { self.word.description }
}

/// Which way a request crosses the edge.
public enum MetricDirection: UInt8, CaseIterable, Sendable, MetricLabel {
    /// Outside → core.
    case `in`
    /// Core → outside.
    case out
}

/// Why a connection was closed before it carried a message.
public enum ConnectionRefusal: UInt8, CaseIterable, Sendable, MetricLabel {
    case connections, connectionsPerSource, handshakesPerSecond, handshakeQueue
    /// The process is draining.
    case draining
    /// No file descriptor or memory was left.
    case resources
}

/// What ended a connection that was open.
public enum ConnectionEnd: UInt8, CaseIterable, Sendable, MetricLabel {
    /// The peer closed in good order.
    case peer
    /// The peer's FIN came without close_notify, or its reset.
    case aborted
    case idle, headerTimeout, bodyTimeout
    /// Octets that are no SIP message, so that framing was lost.
    case framing
    /// TLS broke after the handshake.
    case tls
    case writeQueue
    /// The edge let go of it: reload, drain, stop.
    case local
    /// The socket failed.
    case transport
}

/// How a TLS handshake ended.
public enum HandshakeOutcome: UInt8, CaseIterable, Sendable, MetricLabel {
    case full, resumed
    // The rest are failures, by cause.
    case noServerName, unknownServerName, protocolVersion, noSharedCipher, applicationProtocol
    case noClientCertificate, badClientCertificate
    /// The client sent an alert: most often it does not trust our certificate.
    case peerAlert
    /// The first octets are not TLS.
    case notTLS
    case timeout
    /// The client went away.
    case closed
    case queueFull
    case other

    var isFailure: Bool { self.rawValue > HandshakeOutcome.resumed.rawValue }
}

/// Negotiated TLS version.
public enum MetricTLSVersion: UInt8, CaseIterable, Sendable, MetricLabel {
    case tls12, tls13

    var label: String { self == .tls12 ? "TLSv1.2" : "TLSv1.3" }
}

/// A limit of docs/configuration.md that was reached.
public enum LimitKind: UInt8, CaseIterable, Sendable, MetricLabel {
    case connections, connectionsPerSource, handshakesPerSecond, calls, callsPerSecond
    case requestsPerSecondPerSource, messageSize
    case transactions, bindings, writeQueue, handshakeQueue, headerFields, requestURI, headerSection, vias

    var label: String { self == .requestURI ? "request_uri" : snakeCase("\(self)") }
}

/// Why a datagram was dropped without an answer.
public enum DatagramDrop: UInt8, CaseIterable, Sendable, MetricLabel {
    /// On a core bind, from an address that `core.trusted` does not cover.
    case untrusted
    /// Neither a SIP message nor a keep-alive.
    case syntax
    /// A response that belongs to no transaction of ours.
    case unmatchedResponse
    /// A request without a usable Via: nowhere to answer.
    case noVia
    /// The source was over its rate and has had its 503.
    case rate
    /// A queue between workers was full.
    case queueFull
}

/// The four machines of RFC 3261 §17.
public enum TransactionType: UInt8, CaseIterable, Sendable, MetricLabel {
    case inviteServer, inviteClient, nonInviteServer, nonInviteClient
}

/// `peerAlert` → `peer_alert`; runs of capitals stay one word: `notTLS` → `not_tls`.
private func snakeCase(_ name: String) -> String {
    var out = ""
    var previousIsLower = false
    for character in name {
        if character.isUppercase, previousIsLower { out.append("_") }
        previousIsLower = character.isLowercase
        out.append(contentsOf: character.lowercased())
    }
    return out
}

extension Transport: MetricLabel {}

extension Method: MetricLabel {
    /// In capitals as in the start line; all that has no case of its own is `other`.
    var label: String { self == .other ? "other" : "\(self)".uppercased() }
}
