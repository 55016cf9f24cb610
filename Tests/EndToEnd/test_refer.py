"""REFER: what a transfer may lead to (docs/conformance.md §8), and PBX-12."""

from harness import pki
from harness.case import EdgeTest, each
from harness.dialog import establish
from harness.watched import Watched
from harness.sip import SDP, NameAddr
from harness.site import Site
from harness.tag import NAME, of

KINDS = ("pbx", "proxy")
EASED = ("eased-pbx", "eased-proxy")
REPLACES = "?Replaces=98732%40x.example%3Bfrom-tag%3Dr33%3Bto-tag%3D11&X-A=%22b%22"


class Refer(EdgeTest):
    domain = "pbx.example"

    @classmethod
    def make_site(cls):
        site = Site()
        ca = {"ca": pki.authority().certificate}
        overrides = {"overrides": [
            {"to": "verified.legacy.example", "allow": "unverified", "reason": "old certificate"},
            {"to": "*.legacy.example", "allow": "insecure", "reason": "no TLS before spring"},
            {"to": "198.51.100.0/24", "allow": "insecure", "reason": "branch office"},
            {"to": "gone.example", "allow": "insecure", "reason": "gone", "until": "2020-01-01"}]}
        for kind in KINDS:
            site.add(f"{kind}.example", kind, outbound=ca)
            site.add(f"eased-{kind}.example", kind, outbound=ca, security=overrides)
        site.dns
        return site

    def is_pbx(self):
        return "pbx" in self.domain

    def refer(self, call, value, side="caller", name="Refer-To", **options):
        """A REFER within a call from one of its sides, not yet sent."""
        one = call.caller if side == "caller" else call.callee
        values = [value] if isinstance(value, str) else value
        return one.build("REFER", headers=[(name, value) for value in values], **options)

    def passes(self, call, value, side="caller", **options):
        """The REFER crosses and its 202 returns. Returns what the other side saw."""
        sent = self.refer(call, value, side, **options)
        one, other = (call.caller, call.callee) if side == "caller" else (call.callee, call.caller)
        one.peer.send(sent)
        seen = other.peer.expect("REFER", call_id=sent.call_id)
        other.peer.reply(seen, 202)
        one.peer.expect(202, "REFER", call_id=sent.call_id)
        return seen

    def refused_from_core(self, call, value, status):
        """The core's REFER is answered `status`; the phone hears nothing of it."""
        sent = self.core.send(self.refer(call, value, "callee"))
        answer = self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id)
        self.assertEqual(answer.status, status, str(answer))
        self.fence(call.caller.peer)
        call.caller.peer.expect_nothing(0.05)
        return answer

    def call(self, scheme="sips", user="alice"):
        phone = self.phone(user, scheme=scheme)
        return establish(phone, self.core, f"{scheme}:bob@{self.domain}")

    @each("proxy")
    def test_REFER_01__a_refer_passes_octet_for_octet(self):
        value = f'"Carol, <x>" <sip:c%61rol%40y@far.example:5080;transport=tcp;method=INVITE{REPLACES}> ;hp="1,2"'
        phone = self.phone(scheme="sip")
        sent = phone.build("REFER", f"sip:bob@{self.domain}", headers=[("Refer-To", value), ("Referred-By", "<sip:a@b.example>")])
        seen, _ = self.through(phone, sent, status=202)
        self.assert_forwarded(sent, seen)
        self.assertEqual(seen.rows("Refer-To"), [value])
        self.assertEqual(len(seen.values("Record-Route")), 2)
        call = establish(phone, self.core, f"sip:bob@{self.domain}")
        for side in ("caller", "callee"):
            sent = self.refer(call, value, side, name="r")
            self.assertEqual(self.passes(call, value, side, name="r").rows("Refer-To"), [value])

    @each("pbx")
    def test_REFER_01__towards_a_pbx_too(self):
        call = self.call("sip")
        value = f"<sip:carol@far.example;transport=tcp{REPLACES}>;hp=1"
        for side in ("caller", "callee"):
            self.assertEqual(self.passes(call, value, side).rows("Refer-To"), [value])

    @each(*KINDS)
    def test_REFER_02__a_sips_session_refers_to_sips_alone(self):
        call = self.call()
        for value in ("<sip:carol@far.example>", "sip:carol@far.example", "<sip:carol@far.example;transport=tls>",
                      "<tel:+15551234>", "<mailto:c@far.example>", f"<sip:bob@{self.domain}>"):
            with self.subTest(value):
                answer = self.refused(call.caller.peer, self.refer(call, value), 403)
                self.assert_warning(answer, 399, "insecure referral refused")
                self.assert_warning(self.refused_from_core(call, value, 403), 399)
        self.assertGreater(self.edge.metric("gatehouse_refusals_total", domain=self.domain, rule="insecure_referral"), 0)

    @each(*KINDS)
    def test_REFER_02__also_outside_a_dialog(self):
        phone = self.phone()
        message = phone.build("REFER", f"sips:bob@{self.domain}", headers=[("Refer-To", "<sip:carol@far.example>")])
        self.assert_warning(self.refused(phone, message, 403), 399)

    @each(*EASED)
    def test_REFER_02__an_override_lets_it_through_and_the_tag_notes_it(self):
        call = self.call()
        for value in ("<sip:carol@pbx.legacy.example>", "<sip:carol@198.51.100.7:5070>"):
            mark, before = self.edge.mark(), self.edge.metric("gatehouse_overrides_total", domain=self.domain) or 0
            seen = self.passes(call, value)
            self.assertEqual(seen.rows("Refer-To"), [value])
            self.assertEqual((of(seen)["refer"], of(seen)["arrived"]), ("override", "sips"))
            self.edge.wait_log(r"override used.*gatehouse\.yaml:\d+", after=mark)
            self.assertEqual(self.edge.metric("gatehouse_overrides_total", domain=self.domain), before + 1)
        for value in ("<sip:carol@legacy.example>", "<sip:carol@198.51.101.7>", "<sip:carol@gone.example>",
                      "<sip:carol@verified.legacy.example>", "<tel:+15551234>"):
            with self.subTest(value):
                self.refused(call.caller.peer, self.refer(call, value), 403)

    @each(*KINDS)
    def test_REFER_03__the_tag_tells_that_the_target_is_sips(self):
        call = self.call()
        value = f"<sips:carol@far.example;x=1{REPLACES}>;hp=1"
        seen = self.passes(call, value)
        self.assertEqual(seen.rows("Refer-To"), [value.replace("sips:", "sip:") if self.is_pbx() else value])
        self.assertEqual((of(seen)["refer"], of(seen)["arrived"]), ("sips", "sips"))
        self.assertEqual(self.passes(call, value, "callee").rows("Refer-To"), [value])
        self.assertIsNone(of(self.call("sip").seen).get("refer"))

    @each(*KINDS)
    def test_REFER_03__the_leg_to_a_sips_target_leaves_by_tls_alone(self):
        far = Watched(self.site)
        call = self.call("sip")  # not protected by itself
        seen = self.passes(call, f"<sips:carol@{far.name}>")
        target = NameAddr(seen.get("Refer-To")).spec
        self.assertEqual(target, f"sip:carol@{far.name}" if self.is_pbx() else f"sips:carol@{far.name}")
        self.assertEqual(of(seen)["arrived"], "tls")
        sent = self.core.send(self.core.build("INVITE", target, headers=[(NAME, seen.get(NAME))], body=SDP),
                              self.edge.core_address)
        peer = far.accept()
        got = peer.expect("INVITE", call_id=sent.call_id)
        self.assertEqual(got.uri, target)
        peer.reply(got, 486)
        peer.expect("ACK")
        self.core.send(self.core.ack_failure(sent, self.core.expect(486, call_id=sent.call_id)), self.edge.core_address)
        far.saw_nothing_in_clear()
        if self.is_pbx():  # without the tag it is a leg like any other
            other = Watched(self.site)
            sent = self.core.send(self.core.build("MESSAGE", f"sip:carol@{other.name}", contact=None),
                                  self.edge.core_address)
            other.plain.reply(other.plain.expect("MESSAGE", call_id=sent.call_id), 200)
            self.core.expect(200, call_id=sent.call_id)

    @each("pbx")
    def test_REFER_03__without_a_secure_way_it_does_not_leave(self):
        far = Watched(self.site, tls=False, offers=("SIP+D2T", "SIP+D2U"))
        call = self.call("sip")
        seen = self.passes(call, f"<sips:carol@{far.name}>")
        sent = self.core.send(self.core.build("MESSAGE", NameAddr(seen.get("Refer-To")).spec, contact=None,
                                              headers=[(NAME, seen.get(NAME))]), self.edge.core_address)
        answer = self.core.expect(403, call_id=sent.call_id)
        self.assert_warning(answer, 399, "insecure leg refused")
        far.saw_nothing_in_clear()

    @each(*KINDS)
    def test_REFER_04__sips_over_udp_is_a_contradiction(self):
        for scheme in ("sip", "sips"):
            call = self.call(scheme)
            self.refused(call.caller.peer, self.refer(call, "<sips:carol@far.example;transport=udp>"), 400)
            self.refused_from_core(call, "<sips:carol@far.example;transport=UDP>", 400)

    @each("proxy")
    def test_REFER_04__transport_tls_passes_and_is_counted(self):
        value = "<sips:carol@far.example;transport=tls>"
        count = lambda: self.edge.metric("gatehouse_referrals_total", domain=self.domain, target="sips_transport_tls") or 0
        before = count()
        call = self.call()
        for side in ("caller", "callee"):
            self.assertEqual(self.passes(call, value, side).rows("Refer-To"), [value])
        self.assertEqual(count(), before + 2)

    @each(*KINDS)
    def test_REFER_05__none_or_two_pass_outside_a_sips_session_alone(self):
        one, other = "<sips:carol@far.example>", "<sips:dave@far.example>"
        call = self.call("sip")
        for values in ([], [one, other], [f"{one}, {other}"], ["<<"]):
            self.assertEqual(self.passes(call, values).rows("Refer-To"), values)
        call = self.call()
        for values in ([], [one, other], [f"{one}, {other}"], ["<<"]):
            self.refused(call.caller.peer, self.refer(call, values), 400)
            self.refused_from_core(call, values, 400)

    @each(*KINDS)
    def test_REFER_06__what_follows_passes_unchanged(self):
        call = self.call()
        headers = [("Event", "refer;id=93"), ("Subscription-State", "terminated;reason=noresource")]
        sent = call.callee.send("NOTIFY", headers=headers, body=b"SIP/2.0 200 OK\r\n", content_type="message/sipfrag")
        got = call.caller.peer.expect("NOTIFY", call_id=sent.call_id)
        self.assertEqual(self.kept(got, but=("contact",)), self.kept(sent, but=("contact",)))
        self.assertEqual(got.body, sent.body)
        call.caller.peer.reply(got, 200)
        self.core.expect(200, "NOTIFY", call_id=sent.call_id)
        phone = self.phone("carol")
        sent = phone.invite(headers=[
            ("Replaces", "98732@x.example;from-tag=r33;to-tag=11"),
            ("Referred-By", '<sips:a@b.example>;cid="20398823.2UWQFN309shb3@b.example"'), ("b", "<sip:z@b.example>")])
        seen = self.core.expect("INVITE", call_id=sent.call_id)
        self.assertEqual(self.kept(seen, but=("contact",)), self.kept(sent, but=("contact",)))
        self.core.reply(seen, 481)
        phone.send(phone.ack_failure(sent, phone.expect(481)))
        self.core.expect("ACK")


class Transfer(EdgeTest):
    """PBX-12: a Refer-To that is a URI of ours."""

    domain = "pbx-udp.example"

    @classmethod
    def make_site(cls):
        site = Site()
        for transport in ("udp", "tcp"):
            site.add(f"pbx-{transport}.example", "pbx", (transport,))
        return site

    def replacing(self, uri, call, extra=""):
        dialog = call.caller if call.caller.peer is not self.core else call.callee
        return f"<{uri}{extra}?Replaces={dialog.call_id.replace('@', '%40')}%3Bto-tag%3Da%3Bfrom-tag%3Db&X=%3cy%3E>;hp=1"

    def cross(self, one, other, value):
        sent = one.send("REFER", headers=[("Refer-To", value)])
        seen = other.expect("REFER", call_id=sent.call_id)
        other.reply(seen, 202)
        one.peer.expect(202, "REFER", call_id=sent.call_id)
        return seen.rows("Refer-To")

    @each("pbx-udp", "pbx-tcp")
    def test_PBX_12__the_core_gets_its_own_contact_back(self):
        phone = self.phone()
        one = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.core.contact += ";line=2"
        other = establish(phone, self.core, f"sips:carol@{self.domain}")
        self.assertNotIn(self.core.ip, other.caller.target)
        value = self.replacing(other.caller.target, other)
        before = self.edge.metric("gatehouse_referrals_total", domain=self.domain, target="ours") or 0
        self.assertEqual(self.cross(one.caller, self.core, value),
                         [value.replace(other.caller.target, self.core.contact)])
        self.assertEqual(self.edge.metric("gatehouse_referrals_total", domain=self.domain, target="ours"), before + 1)
        # Of another scheme, without brackets, and from a session that is not SIPS.
        plain = establish(self.phone("eve", scheme="sip"), self.core, f"sip:bob@{self.domain}")
        self.assertEqual(self.cross(plain.caller, self.core, other.caller.target), [f"<{self.core.contact}>"])

    @each("pbx-udp", "pbx-tcp")
    def test_PBX_12__a_device_gets_the_other_devices_contact(self):
        for scheme in ("sips", "sip"):
            alice, bob = self.phone("alice", scheme=scheme), self.phone("bob", scheme=scheme)
            bob.contact = f"{scheme}:bob@192.0.2.9:5099;ob"
            one = establish(alice, self.core, f"{scheme}:x@{self.domain}")
            other = establish(bob, self.core, f"{scheme}:y@{self.domain}")
            value = self.replacing(other.callee.target, other)
            self.assertIn(self.edge.core, value)
            self.assertEqual(self.cross(one.callee, alice, value), [value.replace(other.callee.target, bob.contact)])
            seen, _ = bob.register(self.core)
            value = f"Bob <{seen.contact.spec}>"
            self.assertEqual(self.cross(one.callee, alice, value), [f"Bob <{bob.contact}>"])

    @each("pbx-udp", "pbx-tcp")
    def test_PBX_12__a_target_at_the_cores_own_address_is_hidden_and_comes_back(self):
        for scheme, arrived in (("sips", "sips"), ("sip", "tls")):
            phone = self.phone(scheme=scheme)
            call = establish(phone, self.core, f"{scheme}:bob@{self.domain}")
            port = ";transport=tcp" if self.core.transport == "tcp" else ""
            for uri in (f"sip:1234@{self.core.ip}{port}", self.core.contact):
                seen, = self.cross(call.callee, phone, self.replacing(uri, call, ";x=1"))
                self.assertNotIn(self.core.ip, seen)
                target, _, headers = NameAddr(seen).spec.partition("?")
                self.assertTrue(target.startswith(f"{scheme}:"), target)
                self.assertTrue(seen.endswith("&X=%3cy%3E>;hp=1"))
                self.assertTrue(headers.startswith("Replaces="))
                invite = phone.invite(target, headers=[("Replaces", "1;to-tag=a;from-tag=b")])
                got = self.core.expect("INVITE", call_id=invite.call_id)
                self.assertEqual(got.uri, f"{uri};x=1")
                self.assertEqual(got.rows("Replaces"), invite.rows("Replaces"))
                self.assertEqual(of(got)["arrived"], arrived)
                self.core.reply(got, 486)
                phone.send(phone.ack_failure(invite, phone.expect(486, call_id=invite.call_id)))
                self.core.expect("ACK")

    def test_PBX_12__a_sip_device_is_no_target_for_a_sips_session(self):
        alice, bob = self.phone("alice"), self.phone("bob", scheme="sip")
        one = establish(alice, self.core, f"sips:x@{self.domain}")
        other = establish(bob, self.core, f"sip:y@{self.domain}")
        sent = one.callee.send("REFER", headers=[("Refer-To", f"<{other.callee.target}>")])
        self.assert_warning(self.core.expect(403, call_id=sent.call_id), 399)
        self.fence(alice)
        alice.expect_nothing(0.05)

    def test_PBX_12__an_altered_or_misplaced_token_is_refused(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        user = NameAddr(f"<{call.caller.target}>").uri.user
        altered = call.caller.target.replace(user, user[:20] + ("A" if user[20] != "A" else "B") + user[21:])
        for target in (altered, call.callee.target):
            message = call.caller.build("REFER", headers=[("Refer-To", f"<{target}>")])
            self.refused(phone, message, 404)
        elsewhere = establish(self.phone(domain="pbx-tcp.example"), self.site.core("pbx-tcp.example"),
                              "sips:bob@pbx-tcp.example")
        message = call.caller.build("REFER", headers=[("Refer-To", f"<{elsewhere.caller.target}>")])
        self.refused(phone, message, 403)
        sent = call.callee.send("REFER", headers=[("Refer-To", f"<{elsewhere.callee.target}>")])
        self.core.expect(404, call_id=sent.call_id)
        self.fence(phone)
        phone.expect_nothing(0.05)
