internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage

// The way of a response whose connection is gone (RFC 3261 §18.2.2, RFC 3263 §5), and of what follows a request (RFC 5923 §8.1).

extension Worker {
    /// Sends a response the way its request came; where that connection is gone, over a new one: to the address that the
    /// request came from and the port of its Via, else to whatever the Via's host leads to. A request that came over TLS is
    /// answered over TLS, or not at all (VIA-07, VIA-08).
    func sendResponse(_ bytes: [UInt8], status: Int, of transaction: ServerTransaction) {
        if self.send(bytes, by: transaction.origin.leg) || status <= 100 { return }
        let origin = transaction.origin
        guard origin.transport != .udp, let via = transaction.request.topVia else { return }
        let port = via.sentByPort ?? origin.transport.defaultPort
        let returned = Endpoint(address: origin.source.address, port: port)
        guard transaction.passage.direction == .toCore else {
            _ = self.coreConnection(to: returned)?.send(bytes)
            return
        }
        self.returnResponse(bytes, of: transaction, via, to: returned)
    }

    private func returnResponse(
        _ bytes: [UInt8], of transaction: ServerTransaction, _ via: Via, to returned: Endpoint
    ) {
        let request = transaction.request
        let domain = transaction.passage.domain
        let transport = transaction.origin.transport
        let host = via.sentByHost.text(in: request.bytes)
        // Of a protected session no answer goes to a peer that proves nothing, whatever other legs may do.
        let verifies =
            domain.configuration.outbound.verify
            || SecurityDemand.isProtected(
                transaction.passage.session.arrival, by: domain.configuration.security.protect)
        let identity = PeerIdentity(host: host)
        var serverName: String?
        if case .domain(let name) = identity { serverName = name }
        let first = Candidate(
            transport: transport, endpoint: returned, serverName: serverName, identity: identity, group: 0)
        self.deliver(bytes, domain, [JudgedCandidate(candidate: first, verifies: verifies, override: nil)]) { isSent in
            guard !isSent, case .domain = identity, let name = DNSName(host) else { return }
            let hop = NextHop(
                isSIPS: transport == .tls, target: .name(name), port: via.sentByPort, transport: .tcp,
                identity: identity)
            var rules = ResolutionRules(transports: [transport])
            rules.isSecureOnly = transport == .tls
            self.lookUp(hop, rules) { found in
                guard case .success(let candidates) = found else { return }
                let judged = candidates.map { JudgedCandidate(candidate: $0, verifies: verifies, override: nil) }
                self.deliver(bytes, domain, judged) { _ in }
            }
        }
    }

    /// Sends the CANCEL of an INVITE, or the ACK to its 3xx to 6xx, the way that the INVITE went; where that connection is gone,
    /// over a new one to the same server (RFC 5923 §8.1, TXN-33). To a device there is no other way than its own connection.
    func sendFollowUp(_ bytes: [UInt8], of client: ClientTransaction) {
        if self.send(bytes, by: client.leg) { return }
        guard let passage = client.parent?.passage else { return }
        if let judged = client.judged {
            self.deliver(bytes, passage.domain, [judged]) { _ in }
        } else if passage.direction != .toOutside {
            _ = self.coreConnection(to: client.remote)?.send(bytes)
        }
    }

    /// Sends a message to the first of some servers that can be reached.
    private func deliver(
        _ bytes: [UInt8], _ domain: DomainRuntime, _ candidates: [JudgedCandidate], _ done: @escaping (Bool) -> Void
    ) {
        let walk = CandidateWalk(worker: self, domain: domain, candidates: candidates)
        walk.next(size: { _ in 0 }) { way in
            withExtendedLifetime(walk) {
                guard let way else { return done(false) }
                done(self.send(bytes, by: way.leg))
            }
        }
    }
}
