extension Message {
    /// The values of the Via rows from the top down, the topmost with the true source written into it as
    /// ``MessageEditor/markReceived(from:in:)`` does: what a response needs whose own Via stack was another one.
    public func viaRows(receivedFrom source: Endpoint) -> [[UInt8]] {
        var rows: [[UInt8]] = []
        for field in self.rows(of: .via) {
            guard rows.isEmpty, let via = self.topVia, field.value.contains(via.value) else {
                rows.append(self.unfolded(field.value))
                continue
            }
            var row: [UInt8] = []
            var position = field.value.start
            for splice in ReceivedMark(via, in: self.bytes, source: source).splices {
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
