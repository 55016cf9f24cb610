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
/// that fails delays nothing: the changes wait, within a bound, and the log says so.
public final class BindingStore: Sendable {
    private enum Change: Sendable {
        case set(StoredBinding)
        case remove
    }

    private struct State {
        var pending: [BindingKey: Change] = [:]
        var isStopping = false
        var statistics = Statistics()
    }

    /// Counters since the start.
    public struct Statistics: Sendable, Equatable {
        public var written = 0
        /// Changes that the bound let go.
        public var dropped = 0
        public var failures = 0
    }

    /// Changes that may wait for a disk that fails; past it new ones are dropped and counted.
    private static let pendingLimit = 2_000_000
    private static let intervalInMicroseconds: useconds_t = 500_000
    private static let schemaVersion = 1

    private let state = Mutex(State())
    private let path: String
    private let report: @Sendable (StoreError) -> Void

    /// - Parameters:
    ///   - directory: of the file, `bindings.sqlite`; both are made where they are not there.
    ///   - report: hears of each failure to write, on the store's thread.
    /// - Throws: where the file can't be opened, or is of a newer version.
    public init(directory: String, report: @escaping @Sendable (StoreError) -> Void) throws(StoreError) {
        makeDirectory(directory)
        self.path = directory + "/bindings.sqlite"
        self.report = report
        _ = try Self.open(path)
    }

    private static func open(_ path: String) throws(StoreError) -> Database {
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
            let database = try Self.open(self.path)
            let rows = try database.prepare("SELECT facts FROM bindings WHERE high = ? AND low = ?")
            for key in keys where found[key] == nil {
                rows.bind(1, Int64(bitPattern: key.high))
                rows.bind(2, Int64(bitPattern: key.low))
                if try rows.next() { found[key] = rows.bytes(0) }
                rows.reset()
            }
        } catch {
            self.report(error)
        }
        return found
    }

    /// Starts the thread that writes, until `stop`; first it forgets what has expired.
    ///
    /// - Parameter now: seconds since 1970.
    public func start(now: Int64) throws(StoreError) {
        self.started.store(now, ordering: .relaxed)
        let box = Unmanaged.passRetained(self)
        var id = pthread_t()
        let status = pthread_create(
            &id, nil,
            { context in
                guard let context else { return nil }
                let store = Unmanaged<BindingStore>.fromOpaque(context).takeRetainedValue()
                store.work()
                return nil
            }, box.toOpaque())
        guard status == 0 else {
            box.release()
            throw StoreError("the binding store cannot start its thread: \(String(cString: strerror(status)))")
        }
        self.thread.withLock { $0 = id }
    }

    private let thread = Mutex<pthread_t?>(nil)
    private let started = Atomic<Int64>(0)

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

    public var statistics: Statistics { self.state.withLock { $0.statistics } }

    /// Writes what waits, and ends the thread.
    public func stop() {
        let thread = self.thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        self.state.withLock { $0.isStopping = true }
        if let thread { pthread_join(thread, nil) }
    }

    // MARK: The thread

    private func work() {
        var writer: Writer?
        do throws(StoreError) {
            writer = try Writer(try Self.open(self.path))
            try writer?.purge(now: self.started.load(ordering: .relaxed))
        } catch {
            self.report(error)
        }
        while true {
            let (pending, isStopping) = self.state.withLock { state in
                defer { state.pending = [:] }
                return (state.pending, state.isStopping)
            }
            if !pending.isEmpty {
                do throws(StoreError) {
                    let ready: Writer
                    if let writer { ready = writer } else { ready = try Writer(try Self.open(self.path)) }
                    writer = ready
                    try ready.write(pending)
                    self.state.withLock { $0.statistics.written += pending.count }
                } catch {
                    writer = nil
                    self.keep(pending)
                    self.report(error)
                }
            }
            if isStopping { return }
            // In short steps, so that a stop need not wait.
            for _ in 0..<10 where !self.state.withLock({ $0.isStopping }) { usleep(Self.intervalInMicroseconds / 10) }
        }
    }

    /// Puts back what could not be written, beneath what came meanwhile.
    private func keep(_ failed: [BindingKey: Change]) {
        self.state.withLock { state in
            state.statistics.failures += 1
            for (key, change) in failed where state.pending[key] == nil {
                guard state.pending.count < Self.pendingLimit else {
                    state.statistics.dropped += 1
                    continue
                }
                state.pending[key] = change
            }
        }
    }

    private final class Writer {
        let database: Database
        let upsert: Statement
        let delete: Statement

        init(_ database: Database) throws(StoreError) {
            self.database = database
            self.upsert = try database.prepare("INSERT OR REPLACE INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            self.delete = try database.prepare("DELETE FROM bindings WHERE high = ? AND low = ?")
        }

        /// Forgets what has expired.
        func purge(now: Int64) throws(StoreError) {
            let purge = try self.database.prepare("DELETE FROM bindings WHERE expires <= ?")
            purge.bind(1, now)
            try purge.run()
        }

        func write(_ changes: [BindingKey: Change]) throws(StoreError) {
            try self.database.run("BEGIN IMMEDIATE")
            do throws(StoreError) {
                for (key, change) in changes { try self.write(key, change) }
                try self.database.run("COMMIT")
            } catch {
                try? self.database.run("ROLLBACK")
                throw error
            }
        }

        private func write(_ key: BindingKey, _ change: Change) throws(StoreError) {
            switch change {
            case .remove:
                self.delete.bind(1, Int64(bitPattern: key.high))
                self.delete.bind(2, Int64(bitPattern: key.low))
                try self.delete.run()
            case .set(let binding):
                self.upsert.bind(1, Int64(bitPattern: key.high))
                self.upsert.bind(2, Int64(bitPattern: key.low))
                self.upsert.bind(3, Int64(bitPattern: binding.domain.bits))
                self.upsert.bind(4, binding.aor)
                self.upsert.bind(5, binding.contact)
                self.upsert.bind(6, Int64(bitPattern: binding.session.id.bits))
                self.upsert.bind(7, Int64(binding.session.arrival.rawValue))
                self.upsert.bind(8, Int64(binding.session.expires))
                self.upsert.bind(9, binding.facts)
                self.upsert.bind(10, binding.expires)
                try self.upsert.run()
            }
        }
    }
}

/// Makes a directory and those above it, for its owner alone; what fails shows when the file is opened.
private func makeDirectory(_ path: String) {
    var end = path.startIndex
    while end < path.endIndex {
        end = path[path.index(after: end)...].firstIndex(of: "/") ?? path.endIndex
        mkdir(String(path[..<end]), 0o700)
    }
}
