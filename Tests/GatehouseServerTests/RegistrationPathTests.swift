import GatehousePolicy
import SIPMessage
import SIPTransaction
import Testing

@testable import GatehouseNet
@testable import GatehouseServer

@Suite("RegistrationPath")
struct RegistrationPathTests {
    private let fixture: WorkerFixture
    private let state: FlowState

    /// A device's connection over TCP.
    init() throws {
        self.fixture = try WorkerFixture([WorkerFixture.domain()])
        self.state = try self.fixture.device().state
    }

    private static func request(_ user: String, contact: String) throws -> Message {
        try sipMessage([
            "REGISTER sip:a.example SIP/2.0", "Via: SIP/2.0/TCP 192.0.2.7;branch=z9hG4bK\(user)",
            "From: <sip:\(user)@a.example>;tag=1", "To: <sip:\(user)@a.example>", "Call-ID: \(user)",
            "CSeq: 1 REGISTER",
            "Contact: \(contact)",
        ])
    }

    /// Takes a REGISTER to where its answer comes.
    private func register(_ user: String, contact: String) throws -> (
        transaction: ServerTransaction, keys: [BindingKey]
    ) {
        let worker = self.fixture.worker
        let request = try Self.request(user, contact: contact)
        var passage = try self.fixture.passage()
        passage.flow = self.state.reference
        let registration = try worker.registration(of: request, passage.domain)
        passage.registration = registration
        let origin = WorkerMessage.Origin(
            leg: .flow(self.state.id), transport: .tcp, source: self.state.remote, local: self.state.local)
        let transaction = ServerTransaction(
            worker: worker, key: try #require(worker.shared.matcher.key(of: request)), request: request, origin: origin,
            passage: passage)
        return (transaction, registration.contacts.map(\.key))
    }

    /// The registrar's answer, with these contacts: the index of a contact of the request, and its parameters.
    private func answer(_ transaction: ServerTransaction, _ contacts: [(Int, String)], rows: [String] = []) throws {
        let registration = try #require(transaction.passage.registration)
        let lines = contacts.map { index, parameters in
            "Contact: <sip:\(String(decoding: registration.contacts[index].token, as: UTF8.self))@10.0.0.1:5070>\(parameters)"
        }
        let response = try sipMessage(
            ["SIP/2.0 200 OK", "Via: SIP/2.0/UDP 10.0.0.1", "Call-ID: 1", "CSeq: 1 REGISTER"] + lines + rows)
        self.fixture.worker.registered(transaction, response)
    }

    private func binding(_ key: BindingKey, after seconds: UInt64 = 0) -> Binding? {
        self.fixture.worker.shared.bindings.binding(key, now: self.fixture.worker.now + seconds * 1_000_000_000)
    }

    @Test(
        "REG-15: a binding lives as long as the registrar says, with the Contact, else with Expires, else an hour",
        arguments: [
            (";expires=60", [], 60), (";expires=60", ["Expires: 600"], 60), ("", ["Expires: 600"], 600), ("", [], 3600),
            (";expires=99999999999", ["Expires: 600"], 600), (";expires=4294967295", [], 8 * 86_400),
        ] as [(String, [String], UInt64)])
    func expiry(parameters: String, rows: [String], seconds: UInt64) throws {
        let (transaction, keys) = try self.register("alice", contact: "<sip:alice@192.0.2.7:40000>")
        try self.answer(transaction, [(0, parameters)], rows: rows)
        let key = try #require(keys.first)
        #expect(self.binding(key, after: seconds - 5)?.flow == self.state.reference)
        #expect(self.binding(key, after: seconds + 1) == nil)
        #expect(self.state.registered.map(\.key) == [key])
    }

    @Test(
        "REG-15: what the registrar does not list, or lists with zero, ends",
        arguments: [[], [(0, ";expires=0")]] as [[(Int, String)]])
    func ended(contacts: [(Int, String)]) throws {
        let (transaction, keys) = try self.register("alice", contact: "<sip:alice@192.0.2.7:40000>")
        try self.answer(transaction, [(0, "")])
        #expect(self.binding(keys[0]) != nil)
        try self.answer(transaction, contacts)
        #expect(self.binding(keys[0]) == nil)
        #expect(self.state.registered.isEmpty)
    }

    @Test("REG-15: Contact: * ends the bindings of its address of record, and no others of the connection")
    func wildcard() throws {
        let alice = try self.register("alice", contact: "<sip:alice@192.0.2.7:40000>")
        let bob = try self.register("bob", contact: "<sip:bob@192.0.2.7:40000>")
        for each in [alice, bob] { try self.answer(each.transaction, [(0, "")]) }
        try self.answer(try self.register("alice", contact: "*").transaction, [])
        #expect(self.binding(alice.keys[0]) == nil)
        #expect(self.binding(bob.keys[0]) != nil)
        #expect(self.state.registered.map(\.key) == bob.keys)
        try self.answer(try self.register("bob", contact: "*").transaction, [])
        #expect(self.binding(bob.keys[0]) == nil)
        #expect(self.state.registered.isEmpty)
    }

    @Test(
        "the same device has the same key: by instance and reg-id, else by its Contact",
        arguments: [
            (
                "<sip:a@1.1.1.1>;+sip.instance=\"<urn:u>\";reg-id=1",
                "<sip:a@2.2.2.2>;+sip.instance=\"<urn:u>\";reg-id=1", true
            ),
            (
                "<sip:a@1.1.1.1>;+sip.instance=\"<urn:u>\";reg-id=1",
                "<sip:a@1.1.1.1>;+sip.instance=\"<urn:u>\";reg-id=2", false
            ),
            (
                "<sip:a@1.1.1.1>;+sip.instance=\"<urn:u>\";reg-id=1",
                "<sip:a@1.1.1.1>;+sip.instance=\"<urn:v>\";reg-id=1", false
            ),
            ("<sip:a@1.1.1.1>;+sip.instance=\"<urn:u>\"", "<sip:a@2.2.2.2>;+sip.instance=\"<urn:u>\"", false),
            ("<sip:a@1.1.1.1>;expires=5", "<sip:a@1.1.1.1>", true), ("<sip:a@1.1.1.1>", "<sip:a@1.1.1.1:5060>", false),
        ])
    func keys(first: String, second: String, isSame: Bool) throws {
        let one = try self.register("alice", contact: first).keys
        let other = try self.register("alice", contact: second).keys
        #expect((one == other) == isSame)
        #expect(try self.register("bob", contact: first).keys != one)
    }

    @Test(
        "PBX-09: of two contacts of one name the one that stays stands for it, else the later",
        arguments: [
            ("", ";expires=0", [false, true]), (";expires=0", "", [true, false]), ("", "", [true, false]),
            (";expires=60", ";expires=0", [false, true]), (";expires=0", ";expires=0", [true, false]),
        ])
    func oneName(first: String, second: String, isReplaced: [Bool]) throws {
        let name = ";reg-id=1;+sip.instance=\"<urn:u>\""
        let contact = "<sip:a@1.1.1.1>\(first)\(name), <sip:a@2.2.2.2>\(second)\(name)"
        let contacts = try #require(try self.register("alice", contact: contact).transaction.passage.registration)
            .contacts
        #expect(contacts.map(\.isReplaced) == isReplaced)
        let two = "<sip:a@1.1.1.1>\(name), <sip:a@2.2.2.2>;expires=0"
        let others = try #require(try self.register("alice", contact: two).transaction.passage.registration).contacts
        #expect(others.map(\.isReplaced) == [false, false])
    }

    @Test("a REGISTER with more contacts than a connection remembers is refused")
    func tooMany() throws {
        func contacts(_ count: Int) -> String { (0..<count).map { "<sip:a\($0)@h>" }.joined(separator: ",") }
        #expect(try self.register("alice", contact: contacts(FlowState.registeredLimit)).keys.count == 64)
        #expect(throws: Refusal(400, .tooLarge)) {
            try self.register("alice", contact: contacts(FlowState.registeredLimit + 1))
        }
    }
}
