extension Demo {
    /// Session descriptions that agree on media and send none: a demonstration of signalling (RFC 3264).
    enum SDP {
        /// An offer of one audio stream.
        static func offer(from address: String) -> [UInt8] {
            Array(
                """
                v=0\r
                o=- 1 1 IN IP4 \(address)\r
                s=-\r
                c=IN IP4 \(address)\r
                t=0 0\r
                m=audio 9 RTP/AVP 0 8\r
                a=rtpmap:0 PCMU/8000\r
                a=rtpmap:8 PCMA/8000\r
                a=inactive\r

                """.utf8)
        }

        /// The answer to an offer: its first audio stream inactive, every other refused (RFC 3264 §6).
        ///
        /// - Returns: nil where the offer has no stream at all.
        static func answer(to offer: [UInt8], from address: String) -> [UInt8]? {
            var text = "v=0\r\no=- 1 1 IN IP4 \(address)\r\ns=-\r\nc=IN IP4 \(address)\r\nt=0 0\r\n"
            var hasAudio = false
            var streams = 0
            for line in String(decoding: offer, as: UTF8.self).split(whereSeparator: \.isNewline) {
                guard line.hasPrefix("m=") else { continue }
                // m=audio 49170 RTP/AVP 0 8
                let parts = line.dropFirst(2).split(separator: " ")
                guard parts.count >= 4 else { continue }
                streams += 1
                let rest = parts[2...].joined(separator: " ")
                if parts[0] == "audio", parts[1] != "0", !hasAudio {
                    hasAudio = true
                    text += "m=audio 9 \(rest)\r\na=inactive\r\n"
                } else {
                    text += "m=\(parts[0]) 0 \(rest)\r\n"
                }
            }
            return streams > 0 ? Array(text.utf8) : nil
        }
    }
}
