internal import GatehouseNet
internal import GatehousePolicy
internal import Glibc
internal import Logging
internal import NIOCore
internal import SIPMessage
import Synchronization

/// Keeps the addresses of core servers that are given by name: /etc/hosts first, else A and AAAA, asked again as their TTL
/// ends. A name that stops resolving keeps its last addresses: they are a better guess than none.
final class TargetResolver: Sendable {
    /// However short a TTL is.
    private static let shortest = Duration.seconds(5)
    /// However long, so that a moved server is found again.
    private static let longest = Duration.seconds(300)

    private let client: DNSClient
    private let eventLoop: any EventLoop
    private let log: Logger
    private let due = Mutex<[TargetRuntime.Key: ContinuousClock.Instant]>([:])
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(_ client: DNSClient, eventLoop: any EventLoop, log: Logger) {
        self.client = client
        self.eventLoop = eventLoop
        self.log = log
    }

    /// Resolves what is due, now and every second from now on.
    ///
    /// - Parameter targets: those in force at the time.
    func start(_ targets: @escaping @Sendable () -> [TargetRuntime]) async {
        await self.resolve(targets())
        let task = Task {
            while !Task.isCancelled {
                do { try await Task.sleep(for: .seconds(1)) } catch { return }
                await self.resolve(targets())
            }
        }
        self.task.withLock { $0 = task }
    }

    func stop() {
        self.task.withLock { $0 }?.cancel()
    }

    /// Looks up those of which nothing is known, or whose answer has grown old.
    func resolve(_ targets: [TargetRuntime]) async {
        let now = ContinuousClock.now
        let waiting = self.due.withLock { due in
            targets.filter { $0.fixed == nil && due[$0.key] ?? now <= now }
        }
        guard !waiting.isEmpty else { return }
        await withTaskGroup(of: Void.self) { group in
            for target in waiting { group.addTask { await self.resolve(target) } }
        }
    }

    private func resolve(_ target: TargetRuntime) async {
        let host = target.key.host
        var addresses = HostsFile.addresses(of: host)
        var next = Self.longest
        if addresses.isEmpty {
            (addresses, next) = await self.ask(host)
        }
        let old = target.addresses
        if addresses.isEmpty {
            next = Self.shortest
            self.log.warning(
                "the name of a core server does not resolve: see that it is in the DNS or in /etc/hosts",
                metadata: ["target": "\(target.description)", "kept": "\(old.count)"])
        } else {
            let endpoints = addresses.map { Endpoint(address: $0, port: target.key.port) }
            if endpoints != old {
                target.setAddresses(endpoints)
                self.log.notice(
                    "core server resolved",
                    metadata: [
                        "target": "\(target.description)",
                        "addresses": "\(endpoints.map(\.description).joined(separator: " "))",
                    ])
            }
        }
        let again = ContinuousClock.now + next
        self.due.withLock { $0[target.key] = again }
    }

    /// IPv4 first: the core binds that lead there are most often IPv4.
    private func ask(_ host: String) async -> ([IPAddress], Duration) {
        guard let name = DNSName(host) else { return ([], Self.shortest) }
        var addresses: [IPAddress] = []
        var timeToLive = Self.longest
        for type in [DNSQuestion.RecordType.a, .aaaa] {
            guard let answer = try? await self.client.query(DNSQuestion(name, type), on: self.eventLoop).get(),
                case .addresses(let found) = answer.outcome
            else { continue }
            // In one order, so that a rotated answer is no change.
            addresses += found.sorted { ($0.high, $0.low) < ($1.high, $1.low) }
            timeToLive = min(timeToLive, max(answer.timeToLive, Self.shortest))
        }
        return (addresses, timeToLive)
    }
}

/// The system's table of hosts (hosts(5)), which an operator expects to count before the DNS.
enum HostsFile {
    static func addresses(of host: String, path: String = "/etc/hosts") -> [IPAddress] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var addresses: [IPAddress] = []
        var line = [CChar](repeating: 0, count: 4096)
        let wanted = host.lowercased()
        var linesLeft = 100_000
        while linesLeft > 0, fgets(&line, Int32(line.count), file) != nil {
            linesLeft -= 1
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let words = text.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace)
            guard let first = words.first, words.dropFirst().contains(where: { $0.lowercased() == wanted }),
                let address = IPAddress(String(first)), !addresses.contains(address)
            else { continue }
            addresses.append(address)
        }
        return addresses
    }
}
