"""VIA, MTU, KEEP, CONN: the transport layer (docs/conformance.md §2)."""

from harness import addresses
from harness.case import ALL, PROXY, EdgeTest, StandardTest, each
from harness.core import Core
from harness.sip import pad
from harness.site import Site


class Vias(StandardTest):
    domain = "proxy-udp.example"

    @each(*PROXY)
    def test_VIA_01__received_is_added(self):
        phone = self.phone()
        for host in ("phone.invalid:5061", "192.0.2.7:49152", "192.0.2.7"):
            phone.sent_by = host
            message = phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
            seen = self.core.expect("MESSAGE", call_id=message.call_id)
            self.assertEqual(seen.vias[1].params.get("received"), phone.stream.local[0])
            self.assertEqual(seen.vias[1].sent_by, host)
            self.core.reply(seen, 200)
            answer = phone.expect(200)
            self.assertEqual(answer.vias[0].params.get("received"), phone.stream.local[0])

    @each("pbx-udp", "pbx-tcp")
    def test_VIA_01__received_is_in_every_response(self):
        phone = self.phone()
        phone.sent_by = "phone.invalid"
        invite = phone.invite()
        trying = phone.receive()
        self.assertEqual(trying.status, 100)
        seen = self.core.expect("INVITE")
        self.core.reply(seen, 180)
        ringing = phone.expect(180)
        self.core.reply(seen, 486)
        busy = phone.expect(486)
        self.core.expect("ACK")
        phone.send(phone.ack_failure(invite, busy))
        for answer in (trying, ringing, busy):
            self.assertEqual(answer.vias[0].params.get("received"), phone.stream.local[0], answer.start)

    @each(*PROXY)
    def test_VIA_02__rport_and_received_are_filled(self):
        phone = self.phone()
        message = phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        seen = self.core.expect("MESSAGE", call_id=message.call_id)
        self.core.reply(seen, 200)
        for via in (seen.vias[1], phone.expect(200).vias[0]):
            self.assertEqual(via.params.get("rport"), str(phone.stream.local[1]))
            self.assertEqual(via.params.get("received"), phone.stream.local[0])

    @each(*ALL)
    def test_VIA_03__what_the_client_claims_is_overwritten(self):
        phone = self.phone()
        message = phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        message.set("Via", message.get("Via").replace(";rport", ";rport=9;received=198.51.100.9"))
        phone.send(message)
        seen = self.core.expect("MESSAGE")
        self.core.reply(seen, 200)
        via = phone.expect(200).vias[0]
        self.assertEqual((via.params["received"], via.params["rport"]),
                         (phone.stream.local[0], str(phone.stream.local[1])))

    @each(*ALL)
    def test_VIA_06__response_returns_on_the_connection(self):
        phone, other = self.phone(), self.phone("other")
        phone.sent_by = other.sent_by
        message = phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        self.core.reply(self.core.expect("MESSAGE"), 200)
        self.assertEqual(phone.expect(200).call_id, message.call_id)
        other.expect_nothing()

    @each(*ALL)
    def test_VIA_10__own_via(self):
        phone = self.phone()
        phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        seen = self.core.expect("MESSAGE")
        via = seen.vias[0]
        self.assertEqual(via.transport, seen.transport)
        self.assertEqual(via.host, self.edge.core)
        self.assertIn(via.port, (None, 5060))
        self.assertTrue(via.branch.startswith("z9hG4bK"))
        if seen.transport == "UDP":
            self.assertIn("rport", via.params)
        self.core.reply(seen, 200)
        phone.expect(200)
        got, _ = self.to_phone(phone)
        self.assertEqual(got.vias[0].transport, "TLS")
        self.assertTrue(got.vias[0].branch.startswith("z9hG4bK"))
        self.assertIn(got.vias[0].host, (self.domain, self.edge.outside))

    def to_phone(self, phone, **options):
        """A MESSAGE from the core to a registered phone. Returns (as the phone got it, as sent)."""
        seen, _ = phone.register(self.core)
        routes = [("Route", value) for value in seen.values("Path")]
        sent = self.core.request("MESSAGE", seen.contact.spec, contact=None, headers=routes,
                                 address=self.edge.core_address, **options)
        return phone.expect("MESSAGE", call_id=sent.call_id), sent

    @each(*ALL)
    def test_VIA_11__response_for_a_foreign_via_is_dropped(self):
        phone = self.phone()
        phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        seen = self.core.expect("MESSAGE")
        foreign = seen.reply(200, to_tag="x")
        row = foreign.rows("Via")[0]
        foreign.headers[0] = ("Via", row.replace(self.edge.core, "192.0.2.99", 1))
        if seen.path:
            seen.path.write(foreign.encode())
        else:
            self.core.send_octets(foreign.encode(), seen.source)
        self.core.reply(seen, 404)
        self.assertEqual(phone.receive().status, 404)

    def test_VIA_12__response_by_another_way_is_dropped(self):
        phone = self.phone()
        got, sent = self.to_phone(phone)
        answer = got.reply(200, to_tag="x")
        thief = self.phone("thief")
        thief.send(answer)
        intruder = self.site.keep(Core(addresses.fresh(), name="intruder"))
        intruder.send_octets(answer.encode(), self.edge.core_address)
        self.core.send_octets(answer.encode(), self.edge.core_address)
        self.fence(thief)
        phone.reply(got, 202)
        self.assertEqual(self.core.receive().status, 202)

    @each(*PROXY)
    def test_VIA_13__lower_vias_are_untouched(self):
        phone = self.phone()
        low = ["SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKlow;received=192.0.2.10;rport=7",
               'SIP/2.0/SCTP  low.invalid ; branch=z9hG4bK2;x="a,b"']
        message = phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        message.headers[1:1] = [("Via", row) for row in low]
        phone.send(message)
        seen = self.core.expect("MESSAGE")
        self.assertEqual(seen.values("Via")[2:], low)
        self.core.reply(seen, 200)
        answer = phone.expect(200)
        self.assertEqual(answer.values("Via")[1:], low)
        self.assertEqual(len(answer.values("Via")), 3)

    @each(*ALL)
    def test_VIA_14__a_wrong_transport_in_the_via_is_no_error(self):
        phone = self.phone()
        message = phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        message.set("Via", message.get("Via").replace("/TLS", "/UDP"))
        self.through(phone, message)


class MTU(EdgeTest):
    """MTU-01 to MTU-06: UDP and its size."""

    domain = "both.example"

    @classmethod
    def make_site(cls):
        site = Site()
        site.add("both.example", "proxy", ("udp", "tcp"))
        site.add("pbx.example", "pbx", ("udp", "tcp"))
        site.add("refused.example", "proxy", ("udp", "tcp"))
        return site

    def sized(self, phone, size, overhead=0, method="MESSAGE", **options):
        """A request that is `size` octets long when the edge has added `overhead`."""
        options.setdefault("contact", None)
        return pad(phone.build(method, f"sip:bob@{self.domain}", **options), size, overhead)

    def overhead(self, phone, core):
        phone.send(self.sized(phone, 700))
        seen = core.expect("MESSAGE")
        core.reply(seen, 200)
        phone.expect(200)
        self.assertEqual(seen.transport, "UDP")
        return len(seen.raw) - 700

    @each("both", "pbx")
    def test_MTU_01__over_1300_octets_goes_over_tcp(self):
        phone, core = self.phone(), self.core
        overhead = self.overhead(phone, core)
        for size, transport in ((1300, "UDP"), (1301, "TCP"), (1299, "UDP"), (6000, "TCP")):
            message = self.sized(phone, size, overhead)
            phone.send(message)
            seen = core.expect("MESSAGE", call_id=message.call_id)
            self.assertEqual(seen.transport, transport, f"{size} octets: {len(seen.raw)} arrived")
            if transport == "UDP":
                self.assertEqual(len(seen.raw), size)
            self.assertEqual(seen.vias[0].transport, transport)
            core.reply(seen, 200)
            phone.expect(200)

    def test_MTU_03__refused_tcp_falls_back_to_udp(self):
        self.domain = "refused.example"
        core = self.site.core(self.domain, tcp=False)
        phone = self.phone()
        message = self.sized(phone, 2500)
        phone.send(message)
        seen = core.expect("MESSAGE")
        self.assertEqual((seen.transport, seen.vias[0].transport), ("UDP", "UDP"))
        core.reply(seen, 200)
        phone.expect(200)

    def test_MTU_06__long_responses_return_over_udp(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        sent = self.core.request("MESSAGE", phone.contact, contact=None, address=self.edge.core_address,
                                 headers=[("Route", seen.values("Path")[0])], transport="udp")
        got = phone.expect("MESSAGE", call_id=sent.call_id)
        phone.reply(got, 200, headers=[("X-Fill", "f" * 3000)])
        self.assertEqual(self.core.expect(200).transport, "UDP")

    def test_RR_07__core_record_route_names_the_configured_transport(self):
        phone, core = self.phone(), self.core
        message = self.sized(phone, 4000, method="SUBSCRIBE", contact=True, headers=[("Event", "dialog")])
        phone.send(message)
        seen = core.expect("SUBSCRIBE")
        self.assertEqual(seen.transport, "TCP")
        self.assertNotIn("transport=tcp", seen.values("Record-Route")[0].lower())
        core.reply(seen, 200)
        phone.expect(200)


class CoreUDP(StandardTest):
    """VIA-04, VIA-05, VIA-09, KEEP-05: answers to the core over UDP."""

    domain = "proxy-udp.example"

    def elsewhere(self, port):
        return self.site.keep(Core(self.core.ip, port, name=f"core's port {port}", tcp=False))

    def options(self, via):
        """An OPTIONS that the edge answers itself, with that Via value after its branch."""
        message = self.core.build("OPTIONS", f"sip:{self.edge.core}:5060", contact=None)
        return message.set("Via", via.format(branch=message.branch))

    def test_VIA_04__udp_response_to_the_source_port_with_rport(self):
        port = self.elsewhere(5099)
        message = self.options("SIP/2.0/UDP 192.0.2.7:9;branch={branch};rport")
        port.send(message, self.edge.core_address, "udp")
        answer = port.receive()
        self.assertEqual(answer.source, self.edge.core_address)
        self.assertEqual(answer.vias[0].params["rport"], "5099")
        self.assertEqual(answer.vias[0].params["received"], self.core.ip)

    def test_VIA_05__udp_response_to_the_sent_by_port_without_rport(self):
        port = self.elsewhere(5099)
        self.core.send(self.options("SIP/2.0/UDP core.invalid:5099;branch={branch}"), self.edge.core_address)
        self.assertEqual(port.receive().vias[0].params["received"], self.core.ip)
        port.send(self.options("SIP/2.0/UDP core.invalid;branch={branch}"), self.edge.core_address, "udp")
        self.core.calls.clear()
        self.assertEqual(self.core.receive().vias[0].params["received"], self.core.ip)
        port.expect_nothing()

    def test_VIA_09__maddr_counts_only_inside_the_core_networks(self):
        victim = self.site.keep(Core(addresses.fresh(), name="victim"))
        self.core.send(self.options(self.core.via() + f";maddr={victim.ip};x={{branch}}"), self.edge.core_address)
        self.core.receive()
        victim.expect_nothing()
        other = self.site.core("pbx-udp.example")
        via = f"SIP/2.0/UDP {self.core.sent_by};maddr={other.ip};branch={{branch}}"
        self.core.send(self.options(via), self.edge.core_address)
        other.receive()

    def test_KEEP_05__empty_datagrams_are_nothing(self):
        for octets in (b"", b"\r\n\r\n", b"\0\0\0\0", b"\r\n"):
            self.core.send_octets(octets, self.edge.core_address)
        self.core.send(self.options(self.core.via() + ";x={branch}"), self.edge.core_address)
        self.core.receive()
        self.core.expect_nothing()


class UDPBind(EdgeTest):
    """VIA-15: a core bind that says UDP."""

    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site()
        site.top = {"core": {"bind": [f"udp:{site.edge.core}:5060"]}}
        site.add("a.example", "proxy")
        return site

    def test_VIA_15__a_udp_core_bind_accepts_tcp(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        sent = self.core.request("MESSAGE", phone.contact, contact=None, address=self.edge.core_address,
                                 headers=[("Route", seen.values("Path")[0])], transport="tcp")
        phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200)
        self.assertEqual(self.core.expect(200).transport, "TCP")


class KeepAlive(StandardTest):
    domain = "proxy-udp.example"

    def message(self, phone):
        return phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None, body=b"\r\n\r\nx",
                           content_type="text/plain")

    @each("proxy-udp", "pbx-tcp")
    def test_KEEP_01__a_ping_gets_one_pong(self):
        phone = self.phone()
        phone.send(b"\r\n\r\n")
        phone.expect_pong(1)
        self.through(phone, self.message(phone))
        self.assertEqual(phone.framer.pongs, 1)
        phone.send(b"\r\n\r")
        phone.send(b"\n")
        phone.expect_pong(2)
        phone.send(self.message(phone).encode() + b"\r\n\r\n")
        self.core.reply(self.core.expect("MESSAGE"), 200)
        phone.expect(200)
        phone.expect_pong(3)
        self.fence(phone)
        self.assertEqual(phone.framer.pongs, 3)

    def test_KEEP_02__a_single_crlf_gets_nothing(self):
        phone = self.phone()
        phone.send(b"\r\n")
        self.fence(phone)
        self.assertEqual(phone.framer.pongs, 0)

    def test_KEEP_03__crlf_in_a_body_is_body(self):
        phone = self.phone()
        seen, _ = self.through(phone, self.message(phone))
        self.assertEqual(seen.body, b"\r\n\r\nx")
        self.assertEqual(phone.framer.pongs, 0)

    def test_KEEP_04__stun_on_a_stream_closes_it(self):
        phone = self.phone()
        phone.send(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12))
        phone.expect_closed()

    @each("proxy-tcp", "pbx-tcp")
    def test_CONN_02__requests_share_a_connection(self):
        phone = self.phone()
        sent = [self.message(phone) for _ in range(20)]
        phone.send(b"".join(message.encode() for message in sent))
        paths = set()
        for _ in sent:
            seen = self.core.expect("MESSAGE")
            paths.add(seen.path)
            self.core.reply(seen, 200)
        for _ in sent:
            phone.expect(200)
        self.assertEqual(len(paths), 1)
