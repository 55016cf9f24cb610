extension Message {
    /// The values of the Via rows from the top down, the topmost with the true source written into it as
    /// ``MessageEditor/markReceived(from:in:)`` does: what a response needs whose own Via stack was another one.
    ///
    /// - Parameter keepAlive: the interval for the topmost value's `keep`, in seconds; see
    ///   ``MessageEditor/settleKeepAlive(_:)``.
    public func viaRows(receivedFrom source: Endpoint, keepAlive: Int? = nil) -> [[UInt8]] {
        var rows: [[UInt8]] = []
        for field in self.rows(of: .via) {
            var splices: [ReceivedMark.Splice] = []
            for value in self.values(in: field) {
                let isTop = rows.isEmpty && value == self.topVia?.value
                if isTop, let via = self.topVia { splices = ReceivedMark(via, in: self.bytes, source: source).splices }
                if let splice = KeepMark(value, in: self.bytes, seconds: isTop ? keepAlive : nil).splice {
                    let place = splices.firstIndex { $0.range.start >= splice.range.end } ?? splices.count
                    splices.insert(splice, at: place)
                }
            }
            var row: [UInt8] = []
            var position = field.value.start
            for splice in splices {
                row.append(contentsOf: self.unfolded(ByteRange(position, splice.range.start)))
                row.append(contentsOf: splice.text)
                position = splice.range.end
            }
            row.append(contentsOf: self.unfolded(ByteRange(position, field.value.end)))
            rows.append(row)
        }
        return rows
    }
}
