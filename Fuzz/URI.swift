import SIPMessage

// Any text as URI, address, Via and IP address. What parses must parse alike between other bytes, and its parts must lie
// inside it.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = [UInt8](UnsafeBufferPointer(start: start, count: count))
    let framed = Array("sip:<".utf8) + bytes + Array(">;lr,".utf8)
    let whole = ByteRange(0, bytes.count)
    let inner = ByteRange(5, 5 + bytes.count)

    let uri = try? URI.parse(bytes, whole)
    let innerURI = try? URI.parse(framed, inner)
    precondition((uri == nil) == (innerURI == nil))
    if let uri, let innerURI {
        precondition(uri.host.shifted(by: 5) == innerURI.host && uri.user?.shifted(by: 5) == innerURI.user)
        for part in [uri.host, uri.hostPort, uri.userInfo, uri.parameters, uri.headers] {
            precondition(whole.contains(part))
        }
        for parameter in uri.parameterList(in: bytes) { precondition(uri.parameters.contains(parameter.whole)) }
        // A URI in brackets is an address.
        let bracketed = [0x3C] + bytes + [0x3E]
        precondition((try? NameAddr.parse(bracketed, ByteRange(0, bracketed.count))) != nil)
    }
    let address = try? NameAddr.parse(bytes, whole)
    precondition((address == nil) == ((try? NameAddr.parse(framed, inner)) == nil))
    if let address {
        precondition(whole.contains(address.whole))
        precondition((try? URI.parse(bytes, address.addrSpec)) == address.uri)
        for parameter in address.parameterList(in: bytes) { precondition(whole.contains(parameter.whole)) }
    }
    let via = try? Via.parse(bytes, whole)
    precondition((via == nil) == ((try? Via.parse(framed, inner)) == nil))
    if let via { precondition(whole.contains(via.value)) }

    if let ip = IPAddress(bytes: bytes, range: whole) {
        precondition(IPAddress(ip.description) == ip)
    }
    return 0
}
