import GatehousePolicy
import Testing

@Suite("Refusal")
struct RefusalTests {
    @Test("each rule has a label of its own, fit for a metric")
    func labels() {
        let labels = Refusal.Rule.allCases.map(\.label.description)
        #expect(Set(labels).count == labels.count)
        for label in labels {
            #expect(!label.isEmpty && label.utf8.allSatisfy { 0x61...0x7A ~= $0 || $0 == 0x5F }, "\(label)")
        }
    }

    @Test("it takes a forger to break the rules of the tag, and those alone")
    func attacks() {
        #expect(Refusal.Rule.allCases.filter(\.isAttack) == [.forgedTag, .expiredTag, .doubledTag])
    }

    @Test("no secure way is 480 with Warning 380")
    func sipsNotAllowed() {
        #expect(Refusal.sipsNotAllowed.status == 480)
        #expect(Refusal.sipsNotAllowed.warning == Refusal.Warning(code: 380, text: "SIPS Not Allowed"))
        #expect(Refusal.sipsRequired.status == 480)
        #expect(Refusal.sipsRequired.warning == Refusal.Warning(code: 381, text: "SIPS Required"))
        #expect(Refusal(403, .untagged, warning: "why").warning?.code == 399)
        #expect(Refusal.Warning(code: 399, text: "a") != Refusal.Warning(code: 399, text: "b"))
    }
}
