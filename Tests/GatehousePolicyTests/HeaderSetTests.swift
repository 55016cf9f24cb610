import GatehousePolicy
import SIPMessage
import Testing

@Suite("HeaderSet")
struct HeaderSetTests {
    @Test("TRUST-09: names match in any case, long or compact, known or not")
    func contains() throws {
        let rows = [
            "Via: SIP/2.0/UDP h;branch=z9hG4bK1", "diversion: <sip:a@b>", "X-Vendor: 1", "x-VENDOR-more: 1",
            "r: <sip:a@b>",
            "Remote-Party-ID: <sip:a@b>", "X-Gatehouse-Session: x", "XVendor: 1",
        ]
        let text = (["MESSAGE sip:h SIP/2.0"] + rows).joined(separator: "\r\n") + "\r\n\r\n"
        let message = try Message(Array(text.utf8))
        func found(_ names: [String]) -> [Int] {
            let set = HeaderSet(names)
            return message.fields.indices.filter { set.contains(message.fields[$0], in: message.bytes) }
        }
        #expect(found([]) == [])
        #expect(found(["Diversion", "x-vendor"]) == [1, 2])
        #expect(found(["Refer-To", "X-VENDOR-MORE"]) == [3, 4])
        #expect(found(SecuritySettings.defaultRemovedHeaders) == [1, 5])
        #expect(found(["X-Gatehouse-Session"]) == [])
    }
}
