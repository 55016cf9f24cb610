internal import GatehousePolicy
internal import SIPMessage

// Addresses, names and patterns out of the text of a scalar; see ScalarValues.swift for the rules of these functions.

/// An address to listen on, with its port: `203.0.113.10:5061`, `[2001:db8::10]:5061`. Port 0 asks the system for one.
func parseEndpoint(_ text: String) throws(ValueFault) -> Endpoint {
    for transport in Transport.allCases where text.lowercased().hasPrefix("\(transport):") {
        throw ValueFault(
            problem: "names a transport", cure: "write \(text.dropFirst(4)): the key says which transport it is")
    }
    return try parseEndpoint(text, prefix: "", port: 5061)
}

/// - Parameters:
///   - prefix: what stands before the address, for messages.
///   - port: the one to propose.
private func parseEndpoint(_ text: String, prefix: String, port: UInt16) throws(ValueFault) -> Endpoint {
    guard let endpoint = Endpoint(text) else { throw endpointFault(text, prefix: prefix, port: port) }
    try checkListens(endpoint.address)
    return endpoint
}

/// An address of the core side to listen on: `udp:10.0.0.2:5060`.
func parseCoreBind(_ text: String) throws(ValueFault) -> Bind {
    let (transport, rest) = try splitCoreTransport(text)
    return Bind(transport: transport, endpoint: try parseEndpoint(rest, prefix: "\(transport):", port: 5060))
}

/// A core server: `udp:10.0.0.10:5060`, `tcp:pbx.example:5060`.
func parseCoreTarget(_ text: String) throws(ValueFault) -> (transport: Transport, host: String, port: UInt16) {
    let (transport, rest) = try splitCoreTransport(text)
    if let endpoint = Endpoint(rest) {
        guard endpoint.port != 0 else { throw ValueFault(problem: "has port 0", cure: "give the server's port") }
        guard !endpoint.address.isUnspecified, !endpoint.address.isMulticast else {
            throw ValueFault(problem: "is no address of one server", cure: "give the server's address or host name")
        }
        return (transport, endpoint.address.description, endpoint.port)
    }
    guard let colon = rest.utf8.lastIndex(of: UInt8(ascii: ":")), IPAddress(rest) == nil, !rest.hasPrefix("[") else {
        throw IPAddress(rest) == nil && rest.hasPrefix("[")
            ? endpointFault(rest, prefix: "\(transport):", port: 5060)
            : ValueFault(problem: "has no port", cure: "write \(transport):\(bracketed(rest)):5060")
    }
    guard let port = port(rest[colon...]), port > 0 else {
        throw ValueFault(problem: "has no valid port", cure: "give 1 to 65535 after the host")
    }
    return (transport, try parseHostName(String(rest[..<colon])), port)
}

/// A name server: an address, with a port where it is not 53.
func parseNameServer(_ text: String) throws(ValueFault) -> Endpoint {
    var server = Endpoint(text)
    if server == nil, let address = IPAddress(text) { server = Endpoint(address: address, port: 53) }
    guard let server else {
        throw ValueFault(
            problem: "is no address of a name server", cure: "write 10.0.0.53, or 10.0.0.53:5353 with a port")
    }
    guard server.port != 0, !server.address.isUnspecified, !server.address.isMulticast else {
        throw ValueFault(problem: "is no address of a name server", cure: "give the server's own address and port")
    }
    return server
}

/// A block in CIDR notation, or one address.
func parseNetwork(_ text: String) throws(ValueFault) -> Network {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let address = IPAddress(String(parts[0])) else {
        throw ValueFault(problem: "is no address block", cure: "write an address and a prefix length, like 10.0.0.0/24")
    }
    guard parts.count == 2 else { return Network(address) }
    let bits = address.isIPv6 ? 128 : 32
    guard let length = Int(parts[1]), (0...bits).contains(length), parts[1].utf8.first != UInt8(ascii: "+"),
        parts[1] == String(length)
    else {
        throw ValueFault(problem: "has no valid prefix length", cure: "give 0 to \(bits) after the slash")
    }
    let network = Network(address: masked(address, prefixLength: length), prefixLength: length)
    guard network.address == address else {
        throw ValueFault(problem: "has bits beyond its prefix", cure: "write \(network), or \(address)/\(bits)")
    }
    return network
}

/// A host name, in lower case and without a trailing dot: letters, digits and inner hyphens (RFC 3261 §25.1).
func parseHostName(_ text: String) throws(ValueFault) -> String {
    guard text.utf8.allSatisfy({ $0 < 0x80 }) else {
        throw ValueFault(problem: "has letters beyond ASCII", cure: "write the name's A-label form (xn--…)")
    }
    var name = text.lowercased()
    if name.hasSuffix(".") { name.removeLast() }
    let address = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
    guard IPAddress(address) == nil else {
        throw ValueFault(problem: "is an address", cure: "give a host name")
    }
    guard !name.isEmpty else { throw ValueFault(problem: "is empty", cure: "give a host name like sip.example.com") }
    guard name.utf8.count <= 253 else { throw ValueFault(problem: "is longer than 253 characters", cure: "shorten it") }
    guard !name.utf8.contains(UInt8(ascii: "*")) else {
        throw ValueFault(problem: "holds a wildcard", cure: "give one host name")
    }
    let labels = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    for label in labels {
        guard (1...63).contains(label.count) else {
            throw ValueFault(
                problem: "is not a host name", cure: "give each part between the dots 1 to 63 characters")
        }
        let hyphen = UInt8(ascii: "-")
        guard label.allSatisfy({ isLetter($0) || isDigit($0) || $0 == hyphen }),
            label.first != hyphen, label.last != hyphen
        else {
            throw ValueFault(
                problem: "is not a host name", cure: "use letters, digits and inner hyphens, without scheme or port")
        }
    }
    guard let last = labels.last?.first, isLetter(last) else {
        throw ValueFault(problem: "is not a host name", cure: "let its last part begin with a letter")
    }
    return name
}

/// A host name whose first label may be `*`, which stands for exactly one label.
func parseHostPattern(_ text: String) throws(ValueFault) -> String {
    guard text.utf8.contains(UInt8(ascii: "*")) else { return try parseHostName(text) }
    guard text.hasPrefix("*."), !text.dropFirst().utf8.contains(UInt8(ascii: "*")) else {
        throw ValueFault(
            problem: "has a wildcard that is not the whole first label", cure: "write * alone before the first dot")
    }
    return "*." + (try parseHostName(String(text.dropFirst(2))))
}

/// A header field that may be taken out of a request without breaking it.
func parseRemovedHeader(_ text: String) throws(ValueFault) -> String {
    let isToken = text.utf8.allSatisfy { byte in
        byte >= 0x21 && byte < 0x7F && !"\"(),/:;<=>?@[\\]{}".utf8.contains(byte)
    }
    guard !text.isEmpty, isToken else {
        throw ValueFault(problem: "is no name of a header field", cure: "write it without colon: Diversion")
    }
    switch HeaderName(Array(text.utf8)) {
    case .via, .from, .to, .callID, .cseq, .maxForwards, .contact, .route, .recordRoute, .path, .require, .proxyRequire,
        .contentLength, .contentType, .expires, .event, .referTo, .replaces, .maxBreadth, .rseq, .rack, .gatehouse:
        throw ValueFault(problem: "is a header field that requests need", cure: "remove it from the list")
    default:
        return text
    }
}

/// A host for our own URIs: a name, or an address, with IPv6 in brackets in the result.
func parseAdvertisedHost(_ text: String) throws(ValueFault) -> String {
    let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
    if let address = IPAddress(bare) {
        guard !address.isUnspecified, !address.isMulticast else {
            throw ValueFault(
                problem: "is an address that nobody can reach", cure: "give one that the other side can use")
        }
        return address.isIPv6 ? "[\(address)]" : address.description
    }
    if Endpoint(text) != nil || hasPort(text) {
        throw ValueFault(problem: "has a port", cure: "give the host alone: the port is that of the bind")
    }
    return try parseHostName(text)
}

/// The URI of a proxy: `sips:proxy.carrier.example`, `sip:192.0.2.9:5070;transport=tcp`.
func parseProxyURI(_ text: String) throws(ValueFault) -> String {
    let scheme = text.prefix { $0 != ":" }.lowercased()
    guard ["sip", "sips"].contains(scheme), text.utf8.count > scheme.utf8.count + 1 else {
        throw ValueFault(
            problem: "is no SIP URI", cure: "write sips:proxy.example.com, or sip: where TLS may be left out")
    }
    let parts = text.dropFirst(scheme.count + 1).split(separator: ";", omittingEmptySubsequences: false)
    let host = String(parts[0])
    guard !host.contains("@") else {
        throw ValueFault(problem: "has a user part", cure: "write the proxy's host alone")
    }
    if Endpoint(host) == nil {
        let name = hasPort(host) ? String(host[..<(host.lastIndex(of: ":") ?? host.endIndex)]) : host
        _ = try parseAdvertisedHost(name)
    }
    for parameter in parts.dropFirst() {
        let words = ["lr", "transport=udp", "transport=tcp", "transport=tls"]
        guard words.contains(parameter.lowercased()) else {
            throw ValueFault(
                problem: "has a parameter of no use here",
                cure: "leave out ;\(parameter), or write \(words.joinedAsAlternatives())")
        }
    }
    return text
}

/// The name of an edge, which stands in tokens, logs and metrics.
func parseEdgeName(_ text: String) throws(ValueFault) -> String {
    let isFit = text.utf8.allSatisfy { isLetter($0) || isDigit($0) || "-._".utf8.contains($0) }
    guard isFit, (1...63).contains(text.utf8.count) else {
        throw ValueFault(problem: "is not a name for an edge", cure: "use 1 to 63 letters, digits, -, . and _")
    }
    return text
}

/// The `udp:` or `tcp:` that begins the addresses of the core side.
private func splitCoreTransport(_ text: String) throws(ValueFault) -> (Transport, String) {
    for transport in Transport.allCases where text.lowercased().hasPrefix("\(transport):") {
        guard transport != .tls else {
            throw ValueFault(problem: "names TLS, and the core side is plain", cure: "write udp: or tcp:")
        }
        return (transport, String(text.dropFirst(4)))
    }
    if text.lowercased().hasPrefix("sip:") || text.lowercased().hasPrefix("sips:") {
        throw ValueFault(
            problem: "is a URI", cure: "write udp: or tcp: with a host and a port, like udp:10.0.0.10:5060")
    }
    throw ValueFault(problem: "names no transport", cure: "write udp:\(text) or tcp:\(text)")
}

/// Why a text is no address with a port.
private func endpointFault(_ text: String, prefix: String, port proposed: UInt16) -> ValueFault {
    func write(_ host: String, _ port: Substring) -> String {
        // YAML takes a value that begins with a bracket for a list.
        prefix.isEmpty && host.hasPrefix("[") ? "\"\(host)\(port)\"" : "\(prefix)\(host)\(port)"
    }
    let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
    let colon = text.utf8.lastIndex(of: UInt8(ascii: ":"))
    if let colon, let address = IPAddress(String(text[..<colon])), address.isIPv6, port(text[colon...]) != nil {
        return ValueFault(
            problem: "is an IPv6 address without brackets", cure: "write \(write("[\(address)]", text[colon...]))")
    }
    if let address = IPAddress(bare) {
        return ValueFault(
            problem: "has no port",
            cure: "write \(write(bracketed(address.description), ":\(proposed)")), or another port")
    }
    guard let colon, !text.hasPrefix("[") else {
        return ValueFault(problem: "is no address with a port", cure: "write it like \(prefix)203.0.113.10:\(proposed)")
    }
    if port(text[colon...]) == nil {
        return ValueFault(problem: "has no valid port", cure: "give 0 to 65535 after the last colon")
    }
    let host = text[..<colon]
    if host.isEmpty || host == "*" {
        return ValueFault(
            problem: "has no address",
            cure: "write \(write("0.0.0.0", text[colon...])) or \(write("[::]", text[colon...])) for every one")
    }
    return ValueFault(problem: "is no address", cure: "give the IP address in place of a name")
}

private func checkListens(_ address: IPAddress) throws(ValueFault) {
    if address.isMulticast { throw ValueFault(problem: "is a multicast address", cure: "give one of the host's own") }
    if address.isIPv4Mapped, let mapped = address.asIPv4 {
        throw ValueFault(problem: "is an IPv4 address in IPv6 form", cure: "write \(mapped)")
    }
    if address.isIPv6 && address.isLinkLocal {
        throw ValueFault(problem: "is a link-local address, which needs an interface", cure: "give a routable address")
    }
}

/// The parent of a host name or pattern: what follows its first dot; nil for a single label.
func parentName(_ name: String) -> Substring? {
    guard let dot = name.utf8.firstIndex(of: UInt8(ascii: ".")) else { return nil }
    return name[name.utf8.index(after: dot)...]
}

private func masked(_ address: IPAddress, prefixLength: Int) -> IPAddress {
    guard address.isIPv6 else {
        return IPAddress(v4: UInt32(truncatingIfNeeded: address.low) & ~(UInt32.max >> UInt32(prefixLength)))
    }
    // A smart shift by 64 or more gives 0.
    let high = ~(UInt64.max >> prefixLength)
    let low = prefixLength <= 64 ? 0 : ~(UInt64.max >> (prefixLength - 64))
    return IPAddress(v6High: address.high & high, v6Low: address.low & low)
}

private func hasPort(_ text: String) -> Bool {
    guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")) else { return false }
    return port(text[colon...]) != nil
}

/// The port in `:5060`: a colon and one to five digits.
private func port(_ text: Substring) -> UInt16? {
    let digits = text.utf8.dropFirst()
    guard (1...5).contains(digits.count), digits.allSatisfy(isDigit) else { return nil }
    return UInt16(Substring(digits))
}

private func bracketed(_ host: String) -> String {
    IPAddress(host)?.isIPv6 == true ? "[\(host)]" : host
}

private func isLetter(_ byte: UInt8) -> Bool {
    UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
}

private func isDigit(_ byte: UInt8) -> Bool {
    UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
}
