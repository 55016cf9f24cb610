"""RR: Record-Route, and the other URIs that the edge writes (docs/conformance.md §4.2)."""

from harness.case import ALL, PROXY, EdgeTest, StandardTest, each
from harness.dialog import establish
from harness.sip import SDP, NameAddr
from harness.site import Site


class RecordRoutes(StandardTest):
    domain = "proxy-udp.example"

    def own(self, message):
        return [NameAddr(value).uri for value in message.values("Record-Route")]

    @each(*PROXY)
    def test_RR_01__dialog_forming_requests_are_recorded(self):
        phone = self.phone()
        for method in ("INVITE", "SUBSCRIBE", "REFER", "BREW"):
            message = phone.build(method, f"sip:bob@{self.domain}", body=SDP, headers=[
                ("Record-Route", "<sip:p.invalid;lr>"), ("Event", "dialog"), ("Refer-To", "<sip:x@y.invalid>")])
            phone.send(message)
            seen = self.core.expect(method)
            self.assertEqual(len(seen.values("Record-Route")), 3)
            self.assertEqual(seen.values("Record-Route")[2], "<sip:p.invalid;lr>")
            self.assertTrue(all(uri.is_loose for uri in self.own(seen)))
            self.core.reply(seen, 486)
            answer = phone.expect(486)
            if method == "INVITE":
                phone.send(phone.ack_failure(message, answer))
                self.core.expect("ACK")
        call = establish(phone, self.core, f"sip:bob@{self.domain}")
        phone.send(call.caller.build("INVITE", body=SDP))
        seen = self.core.expect("INVITE")
        self.assertEqual(len(seen.values("Record-Route")), 2)
        self.core.reply(seen, 200)
        phone.expect(200, "INVITE")
        call.caller.ack(seen)
        call.caller.send("ACK", number=2)
        self.core.expect("ACK")

    @each(*PROXY)
    def test_RR_01__register_is_not_recorded(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        self.assertEqual(seen.values("Record-Route"), [])

    @each(*PROXY)
    def test_RR_02__the_top_value_is_the_side_it_leaves_by(self):
        phone = self.phone()
        invite = phone.invite()
        seen = self.core.expect("INVITE")
        inside, outside = self.own(seen)
        self.assertEqual(inside.host, self.edge.core)
        self.assertIn(inside.port, (None, 5060))
        self.assertEqual(outside.host, self.domain)
        self.core.reply(seen, 486)
        self.core.expect("ACK")
        phone.send(phone.ack_failure(invite, phone.expect(486)))
        registered, _ = phone.register(self.core)
        self.core.request("INVITE", phone.contact, self.edge.core_address, body=SDP,
                          headers=[("Route", registered.values("Path")[0])])
        got = phone.expect("INVITE")
        outside, inside = self.own(got)
        self.assertEqual(outside.host, self.domain)
        self.assertEqual(inside.host, self.edge.core)
        phone.reply(got, 486)
        self.core.expect(486)

    def uris_towards(self, phone, scheme, contact):
        """Every URI and Via of ours that a device with this Contact sees in a call, in text."""
        phone.contact = contact
        call = establish(phone, self.core, f"{scheme}:bob@{self.domain}")
        texts = call.ok.values("Record-Route") + call.ok.values("Contact") + call.seen.values("Via")
        texts += call.seen.values("Record-Route") + (call.seen.values("Contact") if "pbx" in self.domain else [])
        texts = [text for text in texts if text != f"<{contact}>"]
        seen, ok = phone.register(self.core)
        texts += seen.values("Path") + ([] if "proxy" in self.domain else seen.values("Contact"))
        routes = [("Route", value) for value in seen.values("Path")]
        self.core.request("MESSAGE", seen.contact.spec, self.edge.core_address, contact=None, headers=routes)
        got = phone.expect("MESSAGE")
        texts += got.values("Via") + got.values("Record-Route")
        phone.reply(got, 200)
        call.hang_up()
        return texts

    @each(*ALL)
    def test_RR_03__transport_tls_is_never_written_first(self):
        for scheme, contact in (("sips", "sips:alice@192.0.2.7:49152"), ("sip", "sip:alice@192.0.2.7:49152"),
                                ("sips", "sips:alice@192.0.2.7;transport=tls")):
            phone = self.phone(scheme=scheme)
            for text in self.uris_towards(phone, scheme, contact):
                if text != f"<{contact}>":
                    self.assertNotIn("transport=tls", text.lower(), contact)

    @each(*ALL)
    def test_RR_03__a_device_that_writes_transport_tls_gets_it_back(self):
        phone = self.phone(scheme="sip")
        phone.contact = "sip:alice@192.0.2.7:49152;transport=tls"
        call = establish(phone, self.core, f"sip:bob@{self.domain}")
        ours = call.ok.values("Record-Route") if self.domain.startswith("proxy") else call.ok.values("Contact")
        outside = [text for text in ours if NameAddr(text).uri.host == self.domain]
        self.assertTrue(outside)
        self.assertTrue(all(NameAddr(text).uri.transport == "tls" for text in outside), outside)
        self.assertTrue(all("transport=tls" not in text for text in ours if text not in outside))
        call.hang_up()

    @each(*PROXY)
    def test_RR_04__sips_outside_and_sip_inside(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        inside, outside = self.own(call.seen)
        self.assertEqual((inside.scheme, outside.scheme), ("sip", "sips"))
        self.assertTrue(inside.user, "the core value carries the token")
        call.hang_up()

    @each(*PROXY)
    def test_RR_05__a_sip_session_over_tls_stays_sip_with_the_listeners_port(self):
        phone = self.phone(scheme="sip")
        call = establish(phone, self.core, f"sip:bob@{self.domain}")
        _, outside = self.own(call.seen)
        self.assertEqual((outside.scheme, outside.port), ("sip", 5061))
        call.hang_up()

    @each(*ALL)
    def test_RR_06__the_host_is_the_sessions_own_domain(self):
        others = [name for name in self.site.domains if name != self.domain]
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        for message in (call.seen, call.ok):
            text = str(message)
            self.assertFalse([name for name in others if name in text])
        if self.domain.startswith("pbx"):
            self.assertEqual(call.ok.contact.uri.host, self.domain)
        call.hang_up()

    @each("proxy-tcp")
    def test_RR_07__the_core_value_says_tcp(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.assertEqual(self.own(call.seen)[0].transport, "tcp")
        call.hang_up()

    @each(*PROXY)
    def test_RR_08__responses_keep_record_route(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.assertEqual(call.ringing.values("Record-Route"), call.seen.values("Record-Route"))
        self.assertEqual(call.ok.values("Record-Route"), call.seen.values("Record-Route"))
        call.hang_up()


class Mirror(EdgeTest):
    """RR-03 with `transport_parameter: never`; aliases."""

    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site()
        site.add("a.example", "proxy", aliases=["sip.a.example", "*.phones.a.example"],
                 tls={"transport_parameter": "never", "advertise": "sip.a.example"})
        site.add("b.example", "pbx", tls={"transport_parameter": "never"})
        return site

    @each("a", "b")
    def test_RR_03__never_means_never(self):
        phone = self.phone(scheme="sip", contact="sip:alice@192.0.2.7:49152;transport=tls")
        call = establish(phone, self.core, f"sip:bob@{self.domain}")
        for text in call.ok.values("Record-Route") + call.ok.values("Contact"):
            self.assertNotIn("transport=tls", text)
        call.hang_up()

    def test_RT_01_URI_01__aliases_are_own(self):
        for name in ("sip.a.example", "x.phones.a.example", "SIP.A.EXAMPLE", "a.example."):
            phone = self.phone()
            message = phone.build("MESSAGE", f"sip:User@{name}", contact=None,
                                  headers=[("Route", f"<sip:{name};lr>")])
            seen, _ = self.through(phone, message)
            self.assertEqual(seen.values("Route"), [])
            self.assertEqual(seen.uri.split("@")[0], "sip:User")  # URI-01
        self.refused(self.phone(), phone.build("MESSAGE", "sip:u@x.y.phones.a.example", contact=None), 403)

    def test_RR_06__advertise_is_the_host(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.assertEqual(NameAddr(call.ok.values("Record-Route")[1]).uri.host, "sip.a.example")
        call.hang_up()
