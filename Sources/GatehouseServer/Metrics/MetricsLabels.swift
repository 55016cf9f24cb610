internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage

// The values of the labels, as enums: a counter is found by array index, and a label that is not listed cannot be counted.

/// A label's values; the case `writeQueue` is written `write_queue`.
protocol MetricLabel: CaseIterable, RawRepresentable<UInt8>, Sendable {
    /// Made anew at each call: for the scrape alone.
    var metricLabel: String { get }
}

extension MetricLabel {
    static var count: Int { Self.allCases.count }
    var index: Int { Int(self.rawValue) }
    var metricLabel: String { snakeCase("\(self)") }
}

extension Refusal.Rule: MetricLabel {
    var metricLabel: String { self.label.description }
}
extension Referral.Target: MetricLabel {
    var metricLabel: String { self.label.description }
}
extension Arrival: MetricLabel {
    var metricLabel: String { self.word.description }
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
    case connections, connectionsPerSource, udpPeers, datagramFlows, handshakesPerSecond, handshakeQueue
    /// The process is draining.
    case draining
    /// No file descriptor or memory was left.
    case resources
}

/// What ended a connection that was open.
public enum ConnectionEnd: UInt8, CaseIterable, Sendable, MetricLabel {
    // The peer's doing.
    case peerClosed, truncated, peerReset
    // Deadlines.
    case idle, headerTimeout, bodyTimeout, halfOpenTimeout, writeTimeout, noPong
    // Limits and faults.
    case writeQueueFull, framing, notSIP, tls, system
    // Ours.
    case refused, released, shutdown
    /// A UDP peer gave its place to a newer one.
    case displaced
}

/// Negotiated TLS version.
public enum MetricTLSVersion: UInt8, CaseIterable, Sendable, MetricLabel {
    case tls12, tls13

    var metricLabel: String { self == .tls12 ? "TLSv1.2" : "TLSv1.3" }

    /// - Parameter name: as in `TLSFacts.version`.
    init(named name: String) {
        self = name == "TLSv1.2" ? .tls12 : .tls13
    }
}

/// What an override lets go.
public enum OverrideUse: UInt8, CaseIterable, Sendable, MetricLabel {
    case insecure, unverified

    init(_ allowance: SecurityOverride.Allowance) {
        self = allowance == .insecure ? .insecure : .unverified
    }
}

/// This edge's part in a request that another edge of the cluster passed on.
public enum FellowRole: UInt8, CaseIterable, Sendable, MetricLabel {
    case passedOn, takenOver
}

/// What became of a connection to a peer.
public enum OutboundResult: UInt8, CaseIterable, Sendable, MetricLabel {
    case opened, refused, timedOut, unreachable, tls, limit, forbidden
}

/// What is wrong with the certificate of a peer that need not verify, in the words of `gatehouse_handshakes_total`.
public enum CertificateFault: UInt8, CaseIterable, Sendable, MetricLabel {
    case none, certificateInvalid, revocationList, certificateName

    init(_ cause: TLSFailure.Cause?) {
        self =
            switch cause {
            case nil: .none
            case .revocationList: .revocationList
            case .certificateName: .certificateName
            case .some: .certificateInvalid
            }
    }
}

/// A limit of docs/configuration.md that was reached.
public enum LimitKind: UInt8, CaseIterable, Sendable, MetricLabel {
    case connections, connectionsPerSource, handshakesPerSecond, calls, callsPerSecond
    case requestsPerSecondPerSource, messageSize, udpPeers
    case transactions, bindings, datagramFlows, outboundConnections, lookups, writeQueue, handshakeQueue, headerFields,
        requestURI, headerSection, vias

    var metricLabel: String { self == .requestURI ? "request_uri" : snakeCase("\(self)") }
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
    var metricLabel: String { self == .other ? "other" : "\(self)".uppercased() }
}
