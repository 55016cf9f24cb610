internal import GatehousePolicy
internal import SIPMessage

/// Who may speak to the core binds: the networks of `core.trusted`, or, without that list, the addresses of all core targets.
///
/// One look-up a prefix length that occurs, however many networks or targets there are; only targets given by name, whose
/// addresses change, are gone through one by one.
struct TrustedSources: Sendable {
    private struct Mask: Hashable, Sendable {
        var isIPv6: Bool
        var prefixLength: Int
    }

    private var networks: [Mask: Set<IPAddress>] = [:]
    private var named: [TargetRuntime] = []

    init(networks: [Network], targets: [TargetRuntime]) {
        for network in networks {
            let mask = Mask(isIPv6: network.address.isIPv6, prefixLength: network.prefixLength)
            self.networks[mask, default: []].insert(Self.masked(network.address, mask))
        }
        guard networks.isEmpty else { return }
        var seen: Set<ObjectIdentifier> = []
        for target in targets where seen.insert(ObjectIdentifier(target)).inserted {
            if let fixed = target.fixed {
                let address = fixed.address.asIPv4 ?? fixed.address
                let mask = Mask(isIPv6: address.isIPv6, prefixLength: address.isIPv6 ? 128 : 32)
                self.networks[mask, default: []].insert(address)
            } else {
                self.named.append(target)
            }
        }
    }

    func contains(_ address: IPAddress) -> Bool {
        let address = address.asIPv4 ?? address
        for (mask, networks) in self.networks where mask.isIPv6 == address.isIPv6 {
            if networks.contains(Self.masked(address, mask)) { return true }
        }
        return self.named.contains { target in target.addresses.contains { $0.address == address } }
    }

    private static func masked(_ address: IPAddress, _ mask: Mask) -> IPAddress {
        func keep(_ word: UInt64, _ count: Int, of width: Int) -> UInt64 {
            count <= 0 ? 0 : count >= width ? word : (word >> UInt64(width - count)) << UInt64(width - count)
        }
        guard mask.isIPv6 else {
            return IPAddress(v4: UInt32(truncatingIfNeeded: keep(address.low, mask.prefixLength, of: 32)))
        }
        return IPAddress(
            v6High: keep(address.high, mask.prefixLength, of: 64),
            v6Low: keep(address.low, mask.prefixLength - 64, of: 64))
    }
}
