internal import Glibc
public import SIPMessage

/// Whether the host has a route, and so an address of its own, for a destination (RFC 6724 §5 rule 1); nothing is sent.
public func hasRoute(to address: IPAddress) -> Bool {
    let descriptor = socket(address.isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue) | O_CLOEXEC, 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return Endpoint(address: address, port: 9).withSocketAddress { connect(descriptor, $0, $1) == 0 }
}

/// The addresses of all interfaces of the host.
public func localAddresses() -> [IPAddress] {
    var first: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&first) == 0 else { return [] }
    defer { freeifaddrs(first) }
    var addresses: [IPAddress] = []
    var entry = first
    while let current = entry {
        entry = current.pointee.ifa_next
        guard let address = current.pointee.ifa_addr, [AF_INET, AF_INET6].contains(Int32(address.pointee.sa_family)),
            let endpoint = Endpoint(socketAddress: UnsafeRawPointer(address))
        else { continue }
        addresses.append(endpoint.address)
    }
    return addresses
}
