import SIPTransaction
import Testing

@Test("TXN-18: the 100 to a non-INVITE waits until the client's timer E has reached T2")
func tryingWaitsForTimerE() {
    #expect(TimerValues().trying == .milliseconds(3500))
    #expect(TimerValues(t1: .milliseconds(10), t2: .milliseconds(80)).trying == .milliseconds(70))
    #expect(TimerValues(t1: .milliseconds(500), t2: .milliseconds(500)).trying == .milliseconds(500))
    #expect(TimerValues(t1: .milliseconds(500), t2: .milliseconds(600)).trying == .milliseconds(500))
}

@Test("The default timers are those of RFC 3261 Table 4")
func defaultTimers() {
    let timers = TimerValues()
    #expect(timers.t1 == .milliseconds(500))
    #expect(timers.t2 == .seconds(4))
    #expect(timers.t4 == .seconds(5))
    #expect(timers.timeout == .seconds(32))
    #expect(timers.timerC > .seconds(180))
}

@Test(
    "A timer out of range is taken as the nearest that is in it",
    arguments: [
        (Duration.zero, Duration.milliseconds(1)),
        (.seconds(-5), .milliseconds(1)),
        (.microseconds(900), .milliseconds(1)),
        (.microseconds(1900), .milliseconds(1)),
        (TimerValues.longest, TimerValues.longest),
        (.seconds(Int64.max / 2), TimerValues.longest),
    ])
func clampedTimer(given: Duration, taken: Duration) {
    let timers = TimerValues(t1: given, t2: given, t4: given, timerC: given)
    #expect(timers == TimerValues(t1: taken, t2: taken, t4: taken, timerC: taken))
    #expect(timers.timeout == taken * 64)
    #expect(timers.trying >= taken)
}
