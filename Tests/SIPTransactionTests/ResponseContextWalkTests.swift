import SIPTransaction
import TestSupport
import Testing

/// What an owner of a response context sees, against the promises of RFC 3261 §16.7.
private struct Observer {
    let isInvite: Bool
    var heard: Set<BranchNumber> = []
    var cancelled: Set<BranchNumber> = []
    var ended: Set<BranchNumber> = []
    var all: [BranchNumber] = []
    /// Final responses other than 2xx that were kept, in order.
    var kept: [(branch: BranchNumber, status: Int)] = []
    var failuresPassed = 0
    var successesPassed = 0
    var mustOpen = false

    mutating func check(_ verdict: ResponseContext.Verdict, latest: (BranchNumber, Int)?, place: Comment) {
        for branch in verdict.cancel {
            #expect(self.isInvite && self.heard.contains(branch) && !self.ended.contains(branch), place)
            #expect(self.cancelled.insert(branch).inserted, place)
        }
        let isOver = self.ended.count == self.all.count
        switch verdict.upstream {
        case .nothing: break
        case .pass:
            guard let (_, status) = latest else {
                Issue.record("\(place): nothing came that could pass")
                return
            }
            if status < 200 {
                #expect(self.isInvite && status > 100 && self.failuresPassed + self.successesPassed == 0, place)
            } else if status < 300 {
                #expect(self.isInvite || self.failuresPassed + self.successesPassed == 0, place)
                self.successesPassed += 1
            } else {
                self.checkBest(status: status, isOver: isOver, place: place)
            }
        case .best(let branch, let challenges):
            let status = self.kept.first { $0.branch == branch }?.status ?? 0
            self.checkBest(status: status, isOver: isOver, place: place)
            let others = self.kept.filter { [401, 407].contains($0.status) && $0.branch != branch }.map(\.branch)
            #expect(Set(challenges) == ([401, 407].contains(status) ? Set(others) : []), place)
        case .make(let status):
            #expect([408, 487, 500].contains(status) && (status == 500 || self.isInvite), place)
            #expect(isOver && self.failuresPassed + self.successesPassed == 0, place)
            self.failuresPassed += 1
        case .abandon:
            #expect(!self.isInvite && isOver && self.failuresPassed + self.successesPassed == 0, place)
            self.failuresPassed += 1
        }
        self.mustOpen = verdict.next != .nothing
        if self.mustOpen { #expect(self.failuresPassed + self.successesPassed == 0, place) }
    }

    private mutating func checkBest(status: Int, isOver: Bool, place: Comment) {
        #expect(isOver && self.failuresPassed + self.successesPassed == 0 && status != 503, place)
        let classes = self.kept.map { $0.status / 100 }
        #expect(status / 100 == (classes.contains(6) ? 6 : classes.min()), place)
        self.failuresPassed += 1
    }
}

@Test(
    "RESP-02: a response context keeps its promises in any order of events", arguments: 1...500 as ClosedRange<UInt64>)
func responseContextWalk(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let isInvite = Int.random(in: 0..<4, using: &generator) > 0
    var context = ResponseContext(isInvite: isInvite)
    var observer = Observer(isInvite: isInvite)
    func open() {
        guard let branch = context.openBranch() else { return }
        observer.all.append(branch)
    }
    for _ in 0..<Int.random(in: 1...4, using: &generator) { open() }
    context.hasUntriedTargets = Bool.random(using: &generator)
    for step in 0..<80 {
        let place: Comment = "seed \(seed) step \(step)"
        guard let branch = observer.all.randomElement(using: &generator) else { break }
        let hasAlternative = Int.random(in: 0..<4, using: &generator) == 0
        var latest: (BranchNumber, Int)?
        let verdict: ResponseContext.Verdict
        switch Int.random(in: 0..<14, using: &generator) {
        case 0...5:
            let status = Int.random(in: 100..<190, using: &generator)
            latest = (branch, status)
            if context.isPending(branch) { observer.heard.insert(branch) }
            verdict = context.received(status: status, on: branch)
        case 6, 7, 8:
            let statuses = [200, 302, 401, 407, 404, 486, 487, 500, 503, 603]
            let status = statuses.randomElement(using: &generator) ?? 404
            latest = (branch, status)
            let wasPending = context.isPending(branch)
            observer.ended.insert(branch)
            verdict = context.received(status: status, on: branch, hasAlternative: hasAlternative)
            if wasPending, status >= 300, verdict.next != .alternative { observer.kept.append((branch, status)) }
            if !wasPending, !(200..<300 ~= status) { #expect(verdict == ResponseContext.Verdict(), place) }
        case 9:
            // A time-out counts as a 408 and a transport error as a 503, if nothing takes the branch's place.
            let wasPending = context.isPending(branch)
            if wasPending { observer.ended.insert(branch) }
            verdict = context.timedOut(branch, hasAlternative: hasAlternative)
            if wasPending, isInvite, verdict.next != .alternative { observer.kept.append((branch, 408)) }
        case 10:
            let wasPending = context.isPending(branch)
            if wasPending { observer.ended.insert(branch) }
            verdict = context.transportFailed(branch, hasAlternative: hasAlternative)
            if wasPending, verdict.next != .alternative { observer.kept.append((branch, 503)) }
        case 11:
            verdict = context.timerCFired(branch)
            if !context.isPending(branch), observer.ended.insert(branch).inserted {
                observer.kept.append((branch, 408))
            }
        case 12:
            verdict = context.cancelTimedOut(branch)
            if !context.isPending(branch), observer.ended.insert(branch).inserted {
                observer.kept.append((branch, 408))
            }
        default:
            verdict =
                Int.random(in: 0..<6, using: &generator) == 0 ? context.cancelReceived() : ResponseContext.Verdict()
        }
        observer.check(verdict, latest: latest, place: place)
        if observer.mustOpen {
            open()
            if verdict.next == .targets { context.hasUntriedTargets = Bool.random(using: &generator) }
            #expect(!context.isFinished, place)
        }
        let isOver = observer.ended.count == observer.all.count
        #expect(context.isFinished == isOver, place)
    }
}
