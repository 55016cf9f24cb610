internal import GatehousePolicy

// Quantities out of the text of a scalar. Each function takes the text as the file has it, and says what is wrong with
// it and what to write in its place; the place of the text is the caller's.

/// Why a text is not the value that its key takes.
struct ValueFault: Error, Equatable {
    var problem: String
    var cure: String
}

/// A duration: a whole number and its unit, `ms`, `s`, `m` or `h`.
func parseDuration(_ text: String, in range: ClosedRange<Duration>) throws(ValueFault) -> Duration {
    let (number, unit) = splitNumber(text)
    let milliseconds: Int? =
        switch unit {
        case "ms": 1
        case "s": 1000
        case "m": 60_000
        case "h": 3_600_000
        default: nil
        }
    guard !number.isEmpty, let milliseconds else {
        let isBareNumber = !number.isEmpty && unit.isEmpty
        throw ValueFault(
            problem: isBareNumber ? "has no unit" : "is not a duration",
            cure: isBareNumber
                ? "write \(text)s for seconds, \(text)ms for milliseconds"
                : "write a whole number and ms, s, m or h, like 30s")
    }
    // Above any range, and far from an overflow of the multiplication.
    let count = min(Int(number) ?? .max, 1_000_000_000)
    let duration = Duration.milliseconds(count * milliseconds)
    guard range.contains(duration) else {
        throw ValueFault(
            problem: "is out of range", cure: "give \(range.lowerBound.text) to \(range.upperBound.text)")
    }
    return duration
}

/// A number of bytes: a whole number and its unit, `B`, `KiB`, `MiB` or `GiB`.
func parseSize(_ text: String, in range: ClosedRange<Int>) throws(ValueFault) -> Int {
    let (number, unit) = splitNumber(text)
    let bytes: Int? =
        switch unit {
        case "B": 1
        case "KiB": 1 << 10
        case "MiB": 1 << 20
        case "GiB": 1 << 30
        default: nil
        }
    guard !number.isEmpty, let bytes else {
        if !number.isEmpty, unit.isEmpty {
            throw ValueFault(
                problem: "has no unit", cure: "write \(Int(number).map(sizeText) ?? "KiB, MiB or GiB after it")")
        }
        if !number.isEmpty, let binary = ["k": "KiB", "m": "MiB", "g": "GiB"][unit.prefix(1).lowercased()] {
            throw ValueFault(problem: "is not a size", cure: "write \(number)\(binary)")
        }
        throw ValueFault(problem: "is not a size", cure: "write a whole number and B, KiB, MiB or GiB, like 64KiB")
    }
    let size = min(Int(number) ?? .max, 1 << 32) * bytes
    guard range.contains(size) else {
        throw ValueFault(
            problem: "is out of range", cure: "give \(sizeText(range.lowerBound)) to \(sizeText(range.upperBound))")
    }
    return size
}

/// A whole number without a sign.
func parseCount(_ text: String, in range: ClosedRange<Int>) throws(ValueFault) -> Int {
    let (number, rest) = splitNumber(text)
    guard !number.isEmpty, rest.isEmpty else {
        throw ValueFault(problem: "is not a whole number", cure: "give \(range.lowerBound) to \(range.upperBound)")
    }
    guard let count = Int(number), range.contains(count) else {
        throw ValueFault(problem: "is out of range", cure: "give \(range.lowerBound) to \(range.upperBound)")
    }
    return count
}

/// A day as `2027-03-31`.
func parseDate(_ text: String) throws(ValueFault) -> CalendarDate {
    let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    let numbers = parts.compactMap { part in
        part.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 } ? Int(String(Substring(part))) : nil
    }
    guard parts.map(\.count) == [4, 2, 2], numbers.count == 3 else {
        throw ValueFault(problem: "is not a date", cure: "write year-month-day, like 2027-03-31")
    }
    guard let date = CalendarDate(year: numbers[0], month: numbers[1], day: numbers[2]) else {
        throw ValueFault(problem: "is no day of the calendar", cure: "write year-month-day, like 2027-03-31")
    }
    return date
}

/// The leading digits, and what follows them.
private func splitNumber(_ text: String) -> (number: Substring, rest: Substring) {
    let digits = text.utf8.prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
    return (Substring(digits), text[digits.endIndex...])
}

extension Duration {
    /// As a configuration writes it, in the largest unit that leaves a whole number.
    var text: String {
        let (seconds, attoseconds) = self.components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        for (size, unit) in [(Int64(3_600_000), "h"), (60_000, "m"), (1000, "s")]
        where milliseconds != 0 && milliseconds % size == 0 {
            return "\(milliseconds / size)\(unit)"
        }
        return "\(milliseconds)ms"
    }
}

/// A number of bytes as a configuration writes it.
func sizeText(_ bytes: Int) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] where bytes != 0 && bytes % (1 << shift) == 0 {
        return "\(bytes >> shift)\(unit)"
    }
    return "\(bytes)B"
}
