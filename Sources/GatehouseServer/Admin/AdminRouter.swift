internal import FoundationEssentials
internal import Logging

/// A request to the admin endpoint, without its body: none of ours has one that counts.
struct AdminRequest: Sendable, Equatable {
    var method: String
    /// As in the request line.
    var target: String
    var isHTTP10 = false
    var hosts: [String] = ["127.0.0.1"]
    var origin: String?
    /// The value of Sec-Fetch-Site.
    var fetchSite: String?

    var path: String { String(self.target.prefix { $0 != "?" }) }

    /// The value of a parameter of the query; an empty text where it has none.
    func parameter(_ name: String) -> String? {
        guard let mark = self.target.firstIndex(of: "?") else { return nil }
        for pair in self.target[self.target.index(after: mark)...].split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.first.map(String.init) == name { return parts.count > 1 ? String(parts[1]) : "" }
        }
        return nil
    }
}

struct AdminResponse: Sendable, Equatable {
    var status: Int
    var contentType: String
    var body: [UInt8]
    /// The value of Allow, for 405.
    var allow: String?

    init(status: Int, contentType: String, body: [UInt8], allow: String? = nil) {
        self.status = status
        self.contentType = contentType
        self.body = body
        self.allow = allow
    }

    static func text(_ text: String, status: Int = 200, allow: String? = nil) -> AdminResponse {
        AdminResponse(
            status: status, contentType: "text/plain; charset=utf-8", body: Array((text + "\n").utf8), allow: allow)
    }

    static func json(_ value: some Encodable, status: Int = 200) -> AdminResponse {
        do {
            let body = try AdminJSON.encode(value)
            return AdminResponse(status: status, contentType: "application/json", body: body)
        } catch {  // a number that is not finite, the one thing that our values could hold and JSON cannot
            return .text("the answer cannot be written as JSON: \(error)", status: 500)
        }
    }
}

/// How values are written to and read from JSON, here and by the commands.
public enum AdminJSON {
    public static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        return Array(try encoder.encode(value)) + [0x0A]
    }

    public static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: Data(bytes))
    }
}

/// Answers the admin endpoint's requests.
struct AdminRouter: Sendable {
    let source: any AdminSource
    let metrics: Metrics
    let isLoopback: Bool

    func respond(to request: AdminRequest) async -> AdminResponse {
        do throws(AdminAccess.Fault) {
            try AdminAccess.check(request, isLoopback: self.isLoopback)
        } catch {
            return .text(error.reason, status: error.status)
        }
        let isPost = request.path == "/api/reload"
        guard Self.paths.contains(request.path) else {
            return .text("nothing is here; there are: \(Self.paths.joined(separator: " "))", status: 404)
        }
        guard isPost ? request.method == "POST" : request.method == "GET" || request.method == "HEAD" else {
            let allow = isPost ? "POST" : "GET, HEAD"
            return .text("\(request.path) takes \(allow) alone", status: 405, allow: allow)
        }
        return await self.content(request)
    }

    static let paths = [
        "/", "/healthz", "/readyz", "/metrics", "/api/status", "/api/domains", "/api/certificates", "/api/connections",
        "/api/bindings", "/api/cores", "/api/reload",
    ]

    private func content(_ request: AdminRequest) async -> AdminResponse {
        let query: AdminQuery
        do throws(AdminAccess.Fault) { query = try Self.query(of: request) } catch {
            return .text(error.reason, status: error.status)
        }
        switch request.path {
        case "/":
            let page = await AdminHTML.page(of: self.source, metrics: self.metrics)
            return AdminResponse(status: 200, contentType: "text/html; charset=utf-8", body: Array(page.utf8))
        case "/healthz": return .text("ok")
        case "/readyz":
            return self.source.isReady ? .text("ready") : .text("not ready: starting or draining", status: 503)
        case "/metrics":
            return AdminResponse(
                status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", body: self.metrics.exposition())
        case "/api/status": return .json(await self.source.status())
        case "/api/domains": return Self.list(await self.source.domains(query), "domains")
        case "/api/certificates": return Self.list(await self.source.certificates(query), "certificates")
        case "/api/connections": return Self.list(await self.source.connections(query), "connections")
        case "/api/bindings": return Self.list(await self.source.bindings(query), "bindings")
        case "/api/cores": return Self.list(await self.source.cores(query), "cores")
        default: return await self.reload(request)
        }
    }

    private func reload(_ request: AdminRequest) async -> AdminResponse {
        let isDryRun: Bool
        switch request.parameter("dry_run") {
        case nil, "0", "false": isDryRun = false
        case "", "1", "true": isDryRun = true
        case let other?: return .text("dry_run is 0 or 1, not \(other)", status: 400)
        }
        let report = await self.source.reload(dryRun: isDryRun)
        return .json(report, status: report.errors.isEmpty ? 200 : 422)
    }

    private static func query(of request: AdminRequest) throws(AdminAccess.Fault) -> AdminQuery {
        var query = AdminQuery(domain: request.parameter("domain"))
        if let text = request.parameter("limit") {
            guard let limit = Int(text), (1...AdminQuery.highestLimit).contains(limit) else {
                throw AdminAccess.Fault(
                    status: 400, reason: "limit is a number from 1 to \(AdminQuery.highestLimit), not \(text)")
            }
            query.limit = limit
        }
        return query
    }

    private static func list(_ list: AdminList<some Codable & Sendable & Equatable>?, _ noun: String) -> AdminResponse {
        guard let list else { return .text("this process keeps no list of its \(noun)", status: 404) }
        return .json(list)
    }
}
