/// Why a well-formed request goes no further (RFC 3261 §16.3 items 2, 3 and 5).
public struct ValidationFault: Error, Sendable {
    public enum Cause: Hashable, Sendable {
        /// 416: a Request-URI scheme that this proxy routes nowhere.
        case unsupportedScheme
        /// 483: Max-Forwards is 0.
        case tooManyHops
        /// 420: Proxy-Require names extensions that this proxy lacks.
        case badExtension
    }

    public var cause: Cause
    /// The response to send; 0 for an ACK, which gets none.
    public var status: Int
    /// The option tags to list in Unsupported (RFC 3261 §20.40), as ranges of the request.
    public var unsupported: [ByteRange]
}

/// Validates a request that passed ``Message/checkSyntax(_:)``, in the order of RFC 3261 §16.3.
///
/// - Parameters:
///   - supportedExtensions: option tags that may stand in Proxy-Require.
///   - acceptsTel: whether a `tel` Request-URI has a route.
/// - Returns: nil where the request may go on. Proxy-Require of ACK and CANCEL is not looked at (§8.2.2.3).
public func proxyValidation(
    of request: Message, supportedExtensions: [StaticString] = [], acceptsTel: Bool = false
) -> ValidationFault? {
    func fault(_ cause: ValidationFault.Cause, _ status: Int, _ unsupported: [ByteRange] = []) -> ValidationFault {
        ValidationFault(cause: cause, status: request.isAnswerable ? status : 0, unsupported: unsupported)
    }
    guard let uri = request.uri, uri.isSIP || uri.scheme == .tel && acceptsTel else {
        return fault(.unsupportedScheme, 416)
    }
    if request.maxForwards == 0 { return fault(.tooManyHops, 483) }
    guard request.index.isPresent(.proxyRequire), request.method != .ack, request.method != .cancel else { return nil }
    let unsupported = request.values(of: .proxyRequire).filter { tag in
        !supportedExtensions.contains { tag.equalsIgnoringCase($0, in: request.bytes) }
    }
    return unsupported.isEmpty ? nil : fault(.badExtension, 420, unsupported)
}
