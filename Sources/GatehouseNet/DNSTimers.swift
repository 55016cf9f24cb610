/// The times at which the courses of questions go on: a heap, from which a timer is never taken back. One that its course no
/// longer waits for has an old serial.
struct DNSTimers {
    struct Timer {
        var time: Duration
        var number: UInt64
        var serial: UInt32
    }

    private var heap: [Timer] = []

    var first: Timer? { self.heap.first }
    var count: Int { self.heap.count }

    mutating func insert(_ timer: Timer) {
        self.heap.append(timer)
        var index = self.heap.count - 1
        while index > 0 {
            let parent = (index - 1) / 2
            guard self.heap[index].time < self.heap[parent].time else { return }
            self.heap.swapAt(index, parent)
            index = parent
        }
    }

    /// The earliest timer whose time has come.
    mutating func popFirst(until now: Duration) -> Timer? {
        guard let first = self.heap.first, first.time <= now else { return nil }
        let last = self.heap.removeLast()
        guard !self.heap.isEmpty else { return first }
        self.heap[0] = last
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2]
            where child < self.heap.count && self.heap[child].time < self.heap[least].time { least = child }
            guard least != index else { return first }
            self.heap.swapAt(index, least)
            index = least
        }
    }
}
