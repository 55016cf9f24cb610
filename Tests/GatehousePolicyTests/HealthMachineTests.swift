import GatehousePolicy
import Testing

private func makeMachine(downAfter: Int = 3, upAfter: Int = 2) -> HealthMachine {
    HealthMachine(DomainCoreSettings.Health(downAfter: downAfter, upAfter: upAfter))
}

@Test("A target is up at first, down after that many failures in a row, and up after that many successes")
func hysteresis() {
    var machine = makeMachine()
    #expect(machine.isUp)
    #expect([machine.probeFailed(), machine.probeFailed()] == [nil, nil])
    #expect(machine.isUp)
    #expect(machine.probeFailed() == .wentDown)
    #expect(!machine.isUp)
    #expect(machine.probeFailed() == nil)
    #expect(machine.probeAnswered(status: 200) == nil)
    #expect(!machine.isUp)
    #expect(machine.probeAnswered(status: 200) == .wentUp)
    #expect(machine.isUp)
    #expect(machine.probeAnswered(status: 200) == nil)
}

@Test("What interrupts a row starts it anew")
func interruptedRows() {
    var machine = makeMachine()
    for _ in 0..<5 {
        #expect([machine.probeFailed(), machine.probeFailed()] == [nil, nil])
        #expect(machine.probeAnswered(status: 200) == nil)
    }
    #expect([machine.probeFailed(), machine.probeFailed(), machine.probeFailed()] == [nil, nil, .wentDown])
    for _ in 0..<5 {
        #expect(machine.probeAnswered(status: 200) == nil)
        #expect(machine.probeFailed() == nil)
    }
    #expect(!machine.isUp)
}

@Test(
    "Any final response but a 503 shows that a target serves",
    arguments: [(200, true), (404, true), (401, true), (500, true), (501, true), (503, false), (603, true)])
func servingStatus(status: Int, isUp: Bool) {
    var machine = makeMachine(downAfter: 1)
    #expect(machine.probeAnswered(status: status) == (isUp ? nil : .wentDown))
    #expect(machine.isUp == isUp)
}

@Test("TXN-34: a probe without answer counts for nothing where the target answered something else meanwhile")
func answersOtherRequests() {
    var machine = makeMachine(downAfter: 1)
    machine.probeSent()
    machine.heard()
    #expect(machine.probeFailed() == nil)
    #expect(machine.isUp)
    machine.probeSent()
    #expect(machine.probeFailed() == .wentDown)
}

@Test("TXN-34: what was heard before a probe left says nothing about it")
func heardBeforeProbe() {
    var machine = makeMachine(downAfter: 1)
    machine.heard()
    machine.probeSent()
    #expect(machine.probeFailed() == .wentDown)
}

@Test("Thresholds below one count as one")
func lowThresholds() {
    var machine = makeMachine(downAfter: 0, upAfter: -1)
    #expect(machine.probeFailed() == .wentDown)
    #expect(machine.probeAnswered(status: 200) == .wentUp)
}
