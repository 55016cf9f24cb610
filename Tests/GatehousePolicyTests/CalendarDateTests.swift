import GatehousePolicy
import Testing

@Suite("CalendarDate")
struct CalendarDateTests {
    @Test(
        "days between two days count leap days by the Gregorian rule",
        arguments: [
            ((2026, 11, 28), (2026, 11, 28), 0), ((2026, 11, 28), (2026, 11, 29), 1),
            ((2026, 11, 28), (2027, 3, 31), 123),
            ((2024, 2, 28), (2024, 3, 1), 2), ((2023, 2, 28), (2023, 3, 1), 1), ((2100, 2, 28), (2100, 3, 1), 1),
            ((2000, 2, 28), (2000, 3, 1), 2), ((2026, 3, 1), (2026, 2, 28), -1), ((1970, 1, 1), (2000, 1, 1), 10957),
            ((1, 1, 1), (9999, 12, 31), 3_652_058),
        ] as [((Int, Int, Int), (Int, Int, Int), Int)]
    )
    func days(from: (Int, Int, Int), to: (Int, Int, Int), expected: Int) throws {
        let first = try #require(CalendarDate(year: from.0, month: from.1, day: from.2))
        let second = try #require(CalendarDate(year: to.0, month: to.1, day: to.2))
        #expect(first.days(until: second) == expected)
        #expect(second.days(until: first) == -expected)
    }

    @Test("the day of a time is the one that so many days have led to since 1970")
    func dayOfTime() throws {
        let epoch = try #require(CalendarDate(year: 1970, month: 1, day: 1))
        for days in stride(from: 0, through: 49_709, by: 7) {
            for second in [0, 86_399] {
                let date = CalendarDate(secondsSince1970: UInt32(days * 86_400 + second))
                #expect(epoch.days(until: date) == days)
                #expect(CalendarDate(year: date.year, month: date.month, day: date.day) == date)
            }
        }
        #expect(CalendarDate(secondsSince1970: 1_798_675_199).description == "2026-12-30")
        #expect(CalendarDate(secondsSince1970: .max).description == "2106-02-07")
    }
}
