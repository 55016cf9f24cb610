import Foundation
import SIPMessage
import Testing

/// The corpus of messages that others wrote: a folder beside the checkout, or the one that GATEHOUSE_SHARED names.
enum Corpus {
    struct Entry: Sendable {
        var file: String
        var bytes: [UInt8]
        var expectedDatagram: Set<String>
        var expectedStream: Set<String>
        var note: String
    }

    /// Empty, with a line that says so, where the corpus is not there.
    static let entries: [Entry] = load()

    private static func load() -> [Entry] {
        let checkout = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let shared =
            ProcessInfo.processInfo.environment["GATEHOUSE_SHARED"].map { URL(filePath: $0) }
            ?? checkout.deletingLastPathComponent().appending(path: "shared")
        let folder = shared.appending(path: "corpus")
        guard let index = try? String(contentsOf: folder.appending(path: "index.tsv"), encoding: .utf8) else {
            print("skipped: no corpus at \(folder.path()); set GATEHOUSE_SHARED to the folder that holds it")
            return []
        }
        return index.split(separator: "\n").dropFirst().compactMap { line in
            let columns = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard columns.count >= 12, let data = try? Data(contentsOf: folder.appending(path: columns[0])) else {
                Issue.record("corpus entry cannot be read: \(line.prefix(80))")
                return nil
            }
            return Entry(
                file: columns[0], bytes: [UInt8](data),
                expectedDatagram: Set(columns[8].split(separator: "|").map(String.init)),
                expectedStream: Set(columns[9].split(separator: "|").map(String.init)), note: columns[11])
        }
    }
}

extension MessageLimits {
    /// One entry is larger than a datagram can be; the corpus is about syntax.
    static let corpus = MessageLimits(messageSize: 128 << 10)
}

/// What becomes of a message at the gate, in the words of the corpus.
func gateOutcome(_ message: Message, surplus: Int = 0) -> String {
    if let fault = message.checkSyntax() { return fault.status == 0 ? "drop" : "\(fault.status)" }
    guard message.isRequest else { return "drop" }  // no transaction is waiting for it
    if let fault = proxyValidation(of: message) { return fault.status == 0 ? "drop" : "\(fault.status)" }
    return surplus > 0 ? "forward-first" : "forward"
}

func datagramOutcome(_ bytes: [UInt8]) -> String {
    switch bytes.withUnsafeBytes({ Parser.parse(datagram: $0, limits: .corpus) }) {
    case .message(let message):
        gateOutcome(message, surplus: bytes.drop { $0 == 13 || $0 == 10 }.count - message.bytes.count)
    case .keepAlive, .stunBinding: "drop"
    case .refused(let fault): fault.status == 0 ? "drop" : "\(fault.status)"
    }
}

/// What becomes of bytes that arrive on a stream, in the words of the corpus; `chunk` is how many bytes come at a time.
/// Where more is awaited, the second word is what the deadline makes of it.
func streamOutcome(_ bytes: [UInt8], chunk: Int = .max, limits: MessageLimits = .corpus) -> [String] {
    var framer = Framer(limits: limits)
    var outcomes: [String] = []
    var forwarded = 0
    func note(_ event: Framer.Event) {
        switch event {
        case .message(let message):
            outcomes.append(gateOutcome(message))
            forwarded += message.bytes.count
        case .fault(let fault) where fault.status != 0: outcomes.append("\(fault.status)")
        case .fault(let fault): outcomes.append(fault.closesStream ? "close" : "drop")
        case .close: outcomes.append("close")
        case .ping: break
        }
    }
    var start = 0
    while start < bytes.count {
        let end = start + min(chunk, bytes.count - start)
        bytes[start..<end].withUnsafeBytes { input in
            framer.receive(input) { event in
                note(event)
                return true
            }
        }
        start = end
    }
    if outcomes.isEmpty {
        guard framer.isInsideHeader || framer.isInsideBody else { return ["drop"] }
        if let event = framer.isInsideBody ? framer.bodyTimedOut() : framer.headerTimedOut() { note(event) }
        return ["wait"] + outcomes
    }
    guard outcomes[0] == "forward" else { return [outcomes[0]] }
    if outcomes.count > 1, outcomes[1] == "forward" { return ["forward-both"] }
    return [forwarded < bytes.count ? "forward-first" : "forward"]
}
