"""REG: registration at the edge, core of kind `proxy` (docs/conformance.md §7)."""

from harness.case import PROXY, StandardTest, each
from harness.dialog import Call, Dialog, establish
from harness.sip import SDP, NameAddr
from harness.tag import of


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
