/// What becomes of `keep` in the Via stack of a response (RFC 6223 §4.4, §10; KEEP-08): the topmost value is the peer's own
/// and gets the interval, if there is one; any other interval was meant for another hop and goes.
struct KeepMark {
    /// nil where there is nothing to change, or the value is malformed.
    var splice: ReceivedMark.Splice?

    init(_ value: ByteRange, in bytes: [UInt8], seconds: Int?) {
        guard bytes[value.range].contains(0x6B) || bytes[value.range].contains(0x4B),  // k
            let via = try? Via.parse(bytes, value), let keep = via.parameterList(in: bytes).first("keep")
        else { return }
        if let seconds {
            var text = Array("keep=".utf8)
            appendDecimal(UInt64(clamping: seconds), to: &text)
            self.splice = ReceivedMark.Splice(range: ByteRange(keep.name.start, keep.whole.end), text: text)
        } else if keep.value != nil {
            self.splice = ReceivedMark.Splice(range: ByteRange(keep.name.end, keep.whole.end), text: [])
        }
    }
}

extension Via {
    /// Whether the sender offers keep-alives: `keep` without a value (RFC 6223 §4.2).
    public func offersKeepAlive(in bytes: [UInt8]) -> Bool {
        self.parameterList(in: bytes).first("keep").map { $0.value == nil } ?? false
    }
}

extension MessageEditor {
    /// Writes the interval of keep-alives into the peer's own Via, the second of a response that goes on to it, and takes
    /// those of other hops out.
    ///
    /// - Parameter seconds: nil where none was agreed.
    public mutating func settleKeepAlive(_ seconds: Int?) {
        var index = 0
        for value in self.message.values(of: .via) {
            defer { index += 1 }
            guard index > 0 else { continue }
            let mark = KeepMark(value, in: self.message.bytes, seconds: index == 1 ? seconds : nil)
            if let splice = mark.splice { self.replace(splice.range, with: splice.text) }
        }
    }
}
