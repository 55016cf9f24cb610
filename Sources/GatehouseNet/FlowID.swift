/// Names a flow (RFC 5626 §3.1), that is a stream connection, among all that this process ever has.
public struct FlowID: Hashable, Sendable {
    /// The worker on whose loop the flow lives.
    public let worker: UInt16
    /// Never used again in this process.
    public let number: UInt64

    @inlinable public init(worker: UInt16, number: UInt64) {
        self.worker = worker
        self.number = number
    }
}

extension FlowID: CustomStringConvertible {
    public var description: String { "\(self.worker)-\(self.number)" }
}
