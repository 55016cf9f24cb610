/// `gatehouse explain`: what would become of a request from the core, and why. In JSON the names are in snake_case.
public struct Explanation: Codable, Sendable, Equatable {
    /// What a setting decided.
    public struct Decision: Codable, Sendable, Equatable {
        /// A sentence.
        public var because: String
        /// Of the configuration, like `outbound.proxy`; nil where none had a say.
        public var key: String?
        /// `file:line:column`; nil where the value is the default.
        public var location: String?

        public init(because: String, key: String? = nil, location: String? = nil) {
            self.because = because
            self.key = key
            self.location = location
        }
    }

    public struct NextHop: Codable, Sendable, Equatable {
        public var uri: String
        /// TARGET of RFC 3263: what is looked up.
        public var target: String
        public var decision: Decision
    }

    public struct Security: Codable, Sendable, Equatable {
        /// Whether the leg must be TLS to a peer that proves who it is.
        public var mustBeSecure: Bool
        public var decision: Decision
    }

    /// A step of a resolution.
    public struct Step: Codable, Sendable, Equatable {
        public enum Kind: String, Codable, Sendable { case rule, answer, discarded }

        public var kind: Kind
        public var text: String
        /// Of an answer: `NAPTR far.example`, what it holds, and for how many seconds.
        public var question: String?
        public var records: [String]?
        public var timeToLive: Int64?
    }

    public struct Resolution: Codable, Sendable, Equatable {
        /// Whether only TLS may be found.
        public var isSecureOnly: Bool
        public var steps: [Step]
        /// `tls:192.0.2.1:5061`, in order.
        public var candidates: [String]
        public var failure: String?
    }

    /// A way that may be used, in the order in which they are tried.
    public struct Candidate: Codable, Sendable, Equatable {
        public var transport: String
        public var address: String
        /// The name that our ClientHello asks for.
        public var serverName: String?
        /// Whom the peer's certificate must name.
        public var identity: String
        public var verifies: Bool
        /// The override that let it in.
        public var override: Decision?
        /// Why it is passed over: nothing is sent to the core's networks and to the edge itself, nor where no route leads.
        public var passedOver: String?
    }

    /// What a connection came to.
    public struct Attempt: Codable, Sendable, Equatable {
        public struct Certificate: Codable, Sendable, Equatable {
            public var subject: String
            public var issuer: String
            /// Its alternative names.
            public var names: [String]
            /// Seconds since 1970.
            public var notBefore: Int64
            public var notAfter: Int64
            /// SHA-256 in hexadecimal.
            public var fingerprint: String
        }

        public var transport: String
        public var address: String
        public var isConnected: Bool
        /// nil: it was not asked to.
        public var isVerified: Bool?
        public var tlsVersion: String?
        public var cipher: String?
        public var certificate: Certificate?
        /// Why it came to nothing, or was not tried; what is wrong with a certificate that need not verify.
        public var problem: String?
    }

    public struct Verdict: Codable, Sendable, Equatable {
        /// Whether the request would be sent; with `--connect`, whether a candidate also answered.
        public var goes: Bool
        /// What the core would be answered.
        public var status: Int?
        public var warning: String?
        public var decision: Decision
    }

    public var uri: String
    public var domain: String
    /// `sips`, `tls`, `plain`, or `untagged`.
    public var arrived: String
    public var isInDialog: Bool
    public var nextHop: NextHop?
    public var security: Security?
    public var resolutions: [Resolution] = []
    public var candidates: [Candidate] = []
    /// nil: no connection was to be made.
    public var attempts: [Attempt]?
    public var verdict: Verdict

    /// How a session arrived, behind "arrived": `arrived` without "untagged".
    public static func phrase(for arrived: String) -> String {
        switch arrived {
        case "sips": "as SIPS"
        case "tls": "over TLS"
        default: "in plain"
        }
    }
}
