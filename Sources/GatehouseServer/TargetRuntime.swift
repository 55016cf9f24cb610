internal import GatehousePolicy
internal import SIPMessage
import Synchronization

/// What is known of one core server at run time, by all workers and across reloads: its addresses and whether it answers.
final class TargetRuntime: Sendable {
    struct Key: Hashable, Sendable {
        var transport: Transport
        var host: String
        var port: UInt16

        init(_ target: CoreTarget) {
            self.transport = target.transport
            self.host = target.host
            self.port = target.port
        }
    }

    let key: Key
    /// Set where the host is an address; no look-up is ever needed.
    let fixed: Endpoint?
    private let resolved = Mutex<[Endpoint]>([])
    private let isUp = Atomic<Bool>(true)
    /// Nanoseconds of the worker's clock until which new requests avoid the target (RESP-14).
    private let asideUntil = Atomic<UInt64>(0)

    init(_ key: Key) {
        self.key = key
        self.fixed = IPAddress(key.host).map { Endpoint(address: $0, port: key.port) }
    }

    /// Where the target is reached; empty while its name does not resolve.
    var addresses: [Endpoint] {
        if let fixed = self.fixed { return [fixed] }
        return self.resolved.withLock { $0 }
    }

    var address: Endpoint? {
        if let fixed = self.fixed { return fixed }
        return self.resolved.withLock { $0.first }
    }

    func setAddresses(_ addresses: [Endpoint]) {
        self.resolved.withLock { $0 = addresses }
    }

    /// What the health checks say; true before the first.
    var isHealthy: Bool { self.isUp.load(ordering: .relaxed) }

    func setHealthy(_ isHealthy: Bool) {
        guard self.isUp.exchange(isHealthy, ordering: .relaxed) != isHealthy else { return }
        self.changedAt.withLock { $0 = secondsSince1970() }
    }

    func putAside(until deadline: UInt64) {
        self.asideUntil.store(deadline, ordering: .relaxed)
    }

    func isAvailable(now: UInt64) -> Bool {
        self.isHealthy && self.asideUntil.load(ordering: .relaxed) <= now && (self.fixed != nil || self.address != nil)
    }

    /// When health last changed, in seconds since 1970; nil: it is as it was at start.
    private let changedAt = Mutex<Double?>(nil)
    /// Of the last answered health check.
    private let roundTrip = Mutex<Double?>(nil)

    var since: Double? { self.changedAt.withLock { $0 } }
    var roundTripInMilliseconds: Double? { self.roundTrip.withLock { $0 } }

    func noteRoundTrip(_ milliseconds: Double) {
        self.roundTrip.withLock { $0 = milliseconds }
    }

    var description: String {
        let transport = self.key.transport == .udp ? "udp" : self.key.transport == .tcp ? "tcp" : "tls"
        let host = self.key.host.contains(":") ? "[\(self.key.host)]" : self.key.host
        return "\(transport):\(host):\(self.key.port)"
    }
}
