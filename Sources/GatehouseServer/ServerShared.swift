internal import GatehouseNet
internal import GatehousePolicy
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
    /// Connections open, over all workers.
    let connections = Atomic<Int>(0)
    let isDraining = Atomic<Bool>(false)
    private let boxes = Mutex<[Mailbox]>([])

    init(
        secret: EdgeSecret, bindings: BindingTable, metrics: Metrics, log: Logger, tlsContext: TLSServerContext, tlsClientContext: TLSClientContext,
        dns: DNSClient
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
    }

    var workerCount: Int { self.mailboxes.count }

    var mailboxes: [Mailbox] { self.boxes.withLock { $0 } }

    func setMailboxes(_ mailboxes: [Mailbox]) {
        self.boxes.withLock { $0 = mailboxes }
    }
}
