"""A scripted name server: it answers from a small zone, or as a test tells it name by name, and notes every question.

    names = DNSServer({"far.example": [NAPTR(10, 10, "s", "SIPS+D2T", "_sips._tcp.far.example")],
                       "_sips._tcp.far.example": [SRV(0, 0, 5061, "a.far.example")],
                       "a.far.example": [A("192.0.2.1", ttl=60)]})
    names.tell("dead.example", silence)              # for all types,
    gate = names.tell("late.example", Late(), "A")   # or for one
    …
    gate.release()

A name that the zone does not have gets NXDOMAIN, or NODATA where it has other types or names below it, both with `soa`.
"""

import selectors
import socket
import struct
import threading

from . import addresses
from .dnsdata import (
    A, AAAA, CNAME, FORMERR, NAPTR, NOERROR, NOTIMP, NXDOMAIN, QR, REFUSED, SERVFAIL, SOA, SRV, TC, Query, Record,
    name_octets)
from .ladder import ladder
from .wait import Deadline, Timeout

__all__ = ["A", "AAAA", "CNAME", "DNSServer", "Late", "MALFORMED", "NAPTR", "SOA", "SRV", "both", "cname_loop", "flood",
           "nodata", "nxdomain", "records", "rcode", "refused", "servfail", "silence", "truncated", "wrong_id",
           "wrong_question"]
PORT = 5300


# What a name can be told to do: functions from (server, query) to the octets of the replies, in order.

def silence(server, query):
    return []


def rcode(number):
    return lambda server, query: [query.reply(rcode=number)]


servfail, refused, notimp, formerr = rcode(SERVFAIL), rcode(REFUSED), rcode(NOTIMP), rcode(FORMERR)


def records(*given, owner=None):
    """These records, whatever the type asked for."""
    return lambda server, query: [query.reply([(owner or query.spelling, record) for record in given])]


def _negative(code, soa):
    def behave(server, query):
        start = server.soa if soa is True else soa
        return [query.reply(authorities=[(server.apex, start)] if start else [], rcode=code)]
    return behave


def nxdomain(soa=True):
    """`soa`: True (the server's), None (none at all), or one."""
    return _negative(NXDOMAIN, soa)


def nodata(soa=True):
    return _negative(NOERROR, soa)


def wrong_id(server, query):
    """A reply to a question that was never asked, and none to the one that was."""
    return [query.reply([(query.spelling, A("192.0.2.66"))], id=query.id ^ 0x5555)]


def wrong_question(server, query):
    """The right id over another name: a reply to somebody else's question."""
    question = name_octets("attacker.example") + query.question[-4:]
    return [query.reply([("attacker.example", A("192.0.2.66"))], question=question)]


def truncated(then=None):
    """Truncated over UDP; over TCP the zone's answer, or what `then` does."""
    def behave(server, query):
        if query.transport == "udp":
            return [query.reply(flags=QR | TC)]
        return (then or DNSServer.from_zone)(server, query)
    return behave


def cname_loop(server, query):
    """Two aliases that name each other."""
    return [query.reply([(query.spelling, CNAME("loop." + query.name)), ("loop." + query.name, CNAME(query.name))])]


def flood(count, make=lambda number: A(f"192.0.{number // 250 % 250}.{number % 250 + 1}")):
    """`count` records over TCP, after a truncated reply over UDP."""
    return truncated(lambda server, query: [query.reply([(query.spelling, make(n)) for n in range(count)])])


def both(*behaviours):
    """The replies of each, in order: a forged one before the true one, say."""
    return lambda server, query: [octets for behave in behaviours for octets in behave(server, query)]


class Late:
    """Holds the replies to a question back until `release`; what is asked after that is answered at once."""

    def __init__(self, then=None):
        self._then, self._guard, self._held, self._open = then, threading.Lock(), [], False

    def __call__(self, server, query):
        with self._guard:
            if not self._open:
                self._held.append((server, query))
                return []
        return (self._then or DNSServer.from_zone)(server, query)

    def release(self):
        with self._guard:
            held, self._held, self._open = self._held, [], True
        for server, query in held:
            server.respond(query, (self._then or DNSServer.from_zone)(server, query))


def _raw(make):
    return lambda server, query: [make(query)]


def _with_data(query, kind, data):
    """A reply with one record of the type asked for and any data."""
    record = Record(kind, 300, data, "")
    record.type = query.type
    return query.reply([(query.spelling, record)])


def _pointer(query, offset):
    """A reply whose record's owner is a compression pointer."""
    head = query.reply(counts=(1, 1, 0, 0))
    return head + struct.pack("!HHHIH", 0xC000 | offset(len(head)), query.type, 1, 300, 4) + b"\xc0\0\2\1"


#: Replies that break RFC 1035 §4.1, each in one way.
MALFORMED = {
    "header-cut": _raw(lambda query: query.reply()[:7]),
    "question-cut": _raw(lambda query: query.reply()[:14]),
    "no-question": _raw(lambda query: query.reply([(query.spelling, A("192.0.2.1"))], question=b"")),
    "not-a-reply": _raw(lambda query: query.reply([(query.spelling, A("192.0.2.1"))], flags=0)),
    "record-cut": _raw(lambda query: query.reply([(query.spelling, A("192.0.2.1"))])[:-3]),
    "counts-lie": _raw(lambda query: query.reply([(query.spelling, A("192.0.2.1"))], counts=(1, 65535, 65535, 65535))),
    "data-too-long": _raw(lambda query: query.reply([(query.spelling, A("192.0.2.1"))])[:-6] + b"\xff\xff\xc0\0\2\1"),
    "data-of-no-length": _raw(lambda query: _with_data(query, "A", b"")),
    "data-of-another-length": _raw(lambda query: _with_data(query, "A", b"\xc0\0\2\1\0")),
    "pointer-to-itself": _raw(lambda query: _pointer(query, lambda here: here)),
    "pointer-forward": _raw(lambda query: _pointer(query, lambda here: here + 40)),
    "label-of-another-kind": _raw(lambda query: query.reply(counts=(1, 1, 0, 0)) + b"\x41a\0" + b"\0\1\0\1\0\0\1\0\0\4\1\2\3\4"),
    "noise": _raw(lambda query: query.octets[:2] + b"\x81\x80" + bytes(range(1, 250))),
}


class DNSServer:
    """UDP and TCP on one address, served by a thread of its own."""

    def __init__(self, zone=None, ip=None, port=PORT, soa=SOA(), apex="example", default=None):
        """`default`: what it does for names about which it was told nothing; else it answers from the zone."""
        #: Names in lower case without a final dot, each with a list of records; a test may change it.
        self.zone = {name.lower(): list(found) for name, found in (zone or {}).items()}
        self.soa, self.apex, self._default = soa, apex, default or DNSServer.from_zone
        self.ip, self.port = ip or addresses.fresh(), port
        self._behaviours, self._questions = {}, []
        self._grew, self._guard = threading.Condition(), threading.Lock()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        self._udp.bind((self.ip, port))
        self._udp.setblocking(False)
        self._listener = socket.create_server((self.ip, port), backlog=64)
        self._listener.setblocking(False)
        self._streams = {}
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def endpoint(self):
        """As `dns.servers` has it."""
        return f"{self.ip}:{self.port}"

    # What it says.

    def add(self, name, *found):
        """Adds records to the zone."""
        self.zone.setdefault(name.lower(), []).extend(found)
        return self

    def replace(self, name, *found):
        self.zone[name.lower()] = list(found)
        return self

    def tell(self, name, behaviour, kind=None):
        """From now on questions for `name` (of type `kind`, if given) are answered so; returns the behaviour."""
        name = name.lower()
        with self._guard:
            if kind is None:
                self._behaviours = {key: value for key, value in self._behaviours.items() if key[0] != name}
            self._behaviours[(name, kind)] = behaviour
        return behaviour

    def reset(self):
        """Forgets questions and behaviours; the zone stays."""
        with self._guard:
            held = [behaviour for behaviour in self._behaviours.values() if isinstance(behaviour, Late)]
            self._behaviours.clear()
        for late in held:
            late.release()
        with self._grew:
            self._questions.clear()

    def from_zone(self, query):
        """The zone's answer, through the aliases in it."""
        owner, answers = query.name, []
        for _ in range(20):
            found = self.zone.get(owner, [])
            alias = next((record for record in found if record.kind == "CNAME"), None)
            if alias is None or query.kind == "CNAME":
                break
            answers.append((owner, alias))
            owner = alias.text.strip(".").lower()
        matching = [(owner, record) for record in found if record.type == query.type]
        if matching:
            return [query.reply(answers + matching)]
        exists = owner in self.zone or any(name.endswith("." + owner) for name in self.zone)
        authorities = [(self.apex, self.soa)] if self.soa else []
        return [query.reply(answers, authorities, NOERROR if exists else NXDOMAIN)]

    # What was asked.

    @property
    def questions(self):
        """Every question so far, in order."""
        with self._grew:
            return list(self._questions)

    def asked(self, name=None, kind=None, transport=None):
        """The questions for that name, of that type, over that transport."""
        return [query for query in self.questions
                if name in (None, query.name) and kind in (None, query.kind) and transport in (None, query.transport)]

    def wait_question(self, name=None, kind=None, transport=None, count=1, seconds=None):
        """Waits until `count` such questions have come; returns the last of them."""
        deadline = Deadline(seconds)
        with self._grew:
            while True:
                found = self.asked(name, kind, transport)
                if len(found) >= count:
                    return found[count - 1]
                if deadline.passed:
                    raise Timeout(f"{kind or 'any'} {name or 'name'}: asked {len(found)} times, not {count}; "
                                  f"asked was {self._questions}")
                self._grew.wait(deadline.left)

    # The thread.

    def _serve(self):
        selector = selectors.DefaultSelector()
        for sock in (self._udp, self._listener, self._woken):
            selector.register(sock, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self._woken:
                    selector.close()
                    return
                if key.fileobj is self._udp:
                    self._datagrams()
                elif key.fileobj is self._listener:
                    stream, _ = self._listener.accept()
                    stream.setblocking(False)
                    self._streams[stream] = b""
                    selector.register(stream, selectors.EVENT_READ)
                elif not self._read(key.fileobj):
                    selector.unregister(key.fileobj)
                    self._streams.pop(key.fileobj)
                    key.fileobj.close()

    def _datagrams(self):
        for _ in range(64):
            try:
                octets, source = self._udp.recvfrom(1 << 16)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._take(octets, "udp", source)

    def _read(self, stream):
        try:
            octets = stream.recv(1 << 16)
        except OSError:
            return False
        rest = self._streams[stream] + octets
        while len(rest) >= 2 and len(rest) >= 2 + int.from_bytes(rest[:2], "big"):
            size = int.from_bytes(rest[:2], "big")
            self._take(rest[2:2 + size], "tcp", stream)
            rest = rest[2 + size:]
        self._streams[stream] = rest
        return bool(octets)

    def _take(self, octets, transport, way):
        try:
            query = Query(octets, transport)
        except (ValueError, IndexError, struct.error) as error:
            ladder.note("dns", "<-", transport, f"not a question: {error}")
            return
        query.way = way
        with self._guard:
            behaviour = (self._behaviours.get((query.name, query.kind)) or self._behaviours.get((query.name, None))
                         or self._default)
        ladder.note("dns", "<-", transport, repr(query))
        # What stands in the list is answered, or held back, when a waiter sees it.
        replies = behaviour(self, query)
        with self._grew:
            self._questions.append(query)
            self._grew.notify_all()
        self.respond(query, replies)

    def respond(self, query, replies):
        """Sends replies to a question; a datagram that is too large for the asker is cut to a truncated one."""
        for octets in replies:
            try:
                if query.transport == "tcp":
                    query.way.setblocking(True)
                    query.way.sendall(len(octets).to_bytes(2, "big") + octets)
                    query.way.setblocking(False)
                elif len(octets) > query.size:
                    self._udp.sendto(query.reply(flags=QR | TC), query.way)
                else:
                    self._udp.sendto(octets, query.way)
            except OSError:
                pass  # the asker is gone
            except OverflowError as error:
                ladder.note("dns", "!!", repr(query), f"the test's reply is too long: {error}")

    def close(self):
        self._wake.send(b"\0")
        self._thread.join(5)
        for sock in (self._udp, self._listener, self._wake, self._woken, *self._streams):
            sock.close()
