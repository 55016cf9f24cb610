"""The harness against itself: phone and core without an edge between them."""

import ssl
import threading
import unittest

from harness import addresses, pki, streams, yaml
from harness.core import Core
from harness.dialog import establish
from harness.peer import Unexpected
from harness.phone import Phone, TLSServer
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
