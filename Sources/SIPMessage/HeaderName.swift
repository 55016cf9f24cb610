/// The header fields that a gateway looks at, by name; long and compact forms are one (RFC 3261 §7.3.3).
public enum HeaderName: UInt8, Sendable, Hashable, CaseIterable {
    case via, from, to, callID, cseq, maxForwards, contact, route, recordRoute, path, serviceRoute, require,
        proxyRequire, supported, unsupported, contentLength, contentType, expires, minExpires, authorization,
        proxyAuthorization, wwwAuthenticate, proxyAuthenticate, warning, reason, retryAfter, referTo, referredBy,
        replaces, event, privacy, pAssertedIdentity, pPreferredIdentity, remotePartyID, pChargingVector,
        pChargingFunctionAddresses, diversion, pAssociatedURI, maxBreadth, timestamp, date, userAgent, server,
        allow, sessionExpires, rseq, rack
    /// Any name that starts with `X-Gatehouse-`, in any case: ours, and never the outside's.
    case gatehouse
    /// Any other name, which stands in the message.
    case other

    /// The long form as written on the wire; the common start of ``gatehouse``; empty for ``other``.
    public var text: StaticString {
        switch self {
        case .via: "Via"
        case .from: "From"
        case .to: "To"
        case .callID: "Call-ID"
        case .cseq: "CSeq"
        case .maxForwards: "Max-Forwards"
        case .contact: "Contact"
        case .route: "Route"
        case .recordRoute: "Record-Route"
        case .path: "Path"
        case .serviceRoute: "Service-Route"
        case .require: "Require"
        case .proxyRequire: "Proxy-Require"
        case .supported: "Supported"
        case .unsupported: "Unsupported"
        case .contentLength: "Content-Length"
        case .contentType: "Content-Type"
        case .expires: "Expires"
        case .minExpires: "Min-Expires"
        case .authorization: "Authorization"
        case .proxyAuthorization: "Proxy-Authorization"
        case .wwwAuthenticate: "WWW-Authenticate"
        case .proxyAuthenticate: "Proxy-Authenticate"
        case .warning: "Warning"
        case .reason: "Reason"
        case .retryAfter: "Retry-After"
        case .referTo: "Refer-To"
        case .referredBy: "Referred-By"
        case .replaces: "Replaces"
        case .event: "Event"
        case .privacy: "Privacy"
        case .pAssertedIdentity: "P-Asserted-Identity"
        case .pPreferredIdentity: "P-Preferred-Identity"
        case .remotePartyID: "Remote-Party-ID"
        case .pChargingVector: "P-Charging-Vector"
        case .pChargingFunctionAddresses: "P-Charging-Function-Addresses"
        case .diversion: "Diversion"
        case .pAssociatedURI: "P-Associated-URI"
        case .maxBreadth: "Max-Breadth"
        case .timestamp: "Timestamp"
        case .date: "Date"
        case .userAgent: "User-Agent"
        case .server: "Server"
        case .allow: "Allow"
        case .sessionExpires: "Session-Expires"
        case .rseq: "RSeq"
        case .rack: "RAck"
        case .gatehouse: "X-Gatehouse-"
        case .other: ""
        }
    }

    /// The compact form, one letter; nil where there is none.
    public var compactText: StaticString? {
        switch self {
        case .via: "v"
        case .from: "f"
        case .to: "t"
        case .callID: "i"
        case .contact: "m"
        case .supported: "k"
        case .contentLength: "l"
        case .contentType: "c"
        case .referTo: "r"
        case .referredBy: "b"
        case .event: "o"
        case .sessionExpires: "x"
        default: nil
        }
    }

    /// Whether a row may hold several values with commas between them, so that rows and lists mean the same (RFC 3261
    /// §7.3.1). Challenges and credentials have commas of their own and never do.
    public var isList: Bool {
        switch self {
        case .via, .contact, .route, .recordRoute, .path, .serviceRoute, .require, .proxyRequire, .supported,
            .unsupported, .warning, .reason, .pAssertedIdentity, .pPreferredIdentity, .remotePartyID, .diversion,
            .pAssociatedURI, .allow:
            true
        default:
            false
        }
    }
}
