import GatehouseNet
import GatehousePolicy
import Glibc
import NIOCore
import NIOPosix
import SIPMessage
import Testing

/// dnsmasq (Debian: dnsmasq-base) on a free loopback port, with a zone of its own.
private final class DNSMasq {
    static let path = "/usr/sbin/dnsmasq"

    static var isInstalled: Bool { access(Self.path, X_OK) == 0 }

    let endpoint: Endpoint
    private let process: pid_t
    /// The end of a pipe: when it closes, be it that the tests crash, the name server goes. It is killed, since it inherits
    /// an event loop's signal mask.
    private let life: Int32

    init(_ zone: [String]) throws {
        // An address that no other test binds to: a free port of a shared one may be taken before dnsmasq has it.
        self.endpoint = Endpoint(
            address: IPAddress(v4: 0x7F4D_3500 | UInt32.random(in: 2..<250)), port: UInt16.random(in: 20_000..<30_000))
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        self.life = ends[1]
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        let arguments =
            [
                "/bin/sh", "-c", #""$@" & read _; kill -9 $!"#, "sh", Self.path, "--keep-in-foreground", "--no-resolv",
                "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--log-facility=/dev/null", "--bind-interfaces",
                "--listen-address=\(self.endpoint.address)", "--port=\(self.endpoint.port)", "--local-ttl=77",
                "--local=/example/",
            ] + zone
        var pointers = arguments.map { strdup($0) } + [nil]
        var process = pid_t()
        let status = posix_spawn(&process, "/bin/sh", &actions, nil, &pointers, environ)
        for pointer in pointers { free(pointer) }
        posix_spawn_file_actions_destroy(&actions)
        close(ends[0])
        self.process = process
        try #require(status == 0)
    }

    func stop() {
        close(self.life)
        waitpid(self.process, nil, 0)
    }
}

extension DNSClient {
    /// Asks until the server has come up.
    fileprivate func ask(_ question: DNSQuestion) async throws -> DNSAnswer {
        let deadline = ContinuousClock.now + .seconds(20)
        while true {
            let answer = try await self.query(question, on: MultiThreadedEventLoopGroup.singleton.next()).get()
            guard case .failed(let failure) = answer.outcome, ContinuousClock.now < deadline,
                failure == .unreachable || failure == .timedOut
            else { return answer }
            self.clearCache()
        }
    }
}

@Test(
    "LOC-09: a real name server's NAPTR, SRV, A, AAAA and CNAME records are understood, small and large",
    .enabled(if: DNSMasq.isInstalled, "dnsmasq is not installed: apt install dnsmasq-base"), .timeLimit(.minutes(1)))
func asksDNSMasq() async throws {
    let many = (0..<60).map {
        "--srv-host=_sip._udp.far.example,a-rather-long-host-name-\($0).far.example,5060,\($0),1"
    }
    let server = try DNSMasq(
        [
            "--host-record=pbx.example,192.0.2.1,2001:db8::1", "--cname=alias.example,pbx.example",
            "--srv-host=_sip._tcp.far.example,p.far.example,5070,10,20", "--srv-host=_none._tcp.far.example",
            "--naptr-record=far.example,10,50,s,SIPS+D2T,,_sips._tcp.far.example",
        ] + many)
    defer { server.stop() }
    let client = try DNSClient(DNSSettings(servers: [server.endpoint], timeout: .seconds(2)))
    let a = try await client.ask(DNSQuestion("PBX.example.", .a))
    #expect(a.outcome == .addresses([IPAddress(v4: 0xC000_0201)]))
    #expect(a.timeToLive == .seconds(77))
    #expect(
        try await client.ask(DNSQuestion("pbx.example", .aaaa)).outcome
            == .addresses([IPAddress(v6High: 0x2001_0db8_0000_0000, v6Low: 1)]))
    #expect(
        try await client.ask(DNSQuestion("alias.example", .a)).outcome == .addresses([IPAddress(v4: 0xC000_0201)]))
    #expect(
        try await client.ask(DNSQuestion("_sip._tcp.far.example", .srv)).outcome
            == .services([DNSService(priority: 10, weight: 20, port: 5070, target: DNSName("p.far.example"))]))
    guard case .services(let absent) = try await client.ask(DNSQuestion("_none._tcp.far.example", .srv)).outcome else {
        Issue.record("a service that is not offered has no SRV record")
        return
    }
    #expect(absent.map(\.target) == [nil])
    #expect(
        try await client.ask(DNSQuestion("far.example", .naptr)).outcome
            == .pointers([
                DNSPointer(
                    order: 10, preference: 50, flags: "s", service: "SIPS+D2T", expression: "",
                    replacement: DNSName("_sips._tcp.far.example"))
            ]))
    #expect(try await client.ask(DNSQuestion("pbx.example", .naptr)).outcome == .noData)
    #expect(try await client.ask(DNSQuestion("nowhere.example", .a)).outcome == .noSuchName)
    // Over 1,232 bytes: dnsmasq truncates it, and it comes over TCP.
    guard case .services(let services) = try await client.ask(DNSQuestion("_sip._udp.far.example", .srv)).outcome else {
        Issue.record("the large answer did not come")
        return
    }
    #expect(Set(services.map(\.priority)) == Set(0..<60))
}
