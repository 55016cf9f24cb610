internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseStore
internal import GatehouseTLS
internal import Logging
internal import SIPTransaction
import Synchronization

/// What all workers share. Each part is immutable, atomic, or a table whose locks are held for one look-up.
final class ServerShared: Sendable {
    /// Tells this run of the edge from earlier ones in flow tokens.
    let boot: UInt32
    let secret: EdgeSecret
    let matcher: TransactionMatcher
    let bindings: BindingTable
    /// The bindings on disk; nil in tests of the parts.
    let store: BindingStore?
    let calls = CallTable()
    let metrics: Metrics
    let log: Logger
    let tlsContext: TLSServerContext
    let tlsClientContext: TLSClientContext
    /// Connections that peers opened and let us use.
    let aliases = AliasTable()
    /// Connections that we opened to peers, over all workers.
    let outboundConnections = Atomic<Int>(0)
    /// Next hops being located, over all workers.
    let lookups = Atomic<Int>(0)
    /// Asks for every name that the edge needs.
    let dns: DNSClient
    /// Transactions alive, over all workers, against `edge.limits.transactions`.
    let transactions = Atomic<Int>(0)
    /// Requests under way that have no final answer yet, over all workers: what draining waits for beside calls.
    let unanswered = Atomic<Int>(0)
    /// Connections open and UDP peers known, over all workers.
    let connections = Atomic<Int>(0)
    /// UDP peers known, over all workers, against `edge.limits.datagram_flows`.
    let datagramPeers = Atomic<Int>(0)
    let isDraining = Atomic<Bool>(false)
    private let boxes = Mutex<[Mailbox]>([])

    init(
        secret: EdgeSecret, bindings: BindingTable, metrics: Metrics, log: Logger, tlsContext: TLSServerContext,
        tlsClientContext: TLSClientContext,
        dns: DNSClient, store: BindingStore? = nil
    ) {
        var generator = SystemRandomNumberGenerator()
        self.boot = UInt32.random(in: .min ... .max, using: &generator)
        self.secret = secret
        self.matcher = TransactionMatcher(using: &generator)
        self.bindings = bindings
        self.metrics = metrics
        self.log = log
        self.tlsContext = tlsContext
        self.tlsClientContext = tlsClientContext
        self.dns = dns
        self.store = store
    }

    /// Makes or refreshes a binding here and on disk; false where the table is full.
    ///
    /// - Parameters:
    ///   - seconds: how long it lasts.
    ///   - facts: how the REGISTER came, as the session tag says it.
    func bind(_ binding: Binding, _ key: BindingKey, for seconds: UInt32, facts: [UInt8]) -> Bool {
        guard self.bindings.set(binding, for: key) else { return false }
        self.store?.set(
            StoredBinding(
                key: key, domain: binding.domain, aor: binding.aor, contact: binding.contact,
                session: binding.session, facts: facts, expires: Int64(secondsSince1970()) + Int64(seconds)))
        return true
    }

    /// Ends a binding here and on disk.
    func unbind(_ key: BindingKey) {
        if self.bindings.remove(key) { self.store?.remove(key) }
    }

    /// Takes what the disk has: bindings whose connections an earlier run had, so that none of them is there now.
    ///
    /// - Parameter now: nanoseconds of the worker's clock.
    func loadBindings(now: UInt64) throws(StoreError) -> Int {
        guard let store = self.store else { return 0 }
        let time = Int64(secondsSince1970())
        let gone = FlowReference(boot: self.boot &+ 1, worker: 0, number: 0)
        return try store.load(now: time, expect: { self.bindings.reserve($0) }) { stored in
            let left = UInt64(clamping: stored.expires - time)
            _ = self.bindings.set(
                Binding(
                    domain: stored.domain, aor: stored.aor, flow: gone, contact: stored.contact,
                    session: stored.session, deadline: now &+ min(left, 8 * 86_400) &* 1_000_000_000),
                for: stored.key)
        }
    }

    var workerCount: Int { self.mailboxes.count }

    var mailboxes: [Mailbox] { self.boxes.withLock { $0 } }

    func setMailboxes(_ mailboxes: [Mailbox]) {
        self.boxes.withLock { $0 = mailboxes }
    }
}
