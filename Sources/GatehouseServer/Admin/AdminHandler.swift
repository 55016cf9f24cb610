internal import NIOCore
internal import NIOHTTP1

/// One connection to the admin endpoint: takes whole requests, has them answered off the loop, one after another.
final class AdminHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// Bytes that a request's body may have. Ours need none; a client may send an empty JSON object all the same.
    static let bodyLimit = 16 << 10

    private let router: AdminRouter
    private let deadline: TimeAmount
    private var timer: Scheduled<Void>?
    private var head: HTTPRequestHead?
    private var bodyBytes = 0
    private var isClosing = false

    init(router: AdminRouter, deadline: TimeAmount) {
        self.router = router
        self.deadline = deadline
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.startTimer(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.timer?.cancel()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Malformed HTTP has had its 400 from NIO's handler before this one.
        context.close(promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isClosing else { return }
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            self.bodyBytes = 0
        case .body(let bytes):
            self.bodyBytes += bytes.readableBytes
            if self.bodyBytes > Self.bodyLimit, let head = self.head {
                self.isClosing = true
                let text = "a body of more than \(Self.bodyLimit) bytes is refused"
                self.write(.text(text, status: 413), to: head, channel: context.channel)
            }
        case .end:
            guard let head = self.head else { return }
            self.head = nil
            self.timer?.cancel()
            self.timer = nil
            self.answer(head, context)
        }
    }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let router = self.router
        let channel = context.channel
        let request = AdminRequest(head)
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        let loopContext = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.eventLoop.makeFutureWithTask { await router.respond(to: request) }
            .assumeIsolated()
            .whenSuccess { response in
                guard channel.isActive else { return }
                handler.value.startTimer(loopContext.value)
                handler.value.write(response, to: head, channel: channel)
            }
    }

    private func write(_ response: AdminResponse, to head: HTTPRequestHead, channel: any Channel) {
        // A client that breaks HTTP's rules gets no second request on this connection.
        let closes = self.isClosing || !head.isKeepAlive || response.status == 400
        var headers = HTTPHeaders([
            ("Content-Type", response.contentType), ("Content-Length", "\(response.body.count)"),
            ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
            (
                "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
            ),
        ])
        if let allow = response.allow { headers.add(name: "Allow", value: allow) }
        headers.add(name: "Connection", value: closes ? "close" : "keep-alive")
        let status = HTTPResponseStatus(statusCode: response.status)
        let answer = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        channel.write(HTTPServerResponsePart.head(answer), promise: nil)
        if head.method != .HEAD, !response.body.isEmpty {
            let body = channel.allocator.buffer(bytes: response.body)
            channel.write(HTTPServerResponsePart.body(.byteBuffer(body)), promise: nil)
        }
        let written = channel.writeAndFlush(HTTPServerResponsePart.end(nil))
        if closes { written.whenComplete { _ in channel.close(promise: nil) } }
    }

    /// From here a whole request (and first, the client's reading of the last answer) must come within the deadline.
    private func startTimer(_ context: ChannelHandlerContext) {
        let channel = context.channel
        self.timer?.cancel()
        self.timer = context.eventLoop.scheduleTask(in: self.deadline) { channel.close(promise: nil) }
    }
}

extension AdminRequest {
    init(_ head: HTTPRequestHead) {
        self.init(
            method: head.method.rawValue, target: head.uri, isHTTP10: head.version == .http1_0,
            hosts: head.headers["Host"], origin: head.headers.first(name: "Origin"),
            fetchSite: head.headers.first(name: "Sec-Fetch-Site"))
    }
}
