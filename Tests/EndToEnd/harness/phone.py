"""A scripted device outside: one TCP or TLS connection, which it opens, or accepts as a TLS server."""

import select
import socket

from . import addresses, pki, sip, streams
from .framing import Framer
from .peer import Peer
from .wait import Deadline, Timeout


class Phone(Peer):
    """A user agent on one stream. Its Contact names a private address, as behind a NAT, unless told otherwise."""

    def __init__(self, stream, user, domain, scheme="sips", name=None, contact=None):
        super().__init__(name or user)
        self.stream, self.user, self.domain, self.scheme = stream, user, domain, scheme
        self.framer = Framer()
        self.via_transport = "TLS" if stream.secure else "TCP"
        self.sent_by = f"{stream.local[0]}:{stream.local[1]}"
        self.aor = f"{scheme}:{user}@{domain}"
        self.contact = contact or f"{scheme}:{user}@192.0.2.7:49152" + (
            "" if stream.secure else ";transport=tcp")

    @classmethod
    def connect(cls, address, domain, user="alice", scheme="sips", tls=True, source=None, server_name=None,
                context=None, name=None, contact=None, seconds=None):
        """Connects to `address`; over TLS with SNI `server_name` (the domain, unless given; '' sends none)."""
        sock = streams.connect(address, (source or addresses.fresh(), 0), seconds)
        try:
            if tls:
                context = context or streams.client_context(pki.authority().certificate)
                sni = domain if server_name is None else server_name or None
                stream = streams.TLSStream(sock, context, sni, seconds=seconds)
            else:
                stream = streams.TCPStream(sock)
        except BaseException:
            sock.close()
            raise
        return cls(stream, user, domain, scheme, name, contact)

    # Octets.

    def _pump(self, deadline):
        octets = self.stream.read(deadline)
        if octets is None:
            return False
        if not octets:
            raise streams.Closed(f"{self.name}: the edge closed the connection ({self.stream.closed_by})")
        self.log_in("edge", octets)
        for message in self.framer.feed(octets):
            message.transport = self.via_transport
            self.inbox.append(message)
        return True

    def send(self, message, seconds=None):
        octets = message if isinstance(message, bytes) else message.encode()
        self.log_out("edge", octets)
        self.stream.write(octets, seconds)
        return message

    def send_slowly(self, octets, size=1):
        """`size` octets a TLS record (or segment)."""
        self.log_out("edge", octets)
        for start in range(0, len(octets), size):
            self.stream.write(octets[start:start + size])

    def expect_closed(self, seconds=None, allow_messages=False):
        """Waits until the edge closes; returns how: 'close_notify', 'fin' or 'reset'."""
        deadline = Deadline(seconds)
        while True:
            try:
                if not self._pump(deadline):
                    raise Timeout(f"{self.name}: the edge did not close the connection")
            except streams.Closed:
                return self.stream.closed_by
            if self.inbox and not allow_messages:
                message = self.inbox.popleft()
                raise AssertionError(f"{self.name}: expected only the close, got {message.start!r}")

    def expect_pong(self, count=1, seconds=None):
        deadline = Deadline(seconds)
        while self.framer.pongs < count:
            if not self._pump(deadline):
                raise Timeout(f"{self.name}: {self.framer.pongs} pongs instead of {count}")

    def close(self):
        self.stream.close()

    # Transactions.

    def request(self, method, uri, **options):
        """Builds and sends a request outside any dialog."""
        return self.send(self.build(method, uri, **options))

    def reply(self, request, status, reason=None, **options):
        options.setdefault("to_tag", f"{self.user}-{abs(hash(request.call_id)) % 10 ** 8}")
        if 100 < status < 300 and request.method in ("INVITE", "SUBSCRIBE", "UPDATE"):
            options.setdefault("contact", self.contact)
        response = request.reply(status, reason, **options)
        return self.send(response)

    def invite(self, uri=None, **options):
        options.setdefault("body", sip.SDP)
        return self.request("INVITE", uri or f"{self.scheme}:bob@{self.domain}", **options)

    def register(self, core, expires=600, contact=True, headers=(), seconds=None, **options):
        """Registers through the edge at `core`, which answers as a registrar. Returns (what the core saw, the 200)."""
        sent = self.request(
            "REGISTER", f"{self.scheme}:{self.domain}", to=f"<{self.aor}>", contact=contact,
            headers=[("Supported", "path, outbound"), ("Expires", str(expires)), *headers], **options)
        seen = core.expect("REGISTER", call_id=sent.call_id, seconds=seconds)
        core.reply_as_registrar(seen, expires)
        return seen, self.expect(200, "REGISTER", call_id=sent.call_id, seconds=seconds)


class TLSServer:
    """A TLS listener outside, to which the edge may connect."""

    def __init__(self, address, pair, client_authority=None):
        self.listener = socket.create_server(address)
        self.listener.setblocking(False)
        self.context = streams.server_context(pair, client_authority)

    def accept(self, seconds=None):
        if not select.select([self.listener], [], [], Deadline(seconds).left)[0]:
            raise Timeout("nobody connected to the TLS listener")
        return self.listener.accept()[0]

    def accept_phone(self, user, domain, seconds=None, **options):
        sock = self.accept(seconds)
        try:
            return Phone(streams.TLSStream(sock, self.context, server_side=True), user, domain, **options)
        except BaseException:
            sock.close()
            raise

    def expect_no_connection(self, seconds):
        if select.select([self.listener], [], [], seconds)[0]:
            raise AssertionError("somebody connected")

    def close(self):
        self.listener.close()
