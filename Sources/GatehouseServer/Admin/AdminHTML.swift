/// The page at `/`: what an operator looks at first. One document, without scripts or anything fetched from elsewhere.
enum AdminHTML {
    /// Rows of one table; `/api` has the rest.
    private static let rowLimit = 200

    static func page(of source: any AdminSource, metrics: Metrics, now: Double = secondsSince1970()) async -> String {
        let query = AdminQuery(limit: Self.rowLimit)
        let status = await source.status()
        var html = Self.head(status, now: now)
        html += Self.table(
            "Domains", ["domain", "aliases", "listeners", "core", "targets up", "connections", "bindings"],
            await source.domains(query)
        ) { domain in
            [
                .text(domain.name), .text(domain.aliases.joined(separator: " ")),
                .text(domain.listeners.joined(separator: " ")), .text(domain.coreKind),
                Cell(
                    "\(domain.coreTargetsUp) of \(domain.coreTargets)",
                    domain.coreTargetsUp == 0 ? .bad : domain.coreTargetsUp < domain.coreTargets ? .warning : .good),
                .number(domain.connections), .number(domain.bindings),
            ]
        }
        html += Self.table(
            "Certificates", ["domain", "days left", "key", "names", "SHA-256", "file"], await source.certificates(query)
        ) { certificate in
            let days = Int(((certificate.notAfter - now) / 86_400).rounded(.down))
            return [
                .text(certificate.domain), Cell("\(days)", days < 0 ? .bad : days < 14 ? .warning : .good),
                .text(certificate.key), .text(certificate.names.joined(separator: " ")),
                .text(String(certificate.fingerprint.prefix(16)) + "…"), .text(certificate.certificate),
            ]
        }
        html += Self.table("Cores", ["domain", "target", "health", "since", "round trip"], await source.cores(query)) {
            core in
            [
                .text(core.domain), .text(core.target), core.isUp ? Cell("up", .good) : Cell("down", .bad),
                .text(core.since.map { Self.span(now - $0) + " ago" } ?? "start"),
                .text(core.roundTripInMilliseconds.map { "\(Self.tenths($0)) ms" } ?? ""),
            ]
        }
        html += Self.table(
            "Connections", ["remote", "domain", "transport", "TLS", "open for", "registered", "verified"],
            await source.connections(query)
        ) { connection in
            [
                .text(connection.remote), .text(connection.domain), .text(connection.transport),
                .text([connection.tlsVersion, connection.cipher].compactMap { $0 }.joined(separator: " ")),
                .text(Self.span(now - connection.openedAt)), .text(connection.isRegistered ? "yes" : ""),
                .text(connection.verified.joined(separator: " ")),
            ]
        }
        let refusals = metrics.refusals().sorted { ($1.count, $0.domain, $0.rule) < ($0.count, $1.domain, $1.rule) }
        html += Self.table(
            "Refusals", ["domain", "rule", "count"],
            AdminList(total: refusals.count, items: Array(refusals.prefix(Self.rowLimit)))
        ) { [.text($0.domain), .text($0.rule), Cell("\($0.count)", .number)] }
        return html + "</main></body></html>\n"
    }

    // MARK: Parts

    private struct Cell {
        enum Mark: String { case none = "", good, warning, bad, number }
        var text: String
        var mark: Mark

        init(_ text: String, _ mark: Mark) {
            self.text = text
            self.mark = mark
        }

        static func text(_ text: String) -> Cell { Cell(text, .none) }
        static func number(_ number: Int) -> Cell { Cell("\(number)", .number) }
    }

    private static func head(_ status: EdgeStatus, now: Double) -> String {
        let state = status.state == .serving ? Cell("serving", .good) : Cell("draining", .warning)
        let facts: [(String, Cell)] = [
            ("state", state), ("up for", .text(Self.span(now - status.startedAt))),
            ("version", .text(status.version)), ("generation", .number(status.generation)),
            ("domains", .number(status.domains)), ("connections", .number(status.connections)),
            ("bindings", .number(status.bindings)), ("transactions", .number(status.transactions)),
        ]
        let list = facts.map { name, cell in
            "<div><dt>\(name)</dt><dd class=\"\(cell.mark.rawValue)\">\(Self.escape(cell.text))</dd></div>"
        }
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="10">
            <meta name="viewport" content="width=device-width">
            <title>Gatehouse \(Self.escape(status.name))</title><style>\(Self.style)</style></head>
            <body><header><h1>Gatehouse <span>\(Self.escape(status.name))</span></h1>
            <p>\(Self.escape(status.configuration)) · <a href="/metrics">metrics</a> · <a href="/api/status">api</a></p>
            </header><main><dl>\(list.joined())</dl>

            """
    }

    private static func table<Item>(
        _ title: String, _ columns: [String], _ list: AdminList<Item>?, _ row: (Item) -> [Cell]
    ) -> String {
        guard let list else { return "" }
        var html = "<section><h2>\(title) <span>\(list.total)</span></h2>"
        if list.items.isEmpty { return html + "<p>None.</p></section>\n" }
        html += "<div class=\"scroll\"><table><thead><tr>"
        for column in columns { html += "<th>\(column)</th>" }
        html += "</tr></thead><tbody>"
        for item in list.items {
            html += "<tr>"
            for cell in row(item) { html += "<td class=\"\(cell.mark.rawValue)\">\(Self.escape(cell.text))</td>" }
            html += "</tr>"
        }
        html += "</tbody></table></div>"
        let hidden = list.total - list.items.count
        if hidden > 0 { html += "<p>\(hidden) more: see the command or <code>/api</code>.</p>" }
        return html + "</section>\n"
    }

    static func escape(_ text: String) -> String {
        var out = ""
        out.reserveCapacity(text.utf8.count)
        for character in text.unicodeScalars {
            switch character {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            case "'": out += "&#39;"
            default: out.unicodeScalars.append(character)
            }
        }
        return out
    }

    /// A duration in its two largest units: `3 d 4 h`.
    static func span(_ seconds: Double) -> String {
        let whole = Int(max(0, min(seconds, 1e12)))
        let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")]
        guard let first = units.firstIndex(where: { whole >= $0.0 }) else { return "0 s" }
        var text = "\(whole / units[first].0) \(units[first].1)"
        if first + 1 < units.count {
            let rest = whole % units[first].0 / units[first + 1].0
            if rest > 0 { text += " \(rest) \(units[first + 1].1)" }
        }
        return text
    }

    private static func tenths(_ value: Double) -> String {
        let tenths = Int((max(0, min(value, 1e9)) * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    private static let style = """
        :root{color-scheme:light dark;--line:#8884;--soft:#888;--good:#178a3a;--warning:#b36b00;--bad:#d0312d}
        body{font:14px/1.45 system-ui,sans-serif;margin:0}header,main{max-width:72rem;margin:auto;padding:0 1rem}
        header{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline}
        h1{font-size:1.4rem;margin:1rem 0 .5rem}h1 span,h2 span{color:var(--soft);font-weight:400}
        h2{font-size:1.05rem;margin:1.6rem 0 .4rem}header p,section p{color:var(--soft);margin:.3rem 0}
        dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:.5rem 0}dt{color:var(--soft);font-size:.8rem}
        dd{margin:0;font-size:1.15rem;font-variant-numeric:tabular-nums}.scroll{overflow-x:auto}
        table{border-collapse:collapse;width:100%}th{text-align:left;white-space:nowrap;color:var(--soft);font-weight:500;font-size:.8rem}
        th,td{padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
        .number{font-variant-numeric:tabular-nums}.good{color:var(--good)}.warning{color:var(--warning)}
        .bad{color:var(--bad);font-weight:600}a{color:inherit}
        """
}
