import SIPMessage
import Testing

private let source = Endpoint(address: IPAddress(v4: 0xC000_0201), port: 5061)

private func message(_ vias: [String], response: Bool = false) throws -> Message {
    let head = [response ? "SIP/2.0 200 OK" : "REGISTER sip:h SIP/2.0"] + vias.map { "Via: \($0)" }
    return try Message(Array((head + ["CSeq: 1 REGISTER"]).joined(separator: "\r\n").utf8) + Array("\r\n\r\n".utf8))
}

@Suite("Keep-alives in Via")
struct KeepMarkTests {
    @Test(
        "KEEP-08: the sender's own value gets the interval, and no other keeps one",
        arguments: [
            (["SIP/2.0/TLS a;keep;branch=z9hG4bK1"], 30, ["SIP/2.0/TLS a;keep=30;branch=z9hG4bK1;received=192.0.2.1"]),
            (["SIP/2.0/TLS a;branch=z9hG4bK1;KEEP"], 30, ["SIP/2.0/TLS a;branch=z9hG4bK1;keep=30;received=192.0.2.1"]),
            (["SIP/2.0/TLS a;branch=z9hG4bK1;keep"], nil, ["SIP/2.0/TLS a;branch=z9hG4bK1;keep;received=192.0.2.1"]),
            (
                [
                    "SIP/2.0/TLS a;keep;rport;branch=z9hG4bK1, SIP/2.0/UDP b;keep = 9;branch=z9hG4bK2",
                    "SIP/2.0/UDP c;keep=8",
                ], 30,
                [
                    "SIP/2.0/TLS a;keep=30;rport=5061;branch=z9hG4bK1;received=192.0.2.1, SIP/2.0/UDP b;keep;branch=z9hG4bK2",
                    "SIP/2.0/UDP c;keep",
                ]
            ),
            (
                ["SIP/2.0/TLS keep.example;x=\"a;keep=1\";branch=z9hG4bK1"], 30,
                ["SIP/2.0/TLS keep.example;x=\"a;keep=1\";branch=z9hG4bK1;received=192.0.2.1"]
            ),
        ] as [([String], Int?, [String])])
    func rows(vias: [String], seconds: Int?, expected: [String]) throws {
        let rows = try message(vias).viaRows(receivedFrom: source, keepAlive: seconds)
        #expect(rows.map { String(decoding: $0, as: UTF8.self) } == expected)
    }

    @Test("KEEP-08: in a response that passes, the value below ours is the peer's")
    func response() throws {
        let vias = [
            "SIP/2.0/UDP edge;keep=1, SIP/2.0/TLS a;keep;branch=z9hG4bK1", "SIP/2.0/UDP b;keep=7;x", "SIP/2.0/UDP c",
        ]
        func settled(_ seconds: Int?) throws -> String {
            var editor = MessageEditor(try message(vias, response: true))
            editor.settleKeepAlive(seconds)
            return String(decoding: try editor.finish(), as: UTF8.self)
        }
        let with = try settled(120)
        #expect(with.contains("edge;keep=1, SIP/2.0/TLS a;keep=120;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP b;keep;x\r\n"))
        let without = try settled(nil)
        #expect(without.contains("edge;keep=1, SIP/2.0/TLS a;keep;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP b;keep;x\r\n"))
    }

    @Test(
        "KEEP-08: an offer has no value",
        arguments: [("keep", true), ("KEEP", true), ("keep=30", false), ("keeper", false), ("x", false)])
    func offer(parameter: String, isOffer: Bool) throws {
        let message = try message(["SIP/2.0/TLS a;branch=z9hG4bK1;\(parameter)"])
        #expect(message.topVia?.offersKeepAlive(in: message.bytes) == isOffer)
    }
}
