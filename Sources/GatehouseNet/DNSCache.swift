internal import GatehousePolicy
internal import NIOCore

/// Answers of the DNS until they expire (RFC 1035 §3.2.1, RFC 2308 §5).
///
/// Bounded: when half of the limit has come in since the last time, whatever was not asked for since then is forgotten.
struct DNSCache {
    private struct Entry {
        var outcome: DNSAnswer.Outcome
        var expiry: NIODeadline
    }

    private let limit: Int
    private var recent: [DNSQuestion: Entry] = [:]
    private var older: [DNSQuestion: Entry] = [:]

    /// - Parameter limit: in answers.
    init(limit: Int) {
        self.limit = limit
    }

    /// Never over `limit`.
    var count: Int { self.recent.count + self.older.count }

    /// The answer to a question, with the rest of its time to live; nil where none is kept.
    mutating func answer(to question: DNSQuestion, now: NIODeadline) -> DNSAnswer? {
        var entry = self.recent[question]
        if entry == nil, let old = self.older.removeValue(forKey: question) {
            self.insert(old, for: question)
            entry = old
        }
        guard let entry else { return nil }
        guard entry.expiry > now else {
            self.recent.removeValue(forKey: question)
            return nil
        }
        let timeToLive = Duration.nanoseconds((entry.expiry - now).nanoseconds)
        return DNSAnswer(question: question, outcome: entry.outcome, timeToLive: timeToLive)
    }

    /// Keeps an answer for its time to live.
    mutating func insert(_ answer: DNSAnswer, now: NIODeadline) {
        self.older.removeValue(forKey: answer.question)
        guard answer.timeToLive > .zero else {
            self.recent.removeValue(forKey: answer.question)
            return
        }
        self.insert(Entry(outcome: answer.outcome, expiry: now + TimeAmount(answer.timeToLive)), for: answer.question)
    }

    mutating func removeAll() {
        self.recent = [:]
        self.older = [:]
    }

    private mutating func insert(_ entry: Entry, for question: DNSQuestion) {
        if self.recent.count >= max(1, self.limit / 2), self.recent[question] == nil {
            self.older = self.recent
            self.recent = [:]
        }
        self.recent[question] = entry
    }
}
