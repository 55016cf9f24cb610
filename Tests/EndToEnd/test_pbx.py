"""PBX: a core of kind `pbx` sees the edge alone, and so does the outside (docs/conformance.md, section PBX)."""

from harness.case import PBX, StandardTest, each
from harness.dialog import Dialog, establish
from harness.sip import SDP, NameAddr, URI, token
from harness.tag import of

VISIBLE = ("Via", "Contact", "Record-Route", "Route", "Path", "Service-Route", "Warning", "Reason")


class Mapping(StandardTest):
    domain = "pbx-udp.example"

    def assert_hides_core(self, message):
        """No address of the core network in what the edge must map (PBX-04)."""
        text = message.start + "\n" + "\n".join(row for name in VISIBLE for row in message.rows(name))
        for address in (self.core.ip, self.edge.core):
            self.assertNotIn(address, text)

    def assert_shows_edge_alone(self, message):
        """The core sees one Via, the edge's, and no address of the outside in routing headers."""
        if message.is_request:
            self.assertEqual(len(message.values("Via")), 1)
            self.assertEqual(message.vias[0].host, self.edge.core)
            self.assertFalse(message.has("Path"))
        for name in ("Contact", "Record-Route", "Route", "Via"):
            for row in message.rows(name):
                self.assertNotIn("192.0.2.7", row)

    def register(self, phone, **options):
        """Registers; returns (token URI as the core has it, what the core saw, the 200)."""
        seen, ok = phone.register(self.core, **options)
        return seen.contact.spec, seen, ok

    def to_token(self, uri, method="MESSAGE", **options):
        options.setdefault("contact", None)
        return self.core.request(method, uri, **options)

    def delivered(self, uri, phone, **options):
        """A MESSAGE to a token arrives at the phone, is answered, and the answer returns."""
        sent = self.to_token(uri, **options)
        got = phone.expect("MESSAGE", call_id=sent.call_id)
        phone.reply(got, 200)
        self.core.expect(200, call_id=sent.call_id)
        return got

    def not_delivered(self, uri, *statuses, seconds=2):
        sent = self.to_token(uri)
        answer = self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id, seconds=seconds)
        self.assertIn(answer.status, statuses, str(answer))
        return answer

    @each(*PBX)
    def test_PBX_01__sips_becomes_sip(self):
        phone = self.phone()
        message = phone.build("MESSAGE", f"sips:al%69ce;p@{self.domain};x=1;transport=tls;y", contact=None)
        seen, _ = self.through(phone, message)
        self.assertEqual(seen.uri, f"sip:al%69ce;p@{self.domain};x=1;y")
        self.assertEqual(of(seen)["arrived"], "sips")

    @each(*PBX)
    def test_URI_04__a_contact_loses_what_no_request_uri_has(self):
        for given, target in (("sips:alice@192.0.2.7;method=INVITE;x=1?Subject=hi&Route=%3csip:x%3e", "sips:alice@192.0.2.7;x=1"),
                              ("sips:alice@192.0.2.7:5061?Subject=x", "sips:alice@192.0.2.7:5061"),
                              ("sips:alice@192.0.2.7;x;METHOD=BYE", "sips:alice@192.0.2.7;x")):
            phone = self.phone(contact=given)
            uri, _, ok = self.register(phone)
            self.assertEqual(ok.contact.spec, given)
            got = self.delivered(uri, phone)
            self.assertEqual(got.uri, target)
            self.assertFalse(got.has("Subject") or got.has("Route"))
            call = establish(phone, self.core, f"sips:bob@{self.domain}")
            sent = call.callee.send("INFO")
            self.assertEqual(phone.expect("INFO", call_id=sent.call_id).uri, target)

    @each(*PBX)
    def test_PBX_02__the_devices_contact_becomes_a_token(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        contact = call.seen.contact
        self.assertEqual(contact.uri.scheme, "sip")
        self.assertEqual(contact.uri.host, self.edge.core)
        self.assertEqual(contact.uri.port or 5060, 5060)
        self.assertTrue(contact.uri.user)
        self.assertNotIn("alice", contact.spec)
        self.assertNotIn("192.0.2.7", contact.spec)
        sent = call.callee.send("INFO")
        got = phone.expect("INFO")
        self.assertEqual(got.uri, phone.contact)
        self.assertEqual(got.call_id, sent.call_id)
        phone.reply(got, 200)
        self.core.expect(200, "INFO")
        call.hang_up("callee")

    @each(*PBX)
    def test_PBX_02__parameters_of_the_contact_header_stay(self):
        phone = self.phone()
        invite = phone.invite(contact=f'"Al, ice" <{phone.contact}>;+sip.rendering="no";x=1')
        seen = self.core.expect("INVITE")
        self.assertEqual(seen.contact.params, {"+sip.rendering": '"no"', "x": "1"})
        self.core.reply(seen, 486)
        phone.send(phone.ack_failure(invite, phone.expect(486)))

    @each(*PBX)
    def test_PBX_03__the_cores_contact_becomes_a_token(self):
        for scheme in ("sips", "sip"):
            phone = self.phone(scheme=scheme)
            call = establish(phone, self.core, f"{scheme}:bob@{self.domain}")
            for answer in (call.ringing, call.ok):
                uri = answer.contact.uri
                self.assertEqual((uri.scheme, uri.host), (scheme, self.domain))
                self.assertTrue(uri.user)
                self.assertEqual(uri.port or 5061, 5061)
            sent, seen, _ = call.hang_up()
            self.assertEqual(URI.parse(sent.uri).host, self.domain)
            self.assertEqual(seen.uri, self.core.contact)

    @each(*PBX)
    def test_PBX_03__a_sip_session_over_tls_is_reached_on_its_port(self):
        phone = self.phone(scheme="sip")
        call = establish(phone, self.core, f"sip:bob@{self.domain}")
        self.assertEqual(call.ok.contact.uri.port, 5061)
        call.hang_up()

    @each(*PBX)
    def test_PBX_03__a_call_from_the_core(self):
        for scheme in ("sips", "sip"):
            phone = self.phone(scheme=scheme)
            uri, seen, _ = self.register(phone)
            call = establish(self.core, phone, uri)
            self.assertEqual(call.seen.uri, phone.contact)
            self.assertEqual((call.seen.contact.uri.scheme, call.seen.contact.uri.host), (scheme, self.domain))
            self.assertEqual(call.ok.contact.uri.host, self.edge.core)
            self.assertEqual(call.ok.contact.uri.scheme, "sip")
            self.assert_hides_core(call.seen)
            self.assert_hides_core(call.seen_ack)
            _, got, _ = call.hang_up("caller")
            self.assertEqual(got.uri, phone.contact)
            call = establish(self.core, phone, uri)
            _, got, _ = call.hang_up("callee")
            self.assertEqual(got.uri, self.core.contact)

    @each(*PBX)
    def test_PBX_04__the_core_network_stays_hidden(self):
        phone = self.phone()
        invite = phone.build("INVITE", f"sips:bob@{self.domain}", body=SDP)
        invite.headers.insert(1, ("Via", "SIP/2.0/TLS lower.invalid;branch=z9hG4bKlower"))
        phone.send(invite)
        seen = self.core.expect("INVITE")
        self.assert_shows_edge_alone(seen)
        nosy = [("Warning", f'399 {self.core.ip}:5060 "from {self.core.ip}"'),
                ("Reason", f'SIP;cause=486;text="by {self.core.ip}"'), ("X-Other", "stays"),
                ("Service-Route", f"<sip:{self.core.ip};lr>"), ("Path", f"<sip:{self.core.ip};lr>")]
        self.core.reply(seen, 183, headers=nosy, contact=self.core.contact)
        progress = phone.expect(183)
        self.assert_hides_core(progress)
        self.assertEqual(progress.values("Via"), [progress.values("Via")[0],
                                                  "SIP/2.0/TLS lower.invalid;branch=z9hG4bKlower"])
        self.assertEqual(progress.get("X-Other"), "stays")
        self.core.reply(seen, 302, headers=[*nosy, ("Contact", f"<sip:bob@{self.core.ip}:5099>")])
        answer = phone.expect(302)
        self.core.expect("ACK")
        self.assert_hides_core(answer)
        phone.send(phone.ack_failure(invite, answer))
        uri, seen, ok = self.register(phone)
        self.assert_shows_edge_alone(seen)
        self.assert_hides_core(ok)
        sent = self.to_token(uri, "SUBSCRIBE", contact=True, headers=[
            ("Event", "dialog"), *nosy, ("Record-Route", f"<sip:{self.core.ip}:5062;lr>")])
        got = phone.expect("SUBSCRIBE", call_id=sent.call_id)
        self.assert_hides_core(got)
        self.assertEqual(got.get("X-Other"), "stays")
        phone.reply(got, 200, contact=phone.contact)
        self.assert_shows_edge_alone(self.core.expect(200))

    @each(*PBX)
    def test_PBX_05__outside_proxies_are_traversed_again(self):
        phone = self.phone()
        routes = ["<sips:p1.invalid;lr>", "<sips:p2.invalid;lr;x=1>"]
        invite = phone.build("INVITE", f"sips:bob@{self.domain}", body=SDP)
        for route in routes:
            invite.add("Record-Route", route)
        phone.send(invite)
        seen = self.core.expect("INVITE")
        self.assertFalse([row for row in seen.rows("Record-Route") if "invalid" in row])
        answer = self.core.reply(seen, 200)
        ok = phone.expect(200)
        self.assertEqual(ok.values("Record-Route"), routes)
        dialog = Dialog(phone, invite, ok, True)
        dialog.routes = []  # the proxies before the edge have taken their own values
        dialog.ack()
        self.core.expect("ACK")
        sent = Dialog(self.core, seen, answer, False).send("BYE")
        got = phone.expect("BYE")
        self.assertEqual(got.values("Route"), routes)
        self.assertEqual(got.uri, phone.contact)
        phone.reply(got, 200)
        self.core.expect(200)
        self.assertEqual(got.cseq, sent.cseq)

    @each(*PBX)
    def test_PBX_07__registration_is_mapped_and_restored(self):
        phone = self.phone()
        contacts = ["<sips:alice@192.0.2.7:49152>;q=0.7;expires=300", '<sips:alice@192.0.2.8>;q=0.3;expires=90;x="a,b"']
        phone.request("REGISTER", f"sips:{self.domain}", to=f"<sips:alice@{self.domain}>", contact=", ".join(contacts),
                      headers=[("Supported", "path, outbound"), ("Expires", "600")])
        seen = self.core.expect("REGISTER")
        self.assert_shows_edge_alone(seen)
        self.assertEqual(seen.uri, f"sip:{self.domain}")
        self.assertEqual(seen.get("Expires"), "600")
        mapped = [NameAddr(value) for value in seen.values("Contact")]
        self.assertEqual([value.params.get("q") for value in mapped], ["0.7", "0.3"])
        self.assertEqual([value.params.get("expires") for value in mapped], ["300", "90"])
        self.assertEqual(mapped[1].params.get("x"), '"a,b"')
        self.assertTrue(all(value.uri.host == self.edge.core and value.uri.scheme == "sip" for value in mapped))
        self.assertNotEqual(mapped[0].spec, mapped[1].spec)
        foreign = "<sip:alice@198.51.100.20:5062>;expires=55"
        self.core.reply(seen, 200, headers=[
            ("Contact", f"<{mapped[0].spec}>;expires=120;q=0.7"), ("Contact", foreign),
            ("Contact", f"<{mapped[1].spec}>;expires=60")])
        ok = phone.expect(200)
        self.assertEqual([(value.spec, value.params.get("expires")) for value in map(NameAddr, ok.values("Contact"))],
                         [("sips:alice@192.0.2.7:49152", "120"), ("sip:alice@198.51.100.20:5062", "55"),
                          ("sips:alice@192.0.2.8", "60")])

    @each(*PBX)
    def test_PBX_07__challenges_and_refusals_change_nothing(self):
        phone = self.phone()
        for status in (401, 403, 423):
            phone.request("REGISTER", f"sips:{self.domain}", to=f"<sips:alice@{self.domain}>")
            seen = self.core.expect("REGISTER")
            self.core.reply(seen, status, headers=[("WWW-Authenticate", 'Digest realm="r", nonce="1"')])
            self.assertEqual(phone.expect(status).get("WWW-Authenticate"), 'Digest realm="r", nonce="1"')
        self.not_delivered(seen.contact.spec, 404, 480)
        phone.expect_nothing()

    @each(*PBX)
    def test_PBX_08__two_devices_of_one_user_are_forked_to(self):
        desk, mobile = self.phone(contact="sips:alice@192.0.2.7:1111"), self.phone(contact="sips:alice@192.0.2.8:2222")
        uris = [self.register(phone)[0] for phone in (desk, mobile)]
        self.assertNotEqual(*uris)
        one = self.core.build("INVITE", uris[0], body=SDP)
        two = one.copy().set("Via", self.core.via())
        two.uri = uris[1]
        self.core.send(one)
        self.core.send(two)
        got = [phone.expect("INVITE") for phone in (desk, mobile)]
        self.assertEqual([message.uri for message in got], [desk.contact, mobile.contact])
        for phone, message in zip((desk, mobile), got):
            phone.reply(message, 180, to_tag=token(phone.contact[-4:]))
            self.core.expect(180)
        answer = mobile.reply(got[1], 200, to_tag="mobile", body=SDP)
        ok = self.core.expect(200, "INVITE")
        Dialog(self.core, two, ok, True).ack()
        self.assertEqual(mobile.expect("ACK").to_tag, answer.to_tag)
        self.core.send(self.core.cancel(one))
        self.core.expect(200, "CANCEL")
        desk.reply(desk.expect("CANCEL"), 200)
        desk.reply(got[0], 487)
        desk.expect("ACK")
        terminated = self.core.expect(487, "INVITE")
        self.core.send(self.core.ack_failure(one, terminated))
        mobile.expect_nothing()

    @each(*PBX)
    def test_PBX_09__a_device_keeps_its_token_over_reconnects(self):
        for contact in ('<{}>;reg-id=1;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"', "<{}>"):
            old = self.phone()
            first, _, _ = self.register(old, contact=contact.format(old.contact))
            new = self.phone(contact="sips:alice@192.0.2.99:5" if "instance" in contact else None)
            second, _, ok = self.register(new, contact=contact.format(new.contact))
            self.assertEqual(first, second)
            self.assertEqual(ok.contact.spec, new.contact)
            got = self.delivered(second, new)
            self.assertEqual(got.uri, new.contact)
            old.expect_nothing()
            old.close()
            self.fence(new)
            self.delivered(second, new)

    @each(*PBX)
    def test_PBX_09__a_device_that_ends_its_old_contact_keeps_its_token(self):
        """As pjsip does when its address has changed: the new Contact, and the old one with `expires=0`, in one REGISTER."""
        instance = ';reg-id=1;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E129>"'
        old = self.phone("mover")
        first, _, _ = self.register(old, contact=f"<{old.contact}>{instance}")
        for order in (1, -1):
            new = self.phone("mover", contact=f"sips:mover@192.0.2.{98 + order}:5")
            values = [f"<{new.contact}>{instance}", f"<{old.contact}>;expires=0{instance}"][::order]
            seen, ok = new.register(self.core, contact=", ".join(values))
            self.assertEqual([NameAddr(value).spec for value in seen.values("Contact")], [first])
            self.assertNotIn("expires", NameAddr(seen.values("Contact")[0]).params)
            self.assertEqual(ok.contact.spec, new.contact)
            self.assertEqual(self.delivered(first, new).uri, new.contact)
        seen, _ = new.register(self.core, contact=", ".join(values), expires=0)
        self.assertEqual([NameAddr(value).spec for value in seen.values("Contact")], [first])

    @each(*PBX)
    def test_PBX_17__a_device_that_speaks_outbound_is_taken_at_its_word(self):
        def register(contact, supported="path, outbound", expires=600, lower=None, headers=()):
            phone = self.phone(f"pbx17-{len(self.seen)}")
            message = phone.build("REGISTER", f"{phone.scheme}:{self.domain}", to=f"<{phone.aor}>",
                                  contact=contact.format(phone.contact),
                                  headers=[("Supported", supported), ("Expires", str(expires))])
            if lower:
                message.headers.insert(1, ("Via", lower))
            phone.send(message)
            seen = self.core.expect("REGISTER", call_id=message.call_id)
            self.seen.append(seen)
            self.core.reply_as_registrar(seen, expires, headers)
            return phone.expect(200, call_id=message.call_id).values("Require")

        self.seen = []
        full = '<{}>;reg-id=1;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
        self.assertEqual(register(full), ["outbound"])
        self.assertEqual(register("<{}>"), [])
        self.assertEqual(register('<{}>;+sip.instance="<urn:uuid:1>"'), [])
        self.assertEqual(register(full, supported="path"), [])
        self.assertEqual(register(full, expires=0), [])
        self.assertEqual(register(full, lower="SIP/2.0/TLS p.invalid;branch=z9hG4bKp"), [])
        self.assertEqual(register(full, headers=[("Require", "outbound")]), ["outbound"])
        self.assertEqual([seen.values("Require") for seen in self.seen], [[]] * 7)

    @each(*PBX)
    def test_PBX_09__another_device_gets_another_token(self):
        one, two = self.phone(), self.phone()
        instance = '<{}>;reg-id={};+sip.instance="<urn:uuid:{}>"'
        uris = {self.register(one, contact=instance.format(one.contact, 1, "a"))[0],
                self.register(two, contact=instance.format(two.contact, 1, "b"))[0],
                self.register(two, contact=instance.format(two.contact, 2, "b"))[0]}
        self.assertEqual(len(uris), 3)

    @each(*PBX)
    def test_PBX_10__bindings_end_with_the_cores_200(self):
        phone = self.phone()
        uri, _, _ = self.register(phone)
        self.delivered(uri, phone)
        sent = phone.request("REGISTER", f"sips:{self.domain}", to=f"<{phone.aor}>",
                             contact=f"<{phone.contact}>;expires=0")
        seen = self.core.expect("REGISTER", call_id=sent.call_id)
        self.assertEqual((seen.contact.spec, seen.contact.params["expires"]), (uri, "0"))
        self.delivered(uri, phone)  # not before the 200
        self.core.reply(seen, 200)
        phone.expect(200)
        self.not_delivered(uri, 404, 480)
        uri, _, _ = self.register(phone)
        self.delivered(uri, phone)
        phone.request("REGISTER", f"sips:{self.domain}", to=f"<{phone.aor}>", contact="*", headers=[("Expires", "0")])
        seen = self.core.expect("REGISTER")
        self.assertEqual((seen.rows("Contact"), seen.get("Expires")), (["*"], "0"))
        self.core.reply(seen, 200)
        phone.expect(200)
        self.not_delivered(uri, 404, 480)
        phone.expect_nothing()

    @each(*PBX)
    def test_PBX_11__a_gone_flow_is_480_at_once(self):
        for scheme in ("sip", "sips"):
            phone, other = self.phone(scheme=scheme), self.phone("other")
            uri, _, _ = self.register(phone)
            phone.close()
            self.fence(other)
            answer = self.not_delivered(uri, 480, seconds=1)
            if scheme == "sips":
                self.assert_warning(answer, 380)
            sent = self.to_token(uri, "INVITE", contact=True)
            answer = self.core.expect(480, call_id=sent.call_id, seconds=1)
            self.core.send(self.core.ack_failure(sent, answer), self.edge.core_address)
            other.expect_nothing()

    @each(*PBX)
    def test_URI_03_RT_07__equal_contacts_are_one_target_and_sips_is_another(self):
        one, two, three = self.phone(scheme="sip"), self.phone(scheme="sip"), self.phone()
        for phone, user in ((one, "alice"), (two, "%61lice"), (three, "alice")):
            phone.aor = f"{phone.scheme}:uri03@{self.domain}"
            phone.contact = f"{phone.scheme}:{user}@192.0.2.7:49152;x=1"
        first, _, _ = self.register(one)
        again, _, _ = self.register(two, contact="<sip:%61lice@192.0.2.7:49152;X=1>")
        self.assertEqual(again, first)
        self.delivered(first, two)  # the same target, at its newest connection
        secure, _, _ = self.register(three)
        self.assertNotEqual(secure, first)
        self.delivered(secure, three)
        self.delivered(first, two)
        one.expect_nothing(0.05)

    @each(*PBX)
    def test_PBX_13__what_belongs_to_the_ends_stays(self):
        phone = self.phone()
        invite = phone.build("INVITE", f"sips:bob@{self.domain}", body=b"\0\xff" + SDP, cseq=4711, headers=[
            ("Subject", "s"), ("User-Agent", "u/1"), ("Allow", "INVITE, BYE"), ("Session-Expires", "90;refresher=uac"),
            ("Supported", "timer,  100rel"), ("X-Any", ";,;"), ("Identity", "abc;info=<https://x>;alg=ES256")],
            from_=f'"A \\" B" <sips:alice@{self.domain}>;tag=x.y;p=1', to=f"Bob <sips:bob@{self.domain}>")
        phone.send(invite)
        seen = self.core.expect("INVITE")
        self.assert_forwarded(invite, seen, but=("contact",), uri=f"sip:bob@{self.domain}")
        answer = self.core.reply(seen, 200, "Fine", body=b"\xfe" + SDP, headers=[
            ("Server", "pbx/1"), ("Content-Type", "application/sdp"), ("RSeq", "1"), ("X-Any", "y")])
        ok = phone.expect(200)
        self.assertEqual(ok.start, "SIP/2.0 200 Fine")
        self.assertEqual(self.kept(ok, ("contact",)), self.kept(answer, ("contact",)))
        self.assertEqual(ok.body, answer.body)
        dialog = Dialog(phone, invite, ok, True)
        dialog.ack()
        ack = self.core.expect("ACK")
        self.assertEqual((ack.get("From"), ack.get("To"), ack.cseq), (dialog.local, dialog.remote, (4711, "ACK")))

    @each(*PBX)
    def test_PBX_14__qualify_gets_the_devices_own_answer(self):
        phone = self.phone()
        uri, _, _ = self.register(phone)
        sent = self.to_token(uri, "OPTIONS")
        got = phone.expect("OPTIONS", call_id=sent.call_id)
        self.assertEqual(got.uri, phone.contact)
        phone.reply(got, 200, "Here", headers=[("Allow", "INVITE"), ("User-Agent", "phone/1")])
        ok = self.core.expect(200)
        self.assertEqual((ok.start, ok.get("Allow"), ok.get("User-Agent")), ("SIP/2.0 200 Here", "INVITE", "phone/1"))

    @each(*PBX)
    def test_PBX_14__a_core_may_ask_before_it_answers_the_register(self):
        """As Asterisk does, which asks a millisecond after it has stored the contact."""
        for status in (200, 403):
            with self.subTest(status=status):
                phone = self.phone(f"pbx14-{status}")
                phone.request("REGISTER", f"{phone.scheme}:{self.domain}", to=f"<{phone.aor}>")
                seen = self.core.expect("REGISTER")
                for _ in range(2):
                    sent = self.to_token(seen.contact.spec, "OPTIONS")
                    got = phone.expect("OPTIONS", call_id=sent.call_id)
                    self.assertEqual(got.uri, phone.contact)
                    phone.reply(got, 200)
                    self.core.expect(200, call_id=sent.call_id)
                # A call waits for the core's word: the device has not shown who it is.
                for method in ("INVITE", "MESSAGE"):
                    sent = self.to_token(seen.contact.spec, method)
                    self.core.expect(480, call_id=sent.call_id)
                if status == 200:
                    self.core.reply_as_registrar(seen)
                else:
                    self.core.reply(seen, status)
                phone.expect(status, "REGISTER")
                sent = self.to_token(seen.contact.spec, "OPTIONS")
                if status == 200:
                    phone.reply(phone.expect("OPTIONS", call_id=sent.call_id), 200)
                    self.core.expect(200, call_id=sent.call_id)
                else:
                    self.core.expect(480, call_id=sent.call_id)

    @each(*PBX)
    def test_PBX_14__unknown_and_altered_tokens(self):
        phone = self.phone()
        uri, _, _ = self.register(phone)
        user = URI.parse(uri).user
        before = self.edge.metric("gatehouse_refusals_total") or 0
        middle = len(user) // 2
        for other in (user[:middle] + ("A" if user[middle] != "A" else "B") + user[middle + 1:], "A" * len(user), "x",
                      user[:-1], user + "A", user.swapcase()):
            sent = self.to_token(uri.replace(user, other), "OPTIONS")
            self.assertEqual(self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id).status, 404,
                             other)
        self.assertGreaterEqual((self.edge.metric("gatehouse_refusals_total") or 0) - before, 6)
        self.fence(phone)
        phone.expect_nothing()

    def test_PBX_14__a_token_of_another_domain(self):
        phone = self.phone()
        uri, _, _ = self.register(phone)
        other = self.site.core("pbx-tcp.example")
        sent = other.request("OPTIONS", uri, self.edge.core_address)
        self.assertEqual(other.expect(lambda answer: answer.status > 100, call_id=sent.call_id).status, 404)
        self.fence(phone)
        phone.expect_nothing()

    def in_dialog(self, one, other, method, reply_headers=(), **options):
        """A request of `one` that `other` answers; its target refresh is believed on both sides."""
        sent = one.send(method, **options)
        seen = other.peer.expect(method, call_id=sent.call_id)
        self.assertEqual(seen.uri, other.peer.contact)
        self.assertEqual(seen.cseq, sent.cseq)
        self.assertEqual(seen.body, sent.body)
        other.peer.reply(seen, 200, headers=[*reply_headers], body=sent.body)
        ok = one.peer.expect(200, method, call_id=sent.call_id)
        if method in ("INVITE", "UPDATE"):
            one.refresh(ok)
            other.refresh(seen)
        if method == "INVITE":
            one.send("ACK", number=sent.cseq[0])
            other.peer.expect("ACK", call_id=sent.call_id)
        return seen, ok

    @each(*PBX)
    def test_PBX_15__requests_in_both_directions(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        for one, other in ((call.caller, call.callee), (call.callee, call.caller)):
            for method in ("INFO", "MESSAGE", "UPDATE", "INVITE", "NOTIFY", "PRACK", "OPTIONS", "BREW"):
                seen, ok = self.in_dialog(one, other, method, body=SDP if method in ("INVITE", "UPDATE") else b"",
                                          headers=[("Event", "talk")] if method == "NOTIFY" else [])
                if other.peer is self.core:
                    self.assert_shows_edge_alone(seen)
                    self.assert_hides_core(ok)
                else:
                    self.assert_hides_core(seen)
                    self.assert_shows_edge_alone(ok)
        call.hang_up("callee")

    @each(*PBX)
    def test_PBX_15__a_moved_contact_is_followed(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        phone.contact = "sips:alice@192.0.2.200:7777"
        self.in_dialog(call.caller, call.callee, "INVITE", body=SDP)
        self.core.contact, old = f"sip:moved@{self.core.ip}:5060", self.core.contact
        try:
            self.in_dialog(call.callee, call.caller, "UPDATE", body=SDP)
            self.in_dialog(call.caller, call.callee, "INFO")
            call.hang_up("callee")
        finally:
            self.core.contact = old

    @each(*PBX)
    def test_PBX_15__subscriptions(self):
        phone = self.phone()
        sent = phone.request("SUBSCRIBE", f"sips:bob@{self.domain}", headers=[("Event", "dialog"), ("Expires", "60")])
        seen = self.core.expect("SUBSCRIBE")
        self.assert_shows_edge_alone(seen)
        answer = self.core.reply(seen, 200, headers=[("Expires", "60")])
        ok = phone.expect(200)
        self.assert_hides_core(ok)
        one, other = Dialog(phone, sent, ok, True), Dialog(self.core, seen, answer, False)
        self.in_dialog(other, one, "NOTIFY", headers=[("Event", "dialog"), ("Subscription-State", "active")])
        self.in_dialog(one, other, "SUBSCRIBE", headers=[("Event", "dialog"), ("Expires", "0")])
        uri, _, _ = self.register(phone)
        sent = self.to_token(uri, "NOTIFY", headers=[("Event", "message-summary"), ("Subscription-State", "active")])
        got = phone.expect("NOTIFY", call_id=sent.call_id)  # unsolicited, as PBXes send MWI
        phone.reply(got, 200)
        self.core.expect(200)

    @each(*PBX)
    def test_PBX_15__reliable_provisionals(self):
        phone = self.phone()
        invite = phone.invite(headers=[("Supported", "100rel")])
        seen = self.core.expect("INVITE")
        self.core.reply(seen, 183, headers=[("Require", "100rel"), ("RSeq", "7")], contact=self.core.contact)
        progress = phone.expect(183)
        self.assertEqual((progress.get("Require"), progress.get("RSeq")), ("100rel", "7"))
        early = Dialog(phone, invite, progress, True)
        early.send("PRACK", headers=[("RAck", "7 1 INVITE")])
        prack = self.core.expect("PRACK")
        self.assertEqual((prack.uri, prack.get("RAck")), (self.core.contact, "7 1 INVITE"))
        self.core.reply(prack, 200)
        phone.expect(200, "PRACK")
        self.core.reply(seen, 486)
        self.core.expect("ACK")
        phone.send(phone.ack_failure(invite, phone.expect(486)))
