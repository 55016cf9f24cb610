internal import GatehouseNet
internal import GatehousePolicy
internal import Glibc
internal import Logging
internal import NIOCore
internal import SIPMessage
import Synchronization

/// Keeps the addresses of core servers that are given by name: /etc/hosts first, else `Resolution`, asked again as the TTL
/// ends. A name that stops resolving keeps its last addresses: they are a better guess than none.
final class TargetResolver: Sendable {
    /// However short a TTL is.
    private static let shortest = Duration.seconds(5)
    /// However long, so that a moved server is found again.
    private static let longest = Duration.seconds(300)

    /// Names looked up at a time, so that those of ten thousand domains leave room for the calls'.
    private static let atOnce = 200

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
        for start in stride(from: 0, to: waiting.count, by: Self.atOnce) {
            await withTaskGroup(of: Void.self) { group in
                for target in waiting[start..<min(start + Self.atOnce, waiting.count)] {
                    group.addTask { await self.resolve(target) }
                }
            }
        }
    }

    private func resolve(_ target: TargetRuntime) async {
        var found = Found(addresses: HostsFile.addresses(of: target.key.host), next: Self.longest)
        if found.addresses.isEmpty { found = await self.locate(target) }
        let old = target.addresses
        if found.addresses.isEmpty {
            self.log.warning(
                "the name of a core server does not resolve: see that it is in the DNS or in /etc/hosts",
                metadata: ["target": "\(target.description)", "kept": "\(old.count)", "cause": "\(found.cause)"])
        } else {
            let endpoints = found.addresses.map { Endpoint(address: $0, port: target.key.port) }
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
        let again = ContinuousClock.now + found.next
        self.due.withLock { $0[target.key] = again }
    }

    /// Locates a core server as any other next hop with a port and a transport (RFC 3263 §4.2).
    private func locate(_ target: TargetRuntime) async -> Found {
        guard let name = DNSName(target.key.host) else { return Found(cause: "it is no name of the DNS") }
        let hop = NextHop(
            isSIPS: false, target: .name(name), port: target.key.port,
            transport: target.key.transport == .udp ? .udp : .tcp, identity: .domain(name.text))
        var resolution = Resolution(hop, rules: ResolutionRules(transports: [target.key.transport]))
        var generator = SystemRandomNumberGenerator()
        var timeToLive = Self.longest
        var step = resolution.begin()
        while case .ask(let questions) = step {
            let replies = questions.map { self.client.query($0, on: self.eventLoop) }
            for reply in replies {
                guard let answer = try? await reply.get() else { return Found(cause: "\(DNSFailure.shutDown)") }
                if case .addresses = answer.outcome {
                    timeToLive = min(timeToLive, max(answer.timeToLive, Self.shortest))
                }
                step = resolution.receive(answer, using: &generator)
            }
        }
        switch step {
        case .located(let candidates):
            // In one order, so that a rotated answer is no change; IPv4 first, as most core binds are.
            let sorted = candidates.map(\.endpoint.address).sorted {
                ($0.isIPv6 ? 1 : 0, $0.high, $0.low) < ($1.isIPv6 ? 1 : 0, $1.high, $1.low)
            }
            return Found(addresses: sorted, next: timeToLive)
        case .failed(let failure): return Found(cause: "\(failure)")
        case .ask, .wait: return Found(cause: "\(DNSFailure.shutDown)")
        }
    }

    private struct Found {
        var addresses: [IPAddress] = []
        /// When to ask again.
        var next = TargetResolver.shortest
        /// Why there are no addresses.
        var cause = ""
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
