import Glibc
import NIOCore
import SIPMessage
import Testing

@testable import GatehouseNet

/// A raw socket, to send ICMP errors as a router would; root alone gets one.
private final class Router: Sendable {
    let descriptor: Int32

    static var isPermitted: Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_RAW.rawValue), Int32(IPPROTO_ICMP))
        if descriptor >= 0 { close(descriptor) }
        return descriptor >= 0
    }

    init() { self.descriptor = socket(AF_INET, Int32(SOCK_RAW.rawValue), Int32(IPPROTO_ICMP)) }

    deinit { close(self.descriptor) }

    /// Says of a datagram on loopback that it did not arrive.
    func report(type: UInt8, code: UInt8, from source: Endpoint, to destination: Endpoint, quoting payload: [UInt8]) {
        func bytes(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }
        func bytes(_ address: IPAddress) -> [UInt8] {
            bytes(UInt16(address.low >> 16 & 0xFFFF)) + bytes(UInt16(address.low & 0xFFFF))
        }
        let udp = bytes(source.port) + bytes(destination.port) + bytes(UInt16(8 + payload.count)) + [0, 0] + payload
        let ip =
            [0x45, 0] + bytes(UInt16(20 + udp.count)) + [0, 0, 0, 0, 64, 17, 0, 0] + bytes(source.address)
            + bytes(destination.address)
        var icmp = [type, code, 0, 0, 0, 0, 0, 0] + ip + udp
        if icmp.count % 2 == 1 { icmp.append(0) }
        var sum: UInt32 = 0
        for index in stride(from: 0, to: icmp.count, by: 2) {
            sum += UInt32(icmp[index]) << 8 | UInt32(icmp[index + 1])
        }
        while sum >> 16 != 0 { sum = (sum & 0xFFFF) + (sum >> 16) }
        icmp[2] = ~UInt8(sum >> 8)
        icmp[3] = ~UInt8(sum & 0xFF)
        let packet = icmp
        Endpoint(address: source.address, port: 0).withSocketAddress { address, length in
            #expect(sendto(self.descriptor, packet, packet.count, 0, address, length) == packet.count)
        }
    }
}

@Suite(.timeLimit(.minutes(1)), .enabled(if: Router.isPermitted)) struct ICMPTests {
    @Test("TXN-31: each kind of destination unreachable is reported; time exceeded and source quench are not")
    func kinds() async throws {
        let it = try await DatagramTests.Fixture()
        let peer = try TestPeer(bound: "127.0.0.3")
        let (local, remote, router) = (it.local, peer.local, Router())
        let text = Array(request().utf8)
        // Type and code, and the error reported; nil: none.
        let kinds: [(UInt8, UInt8, Int32?)] = [
            (3, 1, EHOSTUNREACH), (3, 3, ECONNREFUSED), (11, 0, nil), (3, 0, ENETUNREACH), (4, 0, nil),
            (3, 13, EHOSTUNREACH), (3, 2, ENOPROTOOPT), (12, 0, EPROTO),
        ]
        for (type, code, error) in kinds {
            router.report(type: type, code: code, from: local, to: remote, quoting: text)
            if let error {
                guard case .datagramFailed(remote, let quoted, error) = await it.worker.next() else {
                    Issue.record("ICMP \(type)/\(code)")
                    continue
                }
                #expect(quoted.starts(with: text.prefix(100)))
            }
            // The socket lives, and so does the order of what comes.
            try peer.send([type, code], to: local)
            #expect(await it.worker.next() == .datagram([type, code], from: remote))
        }
        // A pile of them, between datagrams out and in.
        let endpoint = it.endpoint
        try await it.worker.run { _, _ in
            for index in UInt8(0)..<200 {
                router.report(type: 11, code: 0, from: local, to: remote, quoting: text)
                endpoint.value.send([index], to: remote)
            }
        }
        for index in UInt8(0)..<200 { #expect(try peer.receive() == [index]) }
        try await it.stop()
    }
}
