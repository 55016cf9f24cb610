import SIPMessage

// A stream, cut anywhere: the same bytes give the same events however they arrive. The first byte chooses the pieces' size,
// the second the limits.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let start, count > 2 else { return 0 }
    let limits =
        start[1] & 1 == 0
        ? MessageLimits()
        : MessageLimits(messageSize: 600, headerSection: 300, headerFields: 8, requestURI: 40, vias: 3)
    let input = UnsafeRawBufferPointer(start: start + 2, count: count - 2)
    let whole = events(of: input, piece: input.count, limits)
    let pieces = events(of: input, piece: Int(start[0]) % 64 + 1, limits)
    // Where the first line ends by a CR alone, or a section is far too large, how a stream ends hangs on the pieces.
    let isSameEnd =
        whole.last == pieces.last
        || whole.last?.hasPrefix("end") == true && pieces.last?.hasPrefix("end") == true
    if !isSameEnd || whole.dropLast() != pieces.dropLast() {
        fatalError("the same stream in pieces gives other events: \(whole) \(pieces)")
    }
    return 0
}

func events(of input: UnsafeRawBufferPointer, piece: Int, _ limits: MessageLimits) -> [String] {
    var framer = Framer(limits: limits)
    var events: [String] = []
    var position = 0
    while position < input.count {
        let end = min(input.count, position + piece)
        framer.receive(UnsafeRawBufferPointer(rebasing: input[position..<end])) { event in
            switch event {
            case .message(let message):
                events.append("message \(message.bytes.count) \(message.checkSyntax(limits)?.status ?? -1)")
            case .fault(let fault) where !fault.closesStream: events.append("fault \(fault.status)")
            case .fault(let fault): events.append("end \(fault.status)")
            case .ping: events.append("ping")
            case .close: events.append("end")
            }
            return true
        }
        position = end
    }
    if framer.isInsideHeader { events.append("header") }
    if framer.isInsideBody { events.append("body") }
    if let event = framer.endOfStream(clean: true), case .fault(let fault) = event {
        events.append("end \(fault.status)")
    }
    return events
}
