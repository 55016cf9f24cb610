import GatehousePolicy
import GatehouseTLS
import Glibc
import NIOCore
import NIOPosix
import SIPMessage
import Synchronization
import Testing

@testable import GatehouseServer

@Suite("Demo ladder")
struct DemoLadderTests {
    @Test("arrows stand between the columns that they join, and what comes after the end is left out")
    func draws() {
        let ladder = Demo.Ladder()
        ladder.note(from: .caller, to: .callerEdge, "INVITE sips:bob")
        ladder.note(from: .core, to: .callerEdge, "180 (INVITE)")
        ladder.note(from: .calleeEdge, to: .callee, String(repeating: "x", count: 40))
        let lines = ladder.finish().split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        ladder.note(from: .caller, to: .callerEdge, "late")
        #expect(lines.count == 3)
        #expect(lines.allSatisfy { $0.count == lines[0].count })
        let bars = lines[0].indices.filter { lines[0][$0] == "|" }
        #expect(bars.count == 5)
        for line in lines { #expect(line.indices.filter { line[$0] == "|" } == bars) }
        #expect(lines[0][bars[0]..<bars[1]].contains("- INVITE sips:bob -") && lines[0][..<bars[1]].hasSuffix(">"))
        #expect(lines[1][bars[1]..<bars[2]].hasPrefix("|<-") && lines[1][..<bars[2]].hasSuffix("-"))
        #expect(lines[2][bars[3]..<bars[4]].contains(" xxxxxxxxxxxxxxx ->"))
        #expect(ladder.finish().isEmpty)
    }
}

@Suite("Demo session descriptions")
struct DemoSDPTests {
    @Test("an answer has a stream for each of the offer's, the first audio alone accepted, and inactive")
    func answers() {
        let offer = "v=0\r\nm=video 5000 RTP/AVP 96\r\nm=audio 4000 RTP/SAVP 0 8\nm=audio 6000 RTP/AVP 8\r\nm=bad\r\n"
        let answer = Demo.SDP.answer(to: Array(offer.utf8), from: "127.0.0.1") ?? []
        let streams = String(decoding: answer, as: UTF8.self).split(separator: "\r\n").filter {
            $0.hasPrefix("m=") || $0.hasPrefix("a=")
        }
        #expect(
            streams == ["m=video 0 RTP/AVP 96", "m=audio 9 RTP/SAVP 0 8", "a=inactive", "m=audio 0 RTP/AVP 8"])
        #expect(Demo.SDP.answer(to: [], from: "127.0.0.1") == nil)
        #expect(Demo.SDP.answer(to: [0xFF, 0, 0x6D, 0x3D], from: "127.0.0.1") == nil)
    }
}

@Suite("Demo certificates and site")
struct DemoSiteTests {
    @Test("without a folder of certificates some are made that the certificate store takes without a warning")
    func makesCertificates() throws {
        let site = try Demo.Site.make(certificates: "/nonexistent")
        defer { site.remove() }
        #expect(site.usesOwnCertificates)
        let domains = Demo.Site.domains.map { name in
            let folder = "\(site.certificates)/\(name)"
            let pair = CertificatePair(certificate: "\(folder)/fullchain.pem", privateKey: "\(folder)/privkey.pem")
            return DomainConfiguration(
                name: name, tls: TLSSettings(binds: [site.outside], certificates: [pair]),
                core: DomainCoreSettings(targets: []),
                outbound: OutboundSettings(authorities: .file(site.authority)))
        }
        #expect(CertificateStore.lint(domains).map(\.description) == [])
        var status = stat()
        #expect(stat("\(site.certificates)/alpha.example/privkey.pem", &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(throws: Never.self) { try site.phoneCredentials() }
    }

    @Test("a folder of certificates that serves is used, one with a damaged key is not; nothing is left behind")
    func usesCertificates() throws {
        let first = try Demo.Site.make(certificates: "/nonexistent")
        defer { first.remove() }
        let second = try Demo.Site.make(certificates: first.certificates)
        #expect(!second.usesOwnCertificates && second.certificates == first.certificates)
        second.remove()
        #expect(access(second.folder, F_OK) != 0 && access(first.authority, F_OK) == 0)
        #expect(truncate("\(first.certificates)/beta.example/privkey.pem", 10) == 0)
        let third = try Demo.Site.make(certificates: first.certificates)
        #expect(third.usesOwnCertificates)
        third.remove()
    }

    @Test("a port that is taken is replaced by another")
    func takenPort() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let site = try Demo.Site.make(certificates: "/nonexistent")
        defer { site.remove() }
        let taken = try await DatagramBootstrap(group: group)
            .bind(host: "127.0.0.1", port: Int(site.pbx.port)).get()
        let other = try Demo.Site.make(certificates: "/nonexistent")
        defer { other.remove() }
        #expect(other.pbx.port != site.pbx.port)
        try await taken.close()
    }
}

@Suite("Demo", .timeLimit(.minutes(1)))
struct DemoTests {
    @Test("the demonstration's call crosses both domains under TLS, with a tag, and leaves nothing behind")
    func wholeCall() async throws {
        let said = Mutex("")
        let output = LogOutput(descriptor: STDERR_FILENO)
        let demo = try await Demo.run(certificates: "/nonexistent", output: output) { paragraph in
            said.withLock { $0 += paragraph + "\n" }
        }
        let text = said.withLock { $0 }
        let ladder = text.split(separator: "\n").filter { $0.contains("|") }.map { $0.split(separator: "|") }
        // An INVITE in each of the four spaces between the columns, and the last BYE's answer back at the caller.
        for space in 1...4 {
            #expect(ladder.contains { $0.count > space && $0[space].contains(" INVITE ") && $0[space].hasSuffix(">") })
        }
        #expect(ladder.last.map { $0.count > 1 && $0[1].hasPrefix("<") && $0[1].contains("200 (BYE)") } == true)
        #expect(text.contains("alice   TLSv1.3") && text.contains("the certificate names beta.example"))
        #expect(text.contains("arrived=sips; transport=tls; domain=alpha.example"))
        #expect(text.contains("sip_cafile"))

        let folder = try #require(text.firstMatch(of: /(\/\S*gatehouse-demo-\w+)\/gatehouse.yaml/)?.1)
        #expect(access("\(folder)/gatehouse.yaml", F_OK) == 0)
        #expect(await demo.edge.adminSource.status().domains == 2)
        #expect(await demo.edge.adminSource.bindings(AdminQuery())?.total == 0)
        // Every gauge of a running edge has a sample; counters of what did not happen may have none.
        let metrics = try #require((demo.edge as? Server)?.metrics)
        let page = String(decoding: metrics.exposition(), as: UTF8.self).split(separator: "\n")
        for family in MetricFamily.allCases.map(\.description) where family.kind != .counter {
            #expect(page.contains { $0.hasPrefix(family.name) }, "\(family.name)")
        }
        await demo.edge.stop()
        await demo.end()
        #expect(access(String(folder), F_OK) != 0)
        output.close()
    }
}
