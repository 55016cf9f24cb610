internal import SIPMessage
import Synchronization

/// What one remote address holds of a domain: its connections and UDP peers now, and its requests this second.
final class Source: Sendable {
    let requests = RateMeter()
    /// The 503s that requests over the rate got.
    let refusals = RateMeter()
    fileprivate let connections = Atomic<Int>(0)
    fileprivate let datagramPeers = Atomic<Int>(0)
}

/// The remote addresses that have flows, for `connections_per_source` and `requests_per_second_per_source`.
///
/// An entry lives as long as a flow from its address, so the table is no larger than the number of flows. It is looked up once a
/// flow, which keeps its `Source`, so no request pays for the table.
final class SourceTable: Sendable {
    private struct Key: Hashable {
        var domain: UInt64
        var address: IPAddress
    }

    private let entries = Mutex<[Key: Source]>([:])

    /// Takes a place for one more connection of `address` to `domain`; nil where it has `limit` of them already.
    func enter(_ address: IPAddress, domain: UInt64, limit: Int?) -> Source? {
        let key = Key(domain: domain, address: address)
        return self.entries.withLock { entries in
            let source = entries[key] ?? Source()
            guard source.connections.load(ordering: .relaxed) < limit ?? .max else { return nil }
            source.connections.wrappingAdd(1, ordering: .relaxed)
            entries[key] = source
            return source
        }
    }

    /// Gives the place back.
    func leave(_ address: IPAddress, domain: UInt64) {
        self.remove(Key(domain: domain, address: address)) { $0.connections.wrappingSubtract(1, ordering: .relaxed) }
    }

    /// Takes note of a UDP peer of `address`, which is no connection.
    func enterDatagrams(_ address: IPAddress, domain: UInt64) -> Source {
        let key = Key(domain: domain, address: address)
        return self.entries.withLock { entries in
            let source = entries[key] ?? Source()
            source.datagramPeers.wrappingAdd(1, ordering: .relaxed)
            entries[key] = source
            return source
        }
    }

    func leaveDatagrams(_ address: IPAddress, domain: UInt64) {
        self.remove(Key(domain: domain, address: address)) { $0.datagramPeers.wrappingSubtract(1, ordering: .relaxed) }
    }

    private func remove(_ key: Key, _ countOut: (Source) -> Void) {
        self.entries.withLock { entries in
            guard let source = entries[key] else { return }
            countOut(source)
            let left =
                source.connections.load(ordering: .relaxed) &+ source.datagramPeers.load(ordering: .relaxed)
            if left <= 0 { entries[key] = nil }
        }
    }

    var count: Int { self.entries.withLock { $0.count } }
}
