internal import GatehousePolicy
internal import Glibc
internal import Logging

/// Writes log lines. What comes from peers can neither break a line nor steer a terminal, and credentials do not get in.
enum LogFormat {
    /// Keys that come first, in this order; the others follow by alphabet.
    private static let leadingKeys = ["domain", "peer", "flow", "call-id", "method", "status", "generation"]
    /// Whatever is logged under these is not shown: a slip of ours must not end as a leak.
    private static let secretKeys: Set = [
        "authorization", "proxy-authorization", "password", "secret", "private-key", "private_key", "key",
    ]
    /// Characters of one value; a peer could otherwise write pages.
    private static let valueLimit = 1024

    static func line(
        _ format: EdgeSettings.LogFormat, time: timespec, level: Logger.Level, message: String,
        metadata: Logger.Metadata
    ) -> [UInt8] {
        let fields = metadata.sorted { Self.order($0.key, $1.key) }.map { key, value in
            (key: key, value: Self.secretKeys.contains(key.lowercased()) ? "[redacted]" : Self.text(value))
        }
        var line: [UInt8] = []
        line.reserveCapacity(96 + message.utf8.count + fields.count * 32)
        switch format {
        case .text:
            Self.append(time, to: &line)
            line.append(contentsOf: " \(level): ".utf8)
            Self.escape(Self.withoutPasswords(message), to: &line)
            for (index, field) in fields.enumerated() {
                line.append(contentsOf: (index == 0 ? "  " : " ").utf8)
                Self.escape(field.key, to: &line)
                line.append(UInt8(ascii: "="))
                let value = Self.withoutPasswords(field.value)
                if Self.isPlain(value) {
                    line.append(contentsOf: value.utf8)
                } else {
                    line.append(UInt8(ascii: "\""))
                    Self.escape(value, to: &line, quoted: true)
                    line.append(UInt8(ascii: "\""))
                }
            }
        case .json:
            line.append(contentsOf: #"{"time":""#.utf8)
            Self.append(time, to: &line)
            line.append(contentsOf: #"","level":"\#(level)","message":"#.utf8)
            Self.json(Self.withoutPasswords(message), to: &line)
            for field in fields {
                line.append(UInt8(ascii: ","))
                // The three names above stay what they are.
                Self.json(["time", "level", "message"].contains(field.key) ? field.key + "_" : field.key, to: &line)
                line.append(UInt8(ascii: ":"))
                Self.json(Self.withoutPasswords(field.value), to: &line)
            }
            line.append(UInt8(ascii: "}"))
        }
        line.append(UInt8(ascii: "\n"))
        return line
    }

    private static func order(_ left: String, _ right: String) -> Bool {
        let leftRank = Self.leadingKeys.firstIndex(of: left) ?? Self.leadingKeys.count
        let rightRank = Self.leadingKeys.firstIndex(of: right) ?? Self.leadingKeys.count
        return (leftRank, left) < (rightRank, right)
    }

    private static func text(_ value: Logger.MetadataValue) -> String {
        let text =
            switch value {
            case .string(let string): string
            case .stringConvertible(let value): value.description
            case .array(let values): "[" + values.map(Self.text).joined(separator: ", ") + "]"
            case .dictionary(let values):
                "{" + values.sorted { $0.key < $1.key }.map { "\($0): \(Self.text($1))" }.joined(separator: ", ") + "}"
            }
        let cut = text.index(text.startIndex, offsetBy: Self.valueLimit, limitedBy: text.endIndex) ?? text.endIndex
        return cut == text.endIndex ? text : String(text[..<cut]) + "…"
    }

    /// Whether a value stands without quotes.
    private static func isPlain(_ value: String) -> Bool {
        !value.isEmpty
            && value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
    }

    /// Writes text whose control characters (and those that turn the direction of writing) are shown, not obeyed.
    private static func escape(_ text: String, to line: inout [UInt8], quoted: Bool = false) {
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": line.append(contentsOf: #"\n"#.utf8)
            case "\r": line.append(contentsOf: #"\r"#.utf8)
            case "\t": line.append(contentsOf: #"\t"#.utf8)
            case "\\": line.append(contentsOf: #"\\"#.utf8)
            case "\"" where quoted: line.append(contentsOf: #"\""#.utf8)
            case _ where Self.isUnsafe(scalar):
                line.append(contentsOf: #"\u{\#(String(scalar.value, radix: 16))}"#.utf8)
            default: line.append(contentsOf: String(scalar).utf8)
            }
        }
    }

    private static func json(_ text: String, to line: inout [UInt8]) {
        line.append(UInt8(ascii: "\""))
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": line.append(contentsOf: #"\n"#.utf8)
            case "\r": line.append(contentsOf: #"\r"#.utf8)
            case "\t": line.append(contentsOf: #"\t"#.utf8)
            case "\\": line.append(contentsOf: #"\\"#.utf8)
            case "\"": line.append(contentsOf: #"\""#.utf8)
            case _ where Self.isUnsafe(scalar):  // all below U+10000
                let digits = String(scalar.value, radix: 16)
                line.append(contentsOf: (#"\u"# + String(repeating: "0", count: 4 - digits.count) + digits).utf8)
            default: line.append(contentsOf: String(scalar).utf8)
            }
        }
        line.append(UInt8(ascii: "\""))
    }

    private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069, 0xFEFF: true
        default: false
        }
    }

    /// `sip:alice:pass@host` → `sip:alice:***@host`.
    private static func withoutPasswords(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "@")), text.utf8.contains(UInt8(ascii: ":")) else { return text }
        var out: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let scheme = Self.endOfScheme(rest) {
            out.append(contentsOf: rest[..<scheme])
            rest = rest[scheme...]
            let end = rest.firstIndex { $0 <= 0x20 || $0 == UInt8(ascii: ">") || $0 == UInt8(ascii: "\"") }
            let uri = rest[..<(end ?? rest.endIndex)]
            guard let at = uri.firstIndex(of: UInt8(ascii: "@")) else { continue }
            guard let colon = uri[..<at].firstIndex(of: UInt8(ascii: ":")) else { continue }
            out.append(contentsOf: rest[...colon])
            out.append(contentsOf: "***".utf8)
            rest = rest[at...]
        }
        out.append(contentsOf: rest)
        return String(decoding: out, as: UTF8.self)
    }

    /// The index after the first `sip:` or `sips:`.
    private static func endOfScheme(_ text: ArraySlice<UInt8>) -> Int? {
        for colon in text.indices where text[colon] == UInt8(ascii: ":") {
            var word = text[..<colon].suffix(4).map { $0 | 0x20 }
            if word.last == UInt8(ascii: "s") { word.removeLast() } else if word.count == 4 { word.removeFirst() }
            if word == Array("sip".utf8) { return colon + 1 }
        }
        return nil
    }

    static func now() -> timespec {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return now
    }

    /// `2026-11-24T09:03:11.123Z`, without a look at any time zone.
    private static func append(_ time: timespec, to line: inout [UInt8]) {
        var seconds = time_t(time.tv_sec)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func digits(_ value: Int, _ width: Int, _ separator: Character) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.count)) + text + String(separator)
        }
        let date =
            digits(Int(parts.tm_year) + 1900, 4, "-") + digits(Int(parts.tm_mon) + 1, 2, "-")
            + digits(Int(parts.tm_mday), 2, "T")
        let clock =
            digits(Int(parts.tm_hour), 2, ":") + digits(Int(parts.tm_min), 2, ":") + digits(Int(parts.tm_sec), 2, ".")
        line.append(contentsOf: (date + clock + digits(time.tv_nsec / 1_000_000, 3, "Z")).utf8)
    }
}
