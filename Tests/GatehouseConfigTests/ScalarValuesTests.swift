import GatehousePolicy
import Testing

@testable import GatehouseConfig

struct ScalarValuesTests {
    @Test(
        "CONFIG: a duration is a whole number and its unit",
        arguments: [
            ("0ms", .zero), ("1ms", .milliseconds(1)), ("500ms", .milliseconds(500)), ("30s", .seconds(30)),
            ("5m", .seconds(300)), ("1h", .seconds(3600)), ("007s", .seconds(7)), ("3600s", .seconds(3600)),
            ("3601s", nil), ("2h", nil), ("99999999999999999999s", nil), ("9223372036854775807h", nil),
            ("", nil), ("s", nil), ("30", nil), ("-1s", nil), ("+1s", nil), ("1.5s", nil), ("1 s", nil), (" 1s", nil),
            ("1S", nil), ("1sec", nil), ("1m30s", nil), ("0x1s", nil), ("１s", nil), ("off", nil),
        ] as [(String, Duration?)])
    func duration(text: String, expected: Duration?) {
        #expect(value { () throws(ValueFault) in try parseDuration(text, in: .zero ... .seconds(3600)) } == expected)
    }

    @Test(
        "CONFIG: a duration is written in the largest unit that leaves it whole",
        arguments: [
            (.zero, "0ms"), (.milliseconds(1), "1ms"), (.milliseconds(1500), "1500ms"), (.seconds(1), "1s"),
            (.seconds(90), "90s"), (.seconds(120), "2m"), (.seconds(7200), "2h"),
        ] as [(Duration, String)])
    func durationText(duration: Duration, expected: String) {
        #expect(duration.text == expected)
    }

    @Test(
        "CONFIG: a size is a whole number and its unit",
        arguments: [
            ("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("1GiB", 1 << 30), ("511B", nil), ("2GiB", nil),
            ("99999999999999999999GiB", nil), ("64", nil), ("64K", nil), ("64KB", nil), ("64kib", nil), ("KiB", nil),
            ("-1KiB", nil), ("1.5KiB", nil), ("", nil), ("64 KiB", nil), ("64Kiö", nil),
        ] as [(String, Int?)])
    func size(text: String, expected: Int?) {
        #expect(value { () throws(ValueFault) in try parseSize(text, in: 512...1 << 30) } == expected)
    }

    @Test(
        "CONFIG: a count is a whole number within its bounds",
        arguments: [
            ("1", 1), ("100", 100), ("0", nil), ("101", nil), ("", nil), ("1e2", nil), ("0x10", nil), ("1_0", nil),
            ("-1", nil), ("+1", nil), ("1.0", nil), ("99999999999999999999", nil),
        ] as [(String, Int?)])
    func count(text: String, expected: Int?) {
        #expect(value { () throws(ValueFault) in try parseCount(text, in: 1...100) } == expected)
    }

    @Test(
        "CONFIG: a date is a day of the calendar",
        arguments: [
            ("2027-03-31", true), ("2028-02-29", true), ("2027-02-29", false), ("2100-02-29", false),
            ("2000-02-29", true), ("2027-04-31", false), ("2027-00-10", false), ("2027-13-01", false),
            ("2027-01-00", false), ("0000-01-01", false), ("27-03-31", false), ("2027-3-31", false), ("", false),
            ("2027/03/31", false), ("2027-03-31T00:00", false), ("2027-03-+1", false), ("--", false),
        ])
    func date(text: String, isValid: Bool) {
        let date = value { () throws(ValueFault) in try parseDate(text) }
        #expect(date.map(\.description) == (isValid ? text : nil))
    }
}

/// What a parsing function returns, or nil where it throws; what it then says must be of use.
func value<Value>(_ body: () throws(ValueFault) -> Value) -> Value? {
    do throws(ValueFault) {
        return try body()
    } catch {
        #expect(!error.problem.isEmpty && !error.cure.isEmpty)
        return nil
    }
}
