import TestSupport
import Testing

@testable import SIPTransaction

private func hash(_ bytes: [UInt8]) -> (UInt64, UInt64) {
    var hash = KeyedHash(KeyedHash.Key(k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908))
    hash.appendBytes(0..<bytes.count, of: bytes, foldingCase: false)
    return hash.finish()
}

@Test(
    "The keyed hash is SipHash-1-3 with 128 bits of output, as the reference algorithm computes it",
    arguments: [
        (0, 0xbea5_8827_b2bc_7ee7, 0x0130_30dd_6adb_62fd),
        (1, 0xa8ed_d360_0437_6ffc, 0x63f0_2f2b_cc73_055e),
        (7, 0xc3e0_aaf2_23b9_8410, 0x77ab_4808_c82e_2fa6),
        (8, 0xb4da_e3d5_e1fe_12aa, 0x99c7_f935_ab16_4f72),
        (15, 0x6c52_bdb2_0555_7ec1, 0x0901_7e1e_eccd_2129),
        (16, 0xeb8e_5115_57d9_a8d0, 0x9317_9e3d_f8b0_13b5),
        (63, 0x6f42_fe4e_e300_584c, 0xad60_52a7_0a6b_9f07),
    ] as [(UInt8, UInt64, UInt64)])
func sipHash(count: UInt8, first: UInt64, second: UInt64) {
    #expect(hash(Array(0..<count)) == (first, second))
}

@Test("The keyed hash does not depend on how its bytes arrive", arguments: 1...50 as ClosedRange<UInt64>)
func sipHashInParts(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let bytes = (0..<200).map { _ in UInt8.random(in: 0...255, using: &generator) }
    var parts = KeyedHash(KeyedHash.Key(k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908))
    var start = 0
    while start < bytes.count {
        let end = min(bytes.count, start + Int.random(in: 0..<20, using: &generator))
        parts.appendBytes(start..<end, of: bytes, foldingCase: false)
        start = end
    }
    #expect(parts.finish() == hash(bytes), "seed \(seed)")
}

@Test("Folding case changes A to Z and nothing else")
func foldsCase() {
    for byte in UInt8.min...UInt8.max {
        let isUpper = (0x41...0x5A).contains(byte)
        for position in 0..<8 {
            let word = UInt64(byte) << UInt64(8 * position) | (position == 0 ? 0xC1 << 56 : 0xC1)
            let expected = isUpper ? word | 0x20 << UInt64(8 * position) : word
            #expect(KeyedHash.lowercased(word) == expected)
        }
    }
}

@Test("What moves from one part to the next changes the hash")
func separatesParts() {
    func hash(_ first: String, _ second: String) -> UInt64 {
        var hash = KeyedHash(KeyedHash.Key(k0: 1, k1: 2))
        for part in [first, second].map({ Array($0.utf8) }) { hash.combine(0..<part.count, of: part) }
        return hash.finish().0
    }
    #expect(hash("ab", "c") != hash("a", "bc"))
    #expect(hash("abc", "") != hash("", "abc"))
    #expect(hash("ab", "c") == hash("ab", "c"))
}
