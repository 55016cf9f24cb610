"""SIPS: sessions, their tag and their rights (docs/conformance.md §6.1)."""

import ssl
import time

from harness import pki, streams
from harness.case import ALL, PROXY, EdgeTest, StandardTest, each
from harness.dialog import establish
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
