"""A scripted core (PBX or registrar): UDP and TCP on one address."""

import re
import select
import socket
import time

from . import sip, streams
from .framing import Framer
from .peer import Peer
from .sip import Message, NameAddr
from .wait import Deadline, Timeout

CALL_ID = re.compile(rb"(?im)^(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$")


class Core(Peer):
    """A server of the core network. It absorbs retransmissions over UDP and answers them as a user agent must."""

    def __init__(self, ip, port=5060, name="core", udp=True, tcp=True, transport="udp", edge=None):
        super().__init__(name)
        self.ip, self.port, self.transport, self.edge = ip, port, transport, edge
        self.udp = self.listener = None
        self.connections, self.outgoing = {}, {}
        if udp:
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            self.udp.bind((ip, port))
            self.udp.setblocking(False)
        if tcp:
            self.listener = socket.create_server((ip, port), backlog=64)
            self.listener.setblocking(False)
        self.via_transport, self.sent_by = transport.upper(), f"{ip}:{port}"
        self.contact = f"sip:core@{ip}:{port}" + (";transport=tcp" if transport == "tcp" else "")
        self.aor = f"sip:core@{ip}"
        #: Whether retransmitted requests are answered again; off lets a test play a silent core.
        self.answers_retransmissions = True
        self.forget()

    def forget(self):
        """Starts afresh: what still comes for the calls seen so far is not delivered any more."""
        while self._pump_quietly():
            pass
        self.past = getattr(self, "past", set()) | getattr(self, "calls", set())
        self.inbox.clear()
        self.calls, self.seen, self.answers = set(), {}, {}
        #: Every message in order of arrival, retransmissions too.
        self.received = []

    def _pump_quietly(self):
        try:
            return self._pump(Deadline(0))
        except sip.BadMessage:  # reported when it first came
            return True

    # Octets.

    @property
    def sockets(self):
        return [s for s in (self.udp, self.listener) if s] + list(self.connections) + list(self.outgoing.values())

    def _pump(self, deadline):
        ready = select.select(self.sockets, [], [], deadline.left)[0]
        for sock in ready:
            if sock is self.udp:
                self._datagrams()
            elif sock is self.listener:
                accepted, _ = sock.accept()
                self.connections[streams.TCPStream(accepted)] = Framer()
            else:
                self._stream(sock)
        return bool(ready)

    def _datagrams(self):
        while True:
            try:
                octets, source = self.udp.recvfrom(1 << 16)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if octets.strip(b"\r\n"):
                call_id = CALL_ID.search(octets)
                if call_id and call_id[1].decode("latin-1") in self.past:
                    continue
                if call_id:
                    self.calls.add(call_id[1].decode("latin-1"))
                message = Message.parse(octets)
                message.transport, message.source, message.path = "UDP", source, None
                self._deliver(message, octets)

    def _stream(self, stream):
        framer = self.connections.get(stream)
        if framer is None:
            framer = stream.framer
        octets = stream.read(Deadline(0))
        if octets is None:
            return
        if not octets:
            stream.close()
            self.connections.pop(stream, None)
            self.outgoing = {key: value for key, value in self.outgoing.items() if value is not stream}
            return
        for message in framer.feed(octets):
            message.transport = "TLS" if stream.secure else "TCP"
            message.source, message.path = stream.remote, stream
            self._deliver(message, message.raw)

    def _deliver(self, message, octets):
        if message.call_id in self.past:
            return
        message.time = time.monotonic()
        self.log_in(f"{message.transport} {message.source[0]}:{message.source[1]}", octets)
        self.calls.add(message.call_id)
        self.received.append(message)
        if message.is_request and message.transport == "UDP":
            key = (message.branch, message.method)
            self.seen[key] = self.seen.get(key, 0) + 1
            if self.seen[key] > 1:
                if key in self.answers and self.answers_retransmissions:
                    self._transmit(*self.answers[key])
                return
        self.inbox.append(message)

    def _transmit(self, octets, path, address):
        if path is not None:
            path.write(octets)
        else:
            self.udp.sendto(octets, address)

    def send_octets(self, octets, address, source=None):
        """A bare datagram, as it is."""
        self.log_out(f"UDP {address[0]}:{address[1]}", octets)
        self.udp.sendto(octets, address)

    def connection(self, address):
        """Our TCP connection to `address`, opened from our own address where there is none."""
        if address not in self.outgoing:
            stream = streams.TCPStream(streams.connect(address, (self.ip, 0)))
            stream.framer = Framer()
            self.outgoing[address] = stream
        return self.outgoing[address]

    # Transactions.

    def send(self, message, address=None, transport=None):
        """Sends a request where its first Route or else its Request-URI points (RFC 3261 §8.1.2)."""
        if address is None:
            routes = message.values("Route")
            uri = NameAddr(routes[0]).uri if routes else sip.URI.parse(message.uri)
            transport = transport or uri.transport
            address = (uri.host, uri.port or 5060)
        transport = (transport or self.transport).lower()
        octets = message.encode()
        self.calls.add(message.call_id)
        self.log_out(f"{transport.upper()} {address[0]}:{address[1]}", octets)
        message.time = time.monotonic()
        if transport == "tcp":
            self.connection(address).write(octets)
        else:
            self.udp.sendto(octets, address)
        return message

    def request(self, method, uri, address=None, transport=None, **options):
        return self.send(self.build(method, uri, **options), address, transport)

    def reply(self, request, status, reason=None, **options):
        """Answers a request by the rules of RFC 3261 §18.2.2 and RFC 3581."""
        options.setdefault("to_tag", f"core-{abs(hash(request.call_id)) % 10 ** 8}")
        if 100 < status < 300 and request.method in ("INVITE", "SUBSCRIBE", "UPDATE"):
            options.setdefault("contact", self.contact)
        return self.respond(request, request.reply(status, reason, **options))

    def respond(self, request, response):
        """Sends a response made by the test on the way that `request` came."""
        if request.path is None:
            via = request.vias[0]
            port = via.port or 5060
            if "rport" in via.params:
                port = request.source[1]
                top = sip.split_outside(request.rows("Via")[0], ",")[0]
                filled = top.replace(";rport", f";rport={port};received={request.source[0]}", 1)
                row = response.rows("Via")[0]
                index = next(i for i, (name, _) in enumerate(response.headers) if sip.canonical(name) == "via")
                response.headers[index] = (response.headers[index][0], row.replace(top, filled, 1))
            address = (request.source[0], port)
        else:
            address = None
        octets = response.encode()
        self.log_out(f"{request.transport} {request.source[0]}:{request.source[1]}", octets)
        if response.status >= 101:
            self.answers[(request.branch, request.method)] = (octets, request.path, address)
        self._transmit(octets, request.path, address)
        return response

    def repeat(self, request):
        """Sends the last response to `request` again."""
        octets, path, address = self.answers[(request.branch, request.method)]
        self.log_out("again", octets)
        self._transmit(octets, path, address)

    def reply_as_registrar(self, request, expires=600, extra=()):
        """200 with the bindings as registered, Path and all, as RFC 3261 §10.3 and RFC 3327 §5.3 say."""
        headers = []
        for value in request.values("Contact"):
            contact = NameAddr(value)
            if value != "*" and contact.params.get("expires") != "0" and request.get("Expires") != "0":
                row = f"<{contact.spec}>;expires={contact.params.get('expires') or expires}"
                headers.append(("Contact", row + (f";q={contact.params['q']}" if "q" in contact.params else "")))
        headers += [("Path", value) for value in request.values("Path")]
        return self.reply(request, 200, headers=headers + list(extra))

    def expect_all(self, *whats, seconds=None):
        """As many messages as `whats`, in any order; returned in the order of `whats`."""
        deadline, found = Deadline(seconds), [None] * len(whats)
        while None in found:
            message = self.receive(deadline.left, f"one of {whats}")
            for index, what in enumerate(whats):
                if found[index] is None and self.matches(message, what, None):
                    found[index] = message
                    break
            else:
                if message.status != 100:
                    raise Timeout(f"{self.name}: expected one of {whats}, got {message.start!r}")
        return found

    def receive_until(self, condition, look=None, seconds=None):
        """Takes in messages, showing each new one to `look`, until the condition holds."""
        deadline = Deadline(seconds)
        while True:
            while self.inbox and look:
                look(self.inbox.popleft())
            if condition():
                return
            if not self._pump(deadline):
                raise Timeout(f"{self.name}: the awaited copies did not come")

    def drain(self, seconds):
        """Takes in what comes for so long."""
        deadline = Deadline(seconds)
        while self._pump(deadline):
            pass

    def copies(self, method):
        """The requests of `method` received in this test, retransmissions included."""
        return [message for message in self.received if message.is_request and message.method == method]

    def discard(self):
        """Throws away every octet that waits, unread."""
        while True:
            ready = select.select(self.sockets, [], [], 0)[0]
            if not ready:
                return
            for sock in ready:
                if sock is self.udp:
                    self.udp.recvfrom(1 << 16)
                elif sock is self.listener:
                    self.connections[streams.TCPStream(sock.accept()[0])] = Framer()
                elif not sock.read(Deadline(0)):
                    sock.close()
                    self.connections.pop(sock, None)

    def is_quiet(self):
        """Whether no octet waits, SIP or not."""
        return not select.select(self.sockets, [], [], 0)[0]

    def drop_connections(self):
        """Closes every TCP connection, as after a restart of the edge."""
        for stream in list(self.connections) + list(self.outgoing.values()):
            stream.close()
        self.connections, self.outgoing = {}, {}

    def close(self):
        self.drop_connections()
        for sock in (self.udp, self.listener):
            if sock:
                sock.close()


def which(*cores, seconds=None):
    """The core that has a message, once one of them has."""
    deadline = Deadline(seconds)
    while True:
        for core in cores:
            core._pump(Deadline(0))
            if core.inbox:
                return core
        sockets = {sock: core for core in cores for sock in core.sockets}
        if not select.select(list(sockets), [], [], deadline.left)[0]:
            raise Timeout("no core got a message")
