internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage

// What devices are told of keep-alives: Flow-Timer (RFC 5626 §5.4) and `keep` (RFC 6223). That they are answered is the
// business of the connections.

extension Worker {
    /// The seconds for `keep` in a response, where the device offered keep-alives on a REGISTER or on an INVITE whose dialog
    /// comes back by this edge (KEEP-08); nil where none are agreed on.
    func keepAlive(for response: Message, _ transaction: ServerTransaction) -> Int? {
        let request = transaction.request
        guard transaction.passage.direction == .toCore, let seconds = transaction.passage.domain.flowTimerInSeconds,
            request.topVia?.offersKeepAlive(in: request.bytes) ?? false
        else { return nil }
        switch request.method {
        case .register: return response.status / 100 == 2 ? seconds : nil
        case .invite: return response.status > 100 && response.status < 300 ? seconds : nil
        default: return nil
        }
    }

    /// The seconds for Flow-Timer in the 2xx to a device's REGISTER that the registrar, or the edge for it, took as `outbound`
    /// (KEEP-07).
    func flowTimer(for response: Message, _ transaction: ServerTransaction) -> Int? {
        guard transaction.passage.direction == .toCore, transaction.request.method == .register,
            response.status / 100 == 2, let seconds = transaction.passage.domain.flowTimerInSeconds,
            response.first(named: "Flow-Timer") == nil, transaction.request.isFromItsSender,
            response.lists("outbound", in: .require) || self.takesOutbound(response, transaction)
        else { return nil }
        return seconds
    }

    /// Holds a device to the Flow-Timer that it was told; one that it is no longer registered with binds it no more.
    func watchSilence(of state: FlowState, _ response: Message, _ transaction: ServerTransaction) {
        let told = self.flowTimer(for: response, transaction)
        let limit =
            state.isRegistered ? told.map { .seconds($0) + self.snapshot.configuration.edge.timers.flowGrace } : nil
        state.silenceLimit = limit
        self.flows[state.reference.number]?.limitSilence(to: limit)
    }

    /// The names that the peer of a leg has proved.
    func provedNames(of leg: Leg) -> PresentedNames? {
        guard case .flow(let id) = leg, id.worker == self.index else { return nil }
        return self.state(ofFlow: id.number)?.provedNames
    }
}

extension Message {
    /// Whether no proxy stands between its sender and the edge: there is one Via value.
    var isFromItsSender: Bool {
        var values = self.values(of: .via).makeIterator()
        return values.next() != nil && values.next() == nil
    }
}
