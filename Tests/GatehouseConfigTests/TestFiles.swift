import Glibc
import TestSupport

@testable import GatehouseConfig

/// Files beside the tests and in folders of their own.
enum TestFiles {
    static let repository = (0..<3).reduce(#filePath) { path, _ in folder(of: path) }

    static var isUpdating: Bool { getenv("UPDATE_EXPECTED") != nil }

    static func besideTests(_ name: String) -> String {
        folder(of: #filePath) + "/" + name
    }

    static func read(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        while case let byte = getc(file), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func write(_ text: String, to path: String) {
        guard let file = fopen(path, "w") else { return }
        fputs(text, file)
        fclose(file)
    }

    /// The names of the entries of a folder, sorted.
    static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    /// Makes a folder with files for the time of `body`; names may lead through folders.
    static func withFolder<Result>(
        _ files: [String: String], _ body: (_ path: String) throws -> Result
    ) rethrows -> Result {
        let folder = TemporaryFolder(for: "config")
        for (name, text) in files {
            var parent = folder.path
            for step in name.split(separator: "/").dropLast() {
                parent += "/\(step)"
                mkdir(parent, 0o700)
            }
            write(text, to: "\(folder.path)/\(name)")
        }
        return try withExtendedLifetime(folder) { try body(folder.path) }
    }
}
