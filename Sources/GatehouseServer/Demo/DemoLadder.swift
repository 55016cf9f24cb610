internal import Synchronization

extension Demo {
    /// The messages of a call as its ends saw them, drawn as arrows between columns.
    final class Ladder: Sendable {
        /// A column. Messages go between neighbours, so that each arrow stands between two columns.
        enum Column: Int, CaseIterable, Sendable {
            case caller, callerEdge, core, calleeEdge, callee
        }

        private struct Event {
            var from: Column
            var to: Column
            var text: String
        }
        private let events = Mutex<[Event]?>([])
        private static let width = 22

        /// Adds an arrow; without effect once the ladder is finished.
        func note(from: Column, to: Column, _ text: String) {
            self.events.withLock { $0?.append(Event(from: from, to: to, text: text)) }
        }

        /// What was noted; nothing is noted from here on.
        func finish() -> String {
            let events = self.events.withLock { events in
                let all = events ?? []
                events = nil
                return all
            }
            return events.map(Self.line).joined(separator: "\n")
        }

        /// Two lines of names above the columns.
        static func head(_ names: [(String, String)]) -> String {
            [names.map(\.0), names.map(\.1)].map { row in
                var line = ""
                for (column, name) in row.enumerated() {
                    let start = max(0, column * Self.width + Self.margin - name.count / 2)
                    line += String(repeating: " ", count: max(0, start - line.count)) + name
                }
                return line
            }.joined(separator: "\n")
        }

        private static let margin = 7

        private static func line(_ event: Event) -> String {
            let left = min(event.from.rawValue, event.to.rawValue)
            let goesRight = event.from.rawValue < event.to.rawValue
            var line = String(repeating: " ", count: Self.margin)
            for column in 0..<Column.allCases.count {
                line += "|"
                guard column < Column.allCases.count - 1 else { break }
                line += column == left ? Self.arrow(event.text, goesRight: goesRight) : blank
            }
            return line
        }

        private static let blank = String(repeating: " ", count: width - 1)

        /// `--- INVITE sips:bob ---->`, as wide as the space between two columns.
        private static func arrow(_ text: String, goesRight: Bool) -> String {
            let shown = text.prefix(Self.width - 7)
            let dashes = Self.width - 1 - shown.count - 4
            let before = String(repeating: "-", count: dashes / 2 + 1)
            let after = String(repeating: "-", count: dashes - dashes / 2)
            return goesRight ? "\(before) \(shown) \(after)>" : "<\(before) \(shown) \(after)"
        }
    }
}
