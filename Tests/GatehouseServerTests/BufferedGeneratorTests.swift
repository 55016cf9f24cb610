import Testing

@testable import GatehouseServer

@Suite("BufferedGenerator")
struct BufferedGeneratorTests {
    @Test("no number comes twice, within a buffer or across refills")
    func distinct() {
        var generator = BufferedGenerator()
        let numbers = (0..<1000).map { _ in generator.next() }
        #expect(Set(numbers).count == numbers.count)
        #expect(!numbers.contains(0))
    }

    @Test("two generators have nothing in common, nor has a copy once it is filled anew")
    func independent() {
        var one = BufferedGenerator()
        var other = BufferedGenerator()
        let numbers = Set((0..<200).map { _ in one.next() })
        #expect(numbers.isDisjoint(with: (0..<200).map { _ in other.next() }))
        var copy = one
        let tail = (0..<64).map { _ in one.next() }.suffix(32)
        #expect(Set(tail).isDisjoint(with: (0..<64).map { _ in copy.next() }.suffix(32)))
    }

    @Test("each bit is set about half the time")
    func bits() {
        var generator = BufferedGenerator()
        var counts = [Int](repeating: 0, count: 64)
        for _ in 0..<4096 {
            let number = generator.next()
            for bit in 0..<64 where number >> UInt64(bit) & 1 == 1 { counts[bit] += 1 }
        }
        // Eight standard deviations to each side.
        #expect(counts.allSatisfy { 1792...2304 ~= $0 }, "\(counts)")
    }
}
