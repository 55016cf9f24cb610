public import GatehousePolicy
internal import Glibc
internal import Synchronization

/// A registered contact as it outlives the process.
public struct StoredBinding: Sendable, Equatable {
    public var key: BindingKey
    public var domain: DomainKey
    /// `user@host`.
    public var aor: [UInt8]
    public var contact: [UInt8]
    public var session: Session
    /// The parameters of the session tag that describe how the REGISTER came: transport, TLS version and cipher, peer.
    public var facts: [UInt8]
    /// Seconds since 1970.
    public var expires: Int64

    public init(
        key: BindingKey, domain: DomainKey, aor: [UInt8], contact: [UInt8], session: Session, facts: [UInt8],
        expires: Int64
    ) {
        self.key = key
        self.domain = domain
        self.aor = aor
        self.contact = contact
        self.session = session
        self.facts = facts
        self.expires = expires
    }
}

/// The bindings on disk (`edge.state_dir`), so that a restarted edge knows whom it served and how they were reached.
///
/// Changes wait in memory, the latest for each binding, and go to the file in one transaction every half second, by a thread
/// of its own: a crash of the process loses at most the last second, one of the machine what the disk had not taken. A disk
/// that fails delays nothing: the changes wait, within a bound, and the log says so. A file that is taken away from under the
/// store is put there again.
public final class BindingStore: Sendable {
    enum Change: Sendable {
        case set(StoredBinding)
        case remove
    }

    struct State {
        var pending: [BindingKey: Change] = [:]
        var isStopping = false
        var statistics = Statistics()
    }

    /// What an operator should hear of, on the store's thread.
    public enum Event: Sendable {
        /// Nothing can be written, and the changes wait; told once, until `writesAgain`.
        case failing(StoreError)
        case writesAgain
        /// The file at this path was moved, replaced or deleted; what it held was put there again.
        case restored(path: String)
        /// A look-up failed.
        case unreadable(StoreError)
    }

    /// Counters since the start.
    public struct Statistics: Sendable, Equatable {
        public var written = 0
        /// Changes that the bound let go.
        public var dropped = 0
        /// Transactions that failed.
        public var failures = 0
        /// Changes that wait to be written.
        public var waiting = 0
    }

    /// Changes that may wait for a disk that fails; past it new ones are dropped and counted.
    static let pendingLimit = 2_000_000
    static let interval = Duration.milliseconds(500)
    private static let schemaVersion = 1

    let state = Mutex(State())
    let thread = Mutex<pthread_t?>(nil)
    /// When the thread was started, in seconds since 1970.
    let started = Atomic<Int64>(0)
    let directory: String
    let path: String
    let report: @Sendable (Event) -> Void

    /// - Parameters:
    ///   - directory: of the file, `bindings.sqlite`; both are made where they are not there.
    ///   - report: hears what becomes of the file; must not wait.
    /// - Throws: where the file can't be opened, or is of a newer version.
    public init(directory: String, report: @escaping @Sendable (Event) -> Void) throws(StoreError) {
        makeDirectory(directory)
        self.directory = directory
        self.path = directory + "/bindings.sqlite"
        self.report = report
        _ = try Self.open(path)
    }

    static func open(_ path: String) throws(StoreError) -> Database {
        let database = try Database(path: path)
        chmod(path, 0o600)  // who is reachable where is nobody else's to read
        try database.run("PRAGMA journal_mode = WAL")
        try database.run("PRAGMA synchronous = NORMAL")
        let version = try database.prepare("PRAGMA user_version")
        guard try version.next() else { throw database.error("read its version") }
        guard version.number(0) <= Int64(self.schemaVersion) else {
            throw StoreError("\(path): made by a newer version of Gatehouse: move it away, or run that version")
        }
        try database.run(
            """
            CREATE TABLE IF NOT EXISTS bindings (
                high INTEGER NOT NULL, low INTEGER NOT NULL, domain INTEGER NOT NULL, aor BLOB NOT NULL,
                contact BLOB NOT NULL, session INTEGER NOT NULL, arrival INTEGER NOT NULL, valid INTEGER NOT NULL,
                facts BLOB NOT NULL, expires INTEGER NOT NULL, PRIMARY KEY (high, low)
            ) WITHOUT ROWID
            """)
        try database.run("PRAGMA user_version = \(self.schemaVersion)")
        return database
    }

    /// Reads every binding that has not expired; `start` has the others forgotten. Before that, on the caller's thread.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - expect: hears first how many there may be.
    /// - Returns: how many there were.
    public func load(
        now: Int64, expect: (Int) -> Void = { _ in }, _ body: (StoredBinding) -> Void
    ) throws(StoreError) -> Int {
        let database = try Self.open(self.path)
        let total = try database.prepare("SELECT count(*) FROM bindings")
        if try total.next() { expect(Int(clamping: total.number(0))) }
        let rows = try database.prepare(
            "SELECT high, low, domain, aor, contact, session, arrival, valid, facts, expires FROM bindings WHERE expires > ?"
        )
        rows.bind(1, now)
        var count = 0
        while try rows.next() {
            guard let arrival = UInt8(exactly: rows.number(6)).flatMap({ Arrival(rawValue: $0) }) else { continue }
            body(
                StoredBinding(
                    key: BindingKey(
                        high: UInt64(bitPattern: rows.number(0)), low: UInt64(bitPattern: rows.number(1))),
                    domain: DomainKey(bits: UInt64(bitPattern: rows.number(2))), aor: rows.bytes(3),
                    contact: rows.bytes(4),
                    session: Session(
                        id: SessionID(UInt64(bitPattern: rows.number(5))), arrival: arrival,
                        expires: UInt32(clamping: rows.number(7))),
                    facts: rows.bytes(8), expires: rows.number(9)))
            count += 1
        }
        return count
    }

    /// How the registrations of some bindings came, as far as they are on disk or on the way there; empty where the file can't
    /// be read. For the admin endpoint: it reads the disk.
    public func facts(of keys: [BindingKey]) -> [BindingKey: [UInt8]] {
        var found: [BindingKey: [UInt8]] = [:]
        self.state.withLock { state in
            for key in keys {
                if case .set(let binding) = state.pending[key] { found[key] = binding.facts }
            }
        }
        do throws(StoreError) {
            let database = try Database(path: self.path, isReader: true)
            let rows = try database.prepare("SELECT facts FROM bindings WHERE high = ? AND low = ?")
            for key in keys where found[key] == nil {
                rows.bind(1, Int64(bitPattern: key.high))
                rows.bind(2, Int64(bitPattern: key.low))
                if try rows.next() { found[key] = rows.bytes(0) }
                rows.reset()
            }
        } catch {
            self.report(.unreadable(error))
        }
        return found
    }

    /// Keeps a binding; callable from any thread, and never waits for the disk.
    public func set(_ binding: StoredBinding) {
        self.change(binding.key, .set(binding))
    }

    public func remove(_ key: BindingKey) {
        self.change(key, .remove)
    }

    private func change(_ key: BindingKey, _ change: Change) {
        self.state.withLock { state in
            guard state.pending.count < Self.pendingLimit || state.pending[key] != nil else {
                state.statistics.dropped += 1
                return
            }
            state.pending[key] = change
        }
    }

    public var statistics: Statistics {
        self.state.withLock { state in
            var statistics = state.statistics
            statistics.waiting = state.pending.count
            return statistics
        }
    }
}

/// Makes a directory and those above it, for its owner alone; what fails shows when the file is opened.
func makeDirectory(_ path: String) {
    var end = path.startIndex
    while end < path.endIndex {
        end = path[path.index(after: end)...].firstIndex(of: "/") ?? path.endIndex
        mkdir(String(path[..<end]), 0o700)
    }
}
