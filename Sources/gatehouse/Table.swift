import Glibc

/// Rows of text in columns as wide as their widest cell.
struct Table {
    private let columns: [String]
    private var rows: [[String]] = []

    init(_ columns: [String]) {
        self.columns = columns
    }

    mutating func add(_ cells: [String]) {
        self.rows.append(cells.map { $0.isEmpty ? "-" : visible($0) })
    }

    func text() -> String {
        let all = [self.columns] + self.rows
        let widths = self.columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                if column < row.count - 1 {
                    line += String(repeating: " ", count: widths[column] - cell.count + 2)
                }
            }
            return line
        }.joined(separator: "\n")
    }
}

/// Text that others wrote (a Contact, a certificate's name), with its control characters shown: it is for a terminal.
func visible(_ text: String) -> String {
    var out = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator:
            out.append(contentsOf: #"\u{\#(String(scalar.value, radix: 16))}"#.unicodeScalars)
        default:
            out.append(scalar)
        }
    }
    return String(out)
}

/// `2027-03-31 09:03` in UTC.
func date(_ secondsSince1970: Double) -> String {
    var seconds = time_t(max(0, min(secondsSince1970, 253_402_300_799)))
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
        + "\(two(parts.tm_hour)):\(two(parts.tm_min))"
}
