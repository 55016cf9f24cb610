internal import COpenSSL
internal import SIPMessage

/// The process's one server context. It holds no domain: each connection gets the rules of its own from a CertificateStore
/// as soon as its ClientHello is read.
///
/// (OpenSSL's server-name callback comes too late and changes the certificate alone: a domain's minimum version and
/// client-certificate rule would not hold.)
public final class TLSServerContext: Sendable {
    let context: TLSContext
    let tickets: TicketKeys
    /// Seconds since 1970, by which sessions end.
    let now: @Sendable () -> Int64

    /// - Throws: where this OpenSSL lacks what we need.
    public convenience init() throws(OpenSSLError) {
        try self.init { CivilDate.now }
    }

    init(now: @escaping @Sendable () -> Int64) throws(OpenSSLError) {
        self.now = now
        self.tickets = try TicketKeys()
        self.context = try TLSContext(method: TLS_server_method())
        let handle = self.context.handle
        SSL_CTX_set_client_hello_cb(handle, receiveClientHello, nil)
        shim_SSL_CTX_set_tlsext_servername_callback(handle, confirmServerName)
        SSL_CTX_set_alpn_select_cb(handle, selectApplicationProtocol, nil)
        // A second ticket would cost 14 µs, and serve nobody.
        guard SSL_CTX_set_num_tickets(handle, 1) == 1,
            SSL_CTX_set_max_early_data(handle, 0) == 1,
            SSL_CTX_set_tlsext_ticket_key_evp_cb(handle, prepareTicket) == 1,
            SSL_CTX_set_session_ticket_cb(handle, noteVerifiedUntil, acceptTicket, nil) == 1
        else { throw .last("set up the server context") }
        SSL_CTX_set_timeout(handle, Int(TicketKeys.lifetimeInSeconds))
    }
}

/// The process's one client context.
public final class TLSClientContext: Sendable {
    let context: TLSContext

    /// - Throws: where this OpenSSL lacks what we need.
    public init() throws(OpenSSLError) {
        self.context = try TLSContext(method: TLS_client_method())
    }
}

// MARK: OpenSSL's callbacks

/// SSL_CTX_set_client_hello_cb: the engine finds the domain and puts its rules on the connection.
private func receiveClientHello(
    _ ssl: OpaquePointer?, _ alert: UnsafeMutablePointer<Int32>?, _: UnsafeMutableRawPointer?
) -> Int32 {
    guard let ssl, let engine = TLSEngine.of(ssl) else { return SSL_CLIENT_HELLO_ERROR }
    guard let code = engine.receiveClientHello(ClientHello(ssl)) else { return SSL_CLIENT_HELLO_SUCCESS }
    alert?.pointee = code
    return SSL_CLIENT_HELLO_ERROR
}

/// SSL_CTX_set_tlsext_servername_callback, called once the version is chosen, whether or not the client named a host.
private func confirmServerName(
    _ ssl: OpaquePointer?, _ alert: UnsafeMutablePointer<Int32>?, _: UnsafeMutableRawPointer?
) -> Int32 {
    guard let ssl, let setup = TLSEngine.of(ssl)?.setup else { return SSL_TLSEXT_ERR_ALERT_FATAL }
    if let late = setup.lateAlert {
        alert?.pointee = late
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
    // RFC 6066 §3: a server that used the name says so.
    return setup.serverName == nil ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_OK
}

/// SSL_CTX_set_alpn_select_cb, called where the client offers any: SIP or nothing (TLS-11).
private func selectApplicationProtocol(
    _: OpaquePointer?, _ out: UnsafeMutablePointer<UnsafePointer<UInt8>?>?, _ outLength: UnsafeMutablePointer<UInt8>?,
    _ offered: UnsafePointer<UInt8>?, _ offeredLength: UInt32, _: UnsafeMutableRawPointer?
) -> Int32 {
    let offers = UnsafeBufferPointer(start: offered, count: Int(offeredLength))
    var position = 0
    while position < offers.count {
        let length = Int(offers[position])
        position += 1
        guard length <= offers.count - position else { break }
        let name = offers[position..<position + length]
        if name.elementsEqual("sip/2".utf8) || name.elementsEqual("sip".utf8) {
            out?.pointee = offered.map { $0 + position }
            outLength?.pointee = UInt8(length)
            return SSL_TLSEXT_ERR_OK
        }
        position += length
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
}

/// SSL_CTX_set_tlsext_ticket_key_evp_cb.
private func prepareTicket(
    _ ssl: OpaquePointer?, _ name: UnsafeMutablePointer<UInt8>?, _ iv: UnsafeMutablePointer<UInt8>?,
    _ cipherContext: OpaquePointer?, _ macContext: OpaquePointer?, _ isNew: Int32
) -> Int32 {
    guard let ssl, let name, let iv, let cipherContext, let macContext, let engine = TLSEngine.of(ssl),
        let tickets = engine.ticketKeys
    else { return -1 }
    return tickets.prepare(
        name: name, iv: iv, cipherContext: cipherContext, macContext: macContext, isNew: isNew == 1)
}
