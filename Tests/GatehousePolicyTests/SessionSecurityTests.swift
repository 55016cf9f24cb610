import GatehousePolicy
import SIPMessage
import Testing

private func session(_ arrival: Arrival, isRelaxed: Bool = false) -> Session {
    Session(id: SessionID(1), arrival: arrival, expires: 2, isRelaxed: isRelaxed)
}

private let everySession = Arrival.allCases.flatMap { [session($0), session($0, isRelaxed: true)] }

/// `passes` with what comes back, or status and rule and the code of the Warning.
private func outcome(_ check: () throws(Refusal) -> String) -> String {
    do throws(Refusal) {
        return "passes" + (try check())
    } catch {
        return "\(error.status) \(error.rule.label) \(error.warning?.code ?? 0)"
    }
}

@Suite("SessionSecurity")
struct SessionSecurityTests {
    @Test("SIPS-07: a session arrives as its Request-URI says, else as its connection does")
    func arrival() {
        #expect(Arrival(isSIPS: true, isSecure: true) == .sips)
        #expect(Arrival(isSIPS: true, isSecure: false) == .sips)
        #expect(Arrival(isSIPS: false, isSecure: true) == .tls)
        #expect(Arrival(isSIPS: false, isSecure: false) == .plain)
    }

    @Test("SIPS-09: an override lets a dialog go, but never what its URIs demand")
    func relaxedSessions() {
        for session in everySession {
            #expect(session.staysSIPS == (session.arrival == .sips && !session.isRelaxed))
            for protect in SecuritySettings.Protect.allCases {
                let isCovered = SecurityDemand.isProtected(session.arrival, by: protect)
                for isSIPS in [false, true] {
                    for isRegisteredContact in [false, true] {
                        let demand = SecurityDemand(
                            isSIPS: isSIPS, session: session, protect: protect,
                            isRegisteredContact: isRegisteredContact)
                        #expect(demand.isProtected == (isCovered && !session.isRelaxed))
                        #expect(demand.isSIPS == isSIPS && demand.isRegisteredContact == isRegisteredContact)
                        #expect(demand.mustBeSecure == (isSIPS || isCovered && !session.isRelaxed))
                    }
                }
            }
        }
    }

    @Test(
        "SIPS-08, SIPS-19: which sessions pass from outside to the core: over TLS, and over a plain connection",
        arguments: [
            (.plain, false, .allow, "passes", "passes"), (.tls, false, .allow, "passes", "passes"),
            (.sips, false, .allow, "passes", "403 sips_on_plain 0"),
            (.plain, false, .refuse, "passes", "passes"), (.tls, false, .refuse, "passes", "passes"),
            (.sips, false, .refuse, "480 no_secure_way 380", "403 sips_on_plain 0"),
            (.plain, true, .allow, "passes", "passes"), (.tls, true, .allow, "passes", "passes"),
            (.sips, true, .allow, "passes", "passes"),
            (.sips, true, .refuse, "480 no_secure_way 380", "480 no_secure_way 380"),
        ] as [(Arrival, Bool, SecuritySettings.Permission, String, String)])
    func admission(
        arrival: Arrival, isRelaxed: Bool, sipsToCore: SecuritySettings.Permission, overTLS: String, overPlain: String
    ) {
        let settings = SecuritySettings(untagged: .refuse, sipsToCore: sipsToCore, sipToSIPS: .refuse)
        for (isSecure, expected) in [(true, overTLS), (false, overPlain)] {
            let outcome = outcome { () throws(Refusal) in
                try settings.admit(session(arrival, isRelaxed: isRelaxed), isSecure: isSecure)
                return ""
            }
            #expect(outcome == expected)
        }
    }

    @Test("SIPS-09: a leg without a tag is a session of its own, where it is let in, as an OPTIONS always is")
    func untagged() {
        for (untagged, isSIPS, method, expected) in [
            (.allow, true, .invite, "passes sips"), (.allow, false, .invite, "passes plain"),
            (.refuse, true, .invite, "403 untagged 399"), (.refuse, false, .invite, "403 untagged 399"),
            (.refuse, false, .message, "403 untagged 399"), (.refuse, false, .subscribe, "403 untagged 399"),
            (.refuse, true, .options, "passes sips"), (.refuse, false, .options, "passes plain"),
        ] as [(SecuritySettings.Permission, Bool, Method, String)] {
            let settings = SecuritySettings(untagged: untagged, sipsToCore: .refuse, sipToSIPS: .refuse)
            let outcome = outcome { () throws(Refusal) in
                " \(try settings.arrivalOfUntagged(isSIPS: isSIPS, method))"
            }
            #expect(outcome == expected)
        }
    }

    @Test("SIPS-10, REG-10: no session that has to be secure takes a device's plain connection, relaxed or not")
    func connections() {
        for session in everySession {
            for protect in SecuritySettings.Protect.allCases {
                for flags in 0..<8 {
                    let (isSIPS, contactIsSIPS, isSecure) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0)
                    let settings = SecuritySettings(
                        protect: protect,
                        overrides: [override("0.0.0.0/0", .insecure), override("*.example", .insecure)])
                    let outcome = outcome { () throws(Refusal) in
                        try settings.checkConnection(
                            of: session, isSIPS: isSIPS, contactIsSIPS: contactIsSIPS, isSecure: isSecure)
                        return ""
                    }
                    let free = ["sips plain", "sips tls", "tls plain"].contains("\(protect) \(session.arrival)")
                    let expected =
                        isSecure || free && !isSIPS && !contactIsSIPS
                        ? "passes"
                        : isSIPS || session.arrival == .sips ? "480 no_secure_way 380" : "403 no_secure_way 399"
                    #expect(outcome == expected, "\(session) \(protect) \(flags)")
                }
            }
        }
    }

    @Test(
        "SIPS-04, SIPS-05, SIPS-06: which contact a request for an address of record may end at",
        arguments: [
            ("sips:a@h", true, false, .allow, "passes false"),
            ("sips:a@h", false, false, .allow, "480 no_secure_way 380"),
            ("sips:a@h", false, true, .allow, "480 no_secure_way 380"),
            ("sips:a@h", true, false, .refuse, "passes false"),
            ("sip:a@h", false, false, .refuse, "passes false"), ("sip:a@h", true, false, .allow, "passes true"),
            ("sip:a@h", true, true, .allow, "passes false"), ("sip:a@h", true, true, .refuse, "passes false"),
            ("sip:a@h", true, false, .refuse, "480 no_secure_way 381"),
            ("tel:+1", true, false, .refuse, "passes false"), ("tel:+1", false, false, .allow, "passes false"),
        ] as [(String, Bool, Bool, SecuritySettings.Permission, String)])
    func contacts(
        uri: String, contactIsSIPS: Bool, isNamed: Bool, sipToSIPS: SecuritySettings.Permission, expected: String
    ) throws {
        let bytes = Array(uri.utf8)
        let parsed = try URI.parse(bytes, ByteRange(0, bytes.count))
        let settings = SecuritySettings(sipToSIPS: sipToSIPS)
        let outcome = outcome { () throws(Refusal) in
            " \(try settings.checkContact(isSIPS: contactIsSIPS, for: parsed, isNamed: isNamed))"
        }
        #expect(outcome == expected)
    }
}
