internal import COpenSSL
internal import SIPMessage

/// What a ClientHello says that decides which domain answers it. Valid inside OpenSSL's client hello callback alone.
struct ClientHello {
    enum ServerName: Equatable {
        case none
        /// A host name in lower case without a final dot.
        case host(String)
        /// No host name, and an IP literal (RFC 6066 §3): nobody has it. Safe for a log.
        case other(String)

        var text: String? {
            switch self {
            case .none: nil
            case .host(let name), .other(let name): name
            }
        }
    }

    let ssl: OpaquePointer

    init(_ ssl: OpaquePointer) {
        self.ssl = ssl
    }

    /// The newest version that the client offers, as on the wire: 0x0304 is TLS 1.3.
    var newestVersion: UInt16 {
        guard SSL_client_hello_isv2(self.ssl) == 0 else { return 0x0002 }  // whatever it names: it has no extensions
        let legacy = UInt16(truncatingIfNeeded: SSL_client_hello_get0_legacy_version(self.ssl))
        // list length (1), versions (2 each); unknown ones are GREASE (RFC 8701)
        guard let list = self.bytes(ofExtension: UInt32(TLSEXT_TYPE_supported_versions)), list.count >= 3 else {
            return min(legacy, 0x0303)
        }
        var newest: UInt16 = 0
        for index in stride(from: 1, to: list.count - 1, by: 2) {
            let version = UInt16(list[index]) << 8 | UInt16(list[index + 1])
            if (0x0300...0x0304).contains(version) { newest = max(newest, version) }
        }
        return newest
    }

    /// nil: the extension is malformed.
    var serverName: ServerName? {
        guard let list = self.bytes(ofExtension: UInt32(TLSEXT_TYPE_server_name)) else { return .some(.none) }
        return Self.serverName(list)
    }

    /// Reads a server_name extension (RFC 6066 §3): list length (2), then type (1), length (2) and name. A second name can
    /// only be of a type that does not exist. nil: malformed.
    static func serverName(_ list: some RandomAccessCollection<UInt8>) -> ServerName? {
        let list = Array(list)
        guard list.count >= 5, Int(list[0]) << 8 | Int(list[1]) == list.count - 2, list[2] == 0 else {
            return nil
        }
        let length = Int(list[3]) << 8 | Int(list[4])
        guard length > 0, length <= list.count - 5, length <= 255 else { return nil }
        var name = list[5..<5 + length]
        if name.last == UInt8(ascii: "."), name.count > 1 { name.removeLast() }
        var isHost = true
        let text = name.map { byte -> UInt8 in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): return byte | 0x20
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "."), UInt8(ascii: "_"):
                return byte
            default:
                isHost = false
                return byte > 0x20 && byte < 0x7F ? byte : UInt8(ascii: "?")
            }
        }
        let host = String(decoding: text, as: UTF8.self)
        return isHost && IPAddress(host) == nil ? .host(host) : .other(host)
    }

    /// The content of an extension; nil where the client did not send it.
    private func bytes(ofExtension type: UInt32) -> UnsafeBufferPointer<UInt8>? {
        var start: UnsafePointer<UInt8>?
        var length = 0
        guard SSL_client_hello_get0_ext(self.ssl, type, &start, &length) == 1 else { return nil }
        return UnsafeBufferPointer(start: start, count: length)
    }
}
