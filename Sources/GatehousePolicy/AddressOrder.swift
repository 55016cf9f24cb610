internal import SIPMessage

/// The order of the addresses of one host (RFC 6724 §6, RFC 7984 §4).
///
/// Most of RFC 6724's rules compare source addresses, which only sockets know. What is left without them: a family that
/// the edge has no way to is left out (rule 1), the higher precedence of the policy table comes first (rule 6), then the
/// smaller scope (rule 8); else the order of the reply stays (rule 10), IPv6 before IPv4 where nothing else decides.
enum AddressOrder {
    static func order(_ addresses: [IPAddress]) -> [IPAddress] {
        addresses.enumerated()
            .map { (rank: (Self.precedence($1), -Self.scope($1), -$0), address: $1) }
            .sorted { $0.rank > $1.rank }
            .map(\.address)
    }

    /// The default policy table of RFC 6724 §2.1.
    private static func precedence(_ address: IPAddress) -> Int {
        guard address.isIPv6 else { return 35 }
        if address.isLoopback { return 50 }
        if address.high == 0 && address.low >> 32 == 0 { return 1 }  // ::/96
        switch address.high >> 32 {
        case 0x2001_0000: return 5
        case let high where high >> 16 == 0x2002: return 30
        case let high where high >> 16 == 0x3FFE: return 1
        case let high where high >> 22 == 0xFEC0 >> 6: return 1
        case let high where high >> 25 == 0xFC >> 1: return 3
        default: return 40
        }
    }

    /// As RFC 6724 §3.1 numbers unicast scopes.
    private static func scope(_ address: IPAddress) -> Int {
        if address.isLoopback || address.isLinkLocal { return 2 }
        return address.isIPv6 && address.high >> 54 == 0xFEC0 >> 6 ? 5 : 14
    }
}

extension IPAddress {
    /// Whether a host can be reached by this address from elsewhere without more being said. An address of link-local
    /// IPv6 would need its interface.
    var isReachable: Bool {
        !self.isUnspecified && !self.isMulticast && !(self.isIPv6 && self.isLinkLocal) && self.v4 != 0xFFFF_FFFF
    }
}
