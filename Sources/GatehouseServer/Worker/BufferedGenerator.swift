internal import Glibc

/// The system's random numbers, 256 bytes a call (the most that getentropy gives): a branch takes sixteen, and a system call
/// for each word would cost more than all else about it.
struct BufferedGenerator: RandomNumberGenerator {
    private static let count = 32

    private var words: [UInt64] = []

    mutating func next() -> UInt64 {
        if let word = self.words.popLast() { return word }
        self.refill()
        return self.words.popLast() ?? SystemRandomNumberGenerator.word()
    }

    private mutating func refill() {
        self.words = [UInt64](unsafeUninitializedCapacity: Self.count) { buffer, initialized in
            guard let start = buffer.baseAddress, getentropy(start, Self.count * 8) == 0 else { return }
            initialized = Self.count
        }
    }
}

extension SystemRandomNumberGenerator {
    fileprivate static func word() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }
}
