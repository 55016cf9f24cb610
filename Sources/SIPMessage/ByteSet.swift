/// A set of ASCII bytes as two words, so that a test is a shift and no memory is read.
///
/// Bytes from 0x80 up are in no set. The constants are the character classes of RFC 3261 §25.1; a test spells them out.
struct ByteSet: Sendable {
    /// Bit n: byte n.
    let low: UInt64
    /// Bit n: byte 64 + n.
    let high: UInt64

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word = byte < 64 ? self.low : self.high
        return byte < 128 && (word &>> UInt64(byte & 63)) & 1 != 0
    }

    /// `token`: alphanum and - . ! % * _ + ` ' ~
    @inline(__always) static var token: ByteSet {
        ByteSet(low: 0x03FF_6CA2_0000_0000, high: 0x47FF_FFFF_87FF_FFFE)
    }
    /// What a parameter of a header field may have behind `=` unquoted: `token`, and [ ] : of an IPv6 `host`.
    @inline(__always) static var parameterValue: ByteSet {
        ByteSet(low: 0x07FF_6CA2_0000_0000, high: 0x47FF_FFFF_AFFF_FFFE)
    }
    /// `user`: unreserved and & = + $ , ; ? /. Escapes are looked at apart. Also #, which belongs escaped: telephones
    /// send it bare in service codes, and it parts nothing in a SIP URI.
    @inline(__always) static var user: ByteSet {
        ByteSet(low: 0xABFF_FFDA_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
    }
    /// `password`: unreserved and & = + $ ,
    @inline(__always) static var password: ByteSet {
        ByteSet(low: 0x23FF_7FD2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
    }
    /// `paramchar` of a URI: unreserved and [ ] / : & + $
    @inline(__always) static var uriParameter: ByteSet {
        ByteSet(low: 0x07FF_EFD2_0000_0000, high: 0x47FF_FFFE_AFFF_FFFE)
    }
    /// `hname` and `hvalue` of a URI: unreserved and [ ] / ? : + $
    @inline(__always) static var uriHeader: ByteSet {
        ByteSet(low: 0x87FF_EF92_0000_0000, high: 0x47FF_FFFE_AFFF_FFFE)
    }
    /// Any byte of an absolute URI of another scheme: unreserved, reserved, # [ ]. Escapes are looked at apart.
    @inline(__always) static var absoluteURI: ByteSet {
        ByteSet(low: 0xAFFF_FFDA_0000_0000, high: 0x47FF_FFFE_AFFF_FFFF)
    }
    /// `scheme` behind its first letter: alphanum and + - .
    @inline(__always) static var scheme: ByteSet {
        ByteSet(low: 0x03FF_6800_0000_0000, high: 0x07FF_FFFE_07FF_FFFE)
    }
    /// A host name or IPv4 address: alphanum and - .
    @inline(__always) static var host: ByteSet {
        ByteSet(low: 0x03FF_6000_0000_0000, high: 0x07FF_FFFE_07FF_FFFE)
    }
    /// `word` of a Call-ID: `token` and ( ) < > : \ / " [ ] ? { }
    @inline(__always) static var word: ByteSet {
        ByteSet(low: 0xD7FF_EFA6_0000_0000, high: 0x6FFF_FFFF_BFFF_FFFE)
    }
    @inline(__always) static var alphanum: ByteSet {
        ByteSet(low: 0x03FF_0000_0000_0000, high: 0x07FF_FFFE_07FF_FFFE)
    }
}
