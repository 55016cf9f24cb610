import SIPMessage

// A stream, cut anywhere: the same bytes give the same messages however they arrive, up to the first refusal, which may come
// sooner one way than the other. The first byte chooses the pieces' size.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let start, count > 1 else { return 0 }
    let bytes = UnsafeRawBufferPointer(start: start + 1, count: count - 1)
    let whole = events(of: bytes, piece: bytes.count)
    let pieces = events(of: bytes, piece: Int(start[0]) % 64 + 1)
    let common = min(whole.found.count, pieces.found.count)
    if whole.found[..<common] != pieces.found[..<common]
        || whole.found.count != pieces.found.count && !whole.isRefused && !pieces.isRefused
    {
        fatalError("the same stream in pieces gives other events: \(whole) \(pieces)")
    }
    return 0
}

func events(of bytes: UnsafeRawBufferPointer, piece: Int) -> (found: [String], isRefused: Bool) {
    var framer = Framer()
    var found: [String] = []
    var isOpen = true
    var offset = 0
    while isOpen, offset < bytes.count {
        let end = min(offset + piece, bytes.count)
        framer.receive(UnsafeRawBufferPointer(rebasing: bytes[offset..<end])) { event in
            switch event {
            case .message(let message):
                found.append("message \(message.bytes.count) \(message.headerSectionEnd)")
            case .ping:
                found.append("ping")
            case .fault, .close:
                isOpen = false
            }
            return isOpen
        }
        offset = end
    }
    return (found, !isOpen)
}
