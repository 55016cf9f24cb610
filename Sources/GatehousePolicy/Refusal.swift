/// An answer that the edge gives on its own, and why.
public struct Refusal: Error, Equatable, Sendable {
    /// Which rule refused: the label in metrics and the key in the log.
    public enum Rule: UInt8, Sendable, CaseIterable {
        case unservedDomain
        case otherDomain
        case foreignRoute
        case alteredToken
        case unknownToken
        case notHere
        case forgedTag
        case expiredTag
        case doubledTag
        case scheme
        case mixedSchemes
        case maxForwards
        case proxyRequire
        case pathUnsupported
        case syntax
        case sipsOnPlain
        case sipsToCore
        case untagged
        case insecureReferral
        case noSecureWay
        case nextHopUnknown
        case flowGone
        case unknownBinding
        case peerUnreachable
        case noCore
        case coreFailed
        case loop
        case callLimit
        case callRate
        case requestRate
        case transactionLimit
        case tooLarge
        case draining

        /// Whether it takes a forger, or a core that alters what it copies, to get there.
        public var isAttack: Bool {
            switch self {
            case .forgedTag, .expiredTag, .doubledTag: true
            default: false
            }
        }

        /// The value of the label `rule` in metrics.
        public var label: StaticString {
            switch self {
            case .unservedDomain: "unserved_domain"
            case .otherDomain: "other_domain"
            case .foreignRoute: "foreign_route"
            case .alteredToken: "altered_token"
            case .unknownToken: "unknown_token"
            case .notHere: "not_here"
            case .forgedTag: "forged_tag"
            case .expiredTag: "expired_tag"
            case .doubledTag: "doubled_tag"
            case .scheme: "scheme"
            case .mixedSchemes: "mixed_schemes"
            case .maxForwards: "max_forwards"
            case .proxyRequire: "proxy_require"
            case .pathUnsupported: "path_unsupported"
            case .syntax: "syntax"
            case .sipsOnPlain: "sips_on_plain"
            case .sipsToCore: "sips_to_core"
            case .untagged: "untagged"
            case .insecureReferral: "insecure_referral"
            case .noSecureWay: "no_secure_way"
            case .nextHopUnknown: "next_hop_unknown"
            case .flowGone: "flow_gone"
            case .unknownBinding: "unknown_binding"
            case .peerUnreachable: "peer_unreachable"
            case .noCore: "no_core"
            case .coreFailed: "core_failed"
            case .loop: "loop"
            case .callLimit: "calls"
            case .callRate: "calls_per_second"
            case .requestRate: "requests_per_second_per_source"
            case .transactionLimit: "transactions"
            case .tooLarge: "too_large"
            case .draining: "draining"
            }
        }
    }

    /// A Warning header (RFC 3261 §20.43); the agent is the edge's own host.
    public struct Warning: Equatable, Sendable {
        public var code: Int
        /// Without quotation marks; whoever writes it escapes what has to be.
        public var text: String

        public init(code: Int, text: String) {
            self.code = code
            self.text = text
        }
    }

    public var status: Int
    public var rule: Rule
    public var warning: Warning?
    /// Seconds for Retry-After, where the answer has one.
    public var retryAfter: Int?

    public init(_ status: Int, _ rule: Rule, warning: Warning? = nil, retryAfter: Int? = nil) {
        self.status = status
        self.rule = rule
        self.warning = warning
        self.retryAfter = retryAfter
    }

    public init(_ status: Int, _ rule: Rule, warning text: String) {
        self.init(status, rule, warning: Warning(code: 399, text: text))
    }

    /// RFC 5630 §5.3: a `sip:` request for what is reached as SIPS alone.
    public static let sipsRequired = Refusal(480, .noSecureWay, warning: Warning(code: 381, text: "SIPS Required"))

    /// RFC 5630 §5.3: no secure way exists for a SIPS request.
    public static let sipsNotAllowed = Refusal(
        480, .noSecureWay, warning: Warning(code: 380, text: "SIPS Not Allowed"))
}
