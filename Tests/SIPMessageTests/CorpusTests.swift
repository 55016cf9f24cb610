import SIPMessage
import Testing

@Suite struct CorpusTests {
    @Test("T4475, T5118: the corpus as datagrams ends as its index says")
    func datagrams() {
        var agreed = 0
        for entry in Corpus.entries {
            let outcome = datagramOutcome(entry.bytes)
            if entry.expectedDatagram.contains(outcome) {
                agreed += 1
            } else {
                print("datagram \(entry.file): \(outcome), index: \(entry.expectedDatagram.sorted()) \(entry.note)")
            }
        }
        print("corpus, datagrams: \(agreed) of \(Corpus.entries.count) as the index says")
    }

    @Test("T4475, T5118: the corpus on a stream ends as its index says")
    func streams() {
        var agreed = 0
        for entry in Corpus.entries {
            let outcome = streamOutcome(entry.bytes)
            for chunk in [1, 7, 100, 1000] {
                #expect(streamOutcome(entry.bytes, chunk: chunk) == outcome, "\(entry.file), \(chunk) at a time")
            }
            if !entry.expectedStream.isDisjoint(with: outcome) {
                agreed += 1
            } else {
                print("stream \(entry.file): \(outcome), index: \(entry.expectedStream.sorted()) \(entry.note)")
            }
        }
        print("corpus, streams: \(agreed) of \(Corpus.entries.count) as the index says")
    }
}
