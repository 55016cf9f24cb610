"""The harness against itself: phone and core without an edge between them."""

import socket
import ssl
import struct
import threading
import unittest

from harness import addresses, dns, dnsdata, pki, streams, yaml
from harness.core import Core
from harness.dialog import establish
from harness.dns import A, AAAA, CNAME, NAPTR, SRV, DNSServer
from harness.peer import Unexpected
from harness.phone import Phone, TLSServer
from harness.programs import NSD, missing
from harness.sip import BadMessage, Message, NameAddr, URI, Via, split_outside
from harness.wait import Timeout


class Harness(unittest.TestCase):
    def test_harness_messages_are_read_and_written(self):
        raw = (b"INVITE sip:b@h SIP/2.0\r\n"
               b"v: SIP/2.0/UDP h;branch=z9hG4bK1 , SIP / 2.0 / TCP [::1]:9;branch=z9hG4bK2\r\n"
               b"To: \"a,\\\"<b\" <sip:b@h;x=1>;tag=7\r\nX: a\r\n b\r\nl: 2\r\n\r\n\0\xff")
        message = Message.parse(raw)
        self.assertEqual([via.transport for via in message.vias], ["UDP", "TCP"])
        self.assertEqual(message.vias[1].sent_by, "[::1]:9")
        self.assertEqual(message.to_tag, "7")
        self.assertEqual(message.get("x"), "a b")
        self.assertEqual(message.body, b"\0\xff")
        uri = NameAddr(message.get("To")).uri
        self.assertEqual((uri.user, uri.host, uri.params), ("b", "h", {"x": "1"}))
        self.assertEqual(str(URI.parse("sips:a:p@[::1]:5061;lr;x=1?y=2")), "sips:a:p@[::1]:5061;lr;x=1?y=2")
        self.assertEqual(split_outside('<a,b>,"c,d", e', ","), ["<a,b>", '"c,d"', "e"])
        for bad in (b"INVITE sip:b@h SIP/2.0\nA: b\r\n\r\n", b"INVITE  sip:b SIP/2.0\r\n\r\n",
                    b"A b SIP/2.0\r\nx\r\n\r\n"):
            with self.assertRaises(BadMessage):
                Message.parse(bad)
        with self.assertRaises(BadMessage):
            Via("SIP/2.0/UDP h;branch=1;branch=2")

    def test_harness_yaml_is_written_in_block_style(self):
        text = yaml.dump({"a": {"b": [1, "x: y", {"c": None, "d": []}], "e": "1.2"}, "f": "*.x", "g": "127.0.0.1:5061"})
        self.assertEqual(text, 'a:\n  b:\n    - 1\n    - "x: y"\n    - c: null\n      d: []\n  e: "1.2"\n'
                               'f: "*.x"\ng: 127.0.0.1:5061\n')

    def _between(self, transport):
        """A phone whose connection ends at a core: the core's side of it is fed by hand."""
        core = Core(addresses.fresh(), transport=transport)
        self.addCleanup(core.close)
        phone = Phone.connect((core.ip, 5060), "a.example", tls=False, scheme="sip")
        self.addCleanup(phone.close)
        return core, phone

    def test_harness_phone_and_core_hold_a_call(self):
        core, phone = self._between("tcp")
        phone.contact = f"sip:alice@{phone.sent_by};transport=tcp"
        call = establish(phone, core, "sip:bob@a.example")
        self.assertEqual(call.seen.transport, "TCP")
        self.assertEqual(call.callee.routes, [])
        bye = call.caller.send("BYE")
        core.reply(core.expect("BYE"), 200)
        phone.expect(200, "BYE")
        self.assertEqual(bye.cseq, (2, "BYE"))

    def test_harness_core_absorbs_retransmissions_over_udp(self):
        core = Core(addresses.fresh())
        other = Core(addresses.fresh(), name="other")
        self.addCleanup(core.close)
        self.addCleanup(other.close)
        invite = other.request("INVITE", f"sip:x@{core.ip}")
        other.send(invite)
        core.reply(core.expect("INVITE"), 486)
        other.expect(486)
        other.send(invite)
        core.expect_nothing()
        other.expect(486)
        self.assertEqual(len(core.copies("INVITE")), 3)

    def test_harness_expectations_fail(self):
        core, phone = self._between("tcp")
        with self.assertRaises(Timeout):
            core.expect("INVITE", seconds=0.05)
        phone.invite()
        with self.assertRaises(Unexpected):
            core.expect("BYE")
        phone.invite()
        with self.assertRaises(Unexpected):
            core.expect_nothing(seconds=1)
        next(iter(core.connections)).close()
        core.connections.clear()
        with self.assertRaises(streams.Closed):
            phone.expect(200)

    def test_harness_tls_peers_close_by_halves(self):
        pair = pki.authority().issue("a.example")
        address = (addresses.fresh(), 5061)
        server = TLSServer(address, pair)
        self.addCleanup(server.close)
        accepted = []
        thread = threading.Thread(target=lambda: accepted.append(server.accept_phone("s", "a.example")))
        thread.start()
        phone = Phone.connect(address, "a.example")
        thread.join()
        other = accepted[0]
        self.addCleanup(phone.close)
        self.addCleanup(other.close)
        self.assertEqual(phone.stream.version, "TLSv1.3")
        self.assertEqual(phone.stream.peer_der, pair.der)
        phone.send_slowly(phone.build("MESSAGE", "sip:x@a.example", contact=None).encode())
        phone.stream.finish()
        seen = other.expect("MESSAGE")
        self.assertEqual(other.expect_closed(), "close_notify")
        other.reply(seen, 200)
        phone.expect(200)
        other.send(b"\r\n")
        phone.expect_pong()

    def test_harness_certificates_are_verified(self):
        address = (addresses.fresh(), 5061)
        another = pki.Authority("Another")
        server = TLSServer(address, another.issue("a.example"))
        self.addCleanup(server.close)

        def serve():
            try:
                server.accept_phone("s", "a.example")
            except (ssl.SSLError, AssertionError):
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        with self.assertRaises(ssl.SSLCertVerificationError):
            Phone.connect(address, "a.example")
        thread.join()


class NameServers(unittest.TestCase):
    """The scripted name server and NSD, asked by hand."""

    ZONE = {"far.example": [NAPTR(10, 20, "s", "SIPS+D2T", "_sips._tcp.far.example")],
            "_sips._tcp.far.example": [SRV(1, 2, 5061, "a.far.example")],
            "a.far.example": [A("192.0.2.1", ttl=60), AAAA("2001:db8::1")], "alias.example": [CNAME("a.far.example")]}

    def setUp(self):
        self.server = DNSServer(self.ZONE)
        self.addCleanup(self.server.close)

    def ask(self, server, name, kind, transport="udp", size=1232):
        """The reply's octets, or None after a fence: an answer to a later question of the same server."""
        question = dnsdata.name_octets(name) + struct.pack("!HH", dnsdata.TYPES[kind], 1)
        octets = b"\x12\x34\1\0\0\1\0\0\0\0\0\1" + question + b"\0\0\x29" + struct.pack("!HIH", size, 0, 0)
        if transport == "tcp":
            with socket.create_connection((server.ip, server.port), 2) as sock:
                sock.sendall(struct.pack("!H", len(octets)) + octets)
                stream = sock.makefile("rb")
                return stream.read(int.from_bytes(stream.read(2), "big"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.connect((server.ip, server.port))
            sock.send(octets)
            sock.send(b"\xff\xff\1\0\0\1\0\0\0\0\0\0" + dnsdata.name_octets("fence.example") + b"\0\1\0\1")
            reply = sock.recv(1 << 16)
            return None if reply[:2] == b"\xff\xff" else reply

    def header(self, reply):
        """(response code, truncated, answers, authorities)"""
        _, flags, _, answers, authorities, _ = struct.unpack("!6H", reply[:12])
        return flags & 15, bool(flags & dnsdata.TC), answers, authorities

    def test_harness_name_server_answers_from_its_zone(self):
        for transport in ("udp", "tcp"):
            self.assertIn(b"\x08SIPS+D2T\0\x05_sips\x04_tcp", self.ask(self.server, "far.example", "NAPTR", transport))
        self.assertIn(b"\0\1\0\2\x13\xc5\1a", self.ask(self.server, "_sips._tcp.far.example", "SRV"))
        self.assertTrue(self.ask(self.server, "A.Far.Example", "A").endswith(b"\0\0\0\x3c\0\4\xc0\0\2\1"))
        self.assertEqual(self.header(self.ask(self.server, "alias.example", "AAAA")), (0, False, 2, 0))
        self.assertEqual(self.header(self.ask(self.server, "a.far.example", "SRV")), (0, False, 0, 1))
        self.assertEqual(self.header(self.ask(self.server, "no.example", "A")), (3, False, 0, 1))
        self.assertEqual([str(query) for query in self.server.asked("far.example")],
                         ["NAPTR far.example over udp", "NAPTR far.example over tcp"])

    def test_harness_name_server_does_as_told(self):
        tell, header = self.server.tell, lambda kind="A", **options: self.header(
            self.ask(self.server, "a.far.example", kind, **options))
        for behaviour, expected in ((dns.servfail, (2, False, 0, 0)), (dns.refused, (5, False, 0, 0)),
                                    (dns.nxdomain(), (3, False, 0, 1)), (dns.nxdomain(None), (3, False, 0, 0)),
                                    (dns.nodata(None), (0, False, 0, 0)), (dns.cname_loop, (0, False, 2, 0)),
                                    (dns.truncated(), (0, True, 0, 0)), (dns.flood(500), (0, True, 0, 0))):
            tell("a.far.example", behaviour, "A")
            self.assertEqual(header(), expected)
            self.assertEqual(header("AAAA"), (0, False, 1, 0))
        self.assertEqual(header(transport="tcp"), (0, False, 500, 0))
        tell("a.far.example", dns.wrong_id, "A")
        self.assertEqual(self.ask(self.server, "a.far.example", "A")[:2], b"\x47\x61")
        tell("a.far.example", dns.wrong_question, "A")
        self.assertIn(b"\x08attacker", self.ask(self.server, "a.far.example", "A"))
        tell("a.far.example", dns.silence)
        self.assertIsNone(self.ask(self.server, "a.far.example", "A"))
        for behaviour in dns.MALFORMED.values():
            tell("a.far.example", behaviour)
            self.assertEqual(self.ask(self.server, "a.far.example", "A")[:2], b"\x12\x34")
        self.server.reset()
        self.assertEqual(header(), (0, False, 1, 0))
        self.server.add("a.far.example", *[A("192.0.2.9")] * 60)
        self.assertEqual(header(size=1232), (0, True, 0, 0))
        self.assertEqual(header(size=4000), (0, False, 61, 0))

    def test_harness_name_server_holds_an_answer_until_released(self):
        gate = self.server.tell("a.far.example", dns.Late())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.connect((self.server.ip, self.server.port))
            question = b"\1\0\0\1\0\0\0\0\0\0" + dnsdata.name_octets("a.far.example") + b"\0\1\0\1"
            sock.send(b"\0\1" + question)
            self.server.wait_question("a.far.example", "A", "udp")
            self.assertIsNone(self.ask(self.server, "a.far.example", "A"))
            gate.release()
            self.assertEqual(sock.recv(512)[:2], b"\0\1")
        self.assertEqual(self.header(self.ask(self.server, "a.far.example", "A")), (0, False, 1, 0))
        with self.assertRaises(Timeout):
            self.server.wait_question("a.far.example", "A", count=4, seconds=0)

    def test_harness_nsd_answers_as_the_scripted_one_does(self):
        if missing("nsd"):
            self.skipTest("nsd is not installed: scripts/install.sh test")
        nsd = NSD({"example": self.ZONE})
        self.addCleanup(nsd.close)
        for name, kind in (("far.example", "NAPTR"), ("_sips._tcp.far.example", "SRV"), ("a.far.example", "A"),
                           ("a.far.example", "AAAA"), ("alias.example", "A"), ("no.example", "A")):
            for transport in ("udp", "tcp"):
                one = self.ask(self.server, name, kind, transport)
                other = self.ask(nsd, name, kind, transport)
                self.assertEqual(self.header(one)[:3], self.header(other)[:3], f"{kind} {name}")
