public import NIOCore

/// What a timer calls when it fires.
public protocol TimerTarget: AnyObject {
    /// Called on the wheel's loop, never early and never from within `start` or `cancel`.
    func timerFired(_ kind: UInt8)
}

/// Names a started timer until it fires or is cancelled; afterwards it names nothing.
public struct TimerID: Hashable, Sendable {
    fileprivate var index: UInt32
    fileprivate var generation: UInt32

    /// No timer.
    public static let none = TimerID(index: .max, generation: 0)
}

/// The timers of one worker: start and cancel in constant time, without a closure or an allocation for each.
///
/// Five wheels of 64 slots, a tick of 10 ms. A timer waits in the coarsest wheel that its deadline needs, and moves to a
/// finer one as the time comes near. The loop is woken only for ticks at which a slot is occupied, and never while the
/// wheel is empty. A timer fires at most two ticks late on a loop that is not busy. For one loop only.
public final class TimerWheel {
    private static let tickInNanoseconds: UInt64 = 10_000_000
    private static let slotBits: UInt64 = 6
    private static let levels = 5
    /// Timers that are due, while they are fired one by one: an extra slot, so that one of them can still be cancelled.
    private static let dueSlot = TimerWheel.levels << Int(TimerWheel.slotBits)
    /// 124 days; a longer timer is put there and moved on when that time has come.
    private static let horizon: UInt64 = (1 << (TimerWheel.slotBits * UInt64(TimerWheel.levels))) - 1
    private static let none: Int32 = -1

    private struct Entry {
        /// nil while the entry is free.
        var target: (any TimerTarget)?
        var deadline: UInt64
        /// The slot's list, or the list of free entries.
        var next: Int32
        var previous: Int32
        var generation: UInt32
        var slot: UInt16
        var kind: UInt8
    }

    private let eventLoop: any EventLoop
    /// Tick 0.
    private let origin: NIODeadline
    private var entries = ContiguousArray<Entry>()
    private var firstFree = TimerWheel.none
    private var heads = ContiguousArray(repeating: TimerWheel.none, count: TimerWheel.dueSlot + 1)
    /// A bit for each occupied slot, a word for each wheel.
    private var occupied = ContiguousArray<UInt64>(repeating: 0, count: TimerWheel.levels)
    /// Every tick up to this one has been dealt with.
    private var currentTick: UInt64 = 0
    /// The tick for which the loop is going to be woken; `max` if for none.
    private var wakeTick = UInt64.max
    private var wakeUp: Scheduled<Void>?
    private var isFiring = false
    /// How many timers are running.
    public private(set) var count = 0

    public init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.origin = eventLoop.now
    }

    /// Starts a timer that calls `target`, which it keeps alive until then, once.
    ///
    /// - Parameters:
    ///   - after: from now; what is negative or zero counts as one tick.
    ///   - kind: given back to the target.
    @discardableResult
    public func start(after delay: Duration, _ target: any TimerTarget, kind: UInt8) -> TimerID {
        self.eventLoop.assertInEventLoop()
        let elapsed = self.elapsedNanoseconds()
        if self.count == 0 && !self.isFiring {
            self.currentTick = elapsed / TimerWheel.tickInNanoseconds
        }
        let due = elapsed &+ TimerWheel.nanoseconds(delay)
        let deadline = max(due / TimerWheel.tickInNanoseconds + 1, self.currentTick + 1)
        let index = self.takeEntry()
        self.entries[index].target = target
        self.entries[index].kind = kind
        self.entries[index].deadline = deadline
        self.place(index)
        self.count += 1
        if !self.isFiring && deadline < self.wakeTick { self.wake(at: deadline) }
        return TimerID(index: UInt32(index), generation: self.entries[index].generation)
    }

    /// Stops a timer; one that has fired or was cancelled is none, and nothing happens.
    ///
    /// - Returns: whether a running timer was stopped.
    @discardableResult
    public func cancel(_ id: TimerID) -> Bool {
        guard self.isRunning(id) else { return false }
        self.unlink(Int(id.index))
        self.release(Int(id.index))
        return true
    }

    /// Stops every timer and lets go of their targets.
    public func cancelAll() {
        for index in self.entries.indices where self.entries[index].target != nil {
            self.unlink(index)
            self.release(index)
        }
        self.wakeUp?.cancel()
        self.wakeUp = nil
        self.wakeTick = .max
    }

    /// Whether the timer has neither fired nor been cancelled.
    public func isRunning(_ id: TimerID) -> Bool {
        let index = Int(id.index)
        return index < self.entries.count && self.entries[index].generation == id.generation
            && self.entries[index].target != nil
    }

    /// Whether the loop is going to be woken.
    var isAwaitingWakeUp: Bool { self.wakeUp != nil }

    // MARK: Time

    private func elapsedNanoseconds() -> UInt64 {
        let elapsed = (self.eventLoop.now - self.origin).nanoseconds
        return elapsed > 0 ? UInt64(elapsed) : 0
    }

    private static func nanoseconds(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        return min(UInt64(seconds), 1 << 32) * 1_000_000_000 + UInt64(attoseconds) / 1_000_000_000
    }

    private func wake(at tick: UInt64) {
        self.wakeUp?.cancel()
        self.wakeTick = tick
        let deadline = self.origin + .nanoseconds(Int64(clamping: tick * TimerWheel.tickInNanoseconds))
        self.wakeUp = self.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.advance() }
    }

    /// The loop woke up: everything up to now fires.
    private func advance() {
        self.wakeUp = nil
        self.wakeTick = .max
        self.isFiring = true
        let now = self.elapsedNanoseconds() / TimerWheel.tickInNanoseconds
        while let tick = self.nextOccupiedTick(), tick <= now {
            self.currentTick = tick
            self.collect(tick)
            self.fireDue()
        }
        self.currentTick = max(self.currentTick, now)
        self.isFiring = false
        if let tick = self.nextOccupiedTick() { self.wake(at: tick) }
    }

    /// The next tick at which timers fire or move to a finer wheel; nil if none ever does.
    private func nextOccupiedTick() -> UInt64? {
        var next: UInt64?
        for level in 0..<TimerWheel.levels where self.occupied[level] != 0 {
            let shift = TimerWheel.slotBits * UInt64(level)
            let turn = self.currentTick >> shift
            // The slots that come after the hand, in the order in which it reaches them.
            let hand = turn & 63
            let ahead = TimerWheel.rotateRight(self.occupied[level], by: (hand + 1) & 63)
            let tick = (turn + 1 + UInt64(ahead.trailingZeroBitCount)) << shift
            next = min(next ?? tick, tick)
        }
        return next
    }

    private static func rotateRight(_ word: UInt64, by count: UInt64) -> UInt64 {
        count == 0 ? word : (word >> count) | (word << (64 - count))
    }

    // MARK: Slots

    private func place(_ index: Int) {
        let deadline = self.entries[index].deadline
        let reach = min(deadline, self.currentTick + TimerWheel.horizon)
        let distance = reach ^ self.currentTick
        // The highest digit in which the deadline differs from now says how coarse the wheel is.
        let level =
            distance == 0
            ? 0 : min(TimerWheel.levels - 1, (63 - distance.leadingZeroBitCount) / Int(TimerWheel.slotBits))
        let slot = Int((reach >> (TimerWheel.slotBits * UInt64(level))) & 63)
        self.link(index, slot: level << Int(TimerWheel.slotBits) | slot)
        self.occupied[level] |= 1 << UInt64(slot)
    }

    /// Takes what the hands reach at `tick` out of its slots: it is due, or it moves to a finer wheel.
    private func collect(_ tick: UInt64) {
        for level in (0..<TimerWheel.levels).reversed() {
            let shift = TimerWheel.slotBits * UInt64(level)
            guard tick & ((1 << shift) - 1) == 0 else { continue }
            let slot = Int((tick >> shift) & 63)
            var index = self.heads[level << Int(TimerWheel.slotBits) | slot]
            self.heads[level << Int(TimerWheel.slotBits) | slot] = TimerWheel.none
            self.occupied[level] &= ~(1 << UInt64(slot))
            while index != TimerWheel.none {
                let next = self.entries[Int(index)].next
                if self.entries[Int(index)].deadline <= tick {
                    self.link(Int(index), slot: TimerWheel.dueSlot)
                } else {
                    self.place(Int(index))
                }
                index = next
            }
        }
    }

    private func fireDue() {
        while self.heads[TimerWheel.dueSlot] != TimerWheel.none {
            let index = Int(self.heads[TimerWheel.dueSlot])
            let target = self.entries[index].target
            let kind = self.entries[index].kind
            self.unlink(index)
            self.release(index)
            target?.timerFired(kind)
        }
    }

    private func link(_ index: Int, slot: Int) {
        let head = self.heads[slot]
        self.entries[index].slot = UInt16(slot)
        self.entries[index].next = head
        self.entries[index].previous = TimerWheel.none
        if head != TimerWheel.none { self.entries[Int(head)].previous = Int32(index) }
        self.heads[slot] = Int32(index)
    }

    private func unlink(_ index: Int) {
        let next = self.entries[index].next
        let previous = self.entries[index].previous
        if next != TimerWheel.none { self.entries[Int(next)].previous = previous }
        if previous != TimerWheel.none {
            self.entries[Int(previous)].next = next
            return
        }
        let slot = Int(self.entries[index].slot)
        self.heads[slot] = next
        if next == TimerWheel.none && slot < TimerWheel.dueSlot {
            self.occupied[slot >> Int(TimerWheel.slotBits)] &= ~(1 << UInt64(slot & 63))
        }
    }

    private func takeEntry() -> Int {
        if self.firstFree != TimerWheel.none {
            let index = Int(self.firstFree)
            self.firstFree = self.entries[index].next
            return index
        }
        self.entries.append(
            Entry(
                target: nil, deadline: 0, next: TimerWheel.none, previous: TimerWheel.none, generation: 1, slot: 0,
                kind: 0))
        return self.entries.count - 1
    }

    private func release(_ index: Int) {
        self.entries[index].target = nil
        self.entries[index].generation &+= 1
        self.entries[index].next = self.firstFree
        self.firstFree = Int32(index)
        self.count -= 1
    }
}
