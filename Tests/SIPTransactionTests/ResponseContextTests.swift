import SIPTransaction
import Testing

private typealias Verdict = ResponseContext.Verdict

/// A context with `count` pending branches, of which the first `heard` have had a 180.
private func makeContext(
    isInvite: Bool = true, branches count: Int, heard: Int = 0
) -> (ResponseContext, [BranchNumber]) {
    var context = ResponseContext(isInvite: isInvite)
    let branches = (0..<count).compactMap { _ in context.openBranch() }
    for branch in branches.prefix(heard) { _ = context.received(status: 180, on: branch) }
    return (context, branches)
}

private func makeSingle(isInvite: Bool) -> (ResponseContext, BranchNumber) {
    let (context, branches) = makeContext(isInvite: isInvite, branches: 1)
    return (context, branches[0])
}

@Test("RESP-01: 101-199 pass at once, 100 never")
func passesProvisionals() {
    var (context, branches) = makeContext(branches: 2)
    #expect(context.received(status: 100, on: branches[0]) == Verdict())
    #expect(context.received(status: 180, on: branches[0]) == Verdict(upstream: .pass, restartsTimerC: true))
    #expect(context.received(status: 199, on: branches[1]) == Verdict(upstream: .pass, restartsTimerC: true))
    #expect(context.isUndecided)
}

@Test("RESP-01: every 2xx to an INVITE passes at once, from every branch, also after another 2xx")
func passesEverySuccess() {
    var (context, branches) = makeContext(branches: 3)
    #expect(context.received(status: 200, on: branches[1]).upstream == .pass)
    #expect(context.received(status: 200, on: branches[0]).upstream == .pass)
    #expect(context.received(status: 200, on: branches[1]).upstream == .pass)
    #expect(!context.isFinished)
    #expect(context.received(status: 487, on: branches[2]) == Verdict())
    #expect(context.isFinished)
}

@Test("RESP-02: one final response passes, when the last branch has ended", arguments: [302, 404, 500])
func passesOneFailure(status: Int) {
    var (context, branches) = makeContext(branches: 2)
    #expect(context.received(status: status, on: branches[0]) == Verdict())
    #expect(
        context.received(status: status, on: branches[1])
            == Verdict(upstream: .best(branch: branches[0], challenges: [])))
    #expect(context.received(status: status, on: branches[1]) == Verdict())
    #expect(context.isFinished)
}

@Test("RESP-02: the only branch's final response passes as it comes", arguments: [302, 401, 404, 500, 603])
func passesOnlyFailure(status: Int) {
    for isInvite in [true, false] {
        var (context, branches) = makeContext(isInvite: isInvite, branches: 1)
        #expect(context.received(status: status, on: branches[0]) == Verdict(upstream: .pass))
        #expect(context.isFinished)
    }
}

@Test("RESP-02: no other final response follows a 2xx, and no provisional response either")
func nothingAfterSuccess() {
    var (context, branches) = makeContext(branches: 2, heard: 2)
    #expect(context.received(status: 200, on: branches[0]) == Verdict(upstream: .pass, cancel: [branches[1]]))
    #expect(context.received(status: 183, on: branches[1]) == Verdict())
    #expect(context.received(status: 486, on: branches[1]) == Verdict())
}

@Test("RESP-03: a 6xx cancels its siblings, opens no branch, and passes when they have ended")
func globalFailure() {
    var (context, branches) = makeContext(branches: 3, heard: 2)
    context.hasUntriedTargets = true
    #expect(context.received(status: 603, on: branches[0]) == Verdict(cancel: [branches[1]]))
    #expect(context.openBranch() == nil)
    #expect(context.received(status: 180, on: branches[2]) == Verdict(upstream: .pass, cancel: [branches[2]]))
    #expect(context.received(status: 487, on: branches[1]) == Verdict())
    #expect(context.received(status: 487, on: branches[2]).upstream == .best(branch: branches[0], challenges: []))
}

@Test("RESP-03: a 2xx that crosses the CANCEL of a 6xx wins")
func crossingSuccess() {
    var (context, branches) = makeContext(branches: 2, heard: 2)
    #expect(context.received(status: 603, on: branches[0]) == Verdict(cancel: [branches[1]]))
    #expect(context.received(status: 200, on: branches[1]) == Verdict(upstream: .pass))
    #expect(context.isFinished)
}

@Test(
    "RESP-04: the best response is a 6xx, else of the lowest class, in it one that tells how to mend the request",
    arguments: [
        ([404, 486, 407, 503], 407),
        ([404, 600, 407], 600),
        ([603, 600], 603),
        ([404, 302, 500], 302),
        ([500, 404], 404),
        ([404, 486], 404),
        ([486, 404], 486),
        ([486, 401], 401),
        ([486, 415], 415),
        ([486, 420], 420),
        ([486, 484], 484),
        ([484, 407], 407),
        ([487, 486], 486),
        ([408, 480], 480),
        ([503, 500], 500),
        ([499, 599], 499),
    ])
func bestResponse(statuses: [Int], best: Int) {
    var (context, branches) = makeContext(branches: statuses.count)
    var verdict = Verdict()
    for (status, branch) in zip(statuses, branches) { verdict = context.received(status: status, on: branch) }
    let chosen = branches[statuses.firstIndex(of: best) ?? 0]
    #expect(verdict.upstream == (chosen == branches.last ? .pass : .best(branch: chosen, challenges: [])))
}

@Test("RESP-05: a 401 or 407 carries the challenges of all other 401s and 407s")
func allChallenges() {
    var (context, branches) = makeContext(branches: 4)
    _ = context.received(status: 404, on: branches[0])
    _ = context.received(status: 407, on: branches[1])
    _ = context.received(status: 401, on: branches[2])
    #expect(
        context.received(status: 407, on: branches[3]).upstream
            == .best(branch: branches[1], challenges: [branches[2], branches[3]]))
}

@Test("RESP-05: a last 401 that is the best passes as it comes only if it is the only challenge")
func lastChallenge() {
    var (context, branches) = makeContext(branches: 2)
    _ = context.received(status: 486, on: branches[0])
    #expect(context.received(status: 401, on: branches[1]).upstream == .pass)
}

@Test("RESP-05: no challenge is added to another response")
func challengesStay() {
    var (context, branches) = makeContext(branches: 2)
    _ = context.received(status: 401, on: branches[0])
    #expect(context.received(status: 302, on: branches[1]).upstream == .pass)
}

@Test("RESP-06: 503s and transport errors alone give a 500", arguments: [true, false])
func overloadBecomes500(isInvite: Bool) {
    var (context, branches) = makeContext(isInvite: isInvite, branches: 2)
    #expect(context.received(status: 503, on: branches[0]) == Verdict())
    #expect(context.transportFailed(branches[1]) == Verdict(upstream: .make(status: 500)))
    var (single, one) = makeSingle(isInvite: isInvite)
    #expect(single.received(status: 503, on: one) == Verdict(upstream: .make(status: 500)))
    (single, one) = makeSingle(isInvite: isInvite)
    #expect(single.transportFailed(one) == Verdict(upstream: .make(status: 500)))
}

@Test("RESP-07, TXN-02: an INVITE without any final response gets a 408")
func timeoutBecomes408() {
    var (context, branches) = makeContext(branches: 2)
    #expect(context.timedOut(branches[0]) == Verdict())
    #expect(context.timedOut(branches[1]) == Verdict(upstream: .make(status: 408)))
    #expect(context.isFinished)
}

@Test("RESP-07: a received response goes before a time-out of its class, and a time-out before a higher class")
func timeoutAmongResponses() {
    var (context, branches) = makeContext(branches: 2)
    _ = context.timedOut(branches[0])
    #expect(context.received(status: 487, on: branches[1]).upstream == .pass)
    var (other, others) = makeContext(branches: 2)
    _ = other.received(status: 500, on: others[0])
    #expect(other.timedOut(others[1]).upstream == .make(status: 408))
}

@Test("RESP-10: a final response cancels the branches still pending, those heard at once, the others when heard")
func cancelsPending() {
    var (context, branches) = makeContext(branches: 4, heard: 2)
    #expect(
        context.received(status: 200, on: branches[0]) == Verdict(upstream: .pass, cancel: [branches[1]]))
    #expect(context.received(status: 100, on: branches[2]) == Verdict(cancel: [branches[2]]))
    #expect(context.received(status: 180, on: branches[2]) == Verdict())
    #expect(context.received(status: 200, on: branches[0]) == Verdict(upstream: .pass))
}

@Test("RESP-11: timer C starts anew with 101-199, not with 100")
func timerCRestarts() {
    var (context, branches) = makeContext(branches: 1)
    #expect(!context.received(status: 100, on: branches[0]).restartsTimerC)
    #expect(context.received(status: 101, on: branches[0]).restartsTimerC)
    #expect(context.received(status: 199, on: branches[0]).restartsTimerC)
}

@Test("RESP-11: timer C cancels a branch that was heard, once", arguments: [100, 180])
func timerCCancels(status: Int) {
    var (context, branches) = makeContext(branches: 1)
    _ = context.received(status: status, on: branches[0])
    #expect(context.timerCFired(branches[0]) == Verdict(cancel: [branches[0]]))
    #expect(context.timerCFired(branches[0]) == Verdict())
    #expect(!context.received(status: 180, on: branches[0]).restartsTimerC)
    #expect(context.received(status: 487, on: branches[0]).upstream == .pass)
}

@Test("RESP-11: timer C ends a branch that was never heard as a 408 does")
func timerCEnds() {
    var (context, branches) = makeContext(branches: 1)
    #expect(context.timerCFired(branches[0]) == Verdict(upstream: .make(status: 408)))
    #expect(!context.isPending(branches[0]))
}

@Test("RESP-11: after timer C another group of targets is tried")
func timerCMovesOn() {
    var (context, branches) = makeContext(branches: 1, heard: 1)
    context.hasUntriedTargets = true
    _ = context.timerCFired(branches[0])
    #expect(context.received(status: 487, on: branches[0]) == Verdict(next: .targets))
    #expect(context.openBranch() != nil)
}

@Test("RESP-12: a 3xx passes; one that is followed is not kept, and its targets are tried when no branch is pending")
func redirection() {
    var (context, branches) = makeContext(branches: 2)
    context.hasUntriedTargets = true
    #expect(context.redirected(branches[0]) == Verdict())
    #expect(context.received(status: 404, on: branches[1]) == Verdict(next: .targets))
    context.hasUntriedTargets = false
    guard let third = context.openBranch() else {
        Issue.record("no branch opens")
        return
    }
    #expect(context.received(status: 486, on: third).upstream == .best(branch: branches[1], challenges: []))
}

@Test("RESP-13: the next group is tried when the last branch of a group ended without 2xx or 6xx")
func nextGroup() {
    var (context, branches) = makeContext(branches: 2)
    context.hasUntriedTargets = true
    #expect(context.received(status: 486, on: branches[0]) == Verdict())
    #expect(context.received(status: 401, on: branches[1]) == Verdict(next: .targets))
    #expect(context.noMoreTargets().upstream == .best(branch: branches[1], challenges: []))
}

@Test("TXN-15: a non-INVITE that times out gets no 408 and nothing else")
func nonInviteTimeout() {
    var (context, branches) = makeContext(isInvite: false, branches: 2)
    #expect(context.timedOut(branches[0]) == Verdict())
    #expect(context.timedOut(branches[1]) == Verdict(upstream: .abandon))
    #expect(context.isFinished)
}

@Test("TXN-15: a response of another branch still passes when a non-INVITE branch times out")
func nonInvitePartialTimeout() {
    var (context, branches) = makeContext(isInvite: false, branches: 2)
    _ = context.received(status: 404, on: branches[0])
    #expect(context.timedOut(branches[1]).upstream == .best(branch: branches[0], challenges: []))
}

@Test("TXN-17: no 1xx to a non-INVITE passes", arguments: [100, 180, 183, 199])
func nonInviteProvisional(status: Int) {
    var (context, branches) = makeContext(isInvite: false, branches: 1)
    #expect(context.received(status: status, on: branches[0]) == Verdict())
}

@Test("RESP-02: a non-INVITE has one final response, its first 2xx, and no CANCEL")
func nonInviteSuccess() {
    var (context, branches) = makeContext(isInvite: false, branches: 3, heard: 3)
    #expect(context.received(status: 200, on: branches[0]) == Verdict(upstream: .pass))
    #expect(context.received(status: 200, on: branches[1]) == Verdict())
    #expect(context.received(status: 603, on: branches[2]) == Verdict())
    #expect(context.cancelReceived() == Verdict())
    #expect(context.isFinished)
}

@Test("TXN-20: a CANCEL goes to every branch that was heard, and the 487 becomes the final response")
func cancelsHeard() {
    var (context, branches) = makeContext(branches: 2, heard: 2)
    #expect(context.cancelReceived() == Verdict(cancel: [branches[0], branches[1]]))
    #expect(context.cancelReceived() == Verdict())
    #expect(context.received(status: 487, on: branches[0]) == Verdict())
    #expect(context.received(status: 487, on: branches[1]).upstream == .best(branch: branches[0], challenges: []))
}

@Test("TXN-21: a CANCEL waits for the branch's first provisional response", arguments: [100, 180])
func cancelWaits(status: Int) {
    var (context, branches) = makeContext(branches: 1)
    #expect(context.cancelReceived() == Verdict())
    #expect(context.received(status: status, on: branches[0]).cancel == [branches[0]])
    #expect(context.received(status: status, on: branches[0]).cancel == [])
}

@Test("TXN-21: without a provisional response no CANCEL is sent")
func cancelNeverSent() {
    var (context, branches) = makeContext(branches: 1)
    #expect(context.cancelReceived() == Verdict())
    #expect(context.cancelTimedOut(branches[0]) == Verdict())
    #expect(context.timedOut(branches[0], hasAlternative: true) == Verdict(upstream: .make(status: 408)))
}

@Test("TXN-21: branches on which nothing was sent are withdrawn, which gives a 487")
func withdrawsUnsent() {
    var (context, branches) = makeContext(branches: 2)
    #expect(context.cancelReceived() == Verdict())
    #expect(context.withdrawn(branches[0]) == Verdict())
    #expect(context.withdrawn(branches[1]) == Verdict(upstream: .make(status: 487)))
}

@Test("TXN-23: a CANCEL after the final response changes nothing")
func cancelAfterFinal() {
    var (context, branches) = makeContext(branches: 1, heard: 1)
    _ = context.received(status: 486, on: branches[0])
    #expect(context.cancelReceived() == Verdict())
}

@Test("TXN-27: a cancelled branch without a final response ends after 64*T1, and the context with a 408")
func cancelledBranchTimesOut() {
    var (context, branches) = makeContext(branches: 1, heard: 1)
    #expect(context.cancelReceived().cancel == [branches[0]])
    #expect(context.cancelTimedOut(branches[0]) == Verdict(upstream: .make(status: 408)))
    #expect(context.isFinished)
}

@Test("TXN-31: a transport error on one branch leaves its siblings alone")
func siblingsGoOn() {
    var (context, branches) = makeContext(branches: 2, heard: 1)
    #expect(context.transportFailed(branches[1]) == Verdict())
    #expect(context.isPending(branches[0]))
    #expect(context.received(status: 200, on: branches[0]) == Verdict(upstream: .pass))
}

@Test(
    "LOC-18: a 503, a transport error, or a time-out without any response leads to the next server",
    arguments: [true, false])
func failsOver(isInvite: Bool) {
    var (context, one) = makeSingle(isInvite: isInvite)
    #expect(context.received(status: 503, on: one, hasAlternative: true) == Verdict(next: .alternative))
    guard let two = context.openBranch() else {
        Issue.record("no second branch opens")
        return
    }
    #expect(two != one)
    #expect(context.transportFailed(two, hasAlternative: true) == Verdict(next: .alternative))
    guard let three = context.openBranch() else {
        Issue.record("no third branch opens")
        return
    }
    #expect(context.timedOut(three, hasAlternative: true) == Verdict(next: .alternative))
    guard let four = context.openBranch() else {
        Issue.record("no fourth branch opens")
        return
    }
    #expect(context.received(status: 404, on: four) == Verdict(upstream: .pass))
}

@Test("LOC-18: what failed attempts left counts for nothing once the next server has answered")
func failedAttemptsAreForgotten() {
    var (context, one) = makeSingle(isInvite: true)
    #expect(context.timedOut(one, hasAlternative: true) == Verdict(next: .alternative))
    guard let two = context.openBranch() else {
        Issue.record("no second branch opens")
        return
    }
    #expect(context.received(status: 500, on: two) == Verdict(upstream: .pass))
}

@Test("LOC-19: other final responses, and a time-out after a provisional one, lead to no next server")
func doesNotFailOver() {
    for status in [404, 486, 500, 603] {
        var (context, one) = makeSingle(isInvite: true)
        #expect(context.received(status: status, on: one, hasAlternative: true) == Verdict(upstream: .pass))
    }
    var (context, one) = makeSingle(isInvite: false)
    _ = context.received(status: 100, on: one)
    #expect(context.timedOut(one, hasAlternative: true) == Verdict(upstream: .abandon))
}

@Test("LOC-19: a cancelled request goes to no next server")
func cancelledDoesNotFailOver() {
    var (context, one) = makeSingle(isInvite: true)
    _ = context.cancelReceived()
    #expect(context.received(status: 503, on: one, hasAlternative: true) == Verdict(upstream: .make(status: 500)))
}

@Test("A request opens no more branches than the limit, and then ends as without alternative")
func branchLimit() {
    var context = ResponseContext(isInvite: true)
    var last: BranchNumber?
    for _ in 0..<ResponseContext.branchLimit {
        guard let branch = context.openBranch() else {
            Issue.record("the limit is reached early")
            return
        }
        if let last { #expect(context.received(status: 404, on: last) == Verdict()) }
        last = branch
    }
    #expect(context.openBranch() == nil)
    context.hasUntriedTargets = true
    guard let last else { return }
    #expect(last.index == ResponseContext.branchLimit - 1)
    #expect(context.received(status: 503, on: last, hasAlternative: true).upstream != .nothing)
}

@Test("A branch set iterates over its branches in order")
func branchSetIterates() {
    let (_, branches) = makeContext(branches: 64)
    let set: BranchSet = [branches[63], branches[0], branches[17]]
    #expect(Array(set) == [branches[0], branches[17], branches[63]])
    #expect(set.count == 3)
    #expect(!set.contains(branches[1]))
    #expect(BranchSet().isEmpty && Array(BranchSet()).isEmpty)
}
