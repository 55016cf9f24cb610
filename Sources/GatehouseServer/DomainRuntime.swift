internal import GatehousePolicy
internal import SIPMessage
import Synchronization

/// One domain of a snapshot, with what the message path needs of it ready to be written.
final class DomainRuntime: Sendable {
    let key: DomainKey
    let configuration: DomainConfiguration
    /// Host in the URIs and Vias that the outside sees.
    let advertise: [UInt8]
    let name: [UInt8]
    let targets: [TargetRuntime]
    /// For each target, the index of the same server over TCP, where there is one (MTU rule, RFC 3261 §18.1.1).
    let streamTwins: [Int?]
    let counters: DomainCounters
    /// Keeps its counts across reloads.
    let metrics: DomainMetrics

    var isPBX: Bool { self.configuration.core.kind == .pbx }
    var limits: DomainLimits { self.configuration.limits }

    init(
        _ configuration: DomainConfiguration, targets: [TargetRuntime], counters: DomainCounters, metrics: DomainMetrics
    ) {
        self.key = DomainKey(name: configuration.name)
        self.configuration = configuration
        self.name = Array(configuration.name.utf8)
        self.advertise = hostText(configuration.tls?.advertise ?? configuration.name)
        self.targets = targets
        self.streamTwins = targets.map { target in
            guard target.key.transport == .udp else { return nil }
            return targets.firstIndex {
                $0.key.transport == .tcp && $0.key.host == target.key.host && $0.key.port == target.key.port
            }
        }
        self.counters = counters
        self.metrics = metrics
    }
}

/// What a domain counts against its limits; it outlives a reload.
final class DomainCounters: Sendable {
    let connections = Atomic<Int>(0)
    let handshakes = RateMeter()
    let callStarts = RateMeter()
    let calls = CallCounter()
    let sources = SourceTable()
}

/// A host as a URI writes it: an IPv6 address gets its brackets.
func hostText(_ host: String) -> [UInt8] {
    if let address = IPAddress(host), address.isIPv6 { return hostText(address) }
    return Array(host.utf8)
}

/// An address as a URI writes it.
func hostText(_ address: IPAddress) -> [UInt8] {
    var text: [UInt8] = []
    if address.isIPv6 { text.append(0x5B) }
    address.appendText(to: &text)
    if address.isIPv6 { text.append(0x5D) }
    return text
}
