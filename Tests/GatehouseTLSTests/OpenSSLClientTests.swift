import GatehousePolicy
import Glibc
import NIOCore
import TestCertificates
import Testing

@testable import GatehouseTLS

@Suite("Against openssl s_client")
struct OpenSSLClientTests {
    /// A listening socket on a port of 127.0.0.1 that the system chose; accept and reads give up after ten seconds.
    private struct Listener {
        let descriptor: Int32
        let port: UInt16

        init() throws {
            self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            try #require(self.descriptor >= 0)
            var patience = timeval(tv_sec: 10, tv_usec: 0)
            setsockopt(self.descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let descriptor = self.descriptor
            let isBound = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, length) == 0 && listen(descriptor, 1) == 0
                        && getsockname(descriptor, $0, &length) == 0
                }
            }
            try #require(isBound)
            self.port = UInt16(bigEndian: address.sin_port)
        }
    }

    /// Starts `openssl` with a pipe as standard input and one as standard output.
    private func spawn(_ arguments: [String]) throws -> (process: pid_t, input: Int32, output: Int32) {
        var input: [Int32] = [0, 0]
        var output: [Int32] = [0, 0]
        try #require(pipe(&input) == 0 && pipe(&output) == 0)
        for descriptor in input + output { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input[0], 0)
        posix_spawn_file_actions_adddup2(&actions, output[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var strings = (["openssl"] + arguments).map { strdup($0) } + [nil]
        defer { for string in strings { free(string) } }
        var process: pid_t = 0
        let status = posix_spawnp(&process, "openssl", &actions, nil, &strings, environ)
        close(input[0])
        close(output[1])
        try #require(status == 0)
        return (process, input[1], output[0])
    }

    /// Serves one connection: handshake, one line in, its echo out, close_notify.
    private func serve(_ listener: Listener, _ engine: TLSEngine) throws {
        let connection = accept(listener.descriptor, nil, nil)
        try #require(connection >= 0)
        defer { close(connection) }
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var bytes = [UInt8](repeating: 0, count: 4096)
        var line: [UInt8] = []
        while line.last != UInt8(ascii: "\n") {
            let count = recv(connection, &bytes, bytes.count, 0)
            try #require(count > 0, "the client went: \(errno)")
            engine.receive(ByteBuffer(bytes: bytes[..<count]))
            if engine.facts == nil, case .failed(let failure) = engine.handshake() { throw failure }
            line += engine.readAll().bytes
            self.send(engine, to: connection)
        }
        try engine.write("echo " + String(decoding: line, as: UTF8.self))
        engine.sendCloseNotify()
        self.send(engine, to: connection)
    }

    private func send(_ engine: TLSEngine, to connection: Int32) {
        guard let output = engine.takeOutput() else { return }
        _ = output.withUnsafeReadableBytes {
            Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
    }

    @Test(
        "TLS-01: openssl s_client verifies the domain's chain and exchanges a line", arguments: ["-tls1_2", "-tls1_3"])
    func exchange(version: String) throws {
        let pki = try TestPKI()
        let pair = try pki.pair("a", TestPKI.Request("a.example"), issuer: pki.intermediate("Test CA 1"))
        let root = try pki.write("root.pem", certificates: [pki.root])
        let edge = try TestEdge([DomainConfiguration("a.example", pair)])
        let listener = try Listener()
        defer { close(listener.descriptor) }
        let client = try self.spawn([
            "s_client", "-quiet", "-connect", "127.0.0.1:\(listener.port)", "-servername", "A.example", "-CAfile", root,
            "-verify_hostname", "a.example", "-verify_return_error", version,
        ])
        defer {
            close(client.input)
            close(client.output)
        }
        try #require(write(client.input, "hello\n", 6) == 6)
        let engine = try edge.engine()
        try self.serve(listener, engine)
        #expect(engine.facts?.version == (version == "-tls1_3" ? "TLSv1.3" : "TLSv1.2"))
        var said: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 4096)
        while case let count = read(client.output, &bytes, bytes.count), count > 0 { said += bytes[..<count] }
        var status: Int32 = 0
        #expect(waitpid(client.process, &status, 0) == client.process)
        #expect(status == 0)
        #expect(String(decoding: said, as: UTF8.self) == "echo hello\n")
    }
}
