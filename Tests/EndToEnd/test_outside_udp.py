"""UDP and TCP towards the outside: `udp.bind`, `tcp.bind` and their rows of §2 (docs/conformance.md)."""

import os
import socket
import struct

from harness import addresses
from harness.case import EdgeTest, each
from harness.core import Core
from harness.sip import SDP, NameAddr
from harness.site import Site

PORTS = {"pbx": 5060, "proxy": 5070, "quiet": 5080}
BOTH = ("pbx", "proxy")


class OutsideUDP(EdgeTest):
    """Devices that speak UDP, at `udp.bind`."""

    @classmethod
    def make_site(cls):
        site = Site()
        for kind in BOTH:
            site.add(f"{kind}.example", kind, udp={"bind": [f"{site.edge.outside}:{PORTS[kind]}"],
                                                   "advertise": f"udp.{kind}.example"})
        site.add("quiet.example", "pbx", udp={"bind": [f"{site.edge.outside}:{PORTS['quiet']}"], "tcp": False})
        return site

    @property
    def kind(self):
        return self.domain.split(".")[0]

    @property
    def address(self):
        return (self.edge.outside, PORTS[self.kind])

    def device(self, **options):
        device = self.site.keep(Core(addresses.fresh(), 5062, name="device", **options))
        device.aor = f"sip:alice@{self.domain}"
        device.contact = f"sip:alice@{device.ip}:5062"
        return device

    def register(self, device):
        device.request("REGISTER", f"sip:{self.domain}", self.address, to=f"<{device.aor}>",
                       headers=[("Supported", "path"), ("Expires", "600")])
        seen = self.core.expect("REGISTER")
        self.core.reply_as_registrar(seen)
        device.expect(200)
        return seen

    @each(*BOTH)
    def test_VIA_04__answers_go_to_the_source_by_rport(self):
        device = self.device(tcp=False)
        device.sent_by = "192.0.2.7:5099"
        sent = device.request("OPTIONS", f"sip:bob@{self.domain}", self.address, contact=None)
        self.core.reply(self.core.expect("OPTIONS", call_id=sent.call_id), 200)
        answer = device.expect(200)
        self.assertEqual(answer.source, self.address)
        self.assertEqual(answer.vias[0].params, {"branch": sent.branch, "rport": "5062", "received": device.ip})

    @each(*BOTH)
    def test_VIA_05__without_rport_answers_go_to_the_port_of_the_via(self):
        device, other = self.device(tcp=False), None
        other = self.site.keep(Core(device.ip, 5099, name="port of the Via", tcp=False))
        message = device.build("OPTIONS", f"sip:bob@{self.domain}", contact=None)
        message.set("Via", f"SIP/2.0/UDP {device.ip}:5099;branch={message.branch}")
        device.send(message, self.address)
        self.core.reply(self.core.expect("OPTIONS", call_id=message.call_id), 200)
        self.assertEqual(other.expect(200).call_id, message.call_id)

    @each(*BOTH)
    def test_VIA_09__maddr_of_the_outside_is_ignored(self):
        device = self.device(tcp=False)
        elsewhere = self.site.keep(Core(addresses.fresh(), 5062, name="maddr", tcp=False))
        message = device.build("OPTIONS", f"sip:bob@{self.domain}", contact=None)
        message.set("Via", f"SIP/2.0/UDP {device.ip}:5062;maddr={elsewhere.ip};branch={message.branch};rport")
        device.send(message, self.address)
        self.core.reply(self.core.expect("OPTIONS", call_id=message.call_id), 200)
        device.expect(200)
        elsewhere.expect_nothing()

    @each(*BOTH)
    def test_MTU_06__a_large_answer_goes_by_udp(self):
        device = self.device(tcp=False)
        sent = device.request("OPTIONS", f"sip:bob@{self.domain}", self.address, contact=None)
        self.core.reply(self.core.expect("OPTIONS", call_id=sent.call_id), 200, body=b"x" * 4000,
                        headers=[("Content-Type", "text/plain")])
        self.assertEqual(len(device.expect(200).body), 4000)

    @each(*BOTH)
    def test_KEEP_04__stun_is_answered_with_the_mapped_address(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((addresses.fresh(), 0))
            sock.settimeout(5)
            transaction = os.urandom(12)
            sock.sendto(struct.pack("!HHI", 1, 0, 0x2112A442) + transaction, self.address)
            answer, source = sock.recvfrom(2048)
            self.assertEqual(source, self.address)
            kind, length, cookie = struct.unpack("!HHI", answer[:8])
            self.assertEqual((kind, length, cookie, answer[8:20]), (0x0101, len(answer) - 20, 0x2112A442, transaction))
            attribute, size, _, family, port, address = struct.unpack("!HHBBHI", answer[20:32])
            self.assertEqual((attribute, size, family), (0x20, 8, 1))
            self.assertEqual(port ^ 0x2112, sock.getsockname()[1])
            self.assertEqual(socket.inet_ntoa(struct.pack("!I", address ^ 0x2112A442)), sock.getsockname()[0])

    @each(*BOTH)
    def test_KEEP_05__what_is_no_message_is_met_with_silence(self):
        device = self.device(tcp=False)
        for octets in (b"", b"\r\n\r\n", b"\0\0\0\0", b"\x00\x01\x00\x00short"):
            device.send_octets(octets, self.address)
        sent = device.request("OPTIONS", f"sip:bob@{self.domain}", self.address, contact=None)
        self.core.reply(self.core.expect("OPTIONS", call_id=sent.call_id), 200)
        device.expect(200)
        device.expect_nothing()

    @each(*BOTH)
    def test_a_device_calls_and_is_called_over_udp(self):
        device = self.device(tcp=False)
        seen = self.register(device)
        # The core calls it, where it registered from.
        if self.kind == "pbx":
            sent = self.core.request("INVITE", NameAddr(seen.values("Contact")[0]).spec, body=SDP)
        else:
            sent = self.core.request("INVITE", device.contact, body=SDP,
                                     headers=[("Route", value) for value in seen.values("Path")])
        rings = device.expect("INVITE")
        self.assertEqual(rings.uri, device.contact)
        self.assertEqual(rings.source, self.address)
        self.assertEqual((rings.vias[0].transport, rings.vias[0].sent_by),
                         ("UDP", f"udp.{self.domain}:{PORTS[self.kind]}"))
        self.assertIn("rport", rings.vias[0].params)
        device.reply(rings, 486)
        device.expect("ACK")
        busy = self.core.expect(486, call_id=sent.call_id)
        self.core.send(self.core.ack_failure(sent, busy), self.edge.core_address)
        # It calls; what follows in the dialog goes both ways.
        invite = device.request("INVITE", f"sip:bob@{self.domain}", self.address, body=SDP)
        called = self.core.expect("INVITE", call_id=invite.call_id)
        self.assertEqual(called.get("X-Gatehouse-Session").split("; ")[1:3], ["arrived=plain", "transport=udp"])
        self.core.reply(called, 200, body=SDP)
        answered = device.expect(200)
        ours = NameAddr((answered.values("Record-Route") or answered.values("Contact"))[-1]).uri
        self.assertEqual((ours.scheme, ours.host, ours.port), ("sip", f"udp.{self.domain}", PORTS[self.kind]))
        self.assertNotIn("transport", ours.params)
        target = NameAddr(answered.values("Contact")[0]).spec
        routes = [("Route", value) for value in reversed(answered.values("Record-Route"))]
        for method in ("ACK", "BYE"):
            message = device.build(method, target, to=answered.get("To"), from_=invite.get("From"),
                                   call_id=invite.call_id, cseq=1 if method == "ACK" else 2, contact=None,
                                   headers=routes)
            device.send(message, self.address)
            seen = self.core.expect(method, call_id=invite.call_id)
        self.core.reply(seen, 200)
        device.expect(200, "BYE")

    @each(*BOTH)
    def test_SIPS_19__sips_over_udp_is_refused(self):
        device = self.device(tcp=False)
        sent = device.request("MESSAGE", f"sips:bob@{self.domain}", self.address, contact=None)
        self.assertEqual(device.expect(lambda answer: answer.status > 100, call_id=sent.call_id).status, 403)
        self.core.expect_nothing()

    @each(*BOTH)
    def test_VIA_15__udp_brings_tcp_on_the_same_address(self):
        phone = self.phone(tls=False, address=self.address, scheme="sip")
        sent = phone.request("OPTIONS", f"sip:bob@{self.domain}", contact=None)
        self.core.reply(self.core.expect("OPTIONS", call_id=sent.call_id), 200)
        phone.expect(200)

    def test_VIA_15__tcp_beside_udp_can_be_turned_off(self):
        self.domain = "quiet.example"
        core, device = self.core, self.device(tcp=False)
        sent = device.request("OPTIONS", f"sip:bob@{self.domain}", self.address, contact=None)
        core.reply(core.expect("OPTIONS", call_id=sent.call_id), 200)
        device.expect(200)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(self.address, 5)
