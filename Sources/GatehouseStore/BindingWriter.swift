internal import GatehousePolicy

/// What the store's thread does to the file.
final class BindingWriter {
    let database: Database
    private let upsert: Statement
    private let delete: Statement
    private let file: FileIdentity?

    init(_ database: Database) throws(StoreError) {
        self.database = database
        self.file = FileIdentity(database.path)
        self.upsert = try database.prepare("INSERT OR REPLACE INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        self.delete = try database.prepare("DELETE FROM bindings WHERE high = ? AND low = ?")
    }

    /// Whether the file that is open is the one at its path.
    var isCurrent: Bool { self.file != nil && FileIdentity(self.database.path) == self.file }

    /// Forgets what has expired.
    func purge(now: Int64) throws(StoreError) {
        let purge = try self.database.prepare("DELETE FROM bindings WHERE expires <= ?")
        purge.bind(1, now)
        try purge.run()
    }

    /// All or nothing.
    func write(_ changes: [BindingKey: BindingStore.Change]) throws(StoreError) {
        try self.database.run("BEGIN IMMEDIATE")
        do throws(StoreError) {
            for (key, change) in changes { try self.write(key, change) }
            try self.database.run("COMMIT")
        } catch {
            try? self.database.run("ROLLBACK")
            throw error
        }
    }

    private func write(_ key: BindingKey, _ change: BindingStore.Change) throws(StoreError) {
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
