internal import COpenSSL
internal import Glibc

/// The key under which an edge writes its session tags and tokens, shared by the edges of a cluster.
///
/// The file holds 64 hexadecimal digits on a line. A second such line is the previous key, under which is still read
/// but no longer written, so that a key can be replaced without ending calls. Lines that start with `#` are comments.
public struct EdgeSecret: Sendable {
    /// 32 bytes.
    let current: [UInt8]
    let previous: [UInt8]?

    static let lengthInBytes = 32

    init(current: [UInt8], previous: [UInt8]?) {
        self.current = current
        self.previous = previous
    }

    /// Reads the key, or makes it at first start.
    ///
    /// - Parameters:
    ///   - path: `edge.secret_file`; its directory is made too, where it is missing.
    ///   - create: whether a missing file is written (readable by its owner alone).
    /// - Throws: what is wrong with the file, and what to do.
    public static func load(path: String, create: Bool) throws(EdgeSecretError) -> EdgeSecret {
        do throws(FileError) {
            return try Self.read(path)
        } catch {
            switch error {
            case .failed(let code, _) where code == ENOENT && create:
                return try Self.create(path)
            case .failed(let code, _) where code == ENOENT:
                throw EdgeSecretError(path: path, problem: .missing)
            case .failed(_, let reason):
                throw EdgeSecretError(path: path, problem: .unreadable(reason))
            case .tooLarge:
                throw EdgeSecretError(path: path, problem: .malformed(line: 1))
            case .problem(let problem):
                throw EdgeSecretError(path: path, problem: problem)
            }
        }
    }

    private enum FileError: Error {
        case failed(code: Int32, reason: String)
        case tooLarge
        case problem(EdgeSecretError.Problem)
    }

    private static func read(_ path: String) throws(FileError) -> EdgeSecret {
        let text: [UInt8]
        do throws(FileReadError) {
            var status = stat()
            text = try readFile(path, limitInBytes: 4096, status: &status)
            guard status.st_mode & 0o007 == 0 else { throw FileReadError.failed(code: EACCES, reason: "") }
        } catch {
            switch error {
            case .failed(let code, let reason) where reason.isEmpty && code == EACCES:
                throw .problem(.exposed)
            case .failed(let code, let reason): throw .failed(code: code, reason: reason)
            case .tooLarge: throw .tooLarge
            }
        }
        var keys: [[UInt8]] = []
        for (index, line) in text.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            let line = line.filter { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }
            guard let first = line.first, first != 0x23 else { continue }
            guard let key = Self.decode(line), keys.count < 2 else { throw .problem(.malformed(line: index + 1)) }
            keys.append(key)
        }
        guard let current = keys.first else { throw .problem(.malformed(line: 1)) }
        return EdgeSecret(current: current, previous: keys.count > 1 ? keys[1] : nil)
    }

    private static func decode(_ digits: [UInt8]) -> [UInt8]? {
        guard digits.count == 2 * Self.lengthInBytes else { return nil }
        var key: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            let pair = String(decoding: digits[index..<index + 2], as: UTF8.self)
            guard pair.utf8.allSatisfy({ $0 != 0x2B && $0 != 0x2D }), let byte = UInt8(pair, radix: 16) else {
                return nil
            }
            key.append(byte)
        }
        return key
    }

    /// Writes a new key aside and links it into place, so that of two edges that start at once both read one key.
    private static func create(_ path: String) throws(EdgeSecretError) -> EdgeSecret {
        var key = [UInt8](repeating: 0, count: Self.lengthInBytes)
        guard RAND_priv_bytes(&key, Int32(key.count)) == 1 else {
            throw EdgeSecretError(path: path, problem: .unwritable("the system gives no random bytes"))
        }
        func failure() -> EdgeSecretError { EdgeSecretError(path: path, problem: .unwritable(errorText(errno))) }
        if let slash = path.utf8.lastIndex(of: 0x2F), slash != path.startIndex {
            guard mkdir(String(path[..<slash]), 0o700) == 0 || errno == EEXIST else { throw failure() }
        }
        let temporary = "\(path).\(getpid()).new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure() }
        defer { unlink(temporary) }
        let line = Array("\(hexadecimal(key))\n".utf8)
        let written = write(descriptor, line, line.count)
        let synced = fsync(descriptor)
        guard close(descriptor) == 0, written == line.count, synced == 0 else { throw failure() }
        if link(temporary, path) == 0 { return EdgeSecret(current: key, previous: nil) }
        guard errno == EEXIST else { throw failure() }
        return try Self.load(path: path, create: false)
    }
}

/// Why the edge has no key, and what to do.
public struct EdgeSecretError: Error, Equatable, CustomStringConvertible {
    public enum Problem: Equatable, Sendable {
        case missing
        case unreadable(String)
        /// Anyone on the host may read the file.
        case exposed
        case malformed(line: Int)
        case unwritable(String)
    }

    public var path: String
    public var problem: Problem

    public var description: String {
        switch self.problem {
        case .missing:
            "\(self.path) does not exist: start the edge once to make it, or copy it from another edge of the cluster"
        case .unreadable(let reason):
            "\(self.path) can't be read (\(reason)): let the edge's user read edge.secret_file"
        case .exposed:
            "\(self.path) can be read by every user of this host: chmod 600 it, and replace the key"
        case .malformed(let line):
            "\(self.path):\(line): not a key: give 64 hexadecimal digits a line, the current key and then at most one "
                + "previous key; or remove the file to have one made"
        case .unwritable(let reason):
            "\(self.path) can't be made (\(reason)): let the edge's user write to the directory of edge.secret_file"
        }
    }
}
