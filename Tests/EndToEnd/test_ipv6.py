"""IPv6 on every side: listeners outside, core binds, core servers, peers."""

import os
import socket
import unittest

from harness import pki
from harness.case import EdgeTest, each
from harness.dialog import establish
from harness.far import Far
from harness.phone import Phone
from harness.sip import NameAddr
from harness.site import Site

#: All tests share the one address, so the ports are nobody else's, and differ from process to process.
BASE = 20000 + os.getpid() % 1000 * 30
TLS, UDP, CORE, PBX, PROXY, PEER = range(BASE, BASE + 6)


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


class IPv6(EdgeTest):
    has_core = False

    @classmethod
    def make_site(cls):
        if not has_ipv6():
            raise unittest.SkipTest("this host has no IPv6 loopback address")
        site = Site()
        certificate, key = {}, {}
        for kind in ("pbx", "proxy"):
            certificate[kind], key[kind] = site.edge.install(pki.authority().issue(f"{kind}.six.example"), kind)
        site.configuration = lambda: {
            "core": {"bind": [f"udp:[::1]:{CORE}"]},
            "domains": [
                {"name": f"{kind}.six.example",
                 "tls": {"bind": [f"[::1]:{TLS}"], "advertise": "::1", "certificate": certificate[kind],
                         "private_key": key[kind]},
                 **({"udp": {"bind": [f"[::1]:{UDP}"]}} if kind == "pbx" else {}),
                 "core": {"kind": kind, "targets": [f"udp:[::1]:{port}"], "health": {"interval": "off"}}}
                for kind, port in (("pbx", PBX), ("proxy", PROXY))]}
        return site

    def peer(self, port, **options):
        peer = self.site.keep(Far(ip="::1", udp=port, **options))
        peer.aor = f"sip:{peer.name}@[::1]"
        return peer

    def phone(self):
        phone = self.site.keep(Phone.connect(("::1", TLS), f"{self.kind}.six.example", source="::1"))
        phone.sent_by = f"[::1]:{phone.stream.local[1]}"
        return phone

    def setUp(self):
        self.kind = (self.domain or "pbx").split(".")[0]
        self.domain = None
        super().setUp()
        self.pbx = self.peer(PBX if self.kind == "pbx" else PROXY, name="core")
        self.pbx.edge = self.edge

    @each("pbx", "proxy")
    def test_URI_08__a_call_over_ipv6_on_both_sides(self):
        phone = self.phone()
        call = establish(phone, self.pbx, f"sips:bob@{self.kind}.six.example")
        self.assertEqual(call.seen.vias[0].sent_by, f"[::1]:{CORE}")
        ours = NameAddr((call.ok.values("Record-Route") or call.ok.values("Contact"))[-1]).uri
        self.assertEqual((ours.scheme, ours.host.strip("[]"), ours.port), ("sips", "::1", TLS))
        self.pbx.send = lambda message, *_: Far.send(self.pbx, message, ("::1", CORE), "udp")
        # Our own address in another spelling is our own all the same.
        call.caller.routes = [route.replace("[::1]", "[0:0::0:1]") for route in call.caller.routes]
        self.assertEqual(bool(call.caller.routes), self.kind == "proxy")
        call.hang_up("caller")

    @each("pbx", "proxy")
    def test_URI_08__the_core_hangs_up_over_ipv6(self):
        phone = self.phone()
        call = establish(phone, self.pbx, f"sips:bob@{self.kind}.six.example")
        self.pbx.send = lambda message, *_: Far.send(self.pbx, message, ("::1", CORE), "udp")
        call.callee.routes = [route.replace("[::1]", "[0:0::0:1]") for route in call.callee.routes]
        call.hang_up("callee")

    def test_VIA_04__a_device_over_udp_and_ipv6(self):
        device = self.peer(PEER, name="device")
        sent = super(Far, device).request("OPTIONS", "sip:bob@pbx.six.example", ("::1", UDP), contact=None)
        self.pbx.reply(self.pbx.expect("OPTIONS", call_id=sent.call_id), 200)
        answer = device.expect(200)
        self.assertEqual(answer.vias[0].params["received"].strip("[]"), "::1")
        self.assertEqual(answer.vias[0].params["rport"], str(PEER))

    @each("pbx", "proxy")
    def test_LOC_07__a_peer_by_its_ipv6_address(self):
        far = self.peer(PEER, name="far")
        sent = super(Far, self.pbx).request("MESSAGE", f"sip:far@[::1]:{PEER}", ("::1", CORE))
        seen = far.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual((seen.transport, seen.uri), ("UDP", f"sip:far@[::1]:{PEER}"))
        far.reply(seen, 200)
        self.pbx.expect(200, call_id=sent.call_id)
