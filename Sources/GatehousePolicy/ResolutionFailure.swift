public import SIPMessage

/// Why a next hop has no candidate: which question failed, and how.
public struct ResolutionFailure: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Cause: Hashable, Sendable {
        case noSuchName
        /// The name exists, and has no address or service that can be used.
        case noUsableRecord
        /// The domain says that it does not offer the service (SRV target ".", RFC 2782).
        case serviceAbsent
        /// The URI asks for a transport that is not ours, such as SCTP.
        case unsupportedTransport
        /// The only transport that could be used is not among `outbound.transports`.
        case forbiddenTransport(Transport)
        /// TLS is demanded, and the URI itself asks for this one.
        case insecureTransport(Transport)
        /// TLS is demanded, and the domain lists only other services.
        case noSecureWay
        /// All addresses are of a family that the edge has no way to.
        case unreachableFamily
        case dnsTimedOut
        case dnsFailed(DNSFailure)
        /// More questions would be needed than one resolution may ask.
        case tooMany
    }

    public var cause: Cause
    /// Nil where no question was asked.
    public var question: DNSQuestion?

    public init(_ cause: Cause, _ question: DNSQuestion? = nil) {
        self.cause = cause
        self.question = question
    }

    init(_ failure: DNSFailure, _ question: DNSQuestion) {
        self.init(failure == .timedOut ? .dnsTimedOut : .dnsFailed(failure), question)
    }

    /// Of a resolution that looked for TLS alone: whether no secure way exists. Else one may exist that was not found.
    public var isForWantOfSecurity: Bool {
        switch self.cause {
        case .insecureTransport, .noSecureWay, .forbiddenTransport, .serviceAbsent, .noUsableRecord: true
        case .noSuchName, .unsupportedTransport, .unreachableFamily, .dnsTimedOut, .dnsFailed, .tooMany: false
        }
    }

    /// A phrase for a log line or a Warning: `the name does not exist (A far.example)`.
    public var description: String { self.phrase(ofTLS: false) }

    /// The same of a resolution that looked for TLS alone: what the name has for other transports was not asked.
    public var descriptionOfTLS: String { self.phrase(ofTLS: true) }

    private func phrase(ofTLS: Bool) -> String {
        let text =
            switch self.cause {
            case .noUsableRecord where ofTLS: "the name has no address or service for TLS"
            case .noSuchName: "the name does not exist"
            case .noUsableRecord: "the name has no usable address or service"
            case .serviceAbsent: "the domain does not offer the service"
            case .unsupportedTransport: "the URI asks for a transport that is not supported"
            case .forbiddenTransport(let transport): "outbound.transports leaves \(transport) out"
            case .insecureTransport(let transport): "the URI asks for \(transport)"
            case .noSecureWay: "the domain offers no TLS"
            case .unreachableFamily: "the addresses are of a family that this host has no way to"
            case .dnsTimedOut: DNSFailure.timedOut.description
            case .dnsFailed(let failure): failure.description
            case .tooMany: "it would take too many DNS questions"
            }
        guard let question = self.question else { return text }
        return "\(text) (\(question))"
    }
}
