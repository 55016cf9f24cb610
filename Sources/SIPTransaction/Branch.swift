/// The branch parameter of a Via value that we wrote (RFC 3261 §8.1.1.7).
///
/// Its text has a fixed length:
///
///     z9hG4bK 0003 00000000000004d2 9f86d081884c7d659a2feaa0c55ad015 a3bf4f1b2b0b822c      (without the spaces)
///     cookie  worker   number             128 random bits                 loop
///
/// The worker's number leads any worker that receives a response to the one that owns the transaction, and the number leads
/// that one to the transaction, without a shared table. The random bits make the branch unique across space and time, and
/// keep a peer that never saw the request from answering it: a response is ours if all of its branch equals the one sent.
/// The loop part is a `LoopDigest` (RFC 5393 §4.2).
public struct Branch: Sendable, Hashable {
    /// In bytes.
    public static let length = 75

    /// The worker that owns the client transaction.
    public let worker: UInt16
    /// The client transaction at its worker.
    public let number: UInt64
    public let loop: LoopDigest
    private let random: (high: UInt64, low: UInt64)

    public init(
        worker: UInt16, number: UInt64, loop: LoopDigest, using generator: inout some RandomNumberGenerator
    ) {
        self.worker = worker
        self.number = number
        self.loop = loop
        self.random = (generator.next(), generator.next())
    }

    /// Reads a branch as `append` writes it, in any letter case, since tokens compare without (RFC 3261 §7.3.1).
    ///
    /// - Parameter range: of the parameter's value, within `bytes`.
    /// - Returns: nil for a branch that is not ours.
    public init?(_ bytes: [UInt8], _ range: Range<Int>) {
        guard let worker = Self.worker(of: bytes, range),
            let number = HexadecimalText.value(of: bytes, at: range.lowerBound &+ 11),
            let high = HexadecimalText.value(of: bytes, at: range.lowerBound &+ 27),
            let low = HexadecimalText.value(of: bytes, at: range.lowerBound &+ 43),
            let loop = HexadecimalText.value(of: bytes, at: range.lowerBound &+ 59)
        else { return nil }
        self.worker = worker
        self.number = number
        self.random = (high, low)
        self.loop = LoopDigest(rawValue: loop)
    }

    /// The worker that a response with this branch belongs to, without a look at the rest; nil for one that is not ours.
    public static func worker(of bytes: [UInt8], _ range: Range<Int>) -> UInt16? {
        guard range.count == Self.length, range.lowerBound >= 0, range.upperBound <= bytes.count,
            hasMagicCookie(bytes, range)
        else { return nil }
        // The four digits of the worker end an eight-byte window that starts within the cookie.
        return HexadecimalText.lowHalf(of: bytes, at: range.lowerBound &+ 3)
    }

    /// Writes the 75 bytes.
    public func append(to bytes: inout [UInt8]) {
        bytes.append(contentsOf: magicCookie)
        HexadecimalText.append(lowHalf: self.worker, to: &bytes)
        HexadecimalText.append(self.number, to: &bytes)
        HexadecimalText.append(self.random.high, to: &bytes)
        HexadecimalText.append(self.random.low, to: &bytes)
        HexadecimalText.append(self.loop.rawValue, to: &bytes)
    }

    /// Compares all bits in the same time wherever they differ, so that an answer's delay tells nothing about them.
    public static func == (left: Branch, right: Branch) -> Bool {
        var difference = UInt64(left.worker ^ right.worker)
        difference |= left.number ^ right.number
        difference |= left.random.high ^ right.random.high
        difference |= left.random.low ^ right.random.low
        difference |= left.loop.rawValue ^ right.loop.rawValue
        return difference == 0
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.random.low)
    }
}

/// `z9hG4bK`, which marks a branch that is unique across space and time (RFC 3261 §8.1.1.7).
let magicCookie = Array("z9hG4bK".utf8)

/// Whether the bytes begin with the magic cookie, in any letter case.
func hasMagicCookie(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
    guard range.count >= 7 else { return false }
    let span = bytes.span
    for (index, expected) in zip(range, "z9hg4bk".utf8) {
        let byte = span[index]
        guard (byte &- 0x41 < 26 ? byte | 0x20 : byte) == expected else { return false }
    }
    return true
}
