"""VAL, RT, FWD: validation, routes and forwarding (docs/conformance.md §4.1, §4.2); SEC-01."""

from harness.case import ALL, PROXY, StandardTest, each
from harness.dialog import Dialog, establish
from harness.sip import SDP, NameAddr


class Validation(StandardTest):
    domain = "proxy-udp.example"

    def message(self, phone, method="MESSAGE", **options):
        options.setdefault("contact", None)
        return phone.build(method, options.pop("uri", f"sip:bob@{self.domain}"), **options)

    @each(*ALL)
    def test_VAL_01__max_forwards_zero(self):
        phone = self.phone()
        for method in ("INVITE", "OPTIONS", "MESSAGE"):
            self.refused(phone, self.message(phone, method, max_forwards="0", contact=True), 483)

    @each(*ALL)
    def test_VAL_02__max_forwards_falls(self):
        phone = self.phone()
        for value, expected in (("70", "69"), ("1", "0"), ("255", "254"), (None, "70")):
            seen, _ = self.through(phone, self.message(phone, max_forwards=value))
            self.assertEqual(seen.one("Max-Forwards"), expected)

    @each(*ALL)
    def test_VAL_03__unknown_proxy_require(self):
        phone = self.phone()
        message = self.message(phone, headers=[("Proxy-Require", "nothing-such"), ("Proxy-Require", "privacy, other")])
        answer = self.refused(phone, message, 420)
        self.assertEqual(answer.values("Unsupported"), ["nothing-such", "privacy", "other"])

    @each(*ALL)
    def test_VAL_04__require_is_not_ours(self):
        phone = self.phone()
        message = self.message(phone, headers=[("Require", "nothing-such, 100rel")])
        seen, _ = self.through(phone, message)
        self.assert_forwarded(message, seen, uri=seen.uri)

    def test_VAL_05__a_loop_ends_at_once(self):
        phone = self.phone()
        message = phone.send(self.message(phone))
        seen = self.core.expect("MESSAGE")
        back = seen.copy().insert("Via", self.core.via())
        back.set("Max-Forwards", "68").remove("Content-Length")
        self.core.send(back, self.edge.core_address)
        self.core.expect(482, call_id=message.call_id)
        self.core.reply(seen, 404)
        phone.expect(404)

    @each(*PROXY)
    def test_VAL_06__a_spiral_passes(self):
        bob, alice = self.phone("bob"), self.phone()
        seen, _ = bob.register(self.core)
        alice.send(self.message(alice))
        first = self.core.expect("MESSAGE")
        on = first.copy().insert("Via", self.core.via())
        on.uri = bob.contact
        on.set("Max-Forwards", "68").set("Route", seen.values("Path")[0])
        self.core.send(on, self.edge.core_address)
        got = bob.expect("MESSAGE")
        self.assertEqual(len(got.values("Via")), 4)
        bob.reply(got, 200)
        answer = self.core.expect(200)
        rest = answer.copy()
        vias = answer.values("Via")[1:]
        rest.set("Via", ", ".join(vias))
        self.core.respond(first, rest)
        alice.expect(200)

    def test_VAL_07__malformed_headers_that_nobody_here_needs_pass(self):
        phone = self.phone()
        message = self.message(phone, "OPTIONS", headers=[
            ("Date", "yesterday; or so"), ("Expires", "-1 soon"), ("Contact", ";q=x"), ("Retry-After", "(")])
        seen, _ = self.through(phone, message)
        self.assert_forwarded(message, seen)

    @each("proxy-udp", "pbx-udp")
    def test_VAL_09__the_edge_itself(self):
        phone = self.phone()
        for uri in (f"sip:{self.domain}", f"sip:{self.edge.outside}:5061"):
            answer = self.refused(phone, self.message(phone, "OPTIONS", uri=uri), 200)
            self.assertTrue(answer.has("Supported"))
            self.assertFalse(answer.has("Allow"))
            self.assertEqual(answer.body, b"")
            self.refused(phone, self.message(phone, "MESSAGE", uri=uri), 404)


class Routes(StandardTest):
    domain = "proxy-udp.example"

    @each(*ALL)
    def test_RT_01__an_own_route_is_removed_in_any_spelling(self):
        phone, outside = self.phone(), self.edge.outside
        for route in (f"sip:{self.domain}", f"sip:{self.domain}:5061", f"sips:{self.domain}", f"sip:{outside}:5061",
                      f"sip:{self.domain.upper()};transport=tls", f"sips:{outside}"):
            message = phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None,
                                  headers=[("Route", f"<{route};lr>")])
            seen, _ = self.through(phone, message)
            self.assertEqual(seen.values("Route"), [], route)
            self.assert_forwarded(message, seen)

    @each(*PROXY)
    def test_RT_02__both_own_record_routes_are_one_hop(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.assertEqual(len(call.caller.routes), 2)
        sent, seen, _ = call.hang_up()
        self.assertEqual(seen.values("Route"), [])
        self.assertEqual(len(seen.values("Via")), 2)
        self.assertEqual(seen.get("Max-Forwards"), "69")
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        sent, seen, _ = call.hang_up("callee")
        self.assertEqual(seen.values("Route"), [])
        self.assertEqual(len(seen.values("Via")), 2)

    @each(*PROXY)
    def test_RT_03__a_strict_router_upstream(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sip:bob@{self.domain}")
        bye = call.caller.build("BYE")
        routes = bye.values("Route")
        bye.remove("Route")
        bye.uri = NameAddr(routes[0]).spec
        for route in routes[1:] + [f"<{call.caller.target}>"]:
            bye.add("Route", route)
        phone.send(bye)
        seen = self.core.expect("BYE")
        self.assertEqual(seen.uri, call.caller.target)
        self.assertEqual(seen.values("Route"), [])
        self.core.reply(seen, 200)
        phone.expect(200)

    @each(*PROXY)
    def test_RT_04__a_strict_router_downstream(self):
        phone = self.phone()
        invite = phone.invite()
        seen = self.core.expect("INVITE")
        strict = f"<sip:strict@{self.core.ip}:5060>"
        seen.insert("Record-Route", strict)
        answer = self.core.reply(seen, 200, contact=f"sip:bob@{self.core.ip}:5070")
        dialog = Dialog(phone, invite, phone.expect(200), True)
        self.assertEqual(dialog.routes[-1], strict)
        dialog.ack()
        ack = self.core.expect("ACK")
        self.assertEqual(ack.uri, f"sip:strict@{self.core.ip}:5060")
        self.assertEqual(ack.values("Route"), [f"<sip:bob@{self.core.ip}:5070>"])
        self.assertEqual(answer.to_tag, ack.to_tag)

    def test_RT_05__own_maddr_is_stripped(self):
        phone = self.phone()
        message = phone.build("MESSAGE", f"sip:bob@{self.domain};maddr={self.edge.outside};transport=tls;x=1",
                              contact=None)
        seen, _ = self.through(phone, message)
        self.assertEqual(seen.uri, f"sip:bob@{self.domain};x=1")

    @each(*ALL)
    def test_RT_08__an_altered_token_is_refused(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        text = call.caller.routes[0] if call.caller.routes else call.caller.target
        user = (NameAddr(text).uri if call.caller.routes else NameAddr(f"<{text}>").uri).user
        self.assertTrue(user, "our URI carries a token")
        middle = len(user) // 2
        altered = user[:middle] + ("A" if user[middle] != "A" else "B") + user[middle + 1:]
        info = call.caller.build("INFO")
        changed = info.encode().replace(user.encode(), altered.encode())
        phone.send(changed)
        self.assertIn(phone.expect(lambda answer: answer.status > 100).status,
                      (403,) if self.domain.startswith("proxy") else (403, 404))
        self.fence(phone)
        call.hang_up()


class Forwarding(StandardTest):
    domain = "proxy-udp.example"

    @each(*PROXY)
    def test_FWD_02__nothing_else_is_touched(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}", headers=[
            ("subject", "spaces   inside"), ("X-Odd", ""), ("USER-agent", "u"), ("k", "timer"), ("X-Odd", ",;,")])
        self.assert_forwarded(call.invite, call.seen)
        self.assertEqual(self.kept(call.ok), self.kept(call.answer))
        self.assert_forwarded(call.ack, call.seen_ack)
        for side in ("caller", "callee"):
            sent, seen, _ = call.hang_up(side)
            self.assert_forwarded(sent, seen)

    @each(*PROXY)
    def test_FWD_03__extensions_pass_unchanged(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}", headers=[
            ("Session-Expires", "90;refresher=uac"), ("Identity", "a;info=<https://x/>;alg=ES256"),
            ("Reason", 'Q.850;cause=16;text="a"')])
        self.assert_forwarded(call.invite, call.seen)
        for one, other in ((call.caller, call.callee), (call.callee, call.caller)):
            for method, headers in (("PRACK", [("RAck", "1 1 INVITE")]), ("UPDATE", [("Session-Expires", "90")]),
                                    ("INFO", [("Info-Package", "x")]),
                                    ("REFER", [("Refer-To", "<sips:x@y?Replaces=1>")]),
                                    ("NOTIFY", [("Event", "refer"), ("Subscription-State", "active")])):
                sent = one.send(method, headers=headers, body=SDP)
                seen = other.peer.expect(method, call_id=call.call_id)
                self.assert_forwarded(sent, seen)
                answer = other.peer.reply(seen, 200, headers=[("RSeq", "9"), ("Require", "100rel")])
                ok = one.peer.expect(200, method, call_id=call.call_id)
                self.assertEqual(self.kept(ok), self.kept(answer))
        call.hang_up()


class StrictBoundary(StandardTest):
    """SEC-01 and REG-17: nothing is relayed from outside to outside."""

    domain = "proxy-udp.example"

    @each(*ALL)
    def test_SEC_01__unserved_domains_and_foreign_routes(self):
        phone = self.phone()
        other = next(name for name in self.site.domains if name != self.domain)
        for uri, headers in (("sip:bob@far.invalid", []), ("sip:bob@192.0.2.50", []), (f"sip:bob@{other}", []),
                             (f"sip:bob@{self.domain}", [("Route", "<sip:far.invalid;lr>")]),
                             (f"sip:bob@{self.domain}", [("Route", f"<sip:{self.domain};lr>, <sip:far.invalid;lr>")]),
                             (f"sip:bob@{self.domain}", [("Route", "<sip:192.0.2.50;lr>")])):
            for method in ("INVITE", "MESSAGE"):
                self.refused(phone, phone.build(method, uri, headers=headers), 403)

    @each(*ALL)
    def test_SEC_01__the_core_cannot_be_named_from_outside(self):
        phone = self.phone()
        for uri in (f"sip:bob@{self.core.ip}", f"sip:bob@{self.edge.core}:5060"):
            self.refused(phone, phone.build("MESSAGE", uri, contact=None), 403)

    def test_REG_17__register_for_another_domain(self):
        phone = self.phone()
        message = phone.build("REGISTER", "sips:proxy-tcp.example", to="<sips:alice@proxy-tcp.example>")
        self.refused(phone, message, 403)
        self.site.core("proxy-tcp.example").expect_nothing()
