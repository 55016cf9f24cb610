internal import Glibc
internal import Synchronization

/// A folder of a test's own, which goes with this object and all that is in it; at the latest when the process ends.
public final class TemporaryFolder: Sendable {
    /// Without a trailing slash.
    public let path: String

    /// Those that are there; what a static property holds is never deinitialized.
    private static let paths: Mutex<Set<String>> = {
        atexit { for path in TemporaryFolder.paths.withLock({ $0 }) { TemporaryFolder.remove(path) } }
        return Mutex([])
    }()

    /// - Parameter purpose: a word of the folder's name.
    public init(for purpose: String) {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/gatehouse-\(purpose)-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { fatalError("no folder in \(parent): error \(errno)") }
        let path = String(cString: made)
        self.path = path
        _ = Self.paths.withLock { $0.insert(path) }
    }

    deinit {
        Self.remove(self.path)
        _ = Self.paths.withLock { $0.remove(self.path) }
    }

    /// Removes a folder and what is in it; links are not followed.
    private static func remove(_ path: String) {
        if let entries = opendir(path) {
            while let entry = readdir(entries) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name == "." || name == ".." { continue }
                let inner = "\(path)/\(name)"
                if unlink(inner) != 0 { self.remove(inner) }
            }
            closedir(entries)
        }
        rmdir(path)
    }
}
