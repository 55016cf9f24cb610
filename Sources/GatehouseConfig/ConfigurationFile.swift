internal import GatehousePolicy
internal import Glibc

/// Files as the loader takes them. Off the event loops: these calls block.
enum ConfigurationFile {
    /// Far above any sensible file: ten thousand domains are about 10 MiB.
    static let limitInBytes = 64 << 20

    /// - Throws: the reason in words, and what to do.
    static func read(_ path: String, limitInBytes: Int = limitInBytes) throws(ValueFault) -> [UInt8] {
        // Without O_NONBLOCK a FIFO would block until somebody writes.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw fault(errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw fault(errno) }
        guard status.st_mode & S_IFMT != S_IFDIR else {
            throw ValueFault(
                problem: "is a directory", cure: "give a file; include takes a pattern like domains/*.yaml")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw ValueFault(problem: "is no regular file", cure: "give a YAML file")
        }
        let tooLarge = ValueFault(
            problem: "is larger than \(sizeText(limitInBytes))", cure: "give each domain a file of its own")
        guard Int(status.st_size) <= limitInBytes else { throw tooLarge }
        var bytes: [UInt8] = []
        while true {
            let start = bytes.count
            let room = max(4096, Int(status.st_size) - start + 1)
            bytes.append(contentsOf: repeatElement(0, count: room))
            let count = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.map { $0 + start }, room)
            }
            let failure = errno
            bytes.removeLast(room - max(0, count))
            if count < 0 {
                guard failure == EINTR else { throw fault(failure) }
            } else if count == 0 {
                return bytes
            }
            guard bytes.count <= limitInBytes else { throw tooLarge }
        }
    }

    /// The files that match an absolute pattern, sorted by name. A pattern without wildcards is its own match, so that
    /// a missing file is missed.
    ///
    /// - Parameter directory: a leading part of the pattern that stands for itself, whatever characters it has.
    static func matches(_ pattern: String, in directory: String) -> [String] {
        let isAbsolute = pattern.hasPrefix("/")
        guard pattern.contains(where: { "*?[".contains($0) }) else { return [absolutePath(pattern, from: directory)] }
        let escaped = directory.map { "*?[]\\".contains($0) ? "\\\($0)" : "\($0)" }.joined()
        var result = glob_t()
        defer { globfree(&result) }
        guard glob(isAbsolute ? pattern : "\(escaped)/\(pattern)", 0, nil, &result) == 0 else { return [] }
        let paths = UnsafeBufferPointer(start: result.gl_pathv, count: Int(result.gl_pathc))
        return paths.compactMap { $0.map { absolutePath(String(cString: $0), from: "/") } }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// The folder that relative paths begin at.
    static func workingDirectory() -> String {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return String(cString: path)
    }

    private static func fault(_ error: Int32) -> ValueFault {
        let reason = String(cString: strerror(error))
        switch error {
        case EACCES, EPERM:
            return ValueFault(problem: "can't be read: \(reason)", cure: "let the user that gatehouse runs as read it")
        default: return ValueFault(problem: "can't be read: \(reason)", cure: "check the path")
        }
    }
}

/// What the loader takes from the machine where the files are silent.
enum Host {
    /// The host's name as far as it fits the name of an edge.
    static func name() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "edge" }
        let name = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }.prefix(63)
        return (try? parseEdgeName(String(decoding: name, as: UTF8.self))) ?? "edge"
    }

    /// The day in UTC; nil where the clock is beyond the calendar.
    static func today() -> CalendarDate? {
        var now = time(nil)
        var parts = tm()
        guard gmtime_r(&now, &parts) != nil else { return nil }
        return CalendarDate(year: Int(parts.tm_year) + 1900, month: Int(parts.tm_mon) + 1, day: Int(parts.tm_mday))
    }
}
