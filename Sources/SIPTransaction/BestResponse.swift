/// The best of the final responses other than 2xx seen so far (RFC 3261 §16.7 item 6).
///
/// A 6xx beats all, else the lowest class. Within a class a response that tells how to mend the request comes first
/// (401, 407, then 415, 420, 484) and a received response before one that stands for a time-out or a transport error;
/// among equals the first stays.
struct BestResponse: Sendable, Equatable {
    enum Choice: Sendable, Equatable {
        case none
        case received(BranchNumber, status: Int)
        /// Counts as a 408.
        case timeout
        /// Counts as a 503.
        case transportError
    }

    private(set) var choice = Choice.none
    /// The branches that answered 401 or 407.
    private(set) var challenged = BranchSet()
    private var rank = UInt8.max

    mutating func consider(status: Int, of branch: BranchNumber) {
        if status == 401 || status == 407 { self.challenged.insert(branch) }
        self.consider(.received(branch, status: status), rank: Self.rank(ofReceived: status))
    }

    mutating func considerTimeout() {
        self.consider(.timeout, rank: 4 << 3 | 4)
    }

    mutating func considerTransportError() {
        self.consider(.transportError, rank: 5 << 3 | 4)
    }

    private mutating func consider(_ choice: Choice, rank: UInt8) {
        guard rank < self.rank else { return }
        self.choice = choice
        self.rank = rank
    }

    /// The class above the three low bits, which order within the class; lower is better.
    private static func rank(ofReceived status: Int) -> UInt8 {
        switch status {
        case 401, 407: 4 << 3
        case 415, 420, 484: 4 << 3 | 1
        // "Request terminated" and "timed out" say less about the callee than any other answer.
        case 408, 487: 4 << 3 | 3
        case 300..<400: 3 << 3
        case 400..<500: 4 << 3 | 2
        case 503: 5 << 3 | 3
        case 500..<600: 5 << 3 | 2
        default: 0
        }
    }
}
