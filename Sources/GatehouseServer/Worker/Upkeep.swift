internal import CSocket
internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseStore
internal import Logging
internal import NIOCore
internal import SIPMessage
internal import SIPTransaction
internal import Synchronization

// What the first worker does from time to time for all.

extension Worker {
    func startUpkeep() {
        self.upkeep = Upkeep(self)
    }
}

/// Ends what has expired, gives memory back, and asks the core servers whether they live.
final class Upkeep: TimerTarget {
    private static let interval = Duration.seconds(1)

    private unowned let worker: Worker
    private var ticks: UInt64 = 0
    private var checks: [TargetRuntime.Key: HealthCheck] = [:]
    private var mostConnections = 0
    private var mostTransactions = 0

    init(_ worker: Worker) {
        self.worker = worker
        worker.startTimer(Self.interval, self, kind: 0)
        self.checkHealth()
    }

    func timerFired(_ kind: UInt8) {
        self.ticks &+= 1
        self.checkHealth()
        let now = self.worker.now
        let shared = self.worker.shared
        for key in shared.bindings.removeExpired(now: now, shard: Int(truncatingIfNeeded: self.ticks & 63)) {
            shared.store?.remove(key)
        }
        for mailbox in shared.mailboxes { mailbox.perform { $0.sweepStrangers() } }
        if self.ticks % 30 == 0 {
            shared.calls.removeExpired(now: now)
            for mailbox in shared.mailboxes { mailbox.perform { $0.sweepDatagramFlows() } }
            self.trim()
        }
        self.worker.startTimer(Self.interval, self, kind: 0)
    }

    /// glibc keeps freed memory; after many connections or transactions have gone it gives it back when told to.
    private func trim() {
        let connections = self.worker.shared.connections.load(ordering: .relaxed)
        let transactions = self.worker.shared.transactions.load(ordering: .relaxed)
        self.mostConnections = max(self.mostConnections, connections)
        self.mostTransactions = max(self.mostTransactions, transactions)
        let hasFewer =
            (self.mostConnections > 1000 && connections < self.mostConnections / 2)
            || (self.mostTransactions > 10_000 && transactions < self.mostTransactions / 2)
        guard hasFewer else { return }
        csocket_trim_heap()
        self.mostConnections = connections
        self.mostTransactions = transactions
    }

    /// Pings each target whose time has come; targets that several domains share are pinged once, by the strictest setting.
    private func checkHealth() {
        var wanted: [TargetRuntime.Key: (TargetRuntime, DomainCoreSettings.Health)] = [:]
        for domain in self.worker.snapshot.domains {
            let health = domain.configuration.core.health
            guard health.interval != nil else { continue }
            for target in domain.targets where wanted[target.key] == nil { wanted[target.key] = (target, health) }
        }
        for (key, check) in self.checks where wanted[key]?.0 !== check.target {
            check.stop()
            check.target.setHealthy(true)
            self.checks[key] = nil
        }
        let now = self.worker.now
        for (key, (target, health)) in wanted {
            let check = self.checks[key] ?? HealthCheck(self.worker, target, health)
            self.checks[key] = check
            check.tick(health, now: now)
        }
    }
}

/// The OPTIONS pings to one core server, with the hysteresis of `down_after` and `up_after`.
final class HealthCheck {
    private unowned let worker: Worker
    let target: TargetRuntime
    private var nextAt: UInt64 = 0
    private var sentAt: UInt64 = 0
    private var pending: ClientTransaction?
    private var machine: HealthMachine
    /// What the machine was made with.
    private var settings: DomainCoreSettings.Health

    init(_ worker: Worker, _ target: TargetRuntime, _ health: DomainCoreSettings.Health) {
        self.worker = worker
        self.target = target
        self.machine = HealthMachine(health)
        self.settings = health
    }

    func tick(_ health: DomainCoreSettings.Health, now: UInt64) {
        guard let interval = health.interval else { return }
        if self.settings != health {
            // A reload: the new thresholds count from now on, and the target as up until they say otherwise.
            self.settings = health
            self.machine = HealthMachine(health)
            self.target.setHealthy(true)
        }
        if self.pending != nil {
            if now &- self.sentAt >= nanoseconds(health.timeout) {
                self.pending?.finish()
                self.pending = nil
                self.ended(nil, now: now)
            }
            return
        }
        guard now >= self.nextAt else { return }
        self.nextAt = now &+ nanoseconds(interval)
        guard let address = self.target.address else { return self.ended(nil, now: now) }
        self.sentAt = now
        self.machine.probeSent()
        self.ping(address, health)
    }

    /// Forgets the ping that is under way: nobody asks for the server's health any more.
    func stop() {
        self.pending?.finish()
        self.pending = nil
    }

    private func ping(_ address: Endpoint, _ health: DomainCoreSettings.Health) {
        let worker = self.worker
        let transport = self.target.key.transport
        guard let bind = worker.coreBinds.index(for: transport, isIPv6: address.address.isIPv6) else {
            return self.ended(nil, now: worker.now)
        }
        let entry = worker.coreBinds.entries[bind]
        let branch = worker.nextBranch(loop: .none)
        guard let request = self.options(to: address, from: entry, branch: branch),
            let leg: Leg = transport == .udp
                ? .datagram(socket: bind, address) : worker.coreConnection(to: address).map({ .flow($0.id) })
        else { return self.ended(nil, now: worker.now) }
        let client = ClientTransaction(
            worker: worker, branch: branch, request: request, isInvite: false, leg: leg, remote: address,
            transport: transport, target: self.target, sentBy: entry.sentBy, parent: nil, number: nil
        ) { [weak self] status in
            guard let self else { return }
            self.pending = nil
            self.ended(status, now: self.worker.now)
        }
        self.pending = client
        worker.add(client)
        client.start()
    }

    private func options(to address: Endpoint, from entry: CoreBinds.Entry, branch: Branch) -> [UInt8]? {
        let host = hostText(address.address)
        let uri: [UInt8] = Array("sip:".utf8) + hostPort(host, address.port)
        let own: [UInt8] = Array("<sip:".utf8) + entry.sentBy.text + [0x3E]
        var tag: [UInt8] = Array(";tag=".utf8)
        SessionID(self.worker.generator.next()).append(to: &tag)
        var callID: [UInt8] = []
        SessionID(self.worker.generator.next()).append(to: &callID)
        SessionID(self.worker.generator.next()).append(to: &callID)
        var writer = MessageWriter()
        writer.requestLine(method: "OPTIONS", uri: uri)
        writer.header("Via", self.worker.viaValue(self.target.key.transport, sentBy: entry.sentBy.text, branch: branch))
        writer.header("Max-Forwards", 70)
        writer.header("From", own + tag)
        writer.header("To", [0x3C] + uri + [0x3E])
        writer.header("Call-ID", callID)
        writer.header("CSeq", "1 OPTIONS")
        writer.header("Contact", own)
        writer.header("Accept", "application/sdp")
        writer.endHeaders()
        return try? writer.finish()
    }

    /// - Parameter status: of the final response; nil where none came.
    private func ended(_ status: Int?, now: UInt64) {
        let change: HealthMachine.Change?
        if let status {
            self.target.noteRoundTrip(Double(now &- self.sentAt) / 1_000_000)
            change = self.machine.probeAnswered(status: status)
        } else {
            change = self.machine.probeFailed()
        }
        switch change {
        case .wentUp:
            self.target.setHealthy(true)
            self.worker.shared.log.notice("core server is up again", metadata: ["target": "\(self.target.description)"])
        case .wentDown:
            self.target.setHealthy(false)
            self.worker.shared.log.warning(
                "core server is down: it does not answer OPTIONS; see that the PBX runs and that core.health fits it",
                metadata: ["target": "\(self.target.description)"])
        case nil:
            break
        }
    }
}

/// A duration in nanoseconds; a negative one counts as none.
func nanoseconds(_ duration: Duration) -> UInt64 {
    let parts = duration.components
    return UInt64(max(0, parts.seconds)) &* 1_000_000_000 &+ UInt64(max(0, parts.attoseconds)) / 1_000_000_000
}
