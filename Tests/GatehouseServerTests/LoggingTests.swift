import GatehousePolicy
import Glibc
import Logging
import Synchronization
import Testing

@testable import GatehouseServer

/// A log output whose lines a test reads.
private final class Pipe {
    let output: LogOutput
    private let readEnd: Int32
    private let writeEnd: Int32

    init(capacity: Int = 1 << 20, level: Logger.Level = .info, format: LogOutput.Format = .text) {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0)
        self.readEnd = ends[0]
        self.writeEnd = ends[1]
        self.output = LogOutput(descriptor: ends[1], capacity: capacity, level: level, format: format)
    }

    /// Everything logged; the output takes no more.
    func finish() -> [String] {
        self.output.close()
        close(self.writeEnd)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(self.readEnd, &chunk, chunk.count)
            guard count > 0 else { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        close(self.readEnd)
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: true)
            .map(String.init)
    }

    /// Reads until `text` has come.
    func collect(until text: String) -> String {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(self.readEnd, &chunk, chunk.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes.append(contentsOf: chunk[..<count])
            let all = String(decoding: bytes, as: UTF8.self)
            if all.contains(text) { return all }
        }
    }
}

private func line(
    _ format: LogOutput.Format, _ message: String, _ metadata: Logger.Metadata, level: Logger.Level = .warning
) -> String {
    let time = timespec(tv_sec: 1_795_683_791, tv_nsec: 7_000_000)
    let bytes = LogFormat.line(format, time: time, level: level, message: message, metadata: metadata)
    return String(decoding: bytes, as: UTF8.self)
}

@Suite("Logging")
struct LoggingTests {
    @Test("text: time, level, sentence, then the fields, known ones first")
    func textLine() {
        #expect(
            line(.text, "refused: too many", ["reason": "limit", "peer": "192.0.2.7:4012", "domain": "a.example"])
                == "2026-11-26T09:03:11.007Z warning: refused: too many  "
                + "domain=a.example peer=192.0.2.7:4012 reason=limit\n")
        #expect(line(.text, "started", [:], level: .notice) == "2026-11-26T09:03:11.007Z notice: started\n")
    }

    @Test("json: one object a line, with the same fields as strings")
    func jsonLine() {
        let expected =
            #"{"time":"2026-11-26T09:03:11.007Z","level":"warning","message":"say \"hi\"","#
            + #""peer":"[2001:db8::1]:5061","level_":"x","list":"[a, b]"}"# + "\n"
        let metadata: Logger.Metadata = ["peer": "[2001:db8::1]:5061", "level": "x", "list": ["a", "b"]]
        #expect(line(.json, "say \"hi\"", metadata) == expected)
    }

    @Test(
        "what a peer sent can neither end a line nor steer a terminal",
        arguments: [
            ("a b", #""a b""#, #""a b""#),
            ("", #""""#, #""""#),
            ("x\r\nerror: forged", #""x\r\nerror: forged""#, #""x\r\nerror: forged""#),
            ("\u{1b}[2J", #""\u{1b}[2J""#, #""\u001b[2J""#),
            ("q\"\\", #""q\"\\""#, #""q\"\\""#),
            ("\u{9b}31m\u{202e}x", #""\u{9b}31m\u{202e}x""#, #""\u009b31m\u202ex""#),
            ("ж😀", #""ж😀""#, #""ж😀""#),
            ("nul\0", #""nul\u{0}""#, #""nul\u0000""#),
        ])
    func escapes(value: String, text: String, json: String) {
        #expect(line(.text, "m", ["k": "\(value)"]).hasSuffix("warning: m  k=\(text)\n"))
        #expect(line(.json, "m", ["k": "\(value)"]).hasSuffix(#","k":\#(json)}"# + "\n"))
        #expect(line(.text, "a\nb\u{1b}", [:]).hasSuffix(#"warning: a\nb\u{1b}"# + "\n"))
    }

    @Test("a value is cut at its limit")
    func cutsLongValues() {
        let text = line(.text, "m", ["k": "\(String(repeating: "x", count: 5000))"])
        #expect(text.hasSuffix("k=\"\(String(repeating: "x", count: 1024))…\"\n"))
    }

    @Test(
        "URI-05: the password of a URI is not shown",
        arguments: [
            ("sip:alice:secret@a.example", "sip:alice:***@a.example"),
            ("<SIPS:alice:s:x@a.example>;tag=1", "<SIPS:alice:***@a.example>;tag=1"),
            ("sip:a:1@h, sip:b:2@h", "sip:a:***@h, sip:b:***@h"),
            ("sip:alice@a.example:5061", "sip:alice@a.example:5061"),
            ("sip:a.example:5061", "sip:a.example:5061"),
            ("tcp:x:y@z", "tcp:x:y@z"),
            ("sip:@", "sip:@"),
        ])
    func hidesPasswords(value: String, expected: String) {
        let json = line(.json, value, ["k": "\(value)"])
        #expect(json.hasSuffix(#""message":"\#(expected)","k":"\#(expected)"}"# + "\n"))
        #expect(!line(.text, value, ["k": "\(value)"]).contains("secret"))
    }

    @Test("SEC-10: fields that are named like credentials are not shown")
    func redacts() {
        for format in LogOutput.Format.allCases {
            let text = line(format, "m", ["Authorization": "Digest response=\"12ab\"", "password": "pw"])
            #expect(!text.contains("12ab") && !text.contains("pw\"") && text.contains("[redacted]"))
        }
    }

    @Test("lines pass from the configured level on, and a change holds for loggers that exist")
    func levels() {
        let pipe = Pipe(level: .warning)
        let log = pipe.output.logger()
        log.info("one")
        log.warning("two")
        pipe.output.level = .debug
        log.debug("three")
        log.trace("four")
        pipe.output.format = .json
        log.info("five")
        let lines = pipe.finish()
        #expect(lines.map { $0.drop { $0 != " " } }.prefix(2) == [" warning: two", " debug: three"])
        #expect(lines.count == 3 && lines[2].hasSuffix(#""level":"info","message":"five"}"#))
    }

    @Test("a logger's own metadata and level go with its copies alone")
    func loggerValues() {
        let pipe = Pipe()
        var log = pipe.output.logger()
        log[metadataKey: "domain"] = "a.example"
        log.logLevel = .error
        log.info("left out")
        log.error("shown", metadata: ["peer": "x"])
        pipe.output.logger().info("plain")
        let lines = pipe.finish()
        #expect(lines.count == 2)
        #expect(lines.first?.hasSuffix("error: shown  domain=a.example peer=x") == true)
        #expect(lines.last?.hasSuffix("info: plain") == true)
    }

    @Test("a reader that stands still stops nobody: lines are dropped, counted and told of later")
    func dropsWhenFull() {
        let pipe = Pipe(capacity: 4096)
        let log = pipe.output.logger()
        // The pipe holds 64 KiB and the queue 4 KiB on top of what the thread has taken.
        let long = String(repeating: "x", count: 900)
        for _ in 0..<200 { log.info("\(long)") }
        #expect(pipe.output.linesDropped > 0)
        var lines = pipe.collect(until: "warning: log lines were lost").split(separator: "\n").map(String.init)
        lines += pipe.finish()
        #expect(lines.count { $0.hasSuffix(long) } == 200 - pipe.output.linesDropped)
    }

    @Test("a descriptor that fails loses lines, not the process")
    func brokenDescriptor() {
        let output = LogOutput(descriptor: -1)
        output.logger().info("nobody sees this")
        #expect(output.flush(timeout: .seconds(5)))
        #expect(output.linesDropped >= 1)
        output.close()
    }
}

@Suite("Rate-limited log")
struct LoggingRateLimitTests {
    /// A clock that a test moves.
    private final class Clock: Sendable {
        private let time = Mutex<UInt64>(1)
        func advance(_ nanoseconds: UInt64) { self.time.withLock { $0 += nanoseconds } }
        var now: UInt64 { self.time.withLock { $0 } }
    }

    @Test("SEC-10: a message passes its number of times a second, then one line tells how many more there were")
    func limits() {
        let pipe = Pipe()
        let clock = Clock()
        let log = RateLimitedLog(output: pipe.output, perSecond: 2) { clock.now }
        for number in 0..<5 { log.warning("refused", ["n": "\(number)"]) }
        log.warning("another")
        clock.advance(999_999_999)
        log.warning("refused", ["n": "5"])
        clock.advance(1)
        log.warning("refused", ["n": "6"])
        let messages = pipe.finish().map { String($0.drop { $0 != " " }.dropFirst()) }
        #expect(
            messages == [
                "warning: refused  n=0", "warning: refused  n=1", "warning: another",
                "warning: 4 more suppressed: refused", "warning: refused  n=6",
            ])
        #expect(pipe.output.linesSuppressed == 4)
    }

    @Test("the count of suppressed lines is told also when the message never comes again")
    func reportsWithoutAnotherLine() {
        let pipe = Pipe()
        let clock = Clock()
        let log = RateLimitedLog(output: pipe.output, perSecond: 1) { clock.now }
        log.info("refused")
        log.info("refused")
        log.reportSuppressed()  // the second is not over
        clock.advance(1_000_000_000)
        log.reportSuppressed()
        log.reportSuppressed()  // told once
        let messages = pipe.finish().map { String($0.drop { $0 != " " }.dropFirst()) }
        #expect(messages == ["info: refused", "info: 1 more suppressed: refused"])
    }

    @Test("the output's thread asks for the count by itself")
    func threadReports() {
        let pipe = Pipe()
        let log = RateLimitedLog(output: pipe.output, perSecond: 1)
        log.info("refused")
        log.info("refused")
        let called = Monitor(false)
        pipe.output.afterASecond {
            called.withLock { $0 = true }
            called.signal()
        }
        #expect(called.wait(until: monotonicNanoseconds() + 10_000_000_000) { $0 })
        _ = pipe.output.flush()
        log.reportSuppressed()
        let messages = pipe.finish().map { String($0.drop { $0 != " " }.dropFirst()) }
        #expect(messages == ["info: refused", "info: 1 more suppressed: refused"])
    }

    @Test("a message below the level costs and counts nothing")
    func belowLevel() {
        let pipe = Pipe(level: .error)
        let log = RateLimitedLog(output: pipe.output, perSecond: 1)
        for _ in 0..<3 {
            log.warning(
                "refused",
                {
                    Issue.record("metadata was made for a line that nobody sees")
                    return [:]
                }())
        }
        #expect(pipe.finish().isEmpty)
        #expect(pipe.output.linesSuppressed == 0)
    }
}
