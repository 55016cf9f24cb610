public import GatehouseTLS
public import SIPMessage

/// What a server says to a connection that it is offered, before a byte is read.
public enum Admission {
    case plain
    /// The engine of this one connection.
    case tls(TLSEngine)
    /// Closed at once; the owner has counted and logged it.
    case refused
}

/// Who opened the door: given at `Listener.open`, and found again on each of its flows. The server gives it a meaning.
public struct ListenerTag: Hashable, Sendable {
    public var number: Int
    public init(_ number: Int) { self.number = number }
}

/// The worker, as its stream flows see it. Every call is on the loop of the flow, and none comes from within `send` or
/// `close` of that flow.
public protocol StreamFlowOwner: AnyObject {
    /// A connection was accepted by one of the listeners.
    ///
    /// One that is let in is reported exactly once more: by `flowOpened`, or by `handshakeFailed`.
    func admit(remote: Endpoint, local: Endpoint, listener: ListenerTag) -> Admission

    /// The flow can carry messages: TCP accepted or connected, TLS after the handshake (so that `flow.tls` says the
    /// domain).
    ///
    /// Here the owner may set the limits of the domain (`limitMessages(to:)`) or refuse (`close(.refused(…))`).
    /// `flowClosed` follows exactly once.
    func flowOpened(_ flow: StreamFlow)

    func flow(_ flow: StreamFlow, received message: consuming Message)

    /// The peer sent what is no acceptable SIP message.
    ///
    /// - Returns: the answer, to be sent (before the close, if `fault.closesStream`); nil for none.
    func flow(_ flow: StreamFlow, refused fault: SyntaxFault) -> [UInt8]?

    /// The peer will send nothing more but still reads (half-close, or close_notify in TLS 1.3): complete requests may
    /// be answered, and no new transaction is to be started on the flow.
    ///
    /// - Returns: whether answers are due. If so, the owner calls `close(.peerClosed)` after the last one, within 64·T1;
    ///   if not, the flow closes now.
    func flowInputEnded(_ flow: StreamFlow) -> Bool

    /// The flow is gone. Called once for each opened flow.
    func flowClosed(_ flow: StreamFlow, reason: FlowCloseReason)

    /// An accepted connection, or a connected one, did not get through its TLS handshake.
    func handshakeFailed(_ flow: StreamFlow, failure: TLSFailure)

    /// A connection that `Connector` was asked for did not come about. What was queued on the flow was not sent.
    func connectFailed(_ flow: StreamFlow, error: ConnectError)
}
