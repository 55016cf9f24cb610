import GatehouseServer

/// An explanation as paragraphs for a terminal.
struct ExplanationText {
    private var lines: [String] = []

    var text: String { self.lines.joined(separator: "\n") }

    init(_ explanation: Explanation) {
        let session =
            explanation.arrived == "untagged"
            ? "without a session tag"
            : "of a session that arrived \(Explanation.phrase(for: explanation.arrived))"
        self.add("request", "\(explanation.uri) from the core of \(explanation.domain)")
        self.add("", "\(explanation.isInDialog ? "in a dialog" : "outside a dialog"), \(session)")
        if let hop = explanation.nextHop {
            self.add("next hop", hop.uri)
            self.add(hop.decision)
        }
        if let security = explanation.security {
            self.add("security", security.mustBeSecure ? "TLS alone, to a peer that proves who it is" : "any transport")
            self.add(security.decision)
        }
        for resolution in explanation.resolutions { self.add(resolution) }
        self.add(explanation.candidates)
        for (index, attempt) in (explanation.attempts ?? []).enumerated() {
            self.add(attempt, index == 0 ? "connect" : "")
        }
        self.add(explanation.verdict)
    }

    /// A word in the first column, text behind it.
    private mutating func add(_ word: String, _ text: String) {
        self.lines.append(word.padded(to: 12) + visible(text))
    }

    private mutating func add(_ decision: Explanation.Decision) {
        self.add("", decision.because)
        guard let key = decision.key else { return }
        self.add("", "\(key), \(decision.location ?? "which is at its default")")
    }

    private mutating func add(_ resolution: Explanation.Resolution) {
        self.add("look-up", resolution.isSecureOnly ? "for TLS alone" : "for any transport")
        for step in resolution.steps {
            guard step.kind == .answer, let question = step.question, let records = step.records else {
                self.add("", step.text)
                continue
            }
            let head = "? \(question) "
            for (index, record) in records.enumerated() {
                let start = index == 0 ? head : String(repeating: " ", count: head.count)
                self.add("", "\(start)→ \(record)\(index == 0 ? " (\(step.timeToLive ?? 0) s)" : "")")
            }
        }
        if let failure = resolution.failure { self.add("", "nothing found: \(failure)") }
    }

    private mutating func add(_ candidates: [Explanation.Candidate]) {
        for (index, candidate) in candidates.enumerated() {
            let way = "\(index + 1). \(candidate.transport):\(candidate.address)"
            self.add(index == 0 ? "candidates" : "", "\(way)\(Self.terms(of: candidate))")
            if let why = candidate.passedOver { self.add("", "   passed over: \(why)") }
            if let override = candidate.override {
                self.add("", "   \(override.because), \(override.location ?? "")")
            }
        }
    }

    private static func terms(of candidate: Explanation.Candidate) -> String {
        guard candidate.transport == "tls" else { return "" }
        let name = candidate.serverName.map { "SNI \($0)" } ?? "no SNI"
        return "  \(name), \(candidate.verifies ? "must prove \(candidate.identity)" : "not verified")"
    }

    private mutating func add(_ attempt: Explanation.Attempt, _ word: String) {
        let way = "\(attempt.transport):\(attempt.address)"
        let terms = [attempt.tlsVersion, attempt.cipher, attempt.isVerified.map { $0 ? "verified" : "not verified" }]
        switch (attempt.isConnected, attempt.transport) {
        case (true, "tls"): self.add(word, "\(way)  \(terms.compactMap { $0 }.joined(separator: ", "))")
        case (true, _): self.add(word, "\(way)  connected")
        case (false, "udp"): self.add(word, way)
        case (false, _): self.add(word, "\(way)  failed")
        }
        if let problem = attempt.problem { self.add("", "   \(problem)") }
        guard let certificate = attempt.certificate else { return }
        self.add("", "   certificate \(certificate.subject), issued by \(certificate.issuer)")
        self.add("", "   names \(certificate.names.isEmpty ? "none" : certificate.names.joined(separator: " "))")
        self.add(
            "", "   valid from \(date(Double(certificate.notBefore))) to \(date(Double(certificate.notAfter))) UTC")
    }

    private mutating func add(_ verdict: Explanation.Verdict) {
        if verdict.goes {
            self.add("verdict", "it is sent")
        } else {
            let status = verdict.status.map { "refused: the core gets \($0)" } ?? "refused"
            self.add("verdict", status + (verdict.warning.map { " with Warning: \($0)" } ?? ""))
        }
        self.add(verdict.decision)
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - self.count))
    }
}
