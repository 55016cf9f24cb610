public import SIPMessage

/// Which of a domain's core targets a new request goes to, and which come after it when that one fails.
///
/// A target takes part while it is healthy and not put aside. Nothing here knows a clock: times come as arguments.
public struct Distribution: Sendable {
    /// How many targets a domain may have; more are not used.
    public static let targetLimit = 64
    /// A target is put aside for no longer than this, whatever its Retry-After says.
    public static let longestPutAside = Duration.seconds(3600)

    private let method: DomainCoreSettings.Distribution
    /// What tells the targets apart in the hash over the Call-ID; their count is that of the targets.
    private let seeds: [UInt64]
    /// Bit n: target n.
    private var healthy: UInt64
    private var putAside: UInt64 = 0
    private var putAsideUntil: [ContinuousClock.Instant?]
    private var turn: UInt64 = 0

    /// All targets count as healthy until they are said not to be.
    public init(_ settings: DomainCoreSettings) {
        let targets = settings.targets.prefix(Self.targetLimit)
        self.method = settings.distribution
        self.seeds = targets.map { target in
            let text = Array("\(target.transport.rawValue) \(target.host) \(target.port)".utf8)
            return stableHash(text, text.startIndex..<text.endIndex)
        }
        self.healthy = targets.count == 64 ? .max : 1 << UInt64(targets.count) - 1
        self.putAsideUntil = Array(repeating: nil, count: targets.count)
    }

    /// Whether a target answers, as its `HealthMachine` says.
    public mutating func setHealthy(_ isHealthy: Bool, target: Int) {
        guard self.seeds.indices.contains(target) else { return }
        if isHealthy {
            self.healthy |= 1 << UInt64(target)
        } else {
            self.healthy &= ~(1 << UInt64(target))
        }
    }

    /// A target gets no new request for a while: it answered 503 with Retry-After (RFC 3261 §21.5.4).
    public mutating func putAside(target: Int, for duration: Duration, now: ContinuousClock.Instant) {
        guard self.seeds.indices.contains(target), duration > .zero else { return }
        self.putAside |= 1 << UInt64(target)
        self.putAsideUntil[target] = now + min(duration, Self.longestPutAside)
    }

    /// The targets for a new request, the first choice first, each once; empty if none may be used.
    ///
    /// - `failover`: in the order of the configuration.
    /// - `round_robin`: from the next one on, with every call.
    /// - `call_id_hash`: by a hash of Call-ID and target that is the same in every edge. When a target comes or goes, only
    ///   the calls move that it gains or loses.
    ///
    /// - Parameters:
    ///   - callID: within `bytes`; nil counts as empty.
    ///   - now: evaluated only while a target is put aside.
    public mutating func order(
        callID: ByteRange?, in bytes: [UInt8], now: @autoclosure () -> ContinuousClock.Instant
    ) -> TargetOrder {
        if self.putAside != 0 { self.takeBack(now: now()) }
        let available = self.healthy & ~self.putAside
        guard available != 0 else { return TargetOrder(available: 0, choice: .listed) }
        switch self.method {
        case .failover:
            return TargetOrder(available: available, choice: .listed)
        case .roundRobin:
            defer { self.turn &+= 1 }
            let position = Int(truncatingIfNeeded: self.turn % UInt64(available.nonzeroBitCount))
            return TargetOrder(available: available, choice: .cyclic(first: nthBit(position, of: available)))
        case .callIDHash:
            let hash = stableHash(bytes, callID?.range ?? 0..<0)
            return TargetOrder(available: available, choice: .weighted(seeds: self.seeds, hash: hash))
        }
    }

    private mutating func takeBack(now: ContinuousClock.Instant) {
        for (target, until) in self.putAsideUntil.enumerated() {
            guard let until, until <= now else { continue }
            self.putAsideUntil[target] = nil
            self.putAside &= ~(1 << UInt64(target))
        }
    }
}

/// Targets by their position in the configuration, the first choice first, each once.
public struct TargetOrder: Sequence, IteratorProtocol, Sendable {
    enum Choice: Sendable {
        /// By position.
        case listed
        /// By position, from one on and round.
        case cyclic(first: Int)
        /// By the weight that seed and hash give, the highest first (rendezvous hashing).
        case weighted(seeds: [UInt64], hash: UInt64)
    }

    private var available: UInt64
    private let choice: Choice

    init(available: UInt64, choice: Choice) {
        self.available = available
        self.choice = choice
    }

    public var isEmpty: Bool { self.available == 0 }

    public mutating func next() -> Int? {
        guard self.available != 0 else { return nil }
        let target: Int
        switch self.choice {
        case .listed:
            target = self.available.trailingZeroBitCount
        case .cyclic(let first):
            let fromFirst = self.available & (UInt64.max << UInt64(first))
            target = (fromFirst == 0 ? self.available : fromFirst).trailingZeroBitCount
        case .weighted(let seeds, let hash):
            target = self.heaviest(seeds, hash)
        }
        self.available &= ~(1 << UInt64(target))
        return target
    }

    private func heaviest(_ seeds: [UInt64], _ hash: UInt64) -> Int {
        var rest = self.available
        var best = rest.trailingZeroBitCount
        var bestWeight: UInt64 = 0
        while rest != 0 {
            let target = rest.trailingZeroBitCount
            rest &= rest &- 1
            let weight = mixed(hash ^ seeds[target])
            if weight > bestWeight { (best, bestWeight) = (target, weight) }
        }
        return best
    }
}

/// The position of the bit that has `rank` set bits below it.
private func nthBit(_ rank: Int, of bits: UInt64) -> Int {
    var rest = bits
    for _ in 0..<rank { rest &= rest &- 1 }
    return rest.trailingZeroBitCount
}

/// FNV-1a: the same in every process, so that edges agree. It need not resist an attacker, who could as well send more calls.
private func stableHash(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes[range] { hash = (hash ^ UInt64(byte)) &* 0x0100_0000_01b3 }
    return hash
}

/// Spreads every bit over all others (the finalizer of SplitMix64).
private func mixed(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}
