internal import GatehouseNet
internal import SIPMessage
internal import SIPTransaction

// What stands in for a branch whose request could not be sent as it was to be.

extension ClientTransaction {
    /// Has the same server tried by UDP next, where TCP was chosen for the request's size alone (MTU-03).
    func fallBackToDatagram() {
        guard let fallback = self.fallback else { return }
        self.fallback = nil
        self.parent?.hops.insert(fallback, at: 0)
    }

    /// A branch on which nothing could be sent: it only holds its place among the branches.
    static func unsent(
        _ worker: Worker, _ branch: Branch, _ parent: ServerTransaction, _ number: BranchNumber
    ) -> ClientTransaction {
        ClientTransaction(
            worker: worker, branch: branch, request: [], isInvite: parent.isInvite, leg: parent.origin.leg,
            remote: parent.origin.source, transport: .udp, target: nil, sentBy: SentBy(host: [], port: 0),
            parent: parent, number: number)
    }
}
