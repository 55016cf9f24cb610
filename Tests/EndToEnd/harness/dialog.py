"""A dialog as RFC 3261 §12 keeps it: route set, remote target, sequence numbers."""

from .sip import SDP, Message, NameAddr


class Dialog:
    """One side of a dialog. Made from the request and the response that set it up."""

    def __init__(self, peer, request, response, caller):
        self.peer, self.call_id, self.caller = peer, request.call_id, caller
        routes = [NameAddr(value) for value in (response if caller else request).values("Record-Route")]
        self.routes = [route.text for route in (reversed(routes) if caller else routes)]
        self.target = (response if caller else request).contact.spec
        self.local = request.get("From") if caller else response.get("To")
        self.remote = response.get("To") if caller else request.get("From")
        self.number = request.cseq[0] if caller else 100
        self.invite = request

    def build(self, method, headers=(), body=b"", number=None, contact=False, content_type="application/sdp"):
        """An in-dialog request, with the route set as RFC 3261 §12.2.1.1 says."""
        if number is None and method != "ACK":
            self.number += 1
        routes, uri = list(self.routes), self.target
        if routes and not NameAddr(routes[0]).uri.is_loose:
            uri = NameAddr(routes.pop(0)).spec
            routes.append(f"<{self.target}>")
        message = Message.request(method, uri)
        message.add("Via", self.peer.via()).add("Max-Forwards", "70")
        for route in routes:
            message.add("Route", route)
        message.add("From", self.local).add("To", self.remote).add("Call-ID", self.call_id)
        message.add("CSeq", f"{self.number if number is None else number} {method}")
        if contact or method in ("INVITE", "UPDATE", "SUBSCRIBE", "REFER", "NOTIFY"):
            message.add("Contact", f"<{self.peer.contact}>")
        for name, value in headers:
            message.add(name, value)
        if body:
            message.add("Content-Type", content_type)
        message.body = body
        return message

    def send(self, method, **options):
        return self.peer.send(self.build(method, **options))

    def ack(self, invite=None, **options):
        """The ACK to a 2xx (RFC 3261 §13.2.2.4)."""
        return self.send("ACK", number=(invite or self.invite).cseq[0], **options)

    def refresh(self, message):
        """A target refresh request or its 2xx moves the remote target (RFC 3261 §12.2)."""
        self.target = message.contact.spec


class Call:
    """An established call with both sides and everything that set it up."""

    def __init__(self, caller, callee, **parts):
        self.caller, self.callee = caller, callee
        self.__dict__.update(parts)

    def hang_up(self, side="caller"):
        """BYE from one side, 200 from the other. Returns (BYE sent, BYE received, 200 received)."""
        one, other = (self.caller, self.callee) if side == "caller" else (self.callee, self.caller)
        sent = one.send("BYE")
        seen = other.peer.expect("BYE", call_id=self.call_id)
        other.peer.reply(seen, 200)
        return sent, seen, one.peer.expect(200, "BYE", call_id=self.call_id)


def establish(caller, callee, uri=None, ring=True, answer_headers=(), answer_body=SDP, invite=None, **options):
    """INVITE, 180, 200, ACK between two peers through the edge. `invite` is one already sent."""
    if invite is None:
        options.setdefault("body", SDP)
        invite = caller.request("INVITE", uri, **options)
    seen = callee.expect("INVITE", call_id=invite.call_id)
    ringing = None
    if ring:
        callee.reply(seen, 180)
        ringing = caller.expect(180, "INVITE", call_id=invite.call_id)
    answer = callee.reply(seen, 200, headers=[*answer_headers, ("Content-Type", "application/sdp")], body=answer_body)
    ok = caller.expect(200, "INVITE", call_id=invite.call_id)
    one, other = Dialog(caller, invite, ok, True), Dialog(callee, seen, answer, False)
    ack = one.ack()
    seen_ack = callee.expect("ACK", call_id=invite.call_id)
    return Call(one, other, invite=invite, seen=seen, ringing=ringing, answer=answer, ok=ok, ack=ack,
                seen_ack=seen_ack, call_id=invite.call_id)
