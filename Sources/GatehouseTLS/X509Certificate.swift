internal import COpenSSL
internal import GatehousePolicy
internal import SIPMessage

/// A parsed certificate: the owner of OpenSSL's object.
///
/// `@unchecked Sendable`: nothing writes to the object after `init`, except what OpenSSL itself caches in it under its own
/// lock; its reference count is atomic.
final class X509Certificate: @unchecked Sendable {
    let handle: OpaquePointer

    /// Takes over a reference.
    init(owning handle: OpaquePointer) {
        self.handle = handle
    }

    /// Takes a reference of its own.
    init(sharing handle: OpaquePointer) {
        X509_up_ref(handle)
        self.handle = handle
    }

    deinit {
        X509_free(self.handle)
    }

    /// Seconds since 1970; `Int64.min` where the field is no time.
    var notBefore: Int64 { Self.seconds(X509_get0_notBefore(self.handle)) ?? .min }
    /// Seconds since 1970; `Int64.min` where the field is no time, so that such a certificate has expired.
    var notAfter: Int64 { Self.seconds(X509_get0_notAfter(self.handle)) ?? .min }

    /// SHA-256 of the DER encoding in hexadecimal.
    var fingerprint: String { hexadecimal(self.digest) }

    /// SHA-256 of the DER encoding.
    var digest: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Int(EVP_MAX_MD_SIZE)) { bytes, count in
            var length: UInt32 = 0
            guard X509_digest(self.handle, EVP_sha256(), bytes.baseAddress, &length) == 1 else { return }
            count = Int(length)
        }
    }

    var subject: String { Self.oneLine(X509_get_subject_name(self.handle)) }
    var issuer: String { Self.oneLine(X509_get_issuer_name(self.handle)) }
    /// Whether subject and issuer are one name: a root, or a certificate signed by itself.
    var isSelfIssued: Bool {
        X509_NAME_cmp(X509_get_subject_name(self.handle), X509_get_issuer_name(self.handle)) == 0
    }

    /// Whether it says where its issuer's certificate or status is found, as those of public authorities do.
    var namesItsIssuersAddress: Bool { X509_get_ext_by_NID(self.handle, NID_info_access, -1) >= 0 }

    /// Whether the names, key identifiers and key usage say that `other` was issued by this one.
    func issued(_ other: X509Certificate) -> Bool {
        X509_check_issued(self.handle, other.handle) == X509_V_OK
    }

    /// The digest that the issuer signed, as OpenSSL names it ("SHA256"); "" where the scheme has none of its own, as Ed25519.
    var signatureDigest: String {
        var digest: Int32 = NID_undef
        var securityBits: Int32 = 0
        guard X509_get_signature_info(self.handle, &digest, nil, &securityBits, nil) == 1, digest != NID_undef else {
            return ""
        }
        return OBJ_nid2sn(digest).map { String(cString: $0) } ?? ""
    }

    var keyKind: KeyKind { KeyKind(X509_get0_pubkey(self.handle)) }

    var permittedUse: PermittedUse {
        let usage = X509_get_key_usage(self.handle)  // all bits where the extension is absent
        return PermittedUse(purposes: self.purposes, maySign: usage & UInt32(KU_DIGITAL_SIGNATURE) != 0)
    }

    private var purposes: PermittedUse.Purposes? {
        var critical: Int32 = 0
        guard let extensionValue = X509_get_ext_d2i(self.handle, NID_ext_key_usage, &critical, nil) else {
            return critical == -1 ? nil : []  // -1: absent; else there are several, or it can't be read
        }
        let usage = OpaquePointer(extensionValue)
        defer { EXTENDED_KEY_USAGE_free(usage) }
        var purposes: PermittedUse.Purposes = []
        for index in 0..<shim_sk_ASN1_OBJECT_num(usage) {
            guard let object = shim_sk_ASN1_OBJECT_value(usage, index) else { continue }
            switch OBJ_obj2nid(object) {
            case NID_server_auth: purposes.insert(.serverAuthentication)
            case NID_client_auth: purposes.insert(.clientAuthentication)
            case NID_anyExtendedKeyUsage: purposes.insert(.any)
            default:
                var text = [CChar](repeating: 0, count: 32)
                let length = OBJ_obj2txt(&text, Int32(text.count), object, 1)
                if length > 0, text.prefix(Int(length)).elementsEqual("1.3.6.1.5.5.7.3.20".utf8.map { CChar($0) }) {
                    purposes.insert(.sipDomain)  // RFC 5924 §4
                }
            }
        }
        return purposes
    }

    var names: PresentedNames {
        var names = PresentedNames(hasSubjectAltName: X509_get_ext_by_NID(self.handle, NID_subject_alt_name, -1) >= 0)
        names.commonNames = Self.commonNames(X509_get_subject_name(self.handle))
        guard let extensionValue = X509_get_ext_d2i(self.handle, NID_subject_alt_name, nil, nil) else { return names }
        let alternatives = OpaquePointer(extensionValue)
        defer { GENERAL_NAMES_free(alternatives) }
        for index in 0..<shim_sk_GENERAL_NAME_num(alternatives) {
            guard let name = shim_sk_GENERAL_NAME_value(alternatives, index) else { continue }
            var type: Int32 = 0
            guard let value = GENERAL_NAME_get0_value(name, &type)?.assumingMemoryBound(to: ASN1_STRING.self) else {
                continue
            }
            switch type {
            case GEN_DNS: if let text = Self.text(value) { names.dnsNames.append(text) }
            case GEN_URI: if let text = Self.text(value) { names.uris.append(text) }
            case GEN_IPADD: if let address = Self.address(value) { names.addresses.append(address) }
            default: break
            }
        }
        return names
    }

    private static func commonNames(_ name: OpaquePointer?) -> [String] {
        guard let name else { return [] }
        var texts: [String] = []
        var index = X509_NAME_get_index_by_NID(name, NID_commonName, -1)
        while index >= 0 {
            var utf8: UnsafeMutablePointer<UInt8>?
            let value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index))
            let length = ASN1_STRING_to_UTF8(&utf8, value)
            if length >= 0, let utf8 {
                let bytes = UnsafeBufferPointer(start: utf8, count: Int(length))
                if !bytes.contains(0) { texts.append(String(decoding: bytes, as: UTF8.self)) }
                shim_OPENSSL_free(utf8)
            }
            index = X509_NAME_get_index_by_NID(name, NID_commonName, index)
        }
        return texts
    }

    /// An IA5String's text; nil where it holds anything but printable ASCII, as a NUL that would hide its end.
    private static func text(_ string: UnsafePointer<ASN1_STRING>) -> String? {
        let bytes = UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string)))
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func address(_ string: UnsafePointer<ASN1_STRING>) -> IPAddress? {
        let bytes = UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(ASN1_STRING_length(string)))
        func number(_ bytes: Slice<UnsafeBufferPointer<UInt8>>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        switch bytes.count {
        case 4: return IPAddress(v4: UInt32(truncatingIfNeeded: number(bytes[...])))
        case 16: return IPAddress(v6High: number(bytes[..<8]), v6Low: number(bytes[8...]))
        default: return nil
        }
    }

    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
        var parts = tm()
        guard let time, ASN1_TIME_to_tm(time, &parts) == 1 else { return nil }
        let day = CivilDate.daysSince1970(
            year: Int64(parts.tm_year) + 1900, month: Int64(parts.tm_mon) + 1, day: Int64(parts.tm_mday))
        return day * 86_400 + Int64(parts.tm_hour) * 3600 + Int64(parts.tm_min) * 60 + Int64(parts.tm_sec)
    }

    static func oneLine(_ name: OpaquePointer?) -> String {
        var buffer = [CChar](repeating: 0, count: 512)
        guard let name, X509_NAME_oneline(name, &buffer, Int32(buffer.count)) != nil else { return "" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// What kind of public key a certificate has.
enum KeyKind: Hashable, Sendable, CustomStringConvertible {
    case rsa(bits: Int)
    case ellipticCurve(name: String)
    case other(name: String)

    init(_ key: OpaquePointer?) {
        guard let key else {
            self = .other(name: "unknown")
            return
        }
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA, EVP_PKEY_RSA_PSS: self = .rsa(bits: Int(EVP_PKEY_get_bits(key)))
        case EVP_PKEY_EC:
            var name = [CChar](repeating: 0, count: 64)
            var length = 0
            let isNamed = EVP_PKEY_get_group_name(key, &name, name.count, &length) == 1
            let text = String(decoding: name.prefix(isNamed ? length : 0).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            self = .ellipticCurve(name: text == "prime256v1" ? "P-256" : text == "secp384r1" ? "P-384" : text)
        default: self = .other(name: EVP_PKEY_get0_type_name(key).map { String(cString: $0) } ?? "unknown")
        }
    }

    /// Which certificate of a domain it is: one of each family may stand side by side.
    var family: String {
        switch self {
        case .rsa: "RSA"
        case .ellipticCurve: "ECDSA"
        case .other(let name): name
        }
    }

    var description: String {
        switch self {
        case .rsa(let bits): "RSA \(bits)"
        case .ellipticCurve(let name): "ECDSA \(name)"
        case .other(let name): name
        }
    }
}
