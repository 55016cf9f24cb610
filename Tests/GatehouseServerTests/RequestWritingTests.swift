import GatehousePolicy
import GatehouseTLS
import SIPMessage
import SIPTransaction
import Testing

@testable import GatehouseServer

private func request(_ start: String = "INVITE sip:bob@a.example SIP/2.0", _ rows: [String] = []) throws -> Message {
    let method = start.prefix { $0 != " " }
    return try sipMessage(
        [
            start, "Via: SIP/2.0/TLS 192.0.2.7:40000;branch=z9hG4bKdevice", "From: <sip:alice@a.example>;tag=1",
            "To: <sip:bob@a.example>", "Call-ID: 1@device", "CSeq: 1 \(method)",
        ] + rows)
}

/// What an edit makes of the start line and of the rows.
private func edited(_ message: Message, _ edit: (inout MessageEditor) -> Void) throws -> [String] {
    var editor = MessageEditor(message)
    edit(&editor)
    return rows(try editor.finish())
}

// MARK: Edits

@Suite("RequestWriting, edits")
struct RequestEditTests {
    @Test(
        "Max-Forwards goes down by one, not below zero, and begins at 70",
        arguments: [
            (["Max-Forwards: 70"], ["69"]), (["Max-Forwards: 255"], ["254"]), (["Max-Forwards: 1"], ["0"]),
            (["Max-Forwards: 0"], ["0"]), (["max-forwards :  010"], []), ([], ["70"]),
        ])
    func maxForwards(given: [String], left: [String]) throws {
        let message = try request("INVITE sip:bob@a.example SIP/2.0", given)
        let rows = try edited(message) { $0.lowerMaxForwards(of: message) }
        #expect(rows.values("Max-Forwards") == left)
        if left.isEmpty { #expect(rows.contains("max-forwards :  9")) }
    }

    @Test(
        "Max-Breadth is ours where it is missing or higher",
        arguments: [
            ("INVITE", [], ["60"]), ("INVITE", ["Max-Breadth: 200"], ["60"]), ("INVITE", ["Max-Breadth: 60"], ["60"]),
            ("INVITE", ["Max-Breadth: 5"], ["5"]), ("ACK", [], []), ("CANCEL", [], []),
        ])
    func maxBreadth(method: String, given: [String], left: [String]) throws {
        let message = try request("\(method) sip:bob@a.example SIP/2.0", given)
        #expect(try edited(message) { $0.limitBreadth(of: message) }.values("Max-Breadth") == left)
    }

    @Test(
        "RT-01: so many values go from the top of Route, however they are spread over rows",
        arguments: [
            (0, ["<sip:a;lr>, <sip:b;lr>"], ["<sip:a;lr>, <sip:b;lr>"]),
            (1, ["<sip:a;lr>, <sip:b;lr>"], ["<sip:b;lr>"]),
            (2, ["<sip:a;lr>, <sip:b;lr>"], []), (2, ["<sip:a;lr>", "<sip:b;lr>,<sip:c;lr>"], ["<sip:c;lr>"]),
            (1, ["<sip:a;lr>", "<sip:b;lr>"], ["<sip:b;lr>"]), (9, ["<sip:a;lr>"], []), (1, [], []),
        ])
    func topRoutes(count: Int, given: [String], left: [String]) throws {
        let message = try request("BYE sip:bob@a.example SIP/2.0", given.map { "Route: \($0)" })
        #expect(try edited(message) { $0.removeTopRoutes(count, of: message) }.values("Route") == left)
    }

    @Test(
        "a parameter goes with its semicolon, with or without a value, and no other does",
        arguments: [
            ("sip:b@a;transport=tcp", "sip:b@a"), ("sip:b@a;transport=tcp;lr", "sip:b@a;lr"),
            ("sip:b@a;lr;transport=tcp", "sip:b@a;lr"), ("sip:b@a;x=1;TRANSPORT=tls;lr", "sip:b@a;x=1;lr"),
            ("sip:b@a;transport;lr", "sip:b@a;lr"), ("sip:b@a;transport", "sip:b@a"),
            ("sip:b@a;transport=tcp?x=y", "sip:b@a?x=y"),
            ("sip:b@a;transports=tcp", "sip:b@a;transports=tcp"), ("sip:b;transport=x@a", "sip:b;transport=x@a"),
            ("sip:b@a", "sip:b@a"),
        ])
    func parameter(given: String, left: String) throws {
        let message = try request("INVITE \(given) SIP/2.0")
        let uri = try #require(message.uri)
        #expect(
            try edited(message) { $0.removeParameter("transport", of: uri, in: message) }.first
                == "INVITE \(left) SIP/2.0")
    }

    @Test(
        "PBX-01: a PBX gets sip without transport, and the rest as it came",
        arguments: [
            ("sips:bob@a.example", "sip:bob@a.example"), ("SIPS:bob@a.example:5061;x", "sip:bob@a.example:5061;x"),
            ("sips:bob@a.example;transport=tcp;user=phone", "sip:bob@a.example;user=phone"),
            ("sip:bob@a.example;transport=tls", "sip:bob@a.example"), ("SIP:bob@a.example", "SIP:bob@a.example"),
        ])
    func plain(given: String, left: String) throws {
        let message = try request("INVITE \(given) SIP/2.0")
        let uri = try #require(message.uri)
        #expect(try edited(message) { $0.makePlain(uri, in: message) }.first == "INVITE \(left) SIP/2.0")
    }

    @Test(
        "a Contact is written anew inside angle brackets, and keeps its parameters",
        arguments: [
            ("<sip:a@b>", "<NEW>"), ("\"A\" <sip:a@b;x>;expires=5", "\"A\" <NEW>;expires=5"), ("sip:a@b", "<NEW>"),
            ("sip:a@b;expires=5", "<NEW>;expires=5"),
        ])
    func contact(given: String, left: String) throws {
        let message = try request("INVITE sip:b@a SIP/2.0", ["Contact: \(given)"])
        let value = try #require(message.first(.contact)).value
        let contact = try NameAddr.parse(message.bytes, value)
        #expect(try edited(message) { $0.replace(contact, with: Array("NEW".utf8)) }.values("Contact") == [left])
    }

    @Test(
        "TRUST-03, TRUST-04: Privacy asks with the word id and declines with none, in any case and company",
        arguments: [
            ("id", .asked), ("ID", .asked), ("header;id", .asked), ("id ; critical", .asked), ("none;id", .asked),
            ("none", .declined), ("NONE", .declined), ("user;header", nil), ("ids", nil), ("", nil), (nil, nil),
        ] as [(String?, Message.IdentityPrivacy?)])
    func privacy(value: String?, says: Message.IdentityPrivacy?) throws {
        let message = try request("INVITE sip:b@a SIP/2.0", value.map { ["Privacy: \($0)"] } ?? [])
        #expect(message.identityPrivacy == says)
    }

    @Test("RR-01: what opens or refreshes a dialog is record-routed")
    func recordRouted() {
        let all: [SIPMessage.Method] = [
            .invite, .ack, .bye, .cancel, .register, .options, .subscribe, .notify, .publish, .info, .refer, .message,
            .update,
            .prack, .other,
        ]
        #expect(all.filter(\.isRecordRouted) == [.invite, .subscribe, .notify, .refer, .update, .other])
    }

    @Test(
        "where bytes first stand",
        arguments: [
            ("abcabc", "abc", 0, 0), ("abcabc", "abc", 1, 3), ("abcabc", "abc", 4, nil), ("ab", "abc", 0, nil),
            ("abc", "", 0, nil), ("", "a", 0, nil), ("abc", "c", 9, nil), ("aab", "ab", 0, 1),
        ] as [(String, String, Int, Int?)])
    func firstRange(text: String, bytes: String, start: Int, found: Int?) {
        let range = Array(text.utf8).firstRange(of: Array(bytes.utf8), from: start)
        #expect(range == found.map { $0..<$0 + bytes.utf8.count })
    }
}

// MARK: Whole requests

extension WorkerFixture {
    /// A device's request as it leaves for the core.
    fileprivate func toCore(_ message: Message, _ passage: Passage, bind: Int = 0) throws -> [String] {
        let state = try self.flow()
        let route = try RouteProcessing.fromOutside(
            message, domain: passage.domain.key, isSecure: true,
            knowledge: OutsideKnowledge(
                worker: self.worker, domain: passage.domain, local: state.local, transport: .tls))
        return rows(
            try self.worker.coreRequest(
                message, route, passage, from: state, transport: bind == 1 ? .tcp : .udp, bind: bind,
                branch: self.worker.nextBranch(loop: .none)))
    }

    /// The core's request as it leaves for a device.
    fileprivate func toDevice(
        _ message: Message, _ passage: Passage, ownRoutes: Int = 0, contact: String? = nil, routes: [String] = []
    ) throws -> [String] {
        rows(
            try self.worker.deviceRequest(
                message, passage,
                OutsideForm(
                    ownRoutes: ownRoutes, requestURI: contact.map { Array($0.utf8) },
                    routes: routes.map { Array($0.utf8) }, dropsRoutes: passage.domain.isPBX),
                source: Endpoint(address: IPAddress(v4: 0x0A00_0005), port: 5060),
                transport: .tls, sentBy: try self.flow().sentBy(passage.domain),
                branch: self.worker.nextBranch(loop: .none)))
    }
}

@Suite("RequestWriting, whole requests")
struct RequestWritingTests {
    private static let identity = [
        "P-Asserted-Identity: <sip:boss@a.example>", "P-Preferred-Identity: <sip:boss@a.example>",
        "Remote-Party-ID: <sip:boss@a.example>", "P-Charging-Vector: icid-value=1", "Diversion: <sip:x@a.example>",
        "X-Gatehouse-Session: forged", "x-gatehouse-session: forged too",
    ]

    @Test("PBX-02: a PBX sees one Via, no route, and our token for the device's Contact")
    func toPBX() throws {
        let fixture = try WorkerFixture([WorkerFixture.domain()])
        let passage = try fixture.passage()
        let message = try request(
            "INVITE sips:bob@a.example;transport=tls SIP/2.0",
            [
                "Record-Route: <sip:p2.example;lr>, <sip:p1.example;lr>", "Route: <sip:edge.example;lr>",
                "Contact: \"A\" <sip:alice@192.0.2.7:40000;transport=tls>;+x", "Subject: as it is", "Max-Forwards: 70",
            ])
        let rows = try fixture.toCore(message, passage)
        #expect(rows[0] == "INVITE sip:bob@a.example SIP/2.0")
        #expect(rows.values("Via").count == 1)
        #expect(rows.values("Via")[0].hasPrefix("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK"))
        #expect(rows.values("Route").isEmpty && rows.values("Record-Route").isEmpty)
        #expect(rows.values("Subject") == ["as it is"])
        #expect(rows.values("Max-Forwards") == ["69"])
        let contact = try #require(rows.values("Contact").first)
        #expect(contact.hasPrefix("\"A\" <sip:gh-") && contact.hasSuffix("@10.0.0.1:5070>;+x"), "\(contact)")
        let uri = String(contact.dropFirst(5).prefix { $0 != ">" })
        #expect(
            try fixture.token(in: uri)
                == .token(
                    .device(
                        .init(
                            domain: passage.domain.key, session: passage.session, flow: passage.flow,
                            edge: fixture.worker.coreBinds.forFellows, binding: nil,
                            contact: Array("sip:alice@192.0.2.7:40000;transport=tls".utf8),
                            routes: ["sip:p2.example;lr", "sip:p1.example;lr"].map { Array($0.utf8) }))))
    }

    @Test(
        "TRUST-01: what a device claims of itself stays outside, and the one tag is ours",
        arguments: DomainCoreSettings.Kind.allCases)
    func claims(kind: DomainCoreSettings.Kind) throws {
        let fixture = try WorkerFixture([WorkerFixture.domain(kind: kind)])
        let passage = try fixture.passage()
        let rows = try fixture.toCore(try request("INVITE sip:bob@a.example SIP/2.0", Self.identity), passage)
        for row in Self.identity.dropLast(2) { #expect(!rows.contains(row)) }
        let tags = rows.values("X-Gatehouse-Session")
        #expect(tags.count == 1)
        let bytes = Array(try #require(tags.first).utf8)
        let tag = try SessionTag.read(bytes, ByteRange(0, bytes.count), now: 0) {
            fixture.worker.cipher.verifies(mac: $0, of: $1)
        }
        #expect(tag.session == passage.session)
        #expect(tag.domain == passage.domain.key)
    }

    @Test("RR-02: a proxy core gets the device's headers, our own Route gone, and both our Record-Route values")
    func toProxy() throws {
        let fixture = try WorkerFixture([WorkerFixture.domain(kind: .proxy)])
        let message = try request(
            "INVITE sips:bob@a.example SIP/2.0",
            ["Route: <sip:edge.example;lr>", "Record-Route: <sip:p1.example;lr>", "Contact: <sip:alice@192.0.2.7>"])
        let rows = try fixture.toCore(message, try fixture.passage(arrival: .sips), bind: 1)
        #expect(rows[0] == "INVITE sips:bob@a.example SIP/2.0")
        #expect(rows.values("Contact") == ["<sip:alice@192.0.2.7>"])
        #expect(rows.values("Route").isEmpty)
        let via = rows.values("Via")
        #expect(via.count == 2)
        #expect(via[0].hasPrefix("SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bK"))
        #expect(via[1].hasPrefix("SIP/2.0/TLS 192.0.2.7:40000;branch=z9hG4bKdevice"))
        let routes = rows.values("Record-Route")
        #expect(routes.count == 3)
        #expect(
            routes[0].hasPrefix("<sip:gh-") && routes[1].hasPrefix("<sips:gh-") && routes[2] == "<sip:p1.example;lr>")
    }

    @Test("RR-01: a proxy core's BYE gets no Record-Route")
    func notRecordRouted() throws {
        let fixture = try WorkerFixture([WorkerFixture.domain(kind: .proxy)])
        let rows = try fixture.toCore(try request("BYE sip:bob@a.example SIP/2.0"), try fixture.passage())
        #expect(rows.values("Record-Route").isEmpty)
    }

    @Test("RT-04: a strict router behind us gets the Request-URI at the end of Route")
    func strictRouter() throws {
        let fixture = try WorkerFixture([WorkerFixture.domain(kind: .proxy)])
        let passage = try fixture.passage()
        let token = String(decoding: try #require(fixture.worker.recordRoutes(passage)).outside, as: UTF8.self)
        let message = try request(
            "BYE sip:bob@10.0.0.9 SIP/2.0", ["Route: \(token), <sip:strict.example>", "Route: <sip:next.example;lr>"])
        let rows = try fixture.toCore(message, passage)
        #expect(rows[0] == "BYE sip:strict.example SIP/2.0")
        #expect(rows.values("Route") == ["<sip:next.example;lr>", "<sip:bob@10.0.0.9>"])
    }

    @Test("RT-03: a strict router before us gave our value as the Request-URI; the last Route value takes its place")
    func fromLastRoute() throws {
        let fixture = try WorkerFixture([WorkerFixture.domain(kind: .proxy)])
        let passage = try fixture.passage()
        let token = String(decoding: try #require(fixture.worker.recordRoutes(passage)).outside, as: UTF8.self)
        let uri = token.dropFirst().dropLast()
        let message = try request("BYE \(uri) SIP/2.0", ["Route: <sip:next.example;lr>, <sip:bob@10.0.0.9>"])
        let rows = try fixture.toCore(message, passage)
        #expect(rows[0] == "BYE sip:bob@10.0.0.9 SIP/2.0")
        #expect(rows.values("Route") == ["<sip:next.example;lr>"])
        // The same value twice is nobody's target.
        #expect(throws: Refusal(404, .unknownToken)) {
            try fixture.toCore(try request("BYE \(uri) SIP/2.0", ["Route: \(token)"]), passage)
        }
    }

    @Test("RT-05: our own address goes from the Request-URI of a proxy core's request")
    func withoutOwnAddress() throws {
        let fixture = try WorkerFixture([WorkerFixture.domain(kind: .proxy)])
        let message = try request("INVITE sips:bob@a.example:5061;maddr=192.0.2.1;x=1;transport=tcp SIP/2.0")
        #expect(
            try fixture.toCore(message, try fixture.passage(arrival: .sips))[0]
                == "INVITE sips:bob@a.example;x=1 SIP/2.0")
    }

    @Test("PBX-03: a device sees its own URI, our token for the core, and nothing of the way there")
    func toDeviceOfPBX() throws {
        let fixture = try WorkerFixture([WorkerFixture.domain()])
        let passage = try fixture.passage(.toOutside, arrival: .sips)
        let message = try request(
            "INVITE sip:gh-token@10.0.0.1:5070 SIP/2.0",
            [
                "Record-Route: <sip:inner.example;lr>", "Service-Route: <sip:inner.example;lr>",
                "Contact: <sip:bob@10.0.0.5:5060>", "X-Gatehouse-Session: copied", "Max-Forwards: 10",
                "Reason: SIP;cause=200;text=\"by 10.0.0.5, not 10.0.0.1\"",
            ])
        let rows = try fixture.toDevice(
            message, passage, contact: "sips:alice@192.0.2.7:40000", routes: ["sip:p1.example;lr", "sip:p2.example;lr"])
        #expect(rows[0] == "INVITE sips:alice@192.0.2.7:40000 SIP/2.0")
        #expect(rows.values("Via").count == 1)
        #expect(rows.values("Via")[0].hasPrefix("SIP/2.0/TLS edge.example:5061;branch=z9hG4bK"))
        #expect(rows.values("Route") == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"])
        #expect(rows.values("Record-Route").isEmpty && rows.values("Service-Route").isEmpty)
        #expect(rows.values("X-Gatehouse-Session").isEmpty)
        #expect(rows.values("Max-Forwards") == ["9"])
        #expect(rows.values("Reason") == ["SIP;cause=200;text=\"by edge.example, not edge.example\""])
        let contact = try #require(rows.values("Contact").first)
        #expect(contact.hasPrefix("<sips:gh-") && contact.hasSuffix("@edge.example>"), "\(contact)")
        #expect(
            try fixture.token(in: String(contact.dropFirst().dropLast()))
                == .token(
                    .core(
                        .init(
                            domain: passage.domain.key, session: passage.session, transport: .udp,
                            target: passage.coreTarget, contact: Array("sip:bob@10.0.0.5:5060".utf8)))))
        #expect(!rows.joined().contains("10.0.0."))
    }

    @Test(
        "TRUST-03: the asserted identity stays inside where Privacy says id, and passes otherwise",
        arguments: [("id", false), ("none", true), (nil, true)] as [(String?, Bool)])
    func privacy(value: String?, passes: Bool) throws {
        let fixture = try WorkerFixture([WorkerFixture.domain()])
        let message = try request(
            "INVITE sip:x@10.0.0.1 SIP/2.0",
            ["P-Asserted-Identity: <sip:bob@a.example>"] + (value.map { ["Privacy: \($0)"] } ?? []))
        let rows = try fixture.toDevice(message, try fixture.passage(.toOutside))
        #expect(rows.values("P-Asserted-Identity").isEmpty != passes)
        #expect(rows.values("Privacy") == (value.map { [$0] } ?? []))
    }

    @Test("RR-02: a proxy core's request keeps its headers, loses our Route values and gets both Record-Route values")
    func toDeviceOfProxy() throws {
        let fixture = try WorkerFixture([WorkerFixture.domain(kind: .proxy)])
        let message = try request(
            "INVITE sip:alice@192.0.2.7 SIP/2.0",
            ["Route: <sip:a;lr>, <sip:b;lr>, <sip:c;lr>", "Contact: <sip:bob@10.0.0.5>", "X-Gatehouse-Session: copied"])
        let rows = try fixture.toDevice(message, try fixture.passage(.toOutside), ownRoutes: 2)
        #expect(rows[0] == "INVITE sip:alice@192.0.2.7 SIP/2.0")
        #expect(rows.values("Route") == ["<sip:c;lr>"])
        #expect(rows.values("Contact") == ["<sip:bob@10.0.0.5>"])
        #expect(rows.values("Via").count == 2)
        #expect(rows.values("X-Gatehouse-Session").isEmpty)
        let routes = rows.values("Record-Route")
        #expect(routes.count == 2)
        #expect(routes[0].contains("@edge.example:5061;") && routes[1].contains("@10.0.0.1:5070;"))
    }

    @Test("a Contact that does not fit into a token makes no request")
    func unwritable() throws {
        let fixture = try WorkerFixture([WorkerFixture.domain()])
        let contact = "<sip:\(String(repeating: "a", count: 1100))@192.0.2.7>"
        let message = try request("INVITE sip:bob@a.example SIP/2.0", ["Contact: \(contact)"])
        #expect(throws: ForwardFault.unwritable) { try fixture.toCore(message, try fixture.passage()) }
        #expect(throws: ForwardFault.unwritable) { try fixture.toDevice(message, try fixture.passage(.toOutside)) }
    }
}
