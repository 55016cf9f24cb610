"""REG and KEEP: registration at the edge (docs/conformance.md §7), and the keep-alives that follow from it."""

from harness import streams
from harness.case import ALL, PROXY, EdgeTest, StandardTest, each
from harness.dialog import Call, Dialog, establish
from harness.sip import SDP, NameAddr
from harness.site import Site
from harness.tag import of
from harness.wait import Deadline


class Registration(StandardTest):
    domain = "proxy-udp.example"

    def outbound(self, phone, **options):
        """A registration with instance and reg-id (RFC 5626 §4.2)."""
        options.setdefault("contact", f'<{phone.contact}>;reg-id=1;+sip.instance="<urn:uuid:{phone.user}>"')
        return phone.register(self.core, **options)

    def towards(self, phone, path, uri=None, method="MESSAGE", **options):
        """A request of the core along a Path value."""
        options.setdefault("contact", None)
        return self.core.request(method, uri or phone.contact, headers=[("Route", path)], **options)

    @each(*PROXY)
    def test_REG_01__one_path_value_with_flow_token(self):
        phone = self.phone()
        seen, _ = self.outbound(phone, headers=[("Path", "<sip:p.invalid;lr>")])
        paths = seen.values("Path")
        self.assertEqual(len(paths), 2)
        self.assertEqual(paths[1], "<sip:p.invalid;lr>")
        uri = NameAddr(paths[0]).uri
        self.assertEqual((uri.scheme, uri.host), ("sip", self.edge.core))
        self.assertTrue(uri.user)
        self.assertTrue(uri.is_loose)
        self.assertIn("ob", uri.params)
        self.assertIn("path", [tag.strip() for row in seen.rows("Require") for tag in row.split(",")])
        if self.domain == "proxy-tcp.example":
            self.assertEqual(uri.transport, "tcp")

    @each(*PROXY)
    def test_REG_01__everything_else_passes(self):
        phone = self.phone()
        sent = phone.build("REGISTER", f"sips:{self.domain}", to=f"<sips:alice@{self.domain}>", headers=[
            ("Supported", "path, outbound"), ("Expires", "60"), ("Authorization", 'Digest username="a", realm="r"')],
            contact=f'"A, B" <{phone.contact};x=1>;q=0.5;reg-id=1;+sip.instance="<urn:uuid:1>";expires=30')
        seen, _ = self.through(phone, sent)
        self.assert_forwarded(sent, seen, but=("require",))

    @each(*PROXY)
    def test_REG_02__behind_another_proxy_the_path_has_no_ob(self):
        phone = self.phone()
        message = phone.build("REGISTER", f"sips:{self.domain}", to=f"<sips:alice@{self.domain}>",
                              contact=f'<{phone.contact}>;reg-id=1;+sip.instance="<urn:uuid:1>"',
                              headers=[("Supported", "path, outbound")])
        message.headers.insert(1, ("Via", "SIP/2.0/TLS device.invalid;branch=z9hG4bKdevice"))
        seen, _ = self.through(phone, message)
        for path in seen.values("Path"):
            self.assertNotIn("ob", NameAddr(path).uri.params)

    @each(*PROXY)
    def test_REG_03__path_unsupported(self):
        phone = self.phone()
        message = phone.build("REGISTER", f"sips:{self.domain}", to=f"<sips:alice@{self.domain}>")
        answer = self.refused(phone, message, 421)
        self.assertEqual(answer.values("Require"), ["path"])

    @each(*PROXY)
    def test_REG_04__the_path_leads_to_that_connection(self):
        phone, other = self.phone(), self.phone()
        seen, _ = self.outbound(phone)
        self.outbound(other)
        path = seen.values("Path")[0]
        for uri in (phone.contact, "sip:alice@192.0.2.7:49152;transport=udp", "sips:x@far.invalid",
                    "sip:alice@203.0.113.1:9;transport=sctp"):
            sent = self.towards(phone, path, uri)
            got = phone.expect("MESSAGE", call_id=sent.call_id)
            self.assertEqual(got.uri, uri)
            self.assertEqual(got.values("Route"), [])
            self.assert_forwarded(sent, got)
            phone.reply(got, 200)
            self.core.expect(200, call_id=sent.call_id)
        other.expect_nothing()

    @each(*PROXY)
    def test_REG_04__a_call_along_the_path(self):
        phone = self.phone()
        seen, _ = self.outbound(phone)
        call = establish(self.core, phone, phone.contact, headers=[("Route", seen.values("Path")[0])])
        call.hang_up()
        call = establish(self.core, phone, phone.contact, headers=[("Route", seen.values("Path")[0])])
        call.hang_up("callee")

    @each(*PROXY)
    def test_REG_05__an_altered_token_is_refused(self):
        phone = self.phone()
        seen, _ = self.outbound(phone)
        path = seen.values("Path")[0]
        user = NameAddr(path).uri.user
        for index in (len(user) // 4, len(user) // 2, len(user) - 2):
            other = user[:index] + ("A" if user[index] != "A" else "B") + user[index + 1:]
            sent = self.towards(phone, path.replace(user, other))
            answer = self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id)
            self.assertEqual(answer.status, 403)
        self.fence(phone)
        phone.expect_nothing()

    @each(*PROXY)
    def test_REG_06__a_closed_flow_is_430(self):
        phone = self.phone()
        seen, _ = self.outbound(phone)
        again = self.phone()
        phone.close()
        self.fence(again)
        for method in ("MESSAGE", "INVITE"):
            sent = self.towards(phone, seen.values("Path")[0], method=method, contact=True)
            answer = self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id)
            self.assertEqual(answer.status, 430)
            if method == "INVITE":
                self.core.send(self.core.ack_failure(sent, answer), self.edge.core_address)
        again.expect_nothing()

    @each(*PROXY)
    def test_REG_07__in_dialog_requests_use_the_flow(self):
        phone = self.phone()
        seen, _ = self.outbound(phone)
        call = establish(self.core, phone, "sip:alice@192.0.2.7;transport=udp",
                         headers=[("Route", seen.values("Path")[0])])
        for value in call.seen.values("Record-Route"):
            self.assertNotIn("ob", NameAddr(value).uri.params)
        _, got, _ = call.hang_up()
        self.assertEqual(got.uri, phone.contact)
        phone.contact += ";ob"
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        call.hang_up("callee")

    @each(*PROXY)
    def test_REG_08__in_dialog_requests_from_the_device_go_on(self):
        phone = self.phone()
        seen, _ = self.outbound(phone)
        call = establish(self.core, phone, phone.contact, headers=[("Route", seen.values("Path")[0])])
        call.callee.send("INFO")
        got = self.core.expect("INFO")
        self.assertEqual(got.uri, self.core.contact)
        self.core.reply(got, 200)
        phone.expect(200, "INFO")
        phone.expect_nothing()
        call.hang_up()

    @each(*PROXY)
    def test_REG_09__the_flow_counts_not_the_contact(self):
        for contact in ("sip:alice@10.0.0.1:5060", "sip:alice@192.0.2.7;transport=udp", "sip:alice@192.0.2.7:9"):
            phone = self.phone(scheme="sip", contact=contact)
            seen, ok = phone.register(self.core)
            self.assertEqual(seen.contact.spec, contact)
            self.assertEqual(ok.contact.spec, contact)
            sent = self.towards(phone, seen.values("Path")[0])
            got = phone.expect("MESSAGE", call_id=sent.call_id)
            self.assertEqual(got.uri, contact)
            phone.reply(got, 200)
            self.core.expect(200)

    def test_REG_13_REG_14__what_the_registrar_adds_passes(self):
        phone = self.phone()
        phone.request("REGISTER", f"sips:{self.domain}", headers=[("Supported", "path")])
        seen = self.core.expect("REGISTER")
        extra = [("Service-Route", "<sip:sr.invalid;lr>"), ("P-Associated-URI", "<sip:a@b.invalid>"),
                 ("Date", "Sat, 13 Nov 2010 23:29:00 GMT"), ("Min-Expires", "60"), ("Supported", "path, outbound"),
                 ("Contact", f'<{phone.contact}>;pub-gruu="sip:a@b.invalid;gr=urn:x";expires=9')]
        answer = self.core.reply(seen, 200, headers=extra)
        ok = phone.expect(200)
        self.assertEqual(self.kept(ok), self.kept(answer))  # REG-14 too

    @each(*PROXY)
    def test_REG_14__gruu_passes_octet_for_octet(self):
        phone = self.phone()
        phone.contact = f"sips:alice@{self.domain};gr=urn:uuid:f81d4fae-7dec"
        call = establish(phone, self.core, f"sips:bob@{self.domain};gr=kjh29x97us97d")
        self.assertEqual(call.seen.uri, f"sips:bob@{self.domain};gr=kjh29x97us97d")
        self.assertEqual(call.seen.contact.spec, phone.contact)
        sent = call.callee.send("INFO")
        self.assertEqual(phone.expect("INFO", call_id=sent.call_id).uri, phone.contact)
        phone.contact = "sips:alice@192.0.2.7"
        seen, _ = phone.register(self.core, contact=f'<{phone.contact};gr>;temp-gruu="sip:tgruu.7hs==jd7vn@{self.domain};gr"')
        self.assertEqual(seen.rows("Contact"), [f'<{phone.contact};gr>;temp-gruu="sip:tgruu.7hs==jd7vn@{self.domain};gr"'])

    def test_REG_16__a_new_connection_is_a_new_token(self):
        one, two = self.phone(), self.phone()
        first, _ = self.outbound(one)
        second, _ = self.outbound(two)
        self.assertNotEqual(first.values("Path")[0], second.values("Path")[0])
        sent = self.towards(two, second.values("Path")[0])
        two.reply(two.expect("MESSAGE", call_id=sent.call_id), 200)

    @each(*PROXY)
    def test_registration_tag_the_registration_is_tagged(self):
        for scheme, arrived in (("sips", "sips"), ("sip", "tls")):
            phone = self.phone(scheme=scheme)
            seen, _ = self.outbound(phone)
            self.assertEqual(of(seen)["arrived"], arrived)

    @each(*PROXY)
    def test_calls_between_two_devices_cross_the_edge_twice(self):
        alice, bob = self.phone(), self.phone("bob")
        seen, _ = self.outbound(bob)
        invite = alice.invite()
        first = self.core.expect("INVITE", call_id=invite.call_id)
        second = first.copy().remove("Content-Length")
        second.insert("Via", self.core.via()).insert("Record-Route", f"<sip:{self.core.sent_by};lr"
                                                     + (";transport=tcp>" if self.core.transport == "tcp" else ">"))
        second.uri = bob.contact
        second.set("Max-Forwards", "60").add("Route", seen.values("Path")[0])
        self.core.send(second)
        got = bob.expect("INVITE")
        answer = bob.reply(got, 200, headers=[("Content-Type", "application/sdp")], body=SDP)
        ok = self.core.expect(200, "INVITE", call_id=invite.call_id)
        vias = ok.values("Via")
        ok.set("Via", ", ".join(vias[1:])).remove("Content-Length")
        self.core.respond(first, ok)
        dialog = Dialog(alice, invite, alice.expect(200, "INVITE"), True)
        call = Call(dialog, Dialog(bob, got, answer, False))
        dialog.ack()
        ack = self.core.expect("ACK", call_id=invite.call_id)
        self.assertEqual(len(call.caller.routes), 5)
        routes = ack.values("Route")
        self.assertEqual(NameAddr(routes[0]).uri.host, self.core.ip)
        onward = ack.copy().insert("Via", self.core.via()).remove("Route").remove("Content-Length")
        for route in routes[1:]:
            onward.add("Route", route)
        self.core.send(onward)
        self.assertEqual(bob.expect("ACK").uri, bob.contact)


class Bindings(StandardTest):
    """What a registrar's answer makes of the edge's bindings, core of kind `pbx`."""

    domain = "pbx-udp.example"

    def register(self, phone, status=200, expires=None, contact=None, granted=(), headers=()):
        """REGISTER, answered `status`; returns the Contact that the core saw."""
        options = {"contact": contact} if contact else {}
        sent = phone.request("REGISTER", f"{phone.scheme}:{self.domain}", to=f"<{phone.aor}>",
                             headers=[("Expires", str(expires))] if expires is not None else [], **options)
        seen = self.core.expect("REGISTER", call_id=sent.call_id)
        self.core.reply(seen, status, headers=[("Contact", value) for value in granted] + list(headers))
        answer = phone.expect(status, call_id=sent.call_id)
        return seen, answer

    def reached(self, phone, uri):
        sent = self.core.request("MESSAGE", uri, contact=None)
        phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200)
        self.core.expect(200, call_id=sent.call_id)

    def is_away(self, uri):
        sent = self.core.request("MESSAGE", uri, contact=None)
        answer = self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id)
        self.assertEqual(answer.status, 480, str(answer))

    @each("pbx-udp", "pbx-tcp")
    def test_REG_15__only_a_2xx_makes_refreshes_or_ends_a_binding(self):
        phone = self.phone("reg15")
        for status, headers in ((401, [("WWW-Authenticate", 'Digest realm="a", nonce="b"')]), (403, []),
                                (423, [("Min-Expires", "900")]), (500, [])):
            seen, _ = self.register(phone, status, headers=headers)
            self.is_away(seen.contact.spec)
        ours = seen.contact.spec
        self.register(phone, granted=[f"<{ours}>;expires=600"])
        self.reached(phone, ours)
        for status in (401, 403, 423):
            self.register(phone, status, expires=0)
            self.reached(phone, ours)
        self.register(phone, 403, expires=0, contact="*")
        self.reached(phone, ours)
        self.register(phone, expires=0, contact="*")
        self.is_away(ours)
        self.register(phone, granted=[f"<{ours}>;expires=600"])
        self.register(phone, expires=0)
        self.is_away(ours)

    @each("pbx-udp")
    def test_REG_15__the_registrars_expiry_counts(self):
        phone = self.phone("reg15b")
        seen, ok = self.register(phone, expires=600)  # the core answers with no binding at all
        self.is_away(seen.contact.spec)
        self.register(phone, expires=600, granted=[f"<{seen.contact.spec}>;expires=0"])
        self.is_away(seen.contact.spec)
        self.register(phone, expires=0, granted=[f"<{seen.contact.spec}>;expires=60"])
        self.reached(phone, seen.contact.spec)

    @each(*ALL)
    def test_REG_11__one_registration_has_one_scheme(self):
        phone = self.phone("reg11")
        for uri, contacts in ((f"sip:{self.domain}", ["<sips:u@192.0.2.7>"]),
                              (f"sips:{self.domain}", ["<sips:u@192.0.2.7>", "<sip:u@192.0.2.7>"]),
                              (f"sips:{self.domain}", ["<sip:u@192.0.2.7>, <sips:u@192.0.2.7>"])):
            message = phone.build("REGISTER", uri, contact=None, headers=[
                ("Supported", "path"), *[("Contact", value) for value in contacts]])
            self.assert_warning(self.refused(phone, message, 400), 399)
        seen, _ = phone.register(self.core, contact="<sips:u@192.0.2.7>, <sips:u@192.0.2.8>;q=0.5")
        self.assertEqual(of(seen)["arrived"], "sips")
        for value in seen.values("Path"):
            self.assertEqual(NameAddr(value).uri.scheme, "sip")
            # Its token says sips: a request along it to the sip address, untagged, is one of a SIPS registration.
            sent = self.core.request("MESSAGE", "sips:u@192.0.2.7", headers=[("Route", value)], contact=None)
            phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200)
            self.core.expect(200, call_id=sent.call_id)

    @each(*PROXY)
    def test_REG_10__a_sips_contact_whose_flow_is_gone_is_430(self):
        phone = self.phone("reg10")
        seen, _ = phone.register(self.core)
        phone.close()
        self.fence(self.phone())
        for uri in (phone.contact, phone.contact.replace("sips:", "sip:", 1)):
            sent = self.core.request("MESSAGE", uri, headers=[("Route", seen.values("Path")[0])], contact=None)
            self.assertEqual(self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id).status, 430)

    @each(*ALL)
    def test_REG_12__the_registrars_439_passes(self):
        phone = self.phone("reg12")
        sent = phone.request("REGISTER", f"sips:{self.domain}", headers=[("Supported", "path, outbound")],
                             contact=f'<{phone.contact}>;reg-id=1;+sip.instance="<urn:uuid:1>"')
        seen = self.core.expect("REGISTER", call_id=sent.call_id)
        answer = self.core.reply(seen, 439, "First Hop Lacks Outbound Support", headers=[("X-K", "1")])
        got = phone.expect(439)
        self.assertEqual((got.start, self.kept(got)), (answer.start, self.kept(answer)))
        # One that asks for nothing of it gets none of ours.
        self.assertEqual(phone.register(self.core)[1].status, 200)

    @each(*ALL)
    def test_SEC_06__overload_control_is_not_ours(self):
        phone = self.phone()
        message = phone.build("MESSAGE", f"sips:bob@{self.domain}", contact=None)
        message.set("Via", message.rows("Via")[0] + ';oc;oc-algo="loss,A"')
        seen, answer = self.through(phone, message)
        own, *lower = seen.vias
        self.assertFalse({"oc", "oc-algo"} & set(own.params))
        for via in lower + answer.vias:
            self.assertEqual((via.params["oc"], via.params["oc-algo"]), ("", '"loss,A"'))


class KeepAlives(EdgeTest):
    """`core.flow_timer`: Flow-Timer and `keep`."""

    domain = "pbx.example"

    @classmethod
    def make_site(cls):
        site = Site(edge_options={"timers": {"flow_grace": "300ms", "idle": "1h"}})
        for kind in ("pbx", "proxy"):
            site.add(f"{kind}.example", kind, core={"flow_timer": "1s"})
            site.add(f"plain-{kind}.example", kind)
        return site

    def register(self, phone, via="", require=True, expires=600, lower=None):
        """Returns (what the core saw, the 200)."""
        message = phone.build("REGISTER", f"sips:{self.domain}", to=f"<{phone.aor}>", headers=[
            ("Supported", "path, outbound"), ("Expires", str(expires))])
        message.set("Via", message.rows("Via")[0] + via)
        if lower:
            message.headers.insert(1, ("Via", lower))
        phone.send(message)
        seen = self.core.expect("REGISTER", call_id=message.call_id)
        self.core.reply_as_registrar(seen, expires, [("Require", "outbound")] if require else [])
        return seen, phone.expect(200, call_id=message.call_id)

    @each("pbx", "proxy")
    def test_KEEP_07__a_registered_device_is_told_and_held_to_it(self):
        phone = self.phone()
        _, ok = self.register(phone)
        self.assertEqual(ok.rows("Flow-Timer"), ["1"])
        self.assertIn(phone.expect_closed(seconds=8), ("close_notify", "fin"))
        self.fence(self.phone())

    @each("pbx", "proxy")
    def test_KEEP_07__keep_alives_keep_the_flow(self):
        phone, silent = self.phone(), self.phone("bob")
        self.register(phone)
        self.register(silent)
        for count in range(1, 40):
            phone.stream.write(b"\r\n\r\n")
            phone.expect_pong(count)
            try:
                silent._pump(Deadline(0.1))
            except streams.Closed:
                break
        else:
            self.fail("the silent device's flow was not dropped")
        self.fence(phone)

    @each("pbx", "proxy", "plain-pbx", "plain-proxy")
    def test_KEEP_07__who_is_not_told_is_not_held(self):
        phone = self.phone()
        if self.domain.startswith("plain"):
            self.assertFalse(self.register(phone)[1].has("Flow-Timer"))
            return
        self.assertFalse(self.register(phone, require=False)[1].has("Flow-Timer"))
        self.assertFalse(self.register(phone, lower="SIP/2.0/TLS p.invalid;branch=z9hG4bKp")[1].has("Flow-Timer"))
        watched = self.phone("bob")
        self.register(watched)
        watched.expect_closed(seconds=8)
        self.fence(phone)

    @each("pbx", "proxy")
    def test_KEEP_08__an_offer_gets_its_interval_in_the_answer_alone(self):
        phone = self.phone()
        for via, expected in ((";keep", "1"), (";KEEP", "1"), (";keep=9", ""), ("", None)):
            seen, ok = self.register(phone, via, require=False)
            self.assertEqual(ok.vias[0].params.get("keep"), expected)
            for own in seen.vias:
                self.assertIn(own.params.get("keep"), (None, "", "9") if via == ";keep=9" else (None, ""))
        _, ok = self.register(phone, ";keep")
        self.assertEqual((ok.vias[0].params["keep"], ok.rows("Flow-Timer")), ("1", ["1"]))
        _, ok = self.register(phone, ";keep", lower="SIP/2.0/TLS p.invalid;branch=z9hG4bKp;keep=7;x")
        self.assertEqual([via.params["keep"] for via in ok.vias], ["1", ""])
        self.assertEqual(ok.vias[1].params["x"], "")

    @each("pbx", "proxy")
    def test_KEEP_08__an_invite_too_but_no_other_request(self):
        phone = self.phone()
        for method, status, expected in (("INVITE", 200, "1"), ("INVITE", 486, ""), ("MESSAGE", 200, "")):
            message = phone.build(method, f"sips:bob@{self.domain}")
            message.set("Via", message.rows("Via")[0] + ";keep")
            phone.send(message)
            seen = self.core.expect(method, call_id=message.call_id)
            if method == "INVITE":
                self.core.reply(seen, 180)
                self.assertEqual(phone.expect(180).vias[0].params["keep"], "1")
            self.core.reply(seen, status)
            answer = phone.expect(status)
            self.assertEqual(answer.vias[0].params["keep"], expected)
            if status == 486:
                phone.send(phone.ack_failure(message, answer))
                self.core.expect("ACK")

    @each("plain-pbx", "plain-proxy")
    def test_KEEP_08__without_a_timer_nothing_is_agreed(self):
        self.assertEqual(self.register(self.phone(), ";keep")[1].vias[0].params["keep"], "")
