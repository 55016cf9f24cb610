import GatehousePolicy
import Logging
import NIOCore
import NIOPosix
import SIPMessage
import Synchronization
import Testing

@testable import GatehouseServer

/// A process with one of each thing, and no list of bindings.
private final class FixedSource: AdminSource {
    let ready = Mutex(true)
    let reloads = Mutex<[Bool]>([])
    let name: String

    init(name: String = "edge-1") {
        self.name = name
    }

    var isReady: Bool { self.ready.withLock { $0 } }

    func status() async -> EdgeStatus {
        EdgeStatus(
            name: self.name, state: self.isReady ? .serving : .draining, startedAt: 1000, configuration: "/etc/g.yaml",
            generation: 3, domains: 1, connections: 1, transactions: 0, bindings: 0,
            listeners: [ListenerStatus(domains: ["a.example"], transport: "tls", address: "127.0.0.1:5061")])
    }

    func domains(_ query: AdminQuery) async -> AdminList<DomainStatus>? {
        AdminList(
            total: 2,
            items: [
                DomainStatus(
                    name: "a.example", aliases: ["<b>"], listeners: ["tls:127.0.0.1:5061"], coreKind: "pbx",
                    coreTargets: 2, coreTargetsUp: 1, connections: 1, bindings: 0)
            ])
    }

    func certificates(_ query: AdminQuery) async -> AdminList<CertificateStatus>? {
        AdminList(total: 0, items: [])
    }

    func connections(_ query: AdminQuery) async -> AdminList<ConnectionStatus>? {
        let connection = ConnectionStatus(
            flow: "0-1", domain: query.domain ?? "any", transport: "tls", local: "l", remote: "r", openedAt: 1,
            isRegistered: true, tlsVersion: "TLSv1.3")
        return AdminList(total: query.limit, items: [connection])
    }

    func reload(dryRun: Bool) async -> ReloadReport {
        self.reloads.withLock { $0.append(dryRun) }
        return ReloadReport(
            applied: false, changes: [], errors: dryRun ? [] : ["g.yaml:1:1: no"], warnings: [], generation: 3)
    }
}

private func router(_ source: FixedSource = FixedSource(), isLoopback: Bool = true) -> AdminRouter {
    AdminRouter(source: source, metrics: Metrics(workers: 1), isLoopback: isLoopback)
}

private func text(_ response: AdminResponse) -> String { String(decoding: response.body, as: UTF8.self) }

@Suite("Admin requests")
struct AdminRouterTests {
    @Test(
        "each path takes its methods, and says which where it is asked otherwise",
        arguments: [
            ("GET", "/healthz", 200, nil), ("HEAD", "/healthz", 200, nil), ("POST", "/healthz", 405, "GET, HEAD"),
            ("GET", "/readyz", 200, nil), ("GET", "/metrics", 200, nil), ("GET", "/metrics?x=y", 200, nil),
            ("GET", "/", 200, nil), ("GET", "/api/status", 200, nil), ("GET", "/api/domains", 200, nil),
            ("GET", "/api/bindings", 404, nil), ("GET", "/api/sessions", 404, nil), ("GET", "/api", 404, nil),
            ("GET", "//", 404, nil), ("GET", "http://evil.example/", 404, nil), ("GET", "", 404, nil),
            ("GET", "/api/reload", 405, "POST"), ("HEAD", "/api/reload", 405, "POST"),
            ("POST", "/api/reload", 422, nil), ("POST", "/api/reload?dry_run=1", 200, nil),
            ("POST", "/api/reload?dry_run=maybe", 400, nil), ("DELETE", "/", 405, "GET, HEAD"),
            ("GET", "/api/connections?limit=0", 400, nil), ("GET", "/api/connections?limit=x", 400, nil),
            ("GET", "/api/connections?limit=99999999999999999999", 400, nil),
        ] as [(String, String, Int, String?)])
    func methodsAndPaths(method: String, target: String, status: Int, allow: String?) async {
        let response = await router().respond(to: AdminRequest(method: method, target: target))
        #expect(response.status == status)
        #expect(response.allow == allow)
        #expect(response.body.last == 0x0A)
    }

    @Test("a reload is asked for once, dry or not, and the report comes back whole")
    func reload() async throws {
        let source = FixedSource()
        _ = await router(source).respond(to: AdminRequest(method: "POST", target: "/api/reload?dry_run=1"))
        let response = await router(source).respond(to: AdminRequest(method: "POST", target: "/api/reload"))
        #expect(source.reloads.withLock { $0 } == [true, false])
        let report = try AdminJSON.decode(ReloadReport.self, from: response.body)
        #expect(report.errors == ["g.yaml:1:1: no"] && !report.applied && report.generation == 3)
    }

    @Test("a process that drains is not ready, and healthy all the same")
    func readiness() async {
        let source = FixedSource()
        source.ready.withLock { $0 = false }
        #expect(await router(source).respond(to: AdminRequest(method: "GET", target: "/readyz")).status == 503)
        #expect(await router(source).respond(to: AdminRequest(method: "GET", target: "/healthz")).status == 200)
    }

    @Test("lists take a domain and a limit, and write names in snake_case")
    func lists() async throws {
        let all = await router().respond(to: AdminRequest(method: "GET", target: "/api/connections"))
        #expect(try AdminJSON.decode(AdminList<ConnectionStatus>.self, from: all.body).total == 1000)
        let some = await router().respond(
            to: AdminRequest(method: "GET", target: "/api/connections?domain=a.example&limit=7"))
        let list = try AdminJSON.decode(AdminList<ConnectionStatus>.self, from: some.body)
        #expect(list.total == 7 && list.items.first?.domain == "a.example")
        #expect(list.items.first?.tlsVersion == "TLSv1.3" && list.items.first?.cipher == nil)
        #expect(text(some).contains(#""tls_version" : "TLSv1.3""#) && text(some).contains(#""opened_at" : 1"#))
    }

    @Test(
        "on loopback a Host that DNS could answer for is refused",
        arguments: [
            (["127.0.0.1:8061"], 200), (["localhost"], 200), (["LOCALHOST:1"], 200), (["[::1]:8061"], 200),
            (["[::1]"], 200), (["192.0.2.1"], 200), (["evil.example"], 403), (["evil.example:8061"], 403),
            (["localhost.evil.example"], 403), (["127.0.0.1.evil.example"], 403), (["[::1].evil.example"], 403),
            (["[evil.example]"], 403), (["["], 403), ([""], 403), (["127.0.0.1@evil.example"], 403), ([], 400),
            (["127.0.0.1", "127.0.0.1"], 400),
        ])
    func hosts(hosts: [String], status: Int) async {
        var request = AdminRequest(method: "GET", target: "/healthz")
        request.hosts = hosts
        #expect(await router().respond(to: request).status == status)
        if status == 403 { #expect(await router(isLoopback: false).respond(to: request).status == 200) }
    }

    @Test(
        "a page of another origin cannot reload",
        arguments: [
            (nil, nil, 200), ("http://127.0.0.1", "same-origin", 200), (nil, "none", 200),
            ("http://evil.example", nil, 403), ("null", nil, 403), ("https://127.0.0.1", nil, 403),
            ("http://127.0.0.1:8080", nil, 403), (nil, "cross-site", 403), (nil, "same-site", 403),
        ] as [(String?, String?, Int)])
    func origins(origin: String?, site: String?, status: Int) async {
        let source = FixedSource()
        let request = AdminRequest(
            method: "POST", target: "/api/reload?dry_run=1", origin: origin, fetchSite: site)
        #expect(await router(source).respond(to: request).status == status)
        #expect(source.reloads.withLock { $0.isEmpty } == (status != 200))
    }
}

@Suite("Admin page")
struct AdminHTMLTests {
    @Test("the page shows what the source gives and escapes it")
    func page() async {
        let metrics = Metrics(workers: 1)
        metrics.workers[0].refused(metrics.domains(["a.example"])[0], .forgedTag)
        let page = await AdminHTML.page(of: FixedSource(name: "<script>\"&'"), metrics: metrics, now: 1000 + 93_784)
        #expect(page.contains("&lt;script&gt;&quot;&amp;&#39;") && !page.contains("<script>"))
        #expect(page.contains("<td class=\"\">&lt;b&gt;</td>"))
        #expect(page.contains("<dd class=\"\">1 d 2 h</dd>"))
        #expect(page.contains("<td class=\"warning\">1 of 2</td>"))
        #expect(page.contains("<p>1 more:"))
        #expect(page.contains("<td class=\"\">forged_tag</td><td class=\"number\">1</td>"))
        #expect(page.contains("<h2>Certificates <span>0</span></h2><p>None.</p>"))
        #expect(!page.contains("Cores"))
    }

    @Test(
        "a span is written in its two largest units",
        arguments: [
            (-5, "0 s"), (0.9, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min 59 s"), (7200, "2 h"),
            (90_061, "1 d 1 h"), (.infinity, "11574074 d 1 h"),
        ] as [(Double, String)])
    func spans(seconds: Double, expected: String) {
        #expect(AdminHTML.span(seconds) == expected)
    }
}

@Suite("Admin server")
struct AdminServerTests {
    private static let loopback = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0)

    private func withServer(
        deadline: Duration = .seconds(60), _ body: (AdminServer, FixedSource) async throws -> Void
    ) async throws {
        let source = FixedSource()
        let server = try await AdminServer.start(
            bind: Self.loopback, source: source, metrics: Metrics(workers: 1), log: Logger(label: "test"),
            deadline: deadline)
        do { try await body(server, source) } catch {
            await server.stop()
            throw error
        }
        await server.stop()
    }

    @Test("the client of the commands gets status and body")
    func client() async throws {
        try await self.withServer { server, source in
            let client = try AdminClient("http://\(server.endpoint)")
            let status = try await client.get("/api/status")
            #expect(status.status == 200)
            #expect(try AdminJSON.decode(EdgeStatus.self, from: status.body) == (await source.status()))
            #expect(try await client.post("/api/reload").status == 422)
            #expect(try await client.get("/nothing").status == 404)
        }
    }

    @Test("HEAD has the headers of GET and no body; a kept connection answers in order")
    func headAndKeepAlive() async throws {
        try await self.withServer { server, _ in
            let host = "Host: \(server.endpoint)\r\n"
            let all = try await exchange(
                server,
                "HEAD /healthz HTTP/1.1\r\n\(host)\r\nGET /readyz HTTP/1.1\r\n\(host)\r\n"
                    + "GET /healthz HTTP/1.1\r\n\(host)Connection: close\r\n\r\n")
            let parts = all.components(separatedBy: "HTTP/1.1 200 OK\r\n").dropFirst()
            #expect(parts.count == 3)
            #expect(parts.first?.contains("Content-Length: 3\r\n") == true)
            #expect(parts.first?.hasSuffix("\r\n\r\n") == true)
            #expect(parts.dropFirst().first?.hasSuffix("\r\n\r\nready\n") == true)
            #expect(parts.last?.hasSuffix("\r\n\r\nok\n") == true)
            #expect(all.contains("Content-Security-Policy: default-src 'none'"))
        }
    }

    private static let get = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    private static let post = "POST /api/reload HTTP/1.1\r\nHost: 127.0.0.1\r\n"

    @Test(
        "what breaks a limit is answered and closed",
        arguments: [
            (get + "X: " + String(repeating: "x", count: 20_000) + "\r\n\r\n", 400),
            (get + String(repeating: "X: y\r\n", count: 100) + "\r\n", 400),
            (post + "Content-Length: 20000\r\n\r\n" + String(repeating: "x", count: 20_000), 413),
            ("INVITE sip:a SIP/2.0\r\n\r\n", 400),
            ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ])
    func limits(request: String, status: Int) async throws {
        try await self.withServer { server, source in
            let answer = try await exchange(server, request)
            #expect(answer.hasPrefix("HTTP/1.1 \(status) ") || (status == 400 && answer.hasPrefix("HTTP/1.1 431 ")))
            #expect(source.reloads.withLock { $0.isEmpty })
            #expect(try await AdminClient("\(server.endpoint)").get("/healthz").status == 200)
        }
    }

    @Test("a connection that brings no whole request within the deadline is closed")
    func slowRequest() async throws {
        try await self.withServer(deadline: .milliseconds(50)) { server, _ in
            let partial = try await exchange(server, "GET /healthz HTTP/1.1\r\nHos")
            let silent = try await exchange(server, "")
            #expect(partial.isEmpty && silent.isEmpty)
        }
    }

    @Test("connections beyond the limit are closed, and let in again when others have gone")
    func connectionLimit() async throws {
        try await self.withServer { server, _ in
            var open: [Connection] = []
            for _ in 0..<AdminServer.connectionLimit {
                let connection = try await Connection.open(server.endpoint)
                // Its answer shows that the server has taken it.
                #expect(try await connection.ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").contains("200 OK"))
                open.append(connection)
            }
            #expect(try await exchange(server, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").isEmpty)
            try await open.removeLast().close()
            let deadline = ContinuousClock.now + .seconds(10)
            var answer = ""
            while !answer.contains("200 OK"), ContinuousClock.now < deadline {
                answer = try await exchange(
                    server, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            }
            #expect(answer.contains("200 OK"))
            for connection in open { try await connection.close() }
        }
    }

    @Test("an address in use is an error that names it and what to do")
    func addressInUse() async throws {
        try await self.withServer { server, source in
            let error = await #expect(throws: AdminStartError.self) {
                _ = try await AdminServer.start(
                    bind: server.endpoint, source: source, metrics: Metrics(workers: 1), log: Logger(label: "test"))
            }
            #expect(error?.description.contains("\(server.endpoint)") == true)
            #expect(error?.description.contains("edge.admin.bind") == true)
        }
    }

    @Test(
        "the client knows an address from what is none",
        arguments: [
            ("http://127.0.0.1:8061", "http://127.0.0.1:8061"), ("127.0.0.1:1/", "http://127.0.0.1:1"),
            ("[::1]:8061", "http://[::1]:8061"), ("localhost:8061", "http://localhost:8061"),
            ("https://127.0.0.1:8061", nil), ("127.0.0.1", nil), ("http://h:99999", nil), ("http://a/b:1", nil),
            ("::1:8061", nil), ("", nil),
        ] as [(String, String?)])
    func addresses(text: String, base: String?) {
        #expect((try? AdminClient(text))?.base == base)
    }

    @Test("nobody there: the client says whom it asked and which option names it")
    func nobodyThere() async throws {
        let error = await #expect(throws: AdminClient.Failure.self) {
            _ = try await AdminClient("127.0.0.1:1").get("/")
        }
        #expect(error?.description.contains("http://127.0.0.1:1") == true)
        #expect(error?.description.contains("--admin") == true)
    }
}

/// Sends octets and returns what comes back until the server closes.
private func exchange(_ server: AdminServer, _ request: String) async throws -> String {
    try await Connection.open(server.endpoint).untilClosed(request)
}

/// A plain TCP connection that collects what it reads.
private final class Connection: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private struct State {
        var text = ""
        var isClosed = false
        var waiter: (condition: @Sendable (String, Bool) -> Bool, promise: EventLoopPromise<String>)?
    }
    private let state = Mutex(State())
    private let channel = Mutex<(any Channel)?>(nil)

    static func open(_ endpoint: Endpoint) async throws -> Connection {
        let connection = Connection()
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { $0.pipeline.addHandler(connection) }
            .connect(host: endpoint.address.description, port: Int(endpoint.port)).get()
        connection.channel.withLock { $0 = channel }
        return connection
    }

    func ask(_ request: String) async throws -> String {
        try await self.send(request) { text, isClosed in isClosed || text.contains("\r\n\r\n") }
    }

    func untilClosed(_ request: String) async throws -> String {
        try await self.send(request) { _, isClosed in isClosed }
    }

    func close() async throws {
        try await self.channel.withLock { $0 }?.close()
    }

    private func send(
        _ request: String, until condition: @escaping @Sendable (String, Bool) -> Bool
    ) async throws -> String {
        let channel = try #require(self.channel.withLock { $0 })
        let promise = channel.eventLoop.makePromise(of: String.self)
        self.state.withLock { $0.waiter = (condition, promise) }
        channel.eventLoop.execute { self.check() }
        // A server that has closed already is no failure of the test.
        try? await channel.writeAndFlush(ByteBuffer(string: request))
        return try await promise.futureResult.get()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        self.state.withLock { $0.text += String(buffer: bytes) }
        self.check()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.state.withLock { $0.isClosed = true }
        self.check()
    }

    private func check() {
        self.state.withLock { state in
            guard let waiter = state.waiter, waiter.condition(state.text, state.isClosed) else { return }
            state.waiter = nil
            waiter.promise.succeed(state.text)
            state.text = ""
        }
    }
}

extension String {
    fileprivate func components(separatedBy separator: String) -> [Substring] {
        self.split(separator: separator, omittingEmptySubsequences: false)
    }
}
