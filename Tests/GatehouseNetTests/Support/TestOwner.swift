import GatehouseTLS
import NIOCore
import SIPMessage

@testable import GatehouseNet

/// What an owner was told.
enum Heard: Sendable, Equatable {
    case opened
    case message(String)
    case refused(status: Int)
    case inputEnded
    case closed(FlowCloseReason)
    case handshakeFailed(TLSFailure.Cause)
    case connectFailed(ConnectError)
    case datagram([UInt8], from: Endpoint)
    case datagramFailed(to: Endpoint, quoted: [UInt8], errno: Int32)
}

/// Stands in for the worker: notes what it is told and answers as the test wants.
final class TestOwner: StreamFlowOwner, DatagramOwner {
    var heard: [Heard] = []
    var onHeard: (Heard) -> Void = { _ in }

    var admission: (Endpoint, ListenerTag) -> Admission = { _, _ in .plain }
    var onOpened: (StreamFlow) -> Void = { _ in }
    var onMessage: (StreamFlow, Message) -> Void = { _, _ in }
    var onDatagram: (DatagramEndpoint, UnsafeRawBufferPointer, Endpoint) -> Void = { _, _, _ in }
    var answersAreDue = false
    /// Every flow that was opened, in order.
    var flows: [StreamFlow] = []

    private func note(_ heard: Heard) {
        self.heard.append(heard)
        self.onHeard(heard)
    }

    func admit(remote: Endpoint, local: Endpoint, listener: ListenerTag) -> Admission {
        self.admission(remote, listener)
    }

    func flowOpened(_ flow: StreamFlow) {
        self.flows.append(flow)
        self.note(.opened)
        self.onOpened(flow)
    }

    func flow(_ flow: StreamFlow, received message: consuming Message) {
        let message = message
        self.note(.message(String(decoding: message.bytes, as: UTF8.self)))
        self.onMessage(flow, message)
    }

    func flow(_ flow: StreamFlow, refused fault: SyntaxFault) -> [UInt8]? {
        self.note(.refused(status: fault.status))
        return fault.status == 0 ? nil : Array("SIP/2.0 \(fault.status) Refused\r\nContent-Length: 0\r\n\r\n".utf8)
    }

    func flowInputEnded(_ flow: StreamFlow) -> Bool {
        self.note(.inputEnded)
        return self.answersAreDue
    }

    func flowClosed(_ flow: StreamFlow, reason: FlowCloseReason) { self.note(.closed(reason)) }

    func handshakeFailed(_ flow: StreamFlow, failure: TLSFailure) {
        self.note(.handshakeFailed(failure.cause))
    }

    func connectFailed(_ flow: StreamFlow, error: ConnectError) { self.note(.connectFailed(error)) }

    func datagram(_ endpoint: DatagramEndpoint, received bytes: UnsafeRawBufferPointer, from source: Endpoint) {
        self.note(.datagram(Array(bytes), from: source))
        self.onDatagram(endpoint, bytes, source)
    }

    func datagramFailed(
        _ endpoint: DatagramEndpoint, to destination: Endpoint, quoted: UnsafeRawBufferPointer, errno: Int32
    ) {
        self.note(.datagramFailed(to: destination, quoted: Array(quoted), errno: errno))
    }
}

/// A small request as it may stand on a stream.
func request(_ method: String = "OPTIONS", body: String = "", length: Int? = nil, extra: String = "") -> String {
    """
    \(method) sip:a.example SIP/2.0\r
    Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK776\r
    Max-Forwards: 70\r
    From: <sip:u@a.example>;tag=1\r
    To: <sip:a.example>\r
    Call-ID: 1@192.0.2.1\r
    CSeq: 1 \(method)\r
    \(extra)Content-Length: \(length ?? body.utf8.count)\r
    \r
    \(body)
    """
}

/// A small response as it may stand on a stream.
func response(_ status: Int = 200, body: String = "", length: Int? = nil) -> String {
    """
    SIP/2.0 \(status) Whatever\r
    Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK776\r
    From: <sip:u@a.example>;tag=1\r
    To: <sip:a.example>;tag=2\r
    Call-ID: 1@192.0.2.1\r
    CSeq: 1 OPTIONS\r
    Content-Length: \(length ?? body.utf8.count)\r
    \r
    \(body)
    """
}
