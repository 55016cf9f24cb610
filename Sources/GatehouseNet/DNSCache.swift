internal import GatehousePolicy
internal import NIOCore
internal import Synchronization

/// Answers of the DNS until they expire (RFC 1035 §3.2.1, RFC 2308 §5), for all threads.
///
/// Bounded in answers and, with them, in bytes. Split into shards by the question's hash: a lock is held for one look-up in
/// one shard, and no shard is large enough for its growth to be noticed.
final class DNSCache: Sendable {
    private final class Shard: Sendable {
        let state: Mutex<DNSCacheShard>

        init(limit: Int) {
            self.state = Mutex(DNSCacheShard(limit: limit))
        }
    }

    private static let mostShards = 256
    /// A smaller shard would be filled unevenly.
    private static let leastAnswersInShard = 512

    private let shards: [Shard]

    /// - Parameter limit: in answers.
    init(limit: Int) {
        var count = 1
        while count < Self.mostShards, limit / (count * 2) >= Self.leastAnswersInShard { count *= 2 }
        self.shards = (0..<count).map { _ in Shard(limit: limit / count) }
    }

    /// Never over `limit`.
    var count: Int { self.shards.reduce(0) { $0 + $1.state.withLock { $0.count } } }

    /// The answer to a question, with the rest of its time to live; nil where none is kept.
    func answer(to question: DNSQuestion, now: NIODeadline) -> DNSAnswer? {
        let hash = DNSCacheKey.hash(of: question)
        return self.shard(hash).state.withLock { $0.answer(to: question, hash: hash, now: now.uptimeNanoseconds) }
    }

    /// Keeps an answer for its time to live.
    func insert(_ answer: DNSAnswer, now: NIODeadline) {
        let hash = DNSCacheKey.hash(of: answer.question)
        let now = now.uptimeNanoseconds
        self.shard(hash).state.withLock { $0.insert(answer, hash: hash, now: now) }
    }

    func removeAll() {
        for shard in self.shards { shard.state.withLock { $0.removeAll() } }
    }

    /// Shards go by the high half of the hash, slots within them by the low half.
    private func shard(_ hash: UInt64) -> Shard {
        self.shards[Int(hash >> 32) & (self.shards.count - 1)]
    }
}

enum DNSCacheKey {
    /// Under a seed of this process, so that nobody can choose names that fall together.
    static func hash(of question: DNSQuestion) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(question)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}

/// A part of the cache, in two pages: when the newer one is full, the older one is forgotten, but for what was asked for
/// since then.
struct DNSCacheShard {
    /// Of the answers on a page, on the average; a page of larger ones is full sooner.
    private static let bytesPerAnswer = 512

    private let pageLimit: Int
    private var recent = DNSCachePage()
    private var older = DNSCachePage()

    init(limit: Int) {
        self.pageLimit = max(1, limit / 2)
    }

    var count: Int { self.recent.count + self.older.count }

    mutating func answer(to question: DNSQuestion, hash: UInt64, now: UInt64) -> DNSAnswer? {
        if let record = self.recent.find(question, hash: hash) {
            let answer = self.recent.answer(record, question, now: now)
            if answer == nil { self.recent.remove(question, hash: hash) }
            return answer
        }
        guard let record = self.older.find(question, hash: hash) else { return nil }
        let answer = self.older.answer(record, question, now: now)
        self.older.remove(question, hash: hash)
        guard let answer else { return nil }
        self.insert(answer, hash: hash, now: now)
        return answer
    }

    mutating func insert(_ answer: DNSAnswer, hash: UInt64, now: UInt64) {
        self.older.remove(answer.question, hash: hash)
        guard answer.timeToLive > .zero else {
            self.recent.remove(answer.question, hash: hash)
            return
        }
        let isFull =
            self.recent.count >= self.pageLimit || self.recent.byteCount >= self.pageLimit * Self.bytesPerAnswer
        if isFull,
            self.recent.find(answer.question, hash: hash) == nil
                || self.recent.byteCount >= self.pageLimit * Self.bytesPerAnswer
        {
            self.older = self.recent
            self.recent = DNSCachePage()
            self.older.remove(answer.question, hash: hash)
        }
        self.recent.insert(answer, hash: hash, now: now)
    }

    mutating func removeAll() {
        self.recent = DNSCachePage()
        self.older = DNSCachePage()
    }
}
