import Testing

@testable import GatehouseConfig

struct SpellingTests {
    @Test(
        "CONFIG: a misspelt key leads to the nearest one",
        arguments: [
            ("bnid", "bind"), ("binds", "bind"), ("cert", "certificate"), ("certifcate", "certificate"),
            ("privateKey", "private_key"), ("private-key", "private_key"), ("key", "private_key"),
            ("ca", nil), ("whatever", nil), ("", nil), (String(repeating: "bind", count: 1000), nil),
        ] as [(String, String?)])
    func nearestKey(word: String, expected: String?) {
        #expect(nearest(to: word, among: ["bind", "certificate", "private_key", "client_ca"]) == expected)
    }

    @Test("CONFIG: the nearer of two wins")
    func nearerWins() {
        #expect(nearest(to: "calls_per_secnd", among: ["calls", "calls_per_second"]) == "calls_per_second")
        #expect(nearest(to: "t3", among: ["t1", "t2"]) == "t1")
    }
}
