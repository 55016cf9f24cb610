internal import CSQLite
internal import Glibc

/// What SQLite said, and to which file.
public struct StoreError: Error, Sendable, CustomStringConvertible {
    public let description: String

    init(_ database: OpaquePointer?, path: String, _ work: String) {
        let cause = sqlite3_errmsg(database).map { String(cString: $0) } ?? "no memory"
        self.description =
            "\(path): cannot \(work): \(cause): see that edge.state_dir is writable and its disk has room"
    }

    init(_ description: String) {
        self.description = description
    }
}

/// One SQLite file, for one thread at a time.
final class Database {
    let path: String
    private let handle: OpaquePointer

    /// Opens the file, or makes it; a reader changes nothing, and fails where there is none.
    init(path: String, isReader: Bool = false) throws(StoreError) {
        self.path = path
        var handle: OpaquePointer?
        let access = isReader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
        let flags = access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        guard sqlite3_open_v2(path, &handle, flags, nil) == SQLITE_OK, let handle else {
            let error = StoreError(handle, path: path, "open it")
            sqlite3_close(handle)
            throw error
        }
        self.handle = handle
        sqlite3_busy_timeout(handle, 2000)
    }

    deinit {
        sqlite3_close_v2(self.handle)
    }

    func run(_ sql: String) throws(StoreError) {
        guard sqlite3_exec(self.handle, sql, nil, nil, nil) == SQLITE_OK else { throw self.error(sql) }
    }

    func prepare(_ sql: String) throws(StoreError) -> Statement {
        var statement: OpaquePointer?
        guard sqlite3_prepare_v3(self.handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil) == SQLITE_OK,
            let statement
        else { throw self.error(sql) }
        return Statement(statement, self)
    }

    /// Writes all that is committed to a new file, also where this one no longer has a name.
    func copy(to path: String) throws(StoreError) {
        let quoted = path.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''")
        try self.run("VACUUM INTO '\(quoted)'")
    }

    func error(_ work: String) -> StoreError { StoreError(self.handle, path: self.path, work) }
}

/// Which file a path leads to, whatever its name.
struct FileIdentity: Equatable {
    private let device: UInt
    private let number: UInt

    /// nil where there is none.
    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.device = UInt(status.st_dev)
        self.number = UInt(status.st_ino)
    }
}

/// A prepared statement.
final class Statement {
    private let handle: OpaquePointer
    private let database: Database

    fileprivate init(_ handle: OpaquePointer, _ database: Database) {
        self.handle = handle
        self.database = database
    }

    deinit {
        sqlite3_finalize(self.handle)
    }

    /// - Parameter index: from 1 on.
    func bind(_ index: Int32, _ number: Int64) {
        sqlite3_bind_int64(self.handle, index, number)
    }

    func bind(_ index: Int32, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes { buffer in
            // An empty blob needs an address too, or it would be NULL.
            guard let base = buffer.baseAddress, !buffer.isEmpty else {
                sqlite3_bind_zeroblob(self.handle, index, 0)
                return
            }
            sqlite3_bind_blob(self.handle, index, base, Int32(clamping: buffer.count), shim_SQLITE_TRANSIENT())
        }
    }

    /// Runs a statement that gives no rows.
    func run() throws(StoreError) {
        defer { sqlite3_reset(self.handle) }
        guard sqlite3_step(self.handle) == SQLITE_DONE else { throw self.database.error("write") }
    }

    /// Makes the statement ready to be bound and run again.
    func reset() {
        sqlite3_reset(self.handle)
    }

    /// Goes to the next row; false after the last.
    func next() throws(StoreError) -> Bool {
        switch sqlite3_step(self.handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default: throw self.database.error("read")
        }
    }

    /// - Parameter column: from 0 on.
    func number(_ column: Int32) -> Int64 { sqlite3_column_int64(self.handle, column) }

    func bytes(_ column: Int32) -> [UInt8] {
        let count = Int(sqlite3_column_bytes(self.handle, column))
        guard count > 0, let base = sqlite3_column_blob(self.handle, column) else { return [] }
        return [UInt8](UnsafeRawBufferPointer(start: base, count: count))
    }
}
