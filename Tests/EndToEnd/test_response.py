"""RESP: responses on their way back (docs/conformance.md §4.3). The timer rows are in test_transaction.py."""

from harness import addresses
from harness.case import ALL, PROXY, EdgeTest, StandardTest, each
from harness.core import Core, which
from harness.dialog import Dialog
from harness.sip import NameAddr, token
from harness.site import Site


class Responses(StandardTest):
    domain = "proxy-udp.example"

    def pending(self, phone, **options):
        invite = phone.invite(**options)
        return invite, self.core.expect("INVITE", call_id=invite.call_id)

    @each(*ALL)
    def test_RESP_01__provisionals_pass_at_once_and_100_never(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        self.assertEqual(phone.receive().status, 100)  # ours
        self.core.reply(seen, 100)
        for status in (180, 181, 183, 199):
            self.core.reply(seen, status)
            self.assertEqual(phone.receive().status, status)
        self.core.reply(seen, 200)
        dialog = Dialog(phone, invite, phone.expect(200), True)
        dialog.ack()
        self.core.expect("ACK")

    @each(*ALL)
    def test_RESP_01__every_2xx_passes(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        for tag in ("one", "two", "three"):
            self.core.respond(seen, seen.reply(200, to_tag=tag, contact=self.core.contact))
            ok = phone.expect(200)
            self.assertEqual(ok.to_tag, tag)
            Dialog(phone, invite, ok, True).ack()
            self.assertEqual(self.core.expect("ACK").to_tag, tag)

    @each(*ALL)
    def test_RESP_02__one_final_and_none_after_a_2xx(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        self.core.reply(seen, 486)
        self.core.expect("ACK")
        self.core.reply(seen, 603)
        self.core.reply(seen, 180)
        phone.send(phone.ack_failure(invite, phone.expect(486)))
        self.drain_fence(phone)
        invite, seen = self.pending(phone)
        self.core.reply(seen, 200)
        phone.expect(200)
        self.core.reply(seen, 486)
        self.core.reply(seen, 180)
        self.drain_fence(phone)

    def drain_fence(self, phone):
        """A MESSAGE goes through and the phone gets nothing else; ACKs of the edge do not matter here."""
        sent = phone.request("MESSAGE", f"sip:fence@{self.domain}", contact=None)
        self.core.reply(self.core.expect("MESSAGE", call_id=sent.call_id), 200)
        self.assertEqual(phone.receive().call_id, sent.call_id)

    @each(*PROXY)
    def test_RESP_08__to_tags_pass_untouched(self):
        phone = self.phone()
        for status, tag in ((180, "ring"), (404, "final")):
            invite, seen = self.pending(phone)
            self.core.respond(seen, seen.reply(status, to_tag=tag))
            self.assertEqual(phone.expect(status).to_tag, tag)
            if status < 200:
                self.core.respond(seen, seen.reply(486))  # no tag at all
                answer = phone.expect(486)
                self.assertIsNone(answer.to_tag)
                phone.send(phone.ack_failure(invite, answer))
                self.core.expect("ACK")

    def test_RESP_08__own_finals_have_a_to_tag(self):
        phone = self.phone()
        message = phone.build("MESSAGE", "sip:bob@unserved.invalid", contact=None)
        tags = set()
        for _ in range(2):
            phone.send(message)
            answer = phone.expect(403)
            self.assertTrue(answer.to_tag)
            tags.add(answer.to_tag)
        self.assertEqual(len(tags), 1)
        tagged = phone.build("MESSAGE", "sip:bob@unserved.invalid", contact=None, to="<sip:x@y.invalid>;tag=mine")
        self.assertEqual(phone.send(tagged) and phone.expect(403).to_tag, "mine")

    @each(*ALL)
    def test_RESP_09__a_response_without_a_further_via_stays(self):
        phone = self.phone()
        phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        seen = self.core.expect("MESSAGE")
        if len(seen.values("Via")) > 1:
            short = seen.reply(200, to_tag="x")
            top = short.values("Via")[0]
            short.set("Via", top)
            self.core.respond(seen, short)
            self.core.answers.clear()
        else:  # towards a pbx the edge's Via is the only one, and the way back is the edge's own knowledge
            empty = seen.reply(200, to_tag="x").remove("Via")
            self.core.send_octets(empty.encode(), seen.source) if seen.path is None else None
        self.core.reply(seen, 404)
        self.assertIn(phone.receive().status, (404, 500))  # 500 where the edge gives the branch up

    @each(*ALL)
    def test_RESP_12__redirections_pass(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        contacts = [("Contact", "<sip:bob@far.invalid>;q=0.7"), ("Contact", "<sip:bob@other.invalid>;q=0.2")]
        self.core.reply(seen, 302, headers=contacts)
        answer = phone.expect(302)
        self.assertEqual(answer.values("Contact"), [value for _, value in contacts])
        phone.send(phone.ack_failure(invite, answer))
        self.core.expect("ACK")
        self.fence(phone)

    @each(*ALL)
    def test_RESP_06__a_503_of_the_core_becomes_500(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        self.core.reply(seen, 503)
        self.core.expect("ACK")
        answer = phone.expect(500)
        phone.send(phone.ack_failure(invite, answer))
        message = phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        self.core.reply(self.core.expect("MESSAGE", call_id=message.call_id), 503)
        phone.expect(500)


class TwoCores(EdgeTest):
    """Several targets: failover, 503, distribution."""

    @classmethod
    def make_site(cls):
        site = Site()
        cls.second = {}
        for name, options in (("failover", {}), ("robin", {"distribution": "round_robin"}),
                              ("hash", {"distribution": "call_id_hash"}), ("pbx", {}), ("retry", {})):
            domain = site.add(f"{name}.example", "pbx" if name == "pbx" else "proxy")
            cls.second[f"{name}.example"] = addresses.fresh()
            domain.options["core"] = {"targets": [f"udp:{domain.core_ip}:5060",
                                                  f"udp:{cls.second[f'{name}.example']}:5060"], **options}
        return site

    def both(self):
        other = self.site.keep(Core(self.second[self.domain], name="second core"))
        return self.core, other

    @each("failover", "pbx")
    def test_RESP_14__a_503_moves_this_request_to_the_next_core(self):
        first, second = self.both()
        phone = self.phone()
        invite = phone.invite()
        seen = first.expect("INVITE")
        first.reply(seen, 503)
        self.assertEqual(first.expect("ACK").branch, seen.branch)
        again = second.expect("INVITE")
        self.assertNotEqual(again.branch, seen.branch)  # LOC-18
        self.assertEqual(again.uri, seen.uri)
        second.reply(again, 486)
        second.expect("ACK")  # LOC-20
        phone.send(phone.ack_failure(invite, phone.expect(486)))
        self.fence(phone, first)  # without Retry-After the first stays in use

    @each("failover", "pbx")
    def test_FWD_01__each_attempt_has_a_via_of_its_own_on_top(self):
        phone = self.phone()
        sent = phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        attempts = []
        for core, status in zip(self.both(), (503, 200)):
            attempts.append(core.expect("MESSAGE", call_id=sent.call_id))
            core.reply(attempts[-1], status)
        phone.expect(200)
        for seen in attempts:
            self.assertEqual((seen.vias[0].transport, seen.vias[0].host), ("UDP", self.edge.core))
            self.assertTrue(seen.branch.startswith("z9hG4bK"), seen.branch)
            # A proxy keeps the device's Via beneath, a user agent is shown the edge alone.
            beneath = [via.branch for via in seen.vias[1:]]
            self.assertEqual(beneath, [] if self.domain == "pbx.example" else [sent.branch])
        self.assertEqual(len({sent.branch, *(seen.branch for seen in attempts)}), 3)

    @each("retry")
    def test_RESP_14__retry_after_rests_the_core(self):
        first, second = self.both()
        phone = self.phone()
        phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        first.reply(first.expect("MESSAGE"), 503, headers=[("Retry-After", "30")])
        second.reply(second.expect("MESSAGE"), 200)
        phone.expect(200)
        self.fence(phone, second)
        first.expect_nothing()

    @each("failover")
    def test_LOC_19__other_finals_do_not_move_it(self):
        first, second = self.both()
        phone = self.phone()
        for status in (404, 486, 500, 603):
            phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
            first.reply(first.expect("MESSAGE"), status)
            self.assertEqual(phone.expect(lambda answer: answer.status > 100).status, status)
        second.expect_nothing()

    @each("robin")
    def test_core_round_robin_takes_turns(self):
        first, second = self.both()
        phone = self.phone()
        for _ in range(3):
            phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
            phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
            for core in (first, second):
                core.reply(core.expect("MESSAGE"), 200)
                phone.expect(200)

    @each("hash")
    def test_core_call_id_hash_keeps_a_call_on_its_core(self):
        first, second = self.both()
        phone = self.phone()
        used = set()
        for _ in range(8):
            name, cores = token("call"), set()
            for _ in range(3):
                phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None, call_id=name)
                core = which(first, second)
                core.reply(core.expect("MESSAGE"), 200)
                phone.expect(200)
                cores.add(core.name)
            self.assertEqual(len(cores), 1)
            used |= cores
        self.assertEqual(len(used), 2)

    @each("failover")
    def test_dialog_stays_on_its_core(self):
        first, second = self.both()
        phone = self.phone()
        invite = phone.invite()
        first.reply(first.expect("INVITE"), 503)
        first.expect("ACK")
        seen = second.expect("INVITE")
        second.reply(seen, 200, contact=f"sip:core@{second.ip}")
        dialog = Dialog(phone, invite, phone.expect(200), True)
        dialog.ack()
        second.expect("ACK")
        dialog.send("BYE")
        second.reply(second.expect("BYE"), 200)
        phone.expect(200, "BYE")
        self.assertTrue(all(NameAddr(route).uri.is_loose for route in dialog.routes))
        first.expect_nothing()
