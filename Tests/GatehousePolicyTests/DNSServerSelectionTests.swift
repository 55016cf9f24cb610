import GatehousePolicy
import TestSupport
import Testing

private typealias Step = DNSServerSelection.Step
private typealias Change = DNSServerSelection.Change

/// A selection and one time for all that happens to it.
private struct Bench {
    var selection: DNSServerSelection
    var now = Duration.seconds(1000)

    init(_ servers: Int, timeout: Duration = .milliseconds(1200)) {
        self.selection = DNSServerSelection(servers: servers, timeout: timeout)
    }

    mutating func begin() -> (DNSServerSelection.Course, Step) { self.selection.begin(now: self.now) }

    mutating func pass(_ time: Duration, _ course: inout DNSServerSelection.Course) -> (Step, Change?) {
        self.now += time
        return self.selection.patienceEnded(&course, now: self.now)
    }

    /// A question that nobody answers; returns the servers asked, and the changes.
    mutating func silentQuestion() -> (asked: [Int], changes: [Change], failure: DNSFailure?) {
        var asked: [Int] = []
        var changes: [Change] = []
        var (course, step) = self.begin()
        while true {
            switch step {
            case .ask(let server, _, let patience):
                asked.append(server)
                let (next, change) = self.pass(patience, &course)
                step = next
                if let change { changes.append(change) }
            case .wait(let time):
                step = self.pass(time, &course).0
            case .fail(let failure):
                return (asked, changes, failure)
            }
        }
    }

    /// The server that a question goes to first, which answers.
    mutating func question() -> (server: Int?, copyTo: Int?, change: Change?) {
        guard case (_, .ask(let server, let copy, _)) = self.begin() else { return (nil, nil, nil) }
        self.now += .milliseconds(1)
        return (server, copy, self.selection.heard(server, now: self.now))
    }
}

private func ask(_ server: Int, _ milliseconds: Int, copyTo: Int? = nil) -> Step {
    .ask(server: server, copyTo: copyTo, patience: .milliseconds(milliseconds))
}

@Test("Each server has its share of the time, and twice that in a second round")
func sharesTime() {
    for count in 1...5 {
        var bench = Bench(count, timeout: .milliseconds(300 * count))
        let start = bench.now
        let (asked, _, failure) = bench.silentQuestion()
        #expect(asked == Array(0..<count) + Array(0..<count))
        #expect(failure == .timedOut)
        #expect(bench.now - start == .milliseconds(300 * count))
    }
}

@Test("A server goes down after three silent asks, and is asked last from then on")
func goesDown() {
    var bench = Bench(2)
    for _ in 0..<3 {
        let (first, step) = bench.begin()
        #expect(step == ask(0, 200))
        var course = first
        let (next, change) = bench.pass(.milliseconds(200), &course)
        #expect(next == ask(1, 200))
        #expect(bench.selection.heard(1, now: bench.now) == nil)
        #expect(change == (bench.selection.isUp(0) ? nil : Change(server: 0, isUp: false)))
    }
    #expect(!bench.selection.isUp(0))
    #expect(bench.begin().1 == ask(1, 200))
}

@Test("Any sign of life since a question was asked clears a server of that question's silence")
func slowNameIsNoDeadServer() {
    var bench = Bench(2)
    // A hundred questions that the server is silent about, and one that it answers meanwhile.
    var courses = (0..<100).map { _ in bench.begin().0 }
    bench.now += .milliseconds(100)
    #expect(bench.selection.heard(0, now: bench.now) == nil)
    bench.now += .milliseconds(100)
    for index in courses.indices {
        #expect(bench.selection.patienceEnded(&courses[index], now: bench.now) == (ask(1, 200), nil))
    }
    #expect(bench.selection.isUp(0))
}

@Test("Silences that replies interrupt do not add up")
func interruptedSilences() {
    var bench = Bench(2)
    for _ in 0..<10 {
        for _ in 0..<2 {
            var (course, _) = bench.begin()
            #expect(bench.pass(.milliseconds(200), &course).1 == nil)
        }
        bench.now += .milliseconds(1)
        #expect(bench.selection.heard(0, now: bench.now) == nil)
    }
    #expect(bench.selection.isUp(0))
}

@Test("A server that is down gets a copy of a question now and then, ever more rarely while it says nothing")
func copiesGrowRare() {
    var bench = Bench(2)
    bench.goDown(0)
    var copies: [Duration] = []
    let start = bench.now
    for _ in 0..<3000 {
        bench.now += .milliseconds(99)
        let (server, copy, _) = bench.question()
        #expect(server == 1)
        if copy == 0 { copies.append(bench.now - start) }
    }
    let gaps = zip(copies.dropFirst(), copies).map { $0 - $1 }
    #expect(gaps.count > 6)
    for (gap, next) in zip(gaps, gaps.dropFirst()) { #expect(next + .milliseconds(200) >= gap) }
    #expect(gaps.allSatisfy { $0 >= .seconds(2) && $0 <= .milliseconds(60_200) })
    #expect(gaps.last.map { $0 >= .seconds(60) } == true)
}

@Test("Three replies in a row put a server back to its place, each question trying it while it answers")
func comesBack() {
    var bench = Bench(2)
    bench.goDown(0)
    bench.now += .seconds(1)
    for reply in 1...3 {
        let (server, copy, _) = bench.question()
        #expect(server == 1)
        #expect(copy == 0)
        #expect(bench.selection.heard(0, now: bench.now) == (reply == 3 ? Change(server: 0, isUp: true) : nil))
    }
    #expect(bench.question().server == 0)
    // And one silence does not throw it out again.
    var (course, _) = bench.begin()
    #expect(bench.pass(.milliseconds(200), &course).1 == nil)
}

@Test("A copy that is not answered starts the count of replies anew")
func flappingStaysDown() {
    var bench = Bench(2)
    bench.goDown(0)
    for _ in 0..<10 {
        bench.now += .seconds(61)
        #expect(bench.question().copyTo == 0)
        #expect(bench.selection.heard(0, now: bench.now) == nil)
        #expect(bench.question().copyTo == 0)
        #expect(bench.selection.heard(0, now: bench.now) == nil)
        bench.now += .milliseconds(1)
        #expect(bench.question().copyTo == 0)  // silence
    }
    #expect(!bench.selection.isUp(0))
}

@Test("The next server is asked at once where one fails, and its failure is told where all do")
func failures() {
    var bench = Bench(3)
    var (course, _) = bench.begin()
    #expect(bench.selection.replied(0, with: .refused, &course, now: bench.now) == .some(askStep(1)))
    #expect(bench.selection.replied(0, with: .refused, &course, now: bench.now) == nil)
    #expect(bench.selection.replied(1, with: .serverFailed, &course, now: bench.now) == .some(askStep(2)))
    #expect(bench.selection.replied(2, with: .serverFailed, &course, now: bench.now) == .fail(.refused))
}

private func askStep(_ server: Int) -> Step {
    .ask(server: server, copyTo: nil, patience: .milliseconds(1200) / 9)
}

@Test("A failure is told at once where the others are known to be dead, and after a share where one may still answer")
func failureBesideOthers() {
    var bench = Bench(2)
    bench.goDown(0)
    var (course, step) = bench.begin()
    #expect(step == ask(1, 200))
    #expect(bench.selection.replied(1, with: .serverFailed, &course, now: bench.now) == .fail(.serverFailed))

    bench = Bench(2)
    (course, step) = bench.begin()
    #expect(bench.pass(.milliseconds(200), &course).0 == ask(1, 200))
    #expect(bench.selection.replied(1, with: .refused, &course, now: bench.now) == .wait(.milliseconds(200)))
    #expect(bench.pass(.milliseconds(200), &course) == (.fail(.refused), nil))
}

@Test("A server that cannot be reached goes down at once; an only one is given a moment to come back")
func unreachable() {
    var bench = Bench(2)
    var (course, _) = bench.begin()
    let (step, change) = bench.selection.unreachable(0, isStream: false, &course, now: bench.now)
    #expect(step == ask(1, 200))
    #expect(change == Change(server: 0, isUp: false))

    bench = Bench(1)
    (course, _) = bench.begin()
    #expect(
        bench.selection.unreachable(0, isStream: false, &course, now: bench.now).0 == .wait(.milliseconds(250)))
    #expect(bench.pass(.milliseconds(250), &course).0 == ask(0, 800))
    #expect(bench.selection.unreachable(0, isStream: false, &course, now: bench.now).0 == .fail(.unreachable))
}

@Test("Where some cannot be reached and others are silent, nobody answered in time")
func unreachableBesideSilent() {
    var bench = Bench(2)
    var (course, _) = bench.begin()
    var step = bench.selection.unreachable(0, isStream: false, &course, now: bench.now).0
    var asked: [Int] = []
    let start = bench.now
    while true {
        switch step {
        case .ask(let server, _, let patience):
            asked.append(server)
            if server == 0 {
                step = bench.selection.unreachable(0, isStream: false, &course, now: bench.now).0
            } else {
                step = bench.pass(patience, &course).0
            }
        case .wait(let time):
            step = bench.pass(time, &course).0
        case .fail(let failure):
            #expect(failure == .timedOut)
            #expect(asked == [1, 1, 0])
            #expect(bench.now - start <= .milliseconds(1200))
            return
        case nil:
            Issue.record("no step is due")
            return
        }
    }
}

@Test("A truncated reply leaves time for TCP, and a broken TCP connection says nothing about the server's health")
func truncation() {
    var bench = Bench(2)
    var (course, _) = bench.begin()
    #expect(bench.selection.heard(0, now: bench.now) == nil)
    #expect(bench.selection.truncated(course, now: bench.now) == .wait(.milliseconds(400)))
    let (step, change) = bench.selection.unreachable(0, isStream: true, &course, now: bench.now)
    #expect(step == ask(1, 200))
    #expect(change == nil)
    #expect(bench.selection.isUp(0))
}

@Test("Whatever happens, a question ends by its time limit, and no server is asked more than twice", arguments: 0..<200)
func walk(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let servers = Int.random(in: 1...4, using: &generator)
    var bench = Bench(servers, timeout: .seconds(2))
    for _ in 0..<20 {
        let start = bench.now
        var asks = Array(repeating: 0, count: servers)
        var (course, step) = bench.begin()
        var isOver = false
        while !isOver {
            var wait = Duration.zero
            switch step {
            case .ask(let server, _, let patience):
                asks[server] += 1
                wait = patience
            case .wait(let time): wait = time
            case .fail:
                isOver = true
                continue
            }
            #expect(wait >= .zero && bench.now + wait <= start + .seconds(2))
            let server = Int.random(in: 0..<servers, using: &generator)
            let failure = [DNSFailure.refused, .serverFailed, .malformedReply].randomElement(using: &generator)
            let event = Int.random(in: 0..<6, using: &generator)
            var next: Step?
            if event < 3, asks[server] > 0 { bench.now += wait / 3 }
            if event == 0, asks[server] > 0, let failure {
                _ = bench.selection.heard(server, now: bench.now)
                next = bench.selection.replied(server, with: failure, &course, now: bench.now)
            } else if event == 1, asks[server] > 0 {
                let isStream = Bool.random(using: &generator)
                next = bench.selection.unreachable(server, isStream: isStream, &course, now: bench.now).0
            } else if event == 2, asks[server] > 0 {
                _ = bench.selection.heard(server, now: bench.now)  // the answer
                isOver = true
                continue
            }
            // Without a step of its own an event leaves the timer running.
            step = next ?? bench.pass(event < 3 && asks[server] > 0 ? wait - wait / 3 : wait, &course).0
        }
        #expect(asks.allSatisfy { $0 <= 2 })
        #expect(bench.now <= start + .seconds(2))
        bench.now += .milliseconds(Int64.random(in: 0..<3000, using: &generator))
    }
}

extension Bench {
    fileprivate mutating func goDown(_ server: Int) {
        var (course, _) = self.begin()
        _ = self.selection.unreachable(server, isStream: false, &course, now: self.now)
        #expect(!self.selection.isUp(server))
    }
}
