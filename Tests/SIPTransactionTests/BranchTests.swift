import TestSupport
import Testing

@testable import SIPTransaction

private func makeBranch(worker: UInt16 = 3, number: UInt64 = 1234, loop: UInt64 = 0xa3bf_4f1b, seed: UInt64 = 1)
    -> Branch
{
    var generator = SeededGenerator(seed: seed)
    return Branch(worker: worker, number: number, loop: LoopDigest(rawValue: loop), using: &generator)
}

private func text(of branch: Branch) -> [UInt8] {
    var bytes: [UInt8] = []
    branch.append(to: &bytes)
    return bytes
}

@Test("VIA-10: our branches start with the magic cookie and are tokens of a fixed length")
func branchText() {
    let bytes = text(of: makeBranch())
    let characters = String(decoding: bytes, as: UTF8.self)
    #expect(bytes.count == Branch.length)
    #expect(characters.hasPrefix("z9hG4bK000300000000000004d2"))
    #expect(characters.hasSuffix("00000000a3bf4f1b"))
    #expect(characters.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) })
}

@Test("A branch reads back what was written, wherever it stands", arguments: 1...100 as ClosedRange<UInt64>)
func branchRoundTrip(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let branch = Branch(
        worker: .random(in: 0...UInt16.max, using: &generator), number: generator.next(),
        loop: LoopDigest(rawValue: generator.next()), using: &generator)
    var bytes = Array("Via: SIP/2.0/UDP a;branch=".utf8)
    let start = bytes.count
    branch.append(to: &bytes)
    let range = start..<bytes.count
    #expect(Branch(bytes, range) == branch, "seed \(seed)")
    #expect(Branch(bytes, range)?.loop == branch.loop)
    #expect(Branch(bytes, range)?.number == branch.number)
    #expect(Branch.worker(of: bytes, range) == branch.worker)
    bytes.append(contentsOf: Array(";rport\r\n".utf8))
    #expect(Branch(bytes, range) == branch)
}

@Test("MSG-18: a branch of ours comes back in any letter case")
func branchIgnoresCase() {
    let branch = makeBranch(worker: 0xABCD)
    let upper = String(decoding: text(of: branch), as: UTF8.self).uppercased()
    #expect(Branch(Array(upper.utf8), 0..<Branch.length) == branch)
}

@Test("VIA-12: a branch that differs in any bit of any byte is not equal")
func branchDiffers() {
    let branch = makeBranch(worker: 0x0A1B, number: 0x0123_4567_89AB_CDEF)
    let original = text(of: branch)
    for index in original.indices {
        for bit in 0..<8 {
            var bytes = original
            bytes[index] ^= 1 << bit
            let isSameLetter = bit == 5 && (original[index] | 0x20 >= 0x61)
            #expect((Branch(bytes, 0..<Branch.length) == branch) == isSameLetter, "byte \(index) bit \(bit)")
        }
    }
}

@Test("A branch that is not ours is refused, and no range traps")
func branchRefused() {
    let bytes = text(of: makeBranch())
    for other in ["", "z9hG4bK", "z9hG4bKabc", String(repeating: "z", count: 75)] {
        #expect(Branch(Array(other.utf8), 0..<other.utf8.count) == nil)
    }
    for index in 7..<Branch.length {
        for byte in UInt8.min...UInt8.max {
            var changed = bytes
            changed[index] = byte
            let isDigit = (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20)
            #expect((Branch(changed, 0..<Branch.length) != nil) == isDigit)
        }
    }
    #expect(Branch(bytes, 0..<74) == nil)
    #expect(Branch(bytes, 1..<76) == nil)
    #expect(Branch(bytes + [0x30], 0..<76) == nil)
    #expect(Branch(bytes, -1..<74) == nil)
}

@Test("Branches of one transaction differ by 128 random bits")
func branchIsRandom() {
    #expect(makeBranch(seed: 1) != makeBranch(seed: 2))
    let first = text(of: makeBranch(seed: 1))
    let second = text(of: makeBranch(seed: 2))
    #expect(first[..<27] == second[..<27])
    #expect(first[27..<43] != second[27..<43])
    #expect(first[43..<59] != second[43..<59])
}
