internal import Dispatch

extension Array where Element: Sendable {
    /// Maps on all cores; blocks until the last is done, so not for an event loop.
    func parallelMap<Result: Sendable>(_ transform: @Sendable (Element) -> Result) -> [Result] {
        guard self.count > 8 else { return self.map(transform) }
        return [Result](unsafeUninitializedCapacity: self.count) { results, count in
            // Each index is written once, by one iteration, and read after all have ended.
            nonisolated(unsafe) let start = results.baseAddress
            withoutActuallyEscaping(transform) { transform in
                DispatchQueue.concurrentPerform(iterations: self.count) { index in
                    start?.advanced(by: index).initialize(to: transform(self[index]))
                }
            }
            count = self.count
        }
    }
}
