import GatehousePolicy
import Testing

@testable import GatehouseConfig

/// Whatever a file holds, a load ends in a configuration or in errors that name a place.
struct HostileFileTests {
    @Test("CONFIG: altered files end in a snapshot or in errors with a place", arguments: GoldenTests.cases)
    func mutations(name: String) throws {
        let original = Array(try #require(TestFiles.read("\(GoldenTests.folder)/\(name)")).utf8)
        let seed = name.utf8.reduce(UInt64(1469598103934665603)) { ($0 ^ UInt64($1)) &* 1099511628211 }
        var generator = Generator(state: seed)
        for round in 0..<150 {
            var bytes = original
            for _ in 0...Int.random(in: 0...3, using: &generator) { Self.alter(&bytes, &generator) }
            let result = Load(file: "\(GoldenTests.folder)/\(name)").run(bytes: bytes)
            #expect((result.configuration == nil) != result.errors.isEmpty, "seed \(seed), round \(round)")
            for error in result.errors {
                let hasPlace = error.location.line > 0 && error.location.column > 0
                #expect(hasPlace && !error.cure.isEmpty, "seed \(seed), round \(round): \(error)")
                #expect(!error.description.utf8.contains { $0 < 0x20 }, "seed \(seed), round \(round)")
            }
        }
    }

    private static func alter(_ bytes: inout [UInt8], _ generator: inout Generator) {
        guard !bytes.isEmpty else { return }
        let at = Int.random(in: 0..<bytes.count, using: &generator)
        let end = min(bytes.count, at + Int.random(in: 1...12, using: &generator))
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes.removeSubrange(at..<end)
        case 2: bytes.insert(contentsOf: bytes[at..<end], at: at)
        case 3: bytes[at] = Array("[]{}:,&*!|>'\"%@`#-?\n ".utf8).randomElement(using: &generator) ?? 0
        case 4: bytes.insert(contentsOf: "99999999999999999999".utf8, at: at)
        default: bytes.removeSubrange(at...)
        }
    }

    /// SplitMix64, so that a failure can be repeated.
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            self.state &+= 0x9E37_79B9_7F4A_7C15
            var word = self.state
            word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
            word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
            return word ^ (word >> 31)
        }
    }
}
