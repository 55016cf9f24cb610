"""SIPS: sessions, their tag and their rights (docs/conformance.md §6.1)."""

import ssl
import time

from harness import addresses, pki, streams
from harness.case import ALL, PROXY, EdgeTest, StandardTest, each
from harness.core import Core
from harness.dialog import establish
from harness.watched import Watched
from harness.sip import NameAddr
from harness.site import Site
from harness.tag import NAME, of


class Sessions(StandardTest):
    domain = "proxy-udp.example"

    @each(*PROXY)
    def test_SIPS_01__the_scheme_stays_towards_a_proxy(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain};x=1")
        self.assertEqual(call.seen.uri, f"sips:bob@{self.domain};x=1")
        self.assertEqual(call.seen.contact.spec, phone.contact)
        call.hang_up()

    @each(*ALL)
    def test_SIPS_02__sip_never_becomes_sips(self):
        phone = self.phone(scheme="sip")
        call = establish(phone, self.core, f"sip:bob@{self.domain}")
        self.assertEqual(call.seen.uri, f"sip:bob@{self.domain}")
        for text in call.ok.values("Record-Route") + call.ok.values("Contact"):
            self.assertEqual(NameAddr(text).uri.scheme, "sip")
        call.hang_up()

    @each(*ALL)
    def test_SIPS_07_URI_02__the_tag_says_how_the_session_arrived(self):
        phone = self.phone()
        now = time.time()
        for uri, arrived in ((f"sips:bob@{self.domain}", "sips"), (f"SiPs:bob@{self.domain}", "sips"),
                             (f"sip:bob@{self.domain}", "tls")):
            seen, _ = self.through(phone, phone.build("MESSAGE", uri, contact=None))
            tag = of(seen)
            self.assertEqual((tag["arrived"], tag["transport"], tag["domain"]), (arrived, "tls", self.domain))
            self.assertEqual(tag["tls"], phone.stream.version)
            self.assertEqual(tag["cipher"], phone.stream.cipher)
            self.assertEqual(tag["peer"], f"{phone.stream.local[0]}:{phone.stream.local[1]}")
            self.assertIsNone(tag.get("verified"))
            self.assertTrue(now < int(tag["expires"]) < now + 8 * 86400, tag["expires"])
            self.assertEqual(len(tag.signature), 16)

    @each(*ALL)
    def test_SIPS_07__sips_elsewhere_makes_no_sips_session(self):
        phone = self.phone()
        message = phone.build("MESSAGE", f"sip:bob@{self.domain}", to=f"<sips:bob@{self.domain}>",
                              from_=f"<sips:alice@{self.domain}>;tag=1", contact="<sips:alice@192.0.2.7>")
        seen, _ = self.through(phone, message)
        self.assertEqual(of(seen)["arrived"], "tls")

    @each(*ALL)
    def test_SIPS_07__one_session_has_one_tag(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        info = call.caller.send("INFO")
        seen = self.core.expect("INFO")
        self.assertEqual((of(seen).id, of(seen)["arrived"]), (of(call.seen).id, "sips"))
        self.core.reply(seen, 200)
        phone.expect(200, "INFO")
        other = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.assertNotEqual(of(other.seen).id, of(call.seen).id)
        self.assertEqual(info.call_id, call.call_id)

    @each(*ALL)
    def test_SIPS_08__the_core_leg_is_inside_the_boundary(self):
        phone = self.phone()
        for method in ("INVITE", "MESSAGE", "SUBSCRIBE"):
            message = phone.request(method, f"sips:bob@{self.domain}", headers=[("Event", "dialog")])
            seen = self.core.expect(method)
            self.assertEqual(of(seen)["arrived"], "sips")
            self.core.reply(seen, 404)
            answer = phone.expect(404)
            if method == "INVITE":
                phone.send(phone.ack_failure(message, answer))
                self.core.expect("ACK")
        seen, _ = phone.register(self.core)
        self.assertEqual(of(seen)["arrived"], "sips")

    @each(*ALL)
    def test_SIPS_16__sips_over_udp_is_a_contradiction(self):
        phone = self.phone()
        self.refused(phone, phone.build("INVITE", f"sips:bob@{self.domain};transport=udp"), 400)
        message = phone.build("MESSAGE", f"sips:bob@{self.domain};transport=tcp", contact=None)
        seen, _ = self.through(phone, message)
        self.assertEqual(of(seen)["arrived"], "sips")

    @each(*ALL)
    def test_SIPS_18__both_schemes_lead_to_the_same_core(self):
        phone = self.phone()
        for scheme in ("sip", "sips"):
            self.through(phone, phone.build("MESSAGE", f"{scheme}:bob@{self.domain}", contact=None))


class Boundaries(EdgeTest):
    """`sips_to_core: refuse`, and plain listeners outside."""

    domain = "refuse.example"

    @classmethod
    def make_site(cls):
        site = Site()
        outside = site.edge.outside
        site.add("refuse.example", "pbx", security={"sips_to_core": "refuse"})
        site.add("refuse-proxy.example", "proxy", ("tcp",), security={"sips_to_core": "refuse"})
        site.add("plain.example", "pbx", tcp={"bind": [f"{outside}:5060"]})
        return site

    @each("refuse", "refuse-proxy")
    def test_SIPS_08_SIPS_21__refuse(self):
        phone = self.phone()
        for method in ("INVITE", "MESSAGE", "REGISTER", "SUBSCRIBE"):
            uri = f"sips:{self.domain}" if method == "REGISTER" else f"sips:bob@{self.domain}"
            message = phone.build(method, uri, headers=[("Event", "dialog"), ("Supported", "path")])
            answer = self.refused(phone, message, 480)
            self.assert_warning(answer, 380, "SIPS Not Allowed")
            self.assertIn(answer.warnings[0][1].split(":")[0], (self.domain, self.edge.outside))  # SIPS-21
        phone = self.phone(scheme="sip")
        seen, _ = self.through(phone, phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None))
        self.assertEqual(of(seen)["arrived"], "tls")

    def test_SIPS_19__sips_on_a_plain_listener(self):
        self.domain = "plain.example"
        phone = self.phone(tls=False, scheme="sip")
        self.refused(phone, phone.build("INVITE", f"sips:bob@{self.domain}"), 403)
        seen, _ = self.through(phone, phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None))
        tag = of(seen)
        self.assertEqual((tag["arrived"], tag["transport"]), ("plain", "tcp"))
        self.assertIsNone(tag.get("tls"))
        self.assertIsNone(tag.get("cipher"))

    def test_SIPS_19__a_sips_dialog_does_not_go_on_over_plain_tcp(self):
        self.domain = "plain.example"
        core, phone = self.core, self.phone()
        phone.request("INVITE", f"sips:bob@{self.domain}")
        core.reply(core.expect("INVITE"), 200)
        target = phone.expect(200).values("Contact")[0].strip("<>")
        self.assertTrue(target.startswith("sips:"))
        plain = self.phone(user="mallory", tls=False, scheme="sip")
        self.refused(plain, plain.build("BYE", target.replace("sips:", "sip:", 1), contact=None), 403)
        phone.send(phone.build("BYE", target, contact=None))
        core.reply(core.expect("BYE"), 200)


class Versions(EdgeTest):
    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site()
        site.add("a.example", "pbx")
        return site

    def test_SIPS_07__tls_1_2_is_told(self):
        context = streams.client_context(pki.authority().certificate,
                                         versions=(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
                                         ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
        phone = self.phone(context=context)
        seen, _ = self.through(phone, phone.build("MESSAGE", "sips:x@a.example", contact=None))
        self.assertEqual(of(seen)["tls"], "TLSv1.2")
        self.assertEqual(phone.stream.cipher, "ECDHE-ECDSA-AES128-GCM-SHA256")
        self.assertEqual(of(seen)["cipher"], "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")  # IANA's name


class Legs(EdgeTest):
    """SIPS sessions on legs that the core opens, and to devices, with observers wherever a downgrade would arrive."""

    domain = "pbx.example"

    @classmethod
    def make_site(cls):
        site = Site(dns={"timeout": "500ms"})
        ca = {"ca": pki.authority().certificate}
        plain = {"pbx.example": 5060, "proxy.example": 5070}
        for name, kind in (("pbx.example", "pbx"), ("proxy.example", "proxy")):
            site.add(name, kind, outbound=ca, tcp={"bind": [f"{site.edge.outside}:{plain[name]}"]})
        site.add("strict.example", "pbx", outbound=ca, security={"sip_to_sips": "refuse"})
        site.dns
        return site

    def from_core(self, uri, method="MESSAGE", **options):
        options.setdefault("contact", None)
        return self.core.send(self.core.build(method, uri, **options), self.edge.core_address)

    def answered(self, sent):
        return self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id)

    def tag(self, scheme="sips"):
        """The tag of a session that is under way."""
        phone = self.phone("caller", scheme=scheme)
        seen, _ = self.through(phone, phone.build("MESSAGE", f"{scheme}:x@{self.domain}", contact=None))
        return (NAME, seen.get(NAME))

    @each("pbx", "proxy")
    def test_SIPS_03_SIPS_01__a_sips_leg_is_tls_and_observers_see_nothing(self):
        far, tag = Watched(self.site), self.tag()
        sent = self.from_core(f"sips:bob@{far.name};x=1", headers=[tag])
        peer = far.accept()
        got = peer.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual(got.uri, f"sips:bob@{far.name};x=1")
        peer.reply(got, 200)
        self.core.expect(200, call_id=sent.call_id)
        sent = self.from_core(f"sip:bob@{far.name}", headers=[tag])  # as a `pbx` core writes it
        got = peer.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual(got.uri, f"sip:bob@{far.name}")
        peer.reply(got, 200)
        self.core.expect(200, call_id=sent.call_id)
        far.saw_nothing_in_clear()

    @each("pbx", "proxy")
    def test_SIPS_03_SIPS_20__a_secure_way_that_fails_is_never_replaced_by_another(self):
        tag, stranger = self.tag(), pki.Authority("Stranger")
        for far in (Watched(self.site, tls=False), Watched(self.site, pair=pki.authority().issue("other.example")),
                    Watched(self.site, pair=stranger.issue("*.far.example"))):
            for uri in (f"sips:bob@{far.name}", f"sip:bob@{far.name}"):
                sent = self.from_core(uri, headers=[tag])
                if far.tls:
                    with self.assertRaises((AssertionError, OSError)):  # the edge breaks the handshake off
                        far.accept().expect("MESSAGE", seconds=2)
                answer = self.answered(sent)
                self.assertEqual(answer.status, 500, str(answer))
                self.assert_warning(answer, 399, far.name)
            far.saw_nothing_in_clear()

    @each("pbx", "proxy")
    def test_SIPS_03_SIPS_20__without_a_secure_way_nothing_leaves(self):
        far, tag = Watched(self.site, tls=False, offers=("SIP+D2T", "SIP+D2U")), self.tag()
        for uri, status, code in ((f"sips:bob@{far.name}", 480, 380), (f"sip:bob@{far.name}", 403, 399),
                                  (f"sip:bob@{far.ip};transport=tcp", 403, 399)):
            answer = self.answered(self.from_core(uri, headers=[tag]))
            self.assertEqual(answer.status, status, str(answer))
            self.assert_warning(answer, code)
        far.saw_nothing_in_clear()

    def test_SIPS_04__a_sips_request_does_not_end_at_a_sip_contact(self):
        phone = self.phone(scheme="sip")
        seen, _ = phone.register(self.core)
        for uri in (f"sips:alice@{self.domain}", seen.contact.spec.replace("sip:", "sips:", 1)):
            answer = self.answered(self.from_core(uri))
            self.assertEqual(answer.status, 480)
            self.assert_warning(answer, 380, "SIPS Not Allowed")
        self.fence(phone)
        phone.expect_nothing(0.05)
        sent = self.from_core(f"sip:alice@{self.domain}")
        phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200)
        self.core.expect(200, call_id=sent.call_id)

    def test_SIPS_05__a_sip_request_reaches_a_sips_contact_as_sip_over_its_tls_flow(self):
        phone = self.phone(contact="sips:al%69ce@192.0.2.7:49152;ob;x=1")
        phone.register(self.core)
        sent = self.from_core(f"sip:alice@{self.domain}")
        got = phone.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual(got.uri, "sip:al%69ce@192.0.2.7:49152;ob;x=1")
        phone.reply(got, 200)
        self.core.expect(200, call_id=sent.call_id)

    def test_SIPS_05__over_a_new_connection_where_the_flow_is_gone(self):
        far = Watched(self.site)
        phone = self.phone(contact=f"sips:alice@{far.name}")
        phone.register(self.core)
        phone.close()
        self.fence(self.phone())
        sent = self.from_core(f"sip:alice@{self.domain}")
        peer = far.accept()
        got = peer.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual(got.uri, f"sip:alice@{far.name}")
        peer.reply(got, 200)
        self.core.expect(200, call_id=sent.call_id)
        far.saw_nothing_in_clear()

    def test_SIPS_06_REG_10__without_a_tls_flow_it_is_480_with_warning_381(self):
        away, far = Watched(self.site, tls=False), self.site.keep(Core(addresses.fresh(), name="observer"))
        for contact in (f"sips:alice@{far.ip}", f"sips:alice@{far.ip}:5060;transport=tcp", f"sips:alice@{away.name}"):
            phone = self.phone(contact=contact)
            seen, _ = phone.register(self.core)
            phone.close()
            self.fence(self.phone())
            for uri, code, text in ((f"sip:alice@{self.domain}", 381, "SIPS Required"),
                                    (f"sips:alice@{self.domain}", 380, "SIPS Not Allowed"),
                                    (seen.contact.spec, 380, "SIPS Not Allowed")):
                answer = self.answered(self.from_core(uri))
                self.assertEqual(answer.status, 480, str(answer))
                self.assert_warning(answer, code, text)
        far.expect_nothing(0.05)
        away.saw_nothing_in_clear()

    def test_PBX_11__a_sips_contact_with_a_name_is_reached_over_a_new_connection(self):
        far, other = Watched(self.site), Watched(self.site, pair=pki.authority().issue("other.example"))
        tokens = []
        for name in (far.name, other.name):
            phone = self.phone(contact=f"sips:alice@{name};x=1")
            tokens.append(phone.register(self.core)[0].contact.spec)
            phone.close()
            self.fence(self.phone())
            if name == far.name:
                sent = self.from_core(tokens[0])
                peer = far.accept()
                got = peer.expect("MESSAGE", call_id=sent.call_id)
                self.assertEqual(got.uri, f"sips:alice@{far.name};x=1")
                peer.reply(got, 200)
                self.core.expect(200, call_id=sent.call_id)
        sent = self.from_core(tokens[1])
        with self.assertRaises((AssertionError, OSError)):  # the edge breaks the handshake off
            other.accept().expect("MESSAGE", seconds=2)
        answer = self.answered(sent)
        self.assertEqual(answer.status, 480, str(answer))
        self.assert_warning(answer, 380, "SIPS Not Allowed")
        far.saw_nothing_in_clear()
        other.saw_nothing_in_clear()

    @each("strict")
    def test_SIPS_06__a_policy_of_sips_only(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        answer = self.answered(self.from_core(f"sip:alice@{self.domain}"))
        self.assertEqual(answer.status, 480)
        self.assert_warning(answer, 381, "SIPS Required")
        self.fence(phone)
        phone.expect_nothing(0.05)
        for uri in (f"sips:alice@{self.domain}", seen.contact.spec):
            sent = self.from_core(uri)
            got = phone.expect("MESSAGE", call_id=sent.call_id)
            self.assertEqual(got.uri, phone.contact)
            phone.reply(got, 200)
            self.core.expect(200, call_id=sent.call_id)

    @each("pbx", "proxy")
    def test_SIPS_10__a_sips_dialog_goes_on_over_tls_whatever_the_core_writes(self):
        phone = self.phone()
        phone.contact = "sips:alice@192.0.2.7:49152"
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        if self.domain == "proxy.example":
            call.callee.target = call.callee.target.replace("sips:", "sip:", 1)
        sent = call.callee.send("INFO")
        got = phone.expect("INFO", call_id=sent.call_id)
        self.assertEqual(got.uri.partition(":")[2], phone.contact.partition(":")[2])
        phone.reply(got, 200)
        self.core.expect(200, "INFO")
        observer = self.site.keep(Core(addresses.fresh(), name="observer"))
        phone.close()
        self.fence(self.phone())
        if self.domain == "proxy.example":
            call.callee.target = f"sip:alice@{observer.ip}"
        for method in ("INFO", "BYE"):
            answer = self.answered(call.callee.send(method))
            self.assertEqual(answer.status, 480, str(answer))
            self.assert_warning(answer, 380, "SIPS Not Allowed")
        observer.expect_nothing(0.05)

    @each("pbx", "proxy")
    def test_SIPS_11__a_sips_request_has_a_sips_contact(self):
        phone = self.phone()
        for method in ("INVITE", "SUBSCRIBE", "REFER", "UPDATE", "NOTIFY"):
            for contact in ("<sip:alice@192.0.2.7>", "sip:alice@192.0.2.7", "<sip:alice@192.0.2.7;transport=tls>"):
                message = phone.build(method, f"sips:bob@{self.domain}", contact=contact,
                                      headers=[("Refer-To", "<sips:x@far.example>")])
                self.assert_warning(self.refused(phone, message, 400), 399)
        self.through(phone, phone.build("MESSAGE", f"sips:bob@{self.domain}", contact="<sip:alice@192.0.2.7>"))
        sip = self.phone(scheme="sip")
        seen, _ = self.through(sip, sip.build("SUBSCRIBE", f"sip:bob@{self.domain}", contact="<sips:a@192.0.2.7>"))
        self.assertEqual(of(seen)["arrived"], "tls")

    @each("pbx")
    def test_SIPS_11__also_when_it_moves_the_target(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        for method in ("INVITE", "UPDATE"):
            message = call.caller.build(method)
            message.set("Contact", "<sip:alice@192.0.2.7>")
            self.refused(phone, message, 400)
        call.hang_up()

    def chosen(self, phone, scheme, status, headers=()):
        """The core answers so, and the phone gets that and nothing else."""
        message = phone.request("INVITE", f"{scheme}:bob@{self.domain}")
        seen = self.core.expect("INVITE", call_id=message.call_id)
        sent = self.core.reply(seen, status, headers=headers)
        self.core.expect("ACK", call_id=message.call_id)
        answer = phone.expect(lambda answer: answer.status > 100)
        self.assertEqual(answer.status, status)
        self.assertEqual(answer.rows("Warning"), sent.rows("Warning"))
        phone.send(phone.ack_failure(message, answer))
        self.fence(phone)
        return answer

    @each("pbx", "proxy")
    def test_SIPS_12_SIPS_13__no_retry_by_another_scheme(self):
        far = Watched(self.site)
        for scheme, other, code in (("sips", "sip", 380), ("sip", "sips", 381)):
            phone = self.phone(scheme=scheme)
            moved = self.chosen(phone, scheme, 302, [("Contact", f"<{other}:bob@{far.name}>")])
            self.assertEqual(moved.rows("Contact"), [f"<{other}:bob@{far.name}>"])
            self.chosen(phone, scheme, 416)
            self.chosen(phone, scheme, 480, [("Warning", f'{code} core.invalid "no"')])
        far.saw_nothing_in_clear()
        far.tls.expect_no_connection(0.05)

    @each("proxy")
    def test_SIPS_17__transport_tls_is_understood_and_passed_but_never_ours(self):
        phone = self.phone()
        message = phone.build("SUBSCRIBE", f"sips:bob@{self.domain};transport=tls",
                              contact="<sips:alice@192.0.2.7;transport=tls>")
        seen, _ = self.through(phone, message)
        self.assertEqual(seen.uri, message.uri)
        self.assertEqual(seen.rows("Contact"), message.rows("Contact"))
        for value in seen.values("Record-Route"):
            self.assertNotEqual(NameAddr(value).uri.transport, "tls")
        for uri, routes in (("sip:bob@{};transport=tls", []), ("sip:bob@192.0.2.9", ["<sip:{};transport=tls;lr>"])):
            far = Watched(self.site)
            sent = self.from_core(uri.format(far.name), "SUBSCRIBE", contact=True,
                                  headers=[("Route", value.format(far.name)) for value in routes])
            peer = far.accept()
            got = peer.expect("SUBSCRIBE", call_id=sent.call_id)
            self.assertEqual(got.uri, sent.uri)
            self.assertEqual(got.rows("Route"), sent.rows("Route"))
            for value in got.values("Record-Route"):
                self.assertNotEqual(NameAddr(value).uri.transport, "tls")
            peer.reply(got, 200)
            self.core.expect(200, call_id=sent.call_id)
            far.saw_nothing_in_clear()

    @each("pbx", "proxy")
    def test_SIPS_22__a_sip_contact_in_the_answer_does_not_end_sips(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        routes = [("Route", value) for value in seen.values("Path")]
        phone.contact, mark = "sip:alice@192.0.2.7:49152", self.edge.mark()
        call = establish(self.core, phone, seen.contact.spec, headers=routes + [self.tag()])
        if self.domain == "proxy.example":
            self.assertEqual(call.ok.contact.spec, phone.contact)
        self.edge.wait_log("SIPS INVITE was answered with a sip Contact", after=mark)
        sent = call.caller.send("INFO")
        got = phone.expect("INFO", call_id=sent.call_id)
        self.assertEqual(got.uri, phone.contact)
        phone.reply(got, 200)
        self.core.expect(200, "INFO")
        phone.close()
        self.fence(self.phone())
        self.assert_warning(self.answered(call.caller.send("BYE")), 380)
