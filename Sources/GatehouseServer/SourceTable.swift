internal import SIPMessage
import Synchronization

/// What one remote address holds of a domain: its connections now and its requests this second.
final class Source: Sendable {
    let requests = RateMeter()
    /// The 503s that requests over the rate got.
    let refusals = RateMeter()
    fileprivate let connections = Atomic<Int>(0)
}

/// The remote addresses that have connections, for `connections_per_source` and `requests_per_second_per_source`.
///
/// An entry lives as long as a connection from its address, so the table is no larger than the number of connections. It is
/// looked up once a connection; a flow keeps its `Source`, so no request pays for the table.
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
        let key = Key(domain: domain, address: address)
        self.entries.withLock { entries in
            guard let source = entries[key] else { return }
            let left = source.connections.wrappingSubtract(1, ordering: .relaxed).newValue
            if left <= 0 { entries[key] = nil }
        }
    }

    var count: Int { self.entries.withLock { $0.count } }
}
