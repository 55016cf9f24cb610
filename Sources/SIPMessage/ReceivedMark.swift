/// What an element writes into the top Via of a request that it received: `received` and `rport` (RFC 3261 §18.2.1,
/// RFC 3581 §4).
///
/// The true source goes in where the sent-by is a name or another address, where `rport` asks for it, and over what the
/// client itself wrote there, which is not believed.
struct ReceivedMark {
    struct Splice {
        var range: ByteRange
        var text: [UInt8]
    }

    /// In the order of their places.
    var splices: [Splice] = []

    init(_ via: Via, in bytes: [UInt8], source: Endpoint) {
        let sentBy = via.sentByAddress(in: bytes)
        let address = source.address.asIPv4 ?? source.address
        let isTrue = (sentBy?.asIPv4 ?? sentBy) == address
        if let rport = via.rport {
            var text: [UInt8] = rport.isEmpty ? [.equals] : []
            appendDecimal(UInt64(source.port), to: &text)
            self.splices.append(Splice(range: rport, text: text))
        }
        if let received = via.received {
            var text: [UInt8] = []
            address.appendText(to: &text)
            let place = self.splices.first.map { $0.range.start > received.start } == true ? 0 : self.splices.count
            self.splices.insert(Splice(range: received, text: text), at: place)
        } else if via.rport != nil || !isTrue {
            var text = Array(";received=".utf8)
            address.appendText(to: &text)
            self.splices.append(Splice(range: ByteRange(via.value.end, via.value.end), text: text))
        }
    }
}

extension MessageEditor {
    /// Writes the true source into the top Via; nothing where that is malformed. An IPv6 address goes without brackets.
    public mutating func markReceived(from source: Endpoint) {
        guard let via = self.message.topVia else { return }
        for splice in ReceivedMark(via, in: self.message.bytes, source: source).splices {
            self.replace(splice.range, with: splice.text)
        }
    }
}
