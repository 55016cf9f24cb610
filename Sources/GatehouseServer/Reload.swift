internal import GatehouseConfig
internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import Logging
internal import SIPMessage
internal import Synchronization

/// Lets one reload run at a time; those that come meanwhile wait their turn.
actor ReloadGate {
    private var isBusy = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func enter() async {
        guard self.isBusy else {
            self.isBusy = true
            return
        }
        await withCheckedContinuation { self.waiting.append($0) }
    }

    func leave() {
        if self.waiting.isEmpty { self.isBusy = false } else { self.waiting.removeFirst().resume() }
    }
}

extension Server {
    /// Reads everything again beside what runs, and puts it in force at once or, if anything is wrong, not at all.
    func reload(dryRun: Bool) async -> ReloadReport {
        await self.reloading.enter()
        let report = await self.reloadAlone(dryRun: dryRun)
        await self.reloading.leave()
        if !dryRun {
            report.write(to: self.log)
            if report.applied {
                self.metrics.configurationApplied(generation: report.generation)
            } else {
                self.metrics.reloadFailed()
            }
        }
        return report
    }

    private func reloadAlone(dryRun: Bool) async -> ReloadReport {
        let old = self.state.withLock { $0.snapshot }
        func failed(_ errors: [String], _ warnings: [String] = []) -> ReloadReport {
            ReloadReport(
                applied: false, changes: [], errors: errors, warnings: warnings, generation: old.generation)
        }
        let loaded = ConfigurationLoader.load(path: self.configurationPath)
        let warnings = loaded.warnings.map(\.description)
        guard let configuration = loaded.configuration else {
            return failed(loaded.errors.map(\.description), warnings)
        }
        let certificates: CertificateStore
        do throws(CertificateErrors) {
            certificates = try CertificateStore.load(configuration.domains, reusing: old.certificates)
        } catch {
            return failed(error.problems.map(\.description), warnings)
        }
        let changes = self.changes(from: old, to: configuration, certificates)
        let notes =
            warnings + certificates.warnings.map(\.description) + Self.fixedAtStart(old.configuration, configuration)
        if dryRun {
            return ReloadReport(
                applied: false, changes: changes, errors: [], warnings: notes, generation: old.generation)
        }
        var (targets, counters) = self.state.withLock { ($0.targets, $0.counters) }
        let snapshot = Snapshot(
            generation: old.generation + 1, configuration, certificates, metrics: self.metrics, targets: &targets,
            counters: &counters)
        let (existing, resolver) = self.state.withLock { ($0.listeners, $0.resolver) }
        await resolver?.resolve(Array(targets.values))
        let opened: [OpenListener]
        let coreBindCounts = await self.coreBindCounts()
        let known = self.state.withLock { $0.coreBinds }
        do throws(StartError) {
            let fresh = configuration.core.binds.filter { !known.contains($0) }
            try await self.openCoreBinds(fresh, advertise: configuration.core.advertise)
            // Before the listeners, which take back their own where one fails.
            try await self.openOutsideDatagrams(snapshot)
            opened = try await self.openListeners(snapshot, beside: existing.filter { !$0.key.isCore })
        } catch {
            // The UDP sockets hear for whom they heard before, and those that are new close.
            try? await self.openOutsideDatagrams(old)
            for mailbox in self.shared.mailboxes { mailbox.perform { $0.retireOutsideSockets() } }
            await self.forgetCoreBinds(behind: coreBindCounts, listeners: existing.count)
            self.state.withLock { $0.coreBinds = known }
            // The domains' counters of the snapshot that was thrown away are those of the one in force.
            _ = self.metrics.domains(old.configuration.domains.map(\.name))
            return failed(error.problems, notes)
        }
        let (finalTargets, finalCounters) = (targets, counters)
        self.state.withLock { state in
            state.snapshot = snapshot
            state.listeners = opened
            state.targets = finalTargets
            state.counters = finalCounters
        }
        for listener in opened { self.setEntrance(listener.entrance, tag: listener.listener.tag.number) }
        for mailbox in self.shared.mailboxes { mailbox.perform { $0.apply(snapshot) } }
        // What is answered after this line is answered by the new configuration.
        for mailbox in self.shared.mailboxes { _ = try? await mailbox.ask { $0.snapshot.generation } }
        self.shared.bindings.setLimit(configuration.edge.limits.bindings)
        self.output.apply(configuration.edge)
        let kept = Set(opened.map(\.listener.tag))
        for listener in existing where !kept.contains(listener.listener.tag) { await self.close(listener) }
        return ReloadReport(
            applied: true, changes: changes, errors: [], warnings: notes, generation: snapshot.generation)
    }

    private func changes(
        from old: Snapshot, to configuration: Configuration, _ certificates: CertificateStore
    ) -> [String] {
        var changes: [String] = []
        let before = Dictionary(
            old.configuration.domains.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let after = Set(configuration.domains.map(\.name))
        for domain in configuration.domains {
            guard let previous = before[domain.name] else {
                changes.append("domain \(domain.name): added")
                continue
            }
            if previous != domain { changes.append("domain \(domain.name): settings changed") }
        }
        for domain in old.configuration.domains where !after.contains(domain.name) {
            changes.append("domain \(domain.name): removed; its connections drain")
        }
        changes += certificates.changes(since: old.certificates).map(\.description)
        let oldBinds = Set(old.configuration.domains.flatMap(Self.binds))
        let newBinds = Set(configuration.domains.flatMap(Self.binds))
        for bind in newBinds.subtracting(oldBinds).map(\.text).sorted() { changes.append("listener \(bind): opens") }
        for bind in oldBinds.subtracting(newBinds).map(\.text).sorted() {
            changes.append("listener \(bind): stops accepting; its connections drain")
        }
        if old.configuration.edge != configuration.edge { changes.append("edge: settings changed") }
        if old.configuration.core != configuration.core { changes.append("core: settings changed") }
        return changes
    }

    /// Settings that a running process keeps.
    private static func fixedAtStart(_ old: Configuration, _ new: Configuration) -> [String] {
        var notes: [String] = []
        func note(_ key: String, _ changed: Bool) {
            if changed { notes.append("\(key) changed: it takes effect at the next start") }
        }
        note("edge.workers", old.edge.workers != new.edge.workers)
        note("edge.secret_file", old.edge.secretFile != new.edge.secretFile)
        note("edge.log.lines_per_second", old.edge.logLinesPerSecond != new.edge.logLinesPerSecond)
        note("edge.state_dir", old.edge.stateDirectory != new.edge.stateDirectory)
        note("edge.admin.bind", old.edge.admin != new.edge.admin)
        note("dns", old.dns != new.dns)
        note("core.advertise", old.core.advertise != new.core.advertise)
        note("core.bind: a removed address", !old.core.binds.allSatisfy(new.core.binds.contains))
        return notes
    }
}

extension Server.ListenerKey {
    var text: String { "\(self.transport):\(self.endpoint)" }
}
