internal import GatehousePolicy
internal import SIPMessage
import Synchronization

/// One domain of a snapshot, with what the message path needs of it ready to be written.
final class DomainRuntime: Sendable {
    let key: DomainKey
    let configuration: DomainConfiguration
    /// Host in the URIs and Vias that the outside sees; of plain listeners see `host(of:)`.
    let advertise: [UInt8]
    private let tcpAdvertise: [UInt8]
    private let udpAdvertise: [UInt8]
    /// A UDP socket of an outbound leg is bound to this where the domain has no UDP listener of the family.
    private let ownAddresses: [IPAddress]
    /// Whether the domain listens on a loopback address, as on a test bench.
    let isOnLoopback: Bool
    /// The listeners that the outside is told of, one a transport at the most.
    private let services: [OutsideService]
    let name: [UInt8]
    /// What a request from outside loses on its way to the core (TRUST-09).
    let removedHeaders: HeaderSet
    /// What devices are told of keep-alives, in whole seconds (KEEP-07, KEEP-08).
    let flowTimerInSeconds: Int?
    let targets: [TargetRuntime]
    /// For each target, the index of the same server over TCP, where there is one (MTU rule, RFC 3261 §18.1.1).
    let streamTwins: [Int?]
    let counters: DomainCounters
    /// Keeps its counts across reloads.
    let metrics: DomainMetrics

    var isPBX: Bool { self.configuration.core.kind == .pbx }
    /// Whether what a peer asserts of identities counts, by a name that its certificate proves (RFC 3325 §5; TRUST-05).
    func trusts(_ names: PresentedNames?) -> Bool {
        guard let names, let trusted = self.configuration.tls?.trustedPeers, !trusted.isEmpty else { return false }
        return trusted.contains { names.prove(.domain($0)) }
    }
    var limits: DomainLimits { self.configuration.limits }

    init(
        _ configuration: DomainConfiguration, targets: [TargetRuntime], counters: DomainCounters, metrics: DomainMetrics
    ) {
        self.key = DomainKey(name: configuration.name)
        self.configuration = configuration
        self.name = Array(configuration.name.utf8)
        self.removedHeaders = HeaderSet(configuration.security.removedHeaders)
        self.flowTimerInSeconds = configuration.core.flowTimer.map { max(1, Int(clamping: $0.components.seconds)) }
        let advertise = hostText(configuration.tls?.advertise ?? configuration.name)
        self.advertise = advertise
        self.tcpAdvertise = configuration.tcpAdvertise.map { hostText($0) } ?? advertise
        self.udpAdvertise = configuration.udpAdvertise.map { hostText($0) } ?? advertise
        let tcpBinds = configuration.allTCPBinds
        self.services = [
            configuration.tls?.binds.first.map { OutsideService(transport: .tls, port: $0.port) },
            tcpBinds.first.map { OutsideService(transport: .tcp, port: $0.port) },
            configuration.udpBinds.first.map { OutsideService(transport: .udp, port: $0.port) },
        ].compactMap { $0 }
        self.isOnLoopback = ((configuration.tls?.binds ?? []) + tcpBinds + configuration.udpBinds).contains {
            $0.address.isLoopback
        }
        self.ownAddresses =
            (configuration.tls?.binds ?? []).map(\.address) + (tcpBinds + configuration.udpBinds).map(\.address)
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

/// A listener as the URIs and Vias that we write towards the outside name it.
struct OutsideService: Hashable, Sendable {
    var transport: Transport
    var port: UInt16
}

extension DomainRuntime {
    /// The host that a listener of the domain is known by.
    func host(of transport: Transport) -> [UInt8] {
        switch transport {
        case .tls: self.advertise
        case .tcp: self.tcpAdvertise
        case .udp: self.udpAdvertise
        }
    }

    func sentBy(_ service: OutsideService) -> SentBy {
        SentBy(host: self.host(of: service.transport), port: service.port)
    }

    /// The listener that a peer finds us by which we reached over `transport`: one of that transport, else the first that
    /// there is.
    func service(for transport: Transport) -> OutsideService {
        self.services.first { $0.transport == transport } ?? self.services.first
            ?? OutsideService(transport: transport, port: transport.defaultPort)
    }

    /// The address of ours that an outbound leg leaves from: that of the first listener of the family, nil where that one
    /// is on every address or there is none.
    func ownAddress(isIPv6: Bool) -> IPAddress? {
        self.ownAddresses.first { $0.isIPv6 == isIPv6 && !$0.isUnspecified }
    }
}

/// What a domain counts against its limits; it outlives a reload.
final class DomainCounters: Sendable {
    let connections = Atomic<Int>(0)
    let datagramPeers = Atomic<Int>(0)
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

extension DomainConfiguration {
    /// Where the domain hears TCP outside: `tcp.bind`, and beside its UDP addresses unless that is turned off.
    var allTCPBinds: [Endpoint] {
        guard self.bindsTCPBesideUDP else { return self.tcpBinds }
        return self.tcpBinds + self.udpBinds.filter { !self.tcpBinds.contains($0) }
    }
}
