/// The order in which the servers of an SRV answer are tried (RFC 2782, "Usage rules").
enum ServiceOrder {
    /// More records of one answer than this are not looked at, the last by priority.
    static let recordLimit = 64

    /// By priority; among those of equal priority by lot, with chances in proportion to the weights. A weight of 0 beside
    /// others has a small chance, and several of them alone have equal ones.
    static func order(_ services: [DNSService], using generator: inout some RandomNumberGenerator) -> [DNSService] {
        var rest = services.sorted { $0.priority < $1.priority }.prefix(Self.recordLimit)
        var ordered: [DNSService] = []
        ordered.reserveCapacity(rest.count)
        while let first = rest.first {
            let count = rest.prefix { $0.priority == first.priority }.count
            var group = rest.prefix(count).shuffled(using: &generator)
            rest.removeFirst(count)
            // The algorithm wants those of weight 0 at the beginning; the others may be in any order.
            _ = group.partition { $0.weight != 0 }
            while !group.isEmpty { ordered.append(Self.draw(from: &group, using: &generator)) }
        }
        return ordered
    }

    /// Takes the first whose running sum of weights reaches a number between 0 and the sum of all, both included.
    private static func draw(
        from group: inout [DNSService], using generator: inout some RandomNumberGenerator
    ) -> DNSService {
        let total = group.reduce(UInt32(0)) { $0 &+ UInt32($1.weight) }  // of at most 64 numbers of 16 bits
        let lot = UInt32.random(in: 0...total, using: &generator)
        var sum: UInt32 = 0
        let index = group.firstIndex { service in
            sum &+= UInt32(service.weight)
            return sum >= lot
        }
        return group.remove(at: index ?? group.startIndex)
    }
}
