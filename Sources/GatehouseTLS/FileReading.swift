internal import Glibc

/// Why a file was not read.
enum FileReadError: Error {
    /// `code` is errno, `reason` what the system says of it.
    case failed(code: Int32, reason: String)
    case tooLarge
}

/// Reads a whole file.
///
/// - Parameter status: gets the status of the file that was opened, which is the one that was read.
func readFile(_ path: String, limitInBytes limit: Int, status: inout stat) throws(FileReadError) -> [UInt8] {
    func failure() -> FileReadError { .failed(code: errno, reason: errorText(errno)) }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure() }
    defer { close(descriptor) }
    guard fstat(descriptor, &status) == 0 else { throw failure() }
    guard status.st_mode & S_IFMT != S_IFDIR else { throw .failed(code: EISDIR, reason: errorText(EISDIR)) }
    var bytes = [UInt8](repeating: 0, count: min(max(status.st_size, 0), limit) + 1)
    var count = 0
    while true {
        let room = bytes.count - count
        let got = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress?.advanced(by: count), room) }
        if got < 0 && errno == EINTR { continue }
        guard got >= 0 else { throw failure() }
        guard got > 0 else { break }
        count += got
        guard count <= limit else { throw .tooLarge }
        if count == bytes.count { bytes.append(contentsOf: repeatElement(0, count: min(4096, limit + 1 - count))) }
    }
    bytes.removeSubrange(count...)
    return bytes
}

/// What the system says of an errno.
func errorText(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 128)
    guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Lower-case hexadecimal digits, two a byte.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    var digits: [UInt8] = []
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0xF] { digits.append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble) }
    }
    return String(decoding: digits, as: UTF8.self)
}
