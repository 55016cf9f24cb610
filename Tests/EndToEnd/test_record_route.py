"""RR: Record-Route, and the other URIs that the edge writes (docs/conformance.md §4.2)."""

from harness.case import ALL, PROXY, EdgeTest, StandardTest, each
from harness.dialog import Dialog, establish
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


class ExampleFlows(StandardTest):
    """The three flows of RFC 3261 §16.12.1, the edge in the place of one of their proxies."""

    domain = "proxy-udp.example"

    def call(self, *recorded):
        """A call to U2, of which the core is the last proxy and records itself. Returns both sides' dialogs."""
        u1 = self.phone("u1", scheme="sip", contact="sip:caller@u1.example.com")
        invite = u1.request("INVITE", f"sip:callee@{self.domain}", body=SDP)
        seen = self.core.expect("INVITE", call_id=invite.call_id)
        self.own = seen.values("Record-Route")
        self.assertEqual(len(self.own), 2)  # RR-02
        for route in recorded:
            seen.insert("Record-Route", route)
        answer = self.core.reply(seen, 200, contact="sip:callee@u2.example.com", body=SDP,
                                 headers=[("Content-Type", "application/sdp")])
        ok = u1.expect(200)
        one, other = Dialog(u1, invite, ok, True), Dialog(self.core, seen, answer, False)
        self.assertEqual(one.routes, [*reversed(self.own), *recorded])
        self.assertEqual((one.target, other.target), ("sip:callee@u2.example.com", "sip:caller@u1.example.com"))
        one.ack()
        self.check(self.core.expect("ACK"), *self.next_hop(one.target, recorded))
        return one, other

    @staticmethod
    def next_hop(target, routes):
        """Request-URI and Routes of a request that goes to `target` by `routes` (RFC 3261 §16.6 item 6)."""
        if not routes or NameAddr(routes[0]).uri.is_loose:
            return target, list(routes)
        return NameAddr(routes[0]).spec, [*routes[1:], f"<{target}>"]

    def check(self, seen, uri, routes):
        self.assertEqual((seen.uri, seen.values("Route")), (uri, list(routes)))

    def end(self, sender, sent, receiver, uri, routes=()):
        seen = receiver.expect("BYE", call_id=sent.call_id)
        self.check(seen, uri, routes)
        receiver.reply(seen, 200)
        sender.expect(200, "BYE", call_id=sent.call_id)

    @each(*PROXY)
    def test_RR_10__the_basic_trapezoid(self):
        p2 = f"<sip:p2@{self.core.ip}:5060;lr>"
        one, _ = self.call(p2)
        self.end(one.peer, one.send("BYE"), self.core, "sip:callee@u2.example.com", [p2])
        one, other = self.call(p2)
        # U2's BYE has passed P2, which took its own Route away.
        bye = other.build("BYE").remove("Route")
        for route in self.own:
            bye.add("Route", route)
        self.core.send(bye, self.edge.core_address)
        self.end(self.core, bye, one.peer, "sip:caller@u1.example.com")

    @each(*PROXY)
    def test_RR_10__a_strict_router_in_the_path(self):
        strict, p4 = f"<sip:p3@{self.core.ip}:5060>", f"<sip:p4@{self.core.ip}:5070;lr>"
        # The edge before the strict router: it is put into the Request-URI, the target to the end of the Routes.
        one, _ = self.call(strict, p4)
        self.end(one.peer, one.send("BYE"), self.core, f"sip:p3@{self.core.ip}:5060", [p4, "<sip:callee@u2.example.com>"])
        # Behind it: the edge's own URI is the Request-URI, the target the last of the Routes.
        one, other = self.call(strict, p4)
        bye = other.build("BYE").remove("Route")
        bye.uri = NameAddr(self.own[0]).spec
        for route in (self.own[1], "<sip:caller@u1.example.com>"):
            bye.add("Route", route)
        self.core.send(bye, self.edge.core_address)
        self.end(self.core, bye, one.peer, "sip:caller@u1.example.com")

    @each(*PROXY)
    def test_RR_10__a_proxy_between_two_networks(self):
        one, other = self.call()
        inside, outside = (NameAddr(value).uri for value in self.own)
        self.assertEqual((inside.host, outside.host), (self.edge.core, self.domain))
        self.assertTrue(inside.is_loose and outside.is_loose)
        self.end(one.peer, one.send("BYE"), self.core, "sip:callee@u2.example.com")
        one, other = self.call()
        self.end(self.core, other.send("BYE"), one.peer, "sip:caller@u1.example.com")


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
