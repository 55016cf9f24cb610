import NIOCore
import NIOEmbedded
import Testing

@testable import GatehouseNet

@Suite struct TimerWheelTests {
    /// Notes what fires and when, and does what it is told to.
    final class Target: TimerTarget {
        let loop: EmbeddedEventLoop
        var fired: [(kind: UInt8, at: NIODeadline)] = []
        var action: (UInt8) -> Void = { _ in }

        init(_ loop: EmbeddedEventLoop) { self.loop = loop }

        func timerFired(_ kind: UInt8) {
            self.fired.append((kind, self.loop.now))
            self.action(kind)
        }

        var kinds: [UInt8] { self.fired.map(\.kind) }
    }

    let loop = EmbeddedEventLoop()

    @Test(
        "a timer fires once, never early and at most 20 ms late",
        arguments: [
            Duration.zero, .microseconds(1), .milliseconds(9), .milliseconds(10), .milliseconds(11), .milliseconds(500),
            .milliseconds(640), .milliseconds(641), .seconds(32), .seconds(41), .seconds(185), .seconds(3600),
            .seconds(2622), .seconds(100_000), .seconds(12_000_000),
        ], [Duration.zero, .milliseconds(3), .milliseconds(635), .seconds(40), .seconds(2600)])
    func punctual(delay: Duration, age: Duration) {
        let target = Target(self.loop)
        let wheel = TimerWheel(eventLoop: self.loop)
        self.loop.advanceTime(by: TimeAmount(age))
        let start = self.loop.now
        wheel.start(after: delay, target, kind: 7)
        // In steps, so that time stands where a timer could be early or late.
        var step = TimeAmount(delay) - .milliseconds(1)
        if step > .zero { self.loop.advanceTime(by: step) }
        #expect(target.fired.isEmpty || delay < .milliseconds(1))
        step = .milliseconds(1)
        for _ in 0..<21 { self.loop.advanceTime(by: step) }
        #expect(target.kinds == [7])
        guard let at = target.fired.first?.at else { return }
        #expect(at - start >= TimeAmount(delay))
        #expect(at - start <= TimeAmount(delay) + .milliseconds(20))
        self.loop.advanceTime(by: .hours(24))
        #expect(target.kinds == [7])
    }

    @Test("a cancelled timer does not fire, and its name cancels no later one")
    func cancels() {
        let target = Target(self.loop)
        let wheel = TimerWheel(eventLoop: self.loop)
        let first = wheel.start(after: .milliseconds(100), target, kind: 1)
        #expect(wheel.cancel(first))
        #expect(!wheel.cancel(first))
        #expect(!wheel.cancel(.none))
        let second = wheel.start(after: .milliseconds(100), target, kind: 2)
        #expect(first != second)
        #expect(!wheel.cancel(first))
        self.loop.advanceTime(by: .seconds(1))
        #expect(target.kinds == [2])
        #expect(!wheel.cancel(second))
        #expect(wheel.count == 0)
    }

    @Test("an empty wheel schedules no wake-up and holds no target")
    func emptyIsQuiet() {
        let wheel = TimerWheel(eventLoop: self.loop)
        weak var weakTarget: Target?
        do {
            let target = Target(self.loop)
            weakTarget = target
            wheel.start(after: .milliseconds(50), target, kind: 1)
            let other = wheel.start(after: .seconds(50), target, kind: 2)
            wheel.cancel(other)
        }
        #expect(weakTarget != nil)
        self.loop.advanceTime(by: .milliseconds(70))
        #expect(weakTarget == nil)
        #expect(wheel.count == 0)
        #expect(!wheel.isAwaitingWakeUp)
    }

    @Test("what fires may start and cancel timers, also those that are due with it")
    func reentrant() {
        let target = Target(self.loop)
        let wheel = TimerWheel(eventLoop: self.loop)
        var ids: [UInt8: TimerID] = [:]
        for kind in UInt8(1)...4 { ids[kind] = wheel.start(after: .milliseconds(100), target, kind: kind) }
        var isFirst = true
        target.action = { kind in
            guard isFirst else { return }
            isFirst = false
            for other in UInt8(1)...4 where other != kind { #expect(wheel.cancel(ids[other] ?? .none)) }
            wheel.start(after: .zero, target, kind: 9)
        }
        self.loop.advanceTime(by: .milliseconds(200))
        #expect(target.kinds.count == 2)
        #expect(target.kinds.last == 9)
    }

    @Test("timers of all lengths, started and cancelled at random, fire as a sorted list would", arguments: 1...6)
    func againstModel(seed: UInt64) {
        var random = SplitMix(state: seed)
        let target = Target(self.loop)
        let wheel = TimerWheel(eventLoop: self.loop)
        var model: [(id: TimerID, due: NIODeadline)] = []
        for _ in 0..<3000 {
            switch UInt64.random(in: 0..<10, using: &random) {
            case 0..<5:
                let magnitude = UInt64.random(in: 1..<42, using: &random)
                let delay = Int64(UInt64.random(in: 0..<(1 << magnitude), using: &random))
                let id = wheel.start(after: .nanoseconds(delay), target, kind: 0)
                model.append((id, self.loop.now + .nanoseconds(delay)))
            case 5..<7 where !model.isEmpty:
                let index = Int(UInt64.random(in: 0..<UInt64(model.count), using: &random))
                #expect(wheel.cancel(model.remove(at: index).id))
            default:
                let magnitude = UInt64.random(in: 20..<38, using: &random)
                self.loop.advanceTime(by: .nanoseconds(Int64(UInt64.random(in: 0..<(1 << magnitude), using: &random))))
                let now = self.loop.now
                let late = now - .milliseconds(20)
                // Due for sure and perhaps; the rest is not.
                #expect(model.allSatisfy { $0.due > late || !wheel.isRunning($0.id) })
                #expect(model.allSatisfy { $0.due <= now || wheel.isRunning($0.id) })
                model.removeAll { !wheel.isRunning($0.id) }
                #expect(wheel.count == model.count)
            }
        }
    }
}

/// A small seeded generator, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
