"""What phones and cores share: an inbox with deadlines and expectations, and requests of their own."""

from collections import deque

from . import sip
from .ladder import ladder
from .sip import Message
from .wait import QUIET, Deadline, Timeout


class Unexpected(AssertionError):
    """Another message came than the one awaited."""


def describe(what, method=None):
    text = what.__doc__ or "a match" if callable(what) else str(what)
    return text + (f" to {method}" if method else "")


class Peer:
    """The scripted side of a conversation. Subclasses deliver: `_pump(deadline)` moves what came into `inbox`."""

    #: Written in our Via: transport, and sent-by.
    via_transport, sent_by = "UDP", ""
    #: Our Contact URI, as text.
    contact = ""

    def __init__(self, name):
        self.name, self.inbox = name, deque()

    # Receiving.

    def _pump(self, deadline):
        """Waits for octets until the deadline. Returns False if it passed."""
        raise NotImplementedError

    def receive(self, seconds=None, what="a message"):
        """The next message."""
        deadline = Deadline(seconds)
        while not self.inbox:
            if not self._pump(deadline):
                raise Timeout(f"{self.name}: {what} did not come")
        return self.inbox.popleft()

    def matches(self, message, what, method):
        if callable(what):
            return what(message)
        if isinstance(what, int):
            return message.status == what and (method is None or message.cseq[1] == method)
        return message.is_request and message.method == what

    def expect(self, what, method=None, call_id=None, seconds=None):
        """The next message must be `what`: a method, a status (of `method`), or a predicate.

        A 100 is passed over unless asked for. With `call_id`, messages of other calls stay in the inbox.
        """
        deadline, kept = Deadline(seconds), []
        try:
            while True:
                message = self.receive(deadline.left, describe(what, method))
                if call_id is not None and message.call_id != call_id:
                    kept.append(message)
                elif self.matches(message, what, method):
                    return message
                elif message.status != 100:
                    raise Unexpected(
                        f"{self.name}: expected {describe(what, method)}, got {message.start!r}\n{message}")
        finally:
            self.inbox.extendleft(reversed(kept))

    def expect_nothing(self, seconds=QUIET, but=()):
        """Nothing arrives for a moment; statuses in `but` (a 100, say) may.

        Call it after a fence: an event that had to come later than what must not come.
        """
        deadline = Deadline(seconds)
        while True:
            while self.inbox:
                message = self.inbox.popleft()
                if message.status not in but or message.is_request:
                    raise Unexpected(f"{self.name}: expected nothing, got {message.start!r}\n{message}")
            if not self._pump(deadline):
                return

    # Sending.

    def via(self, branch=None):
        return f"SIP/2.0/{self.via_transport} {self.sent_by};branch={branch or sip.branch()};rport"

    def build(self, method, uri, to=None, from_=None, call_id=None, cseq=1, contact=True, headers=(), body=b"",
              branch=None, max_forwards="70", content_type="application/sdp"):
        """A request outside any dialog. `contact`: True (ours), None, or a whole header value."""
        message = Message.request(method, uri)
        message.add("Via", self.via(branch))
        if max_forwards is not None:
            message.add("Max-Forwards", max_forwards)
        message.add("From", from_ or f"<{self.aor}>;tag={sip.token('f')}")
        message.add("To", to or f"<{uri}>")
        message.add("Call-ID", call_id or sip.token("c") + "@test.invalid")
        message.add("CSeq", f"{cseq} {method}")
        if contact is True:
            message.add("Contact", f"<{self.contact}>")
        elif contact:
            message.add("Contact", contact)
        for name, value in headers:
            message.add(name, value)
        if body:
            message.add("Content-Type", content_type)
        message.body = body
        return message

    def ack_failure(self, invite, response):
        """The ACK to a non-2xx final (RFC 3261 §17.1.1.3)."""
        ack = Message.request("ACK", invite.uri)
        ack.add("Via", invite.rows("Via")[0])
        ack.add("Max-Forwards", "70")
        for route in invite.rows("Route"):
            ack.add("Route", route)
        ack.add("From", invite.get("From")).add("To", response.get("To")).add("Call-ID", invite.call_id)
        ack.add("CSeq", f"{invite.cseq[0]} ACK")
        return ack

    def cancel(self, invite, headers=()):
        """The CANCEL of a pending INVITE (RFC 3261 §9.1)."""
        cancel = Message.request("CANCEL", invite.uri)
        cancel.add("Via", invite.rows("Via")[0]).add("Max-Forwards", "70")
        for route in invite.rows("Route"):
            cancel.add("Route", route)
        cancel.add("From", invite.get("From")).add("To", invite.get("To")).add("Call-ID", invite.call_id)
        cancel.add("CSeq", f"{invite.cseq[0]} CANCEL")
        for name, value in headers:
            cancel.add(name, value)
        return cancel

    def log_in(self, other, octets):
        ladder.note(self.name, "<-", other, octets)

    def log_out(self, other, octets):
        ladder.note(self.name, "->", other, octets)
