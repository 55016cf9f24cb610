"""UDP peers: `limits.udp_peers`, `edge.limits.datagram_flows` and `edge.timers.udp_idle` (docs/configuration.md)."""

import socket

from harness import addresses
from harness.case import EdgeTest, each
from harness.core import Core
from harness.sip import SDP, Message, NameAddr
from harness.site import Site
from harness.wait import until

PORTS = {"pbx": 5060, "proxy": 5070, "full": 5080, "open": 5090}
#: What the domains below remember of UDP peers.
ROOM = 5


class UDPPeersTest(EdgeTest):
    """Devices that speak UDP, and sources that may be forged."""

    @property
    def address(self):
        return (self.edge.outside, PORTS[self.domain.split(".")[0]])

    @staticmethod
    def add(site, kind, name=None, **options):
        name = name or kind
        site.add(f"{name}.example", kind, udp={"bind": [f"{site.edge.outside}:{PORTS[name]}"]}, **options)

    def device(self):
        device = self.site.keep(Core(addresses.fresh(), 5062, name="device", tcp=False))
        device.aor = f"sip:alice@{self.domain}"
        device.contact = f"sip:alice@{device.ip}:5062"
        return device

    def register(self, device, expires=600):
        """Returns what the core saw."""
        device.request("REGISTER", f"sip:{self.domain}", self.address, to=f"<{device.aor}>",
                       headers=[("Supported", "path"), ("Expires", str(expires))])
        seen = self.core.expect("REGISTER")
        self.core.reply_as_registrar(seen, expires)
        device.expect(200)
        return seen

    def calls(self, device, seen):
        """The core's MESSAGE reaches the device that registered so."""
        if self.domain.startswith("proxy"):
            sent = self.core.request("MESSAGE", device.contact,
                                     headers=[("Route", value) for value in seen.values("Path")])
        else:
            sent = self.core.request("MESSAGE", NameAddr(seen.values("Contact")[0]).spec)
        reached = device.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual(reached.source, self.address)
        device.reply(reached, 200)
        self.core.expect(200, call_id=sent.call_id)

    def forge(self, count):
        """So many sources send a request that is refused, each once; returns how many got the answer."""
        ip, answered = addresses.fresh(), 0
        for port in range(20_000, 20_000 + count):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((ip, port))
                sock.settimeout(5)
                sock.sendto(
                    f"OPTIONS sip:bob@elsewhere.invalid SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:{port};branch=z9hG4bK{ip}{port};"
                    f"rport\r\nMax-Forwards: 70\r\nFrom: <sip:x@x.invalid>;tag=1\r\nTo: <sip:bob@elsewhere.invalid>\r\n"
                    f"Call-ID: {ip}{port}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode(), self.address)
                self.assertEqual(Message.parse(sock.recv(1 << 16)).status, 403)
                answered += 1
        return answered

    def metric(self, name, **labels):
        return self.edge.metric(f"gatehouse_{name}", domain=self.domain, **labels) or 0

    @property
    def known(self):
        return self.metric("connections_open", transport="udp")


class ManyPeers(UDPPeersTest):
    """More sources than are remembered."""

    @classmethod
    def make_site(cls):
        # With one worker it is certain who is forgotten.
        site = Site(edge_options={"workers": 1, "limits": {"datagram_flows": 3 * ROOM + 2}})
        for kind in ("pbx", "proxy"):
            cls.add(site, kind, limits={"connections": 2, "connections_per_source": 2, "udp_peers": ROOM})
        cls.add(site, "pbx", "full", limits={"udp_peers": 2})
        cls.add(site, "pbx", "open", limits={"udp_peers": "unlimited"})
        return site

    @each("pbx", "proxy")
    def test_sources_that_may_be_forged_keep_no_device_out(self):
        before = self.metric("limits_hit_total", limit="udp_peers")
        device = self.device()
        seen = self.register(device)
        self.forge(3 * ROOM)
        self.assertEqual(self.known, ROOM)
        self.assertGreaterEqual(self.metric("limits_hit_total", limit="udp_peers"), before + 2 * ROOM)
        self.assertGreaterEqual(self.metric("connections_closed_total", transport="udp", reason="displaced"), 2 * ROOM)
        # Devices with TLS have their own limit, also where they come from a source of datagrams.
        phones = [self.phone(source=device.ip) for _ in range(2)]
        for phone in phones:
            self.fence(phone)
        self.assertEqual(self.metric("limits_hit_total", limit="connections"), 0)
        self.calls(device, seen)
        # One that comes late is let in and reached as well.
        late = self.device()
        seen = self.register(late)
        self.forge(2 * ROOM)
        self.calls(late, seen)
        for known in (device, late):
            self.register(known, expires=0)

    @each("pbx", "proxy")
    def test_a_peer_whose_request_waits_and_one_in_a_dialog_keep_their_places(self):
        waits = self.device()
        invite = waits.request("INVITE", f"sip:bob@{self.domain}", self.address, body=SDP)
        called = self.core.expect("INVITE", call_id=invite.call_id)
        self.forge(2 * ROOM)
        self.core.reply(called, 200, body=SDP)
        answered = waits.expect(200)
        self.forge(2 * ROOM)
        target = NameAddr(answered.values("Contact")[0]).spec
        routes = [("Route", value) for value in reversed(answered.values("Record-Route"))]
        ack = waits.build("ACK", target, to=answered.get("To"), from_=invite.get("From"), call_id=invite.call_id,
                          cseq=1, contact=None, headers=routes)
        waits.send(ack, self.address)
        self.core.expect("ACK", call_id=invite.call_id)
        # The core ends the call, by the flow.
        bye = self.core.build("BYE", NameAddr(called.values("Contact")[0]).spec, to=called.get("From"),
                              from_=answered.get("To"), call_id=invite.call_id, contact=None,
                              headers=[("Route", value) for value in called.values("Record-Route")])
        self.core.send(bye, self.edge.core_address)
        ended = waits.expect("BYE", call_id=invite.call_id)
        waits.reply(ended, 200)
        self.core.expect(200, call_id=invite.call_id)

    @each("full")
    def test_where_all_are_registered_a_newcomer_is_dropped_and_counted(self):
        devices = [self.device() for _ in range(2)]
        seen = [self.register(device) for device in devices]
        dropped = self.edge.metric("gatehouse_datagrams_dropped_total", reason="queue_full") or 0
        late = self.device()
        late.request("OPTIONS", f"sip:bob@{self.domain}", self.address, contact=None)
        until(lambda: (self.edge.metric("gatehouse_datagrams_dropped_total", reason="queue_full") or 0) > dropped,
              "the message to be dropped")
        self.assertGreaterEqual(self.metric("connections_refused_total", reason="udp_peers"), 1)
        self.core.expect_nothing()
        for device, registered in zip(devices, seen):
            self.calls(device, registered)
        # A place that becomes free is the newcomer's.
        self.register(devices[0], expires=0)
        self.register(late)
        self.register(late, expires=0)
        self.register(devices[1], expires=0)

    @each("open")
    def test_the_limit_of_the_process_holds_for_all_domains(self):
        device = self.device()
        seen = self.register(device)
        self.forge(5 * ROOM)
        total = self.edge.metric("gatehouse_connections_open", transport="udp")
        self.assertLessEqual(total, 3 * ROOM + 2)
        self.assertGreaterEqual(self.metric("limits_hit_total", limit="datagram_flows"), 1)
        self.calls(device, seen)
        self.register(device, expires=0)


class SilentPeers(UDPPeersTest):
    """`edge.timers.udp_idle`."""

    @classmethod
    def make_site(cls):
        site = Site(edge_options={"timers": {"udp_idle": "300ms"}})
        for kind in ("pbx", "proxy"):
            cls.add(site, kind)
        return site

    @each("pbx", "proxy")
    def test_a_silent_stranger_is_forgotten_soon_and_a_registered_device_is_not(self):
        device, caller = self.device(), self.device()
        seen = self.register(device)
        sent = caller.request("OPTIONS", f"sip:bob@{self.domain}", self.address, contact=None)
        waiting = self.core.expect("OPTIONS", call_id=sent.call_id)
        self.forge(20)
        # The stranger whose request waits is remembered with the device, and the others are forgotten.
        until(lambda: self.known == 2, "the silent peers to be forgotten")
        self.core.reply(waiting, 200)
        caller.expect(200)
        until(lambda: self.known == 1, "the caller to be forgotten")
        self.assertGreaterEqual(self.metric("connections_closed_total", transport="udp", reason="idle"), 21)
        self.calls(device, seen)
        self.register(device, expires=0)
        until(lambda: self.known == 0, "the device to be forgotten")
