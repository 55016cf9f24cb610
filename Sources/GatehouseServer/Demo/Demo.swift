internal import GatehouseTLS
internal import NIOCore
internal import NIOPosix
internal import SIPMessage
internal import Synchronization

/// `gatehouse demo`: an edge with two domains, a small PBX, and one call between two phones through them, on loopback.
///
///     alice ──TLS──▶ alpha.example ──UDP──▶ PBX ──UDP──▶ beta.example ──TLS──▶ bob
public enum Demo {
    /// Why the demonstration did not come about: a sentence.
    public struct Failure: Error, CustomStringConvertible, Equatable {
        public var description: String

        init(_ description: String) {
            self.description = description
        }
    }

    /// How long the call may take before it counts as failed.
    private static let patience = TimeAmount.seconds(15)

    /// What runs once the call is over: the edge and the PBX, for phones to come.
    public final class Running: Sendable {
        public let edge: any RunnableEdge
        private let site: Site
        private let group: MultiThreadedEventLoopGroup

        init(edge: any RunnableEdge, site: Site, group: MultiThreadedEventLoopGroup) {
            self.edge = edge
            self.site = site
            self.group = group
        }

        /// Ends the PBX and removes the temporary folder. The edge is the caller's to stop, before.
        public func end() async {
            try? await self.group.shutdownGracefully()
            self.site.remove()
        }
    }

    /// Sets everything up, makes the call and tells of it.
    ///
    /// - Parameters:
    ///   - certificates: a folder as `certs/make-certs.sh` makes it; where it does not serve, certificates are made.
    ///   - output: gets the edge's log.
    ///   - isFinal: whether nothing follows the call, so that nobody is invited to connect.
    ///   - say: prints a paragraph.
    /// - Throws: why there was no call; then nothing runs any more.
    public static func run(
        certificates: String, output: LogOutput, isFinal: Bool = false, say: @Sendable (String) -> Void
    ) async throws -> Running {
        let site = try Site.make(certificates: certificates)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        var edge: Server?
        do {
            let ladder = Ladder()
            let session = Mutex<String?>(nil)
            try await self.startCore(site, group, ladder) { tag in session.withLock { $0 = $0 ?? tag } }
            let started = try await Server.start(configurationPath: site.configurationPath, output: output)
            edge = started
            say(self.opening(site))
            let call = try await self.call(site, group, ladder)
            say(
                self.story(
                    alice: call.alice, bob: call.bob, ladder: ladder.finish(), session: session.withLock { $0 }))
            if !isFinal { say(self.invitation(site)) }
            return Running(edge: started, site: site, group: group)
        } catch {
            await edge?.stop()
            try? await group.shutdownGracefully()
            site.remove()
            throw error
        }
    }

    private static func startCore(
        _ site: Site, _ group: MultiThreadedEventLoopGroup, _ ladder: Ladder,
        session: @escaping @Sendable (String) -> Void
    ) async throws {
        let observer = Core.Observer(
            message: { summary, isReceived, isCallee in
                let edge = isCallee ? Ladder.Column.calleeEdge : .callerEdge
                ladder.note(from: isReceived ? edge : .core, to: isReceived ? .core : edge, summary)
            }, session: session)
        _ = try await DatagramBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let core = Core(endpoint: site.pbx)
                    core.observer = observer
                    try channel.pipeline.syncOperations.addHandler(core.agent)
                    // The socket keeps the PBX: whoever closes the one ends the other.
                    let box = NIOLoopBound(core, eventLoop: channel.eventLoop)
                    channel.closeFuture.whenComplete { _ in _ = box }
                }
            }
            .bind(host: site.pbx.address.description, port: Int(site.pbx.port)).get()
    }

    // MARK: The call

    private struct Call {
        var alice: TLSFacts
        var bob: TLSFacts
    }

    /// Registers bob at beta.example; alice calls him from alpha.example, he answers, she hangs up.
    private static func call(_ site: Site, _ group: MultiThreadedEventLoopGroup, _ ladder: Ladder) async throws -> Call
    {
        let credentials = try site.phoneCredentials()
        let isCalling = Atomic(false)
        func observer(_ phone: Ladder.Column, _ edge: Ladder.Column) -> @Sendable (String, Bool) -> Void {
            { summary, isReceived in
                guard isCalling.load(ordering: .relaxed) else { return }
                ladder.note(from: isReceived ? edge : phone, to: isReceived ? phone : edge, summary)
            }
        }
        let alice = try await Phone.connect(
            "alice", at: Site.domains[0], to: site.outside, trusting: credentials, on: group,
            observe: observer(.caller, .callerEdge))
        defer { alice.close() }
        let bob = try await Phone.connect(
            "bob", at: Site.domains[1], to: site.outside, trusting: credentials, on: group,
            observe: observer(.callee, .calleeEdge))
        defer { bob.close() }
        alice.closes(after: self.patience)
        bob.closes(after: self.patience)
        try await bob.register(expires: 60)
        isCalling.store(true, ordering: .relaxed)

        let sent = try await alice.call("bob")
        let ringing = try await bob.request(.invite)
        let tag = self.random()
        try await bob.respond(180, to: ringing, tag: tag)
        try await alice.ringing()
        let media = SDP.answer(to: ringing.body.bytes(in: ringing.bytes), from: "127.0.0.1") ?? []
        try await bob.respond(200, to: ringing, tag: tag, body: media)
        let answer = try await alice.finalResponse(to: .invite)
        guard var dialog = Dialog(caller: sent, answer: answer, contact: alice.contact) else {
            throw Failure("the answer that alice got has no Contact, so that she cannot end the call")
        }
        try await alice.send(.ack, in: &dialog)
        _ = try await bob.request(.ack)
        try await alice.send(.bye, in: &dialog)
        try await bob.respond(200, to: try await bob.request(.bye))
        _ = try await alice.finalResponse(to: .bye)

        isCalling.store(false, ordering: .relaxed)
        try await bob.register(expires: 0)
        return Call(alice: alice.tls, bob: bob.tls)
    }
}
