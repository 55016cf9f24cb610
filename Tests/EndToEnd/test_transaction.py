"""TXN: transactions, as far as they need no clock (docs/conformance.md §3)."""

from harness.case import ALL, StandardTest, each
from harness.dialog import Dialog
from harness.sip import SDP, token

ALL_UDP = ("proxy-udp", "pbx-udp")


class Transactions(StandardTest):
    """What needs no clock."""

    domain = "proxy-udp.example"

    def pending(self, phone, ring=180, **options):
        invite = phone.invite(**options)
        seen = self.core.expect("INVITE", call_id=invite.call_id)
        if ring:
            self.core.reply(seen, ring)
            phone.expect(ring)
        return invite, seen

    def test_TXN_03__trying_within_200_ms(self):
        phone = self.phone()
        invite = phone.build("INVITE", f"sips:bob@{self.domain}", body=SDP, headers=[("Timestamp", "54")])
        phone.send(invite)
        trying = phone.receive(0.2)
        self.assertEqual(trying.status, 100)
        self.assertIsNone(trying.to_tag)
        self.assertEqual(trying.get("Timestamp").split()[0], "54")
        seen = self.core.expect("INVITE")
        self.core.reply(seen, 486)
        phone.send(phone.ack_failure(invite, phone.expect(486)))

    @each(*ALL)
    def test_TXN_05__the_edge_acks_a_failure(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        self.core.reply(seen, 486)
        ack = self.core.expect("ACK")
        self.assertEqual(ack.branch, seen.branch)
        self.assertEqual(len(ack.values("Via")), 1)
        self.assertEqual(ack.uri, seen.uri)
        self.assertEqual(ack.values("Route"), seen.values("Route"))
        self.assertEqual((ack.call_id, ack.cseq), (seen.call_id, (seen.cseq[0], "ACK")))
        self.assertEqual(ack.get("From"), seen.get("From"))
        self.assertIsNotNone(ack.to_tag)
        self.assertEqual(ack.transport, seen.transport)
        self.assertEqual(ack.path, seen.path)
        phone.send(phone.ack_failure(invite, phone.expect(486)))

    @each(*ALL_UDP)
    def test_TXN_06__each_repeated_failure_is_acked(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        self.core.reply(seen, 486)
        self.core.expect("ACK")
        for count in (2, 3):
            self.core.repeat(seen)
            self.core.receive_until(lambda: len(self.core.copies("ACK")) == count)
        phone.send(phone.ack_failure(invite, phone.expect(486)))
        self.fence(phone)
        phone.expect_nothing()

    @each(*ALL)
    def test_TXN_07__the_ack_to_a_failure_is_absorbed(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        self.core.reply(seen, 486)
        self.core.expect("ACK")
        busy = phone.expect(486)
        phone.send(phone.ack_failure(invite, busy))  # on a stream timer I is zero: a second ACK would be a stray one
        self.fence(phone)
        self.assertEqual(len(self.core.copies("ACK")), 1)

    @each(*ALL_UDP)
    def test_TXN_10__each_copy_of_a_2xx_passes(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        self.core.reply(seen, 200)
        for _ in range(3):
            phone.expect(200, "INVITE", call_id=invite.call_id)
            self.core.repeat(seen)
        phone.expect(200, "INVITE", call_id=invite.call_id)
        self.fence(phone)
        self.assertEqual(self.core.copies("ACK"), [])

    @each(*ALL)
    def test_TXN_11__a_response_without_transaction_is_dropped(self):
        phone = self.phone()
        message = phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        seen = self.core.expect("MESSAGE")
        for status, method in ((200, "INVITE"), (200, "MESSAGE"), (180, "INVITE"), (486, "INVITE")):
            stray = seen.reply(status, to_tag="x", contact=self.core.contact)
            stray.set("CSeq", f"1 {method}")
            stray.headers[0] = ("Via", stray.headers[0][1].replace(seen.branch, "z9hG4bK" + token("stray")))
            if seen.path:
                seen.path.write(stray.encode())
            else:
                self.core.send_octets(stray.encode(), seen.source)
        self.core.reply(seen, 404)
        answer = phone.receive()
        self.assertEqual((answer.status, answer.call_id), (404, message.call_id))
        self.fence(phone)

    @each(*ALL)
    def test_TXN_12__the_ack_to_a_2xx_is_a_new_request(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        self.core.reply(seen, 200)
        ok = phone.expect(200)
        dialog = Dialog(phone, invite, ok, True)
        sent = dialog.ack(body=SDP)
        ack = self.core.expect("ACK")
        self.assertNotEqual(ack.branch, seen.branch)
        self.assertEqual(ack.get("Max-Forwards"), "69")
        self.assertEqual(ack.body, SDP)
        # Errors in an ACK are never answered.
        bad = dialog.build("ACK", number=1)
        phone.send(bad.set("Max-Forwards", "0"))
        phone.send(phone.build("ACK", "sip:x@unserved.invalid"))
        self.fence(phone)
        phone.expect_nothing()
        self.assertEqual(sent.call_id, ack.call_id)

    @each(*ALL)
    def test_TXN_17__provisional_responses_to_other_methods_stay(self):
        phone = self.phone()
        phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        seen = self.core.expect("MESSAGE")
        self.core.reply(seen, 180)
        self.core.reply(seen, 183)
        self.core.reply(seen, 200)
        self.assertEqual(phone.receive().status, 200)

    @each(*ALL)
    def test_TXN_20__cancel(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        phone.send(phone.cancel(invite))
        self.assertEqual(phone.expect(200).cseq[1], "CANCEL")
        cancel = self.core.expect("CANCEL")
        self.core.reply(cancel, 200)
        self.core.reply(seen, 487)
        self.core.expect("ACK")
        terminated = phone.expect(487, "INVITE")
        phone.send(phone.ack_failure(invite, terminated))
        self.fence(phone)

    @each(*ALL)
    def test_TXN_21__cancel_waits_for_a_provisional(self):
        phone = self.phone()
        invite, seen = self.pending(phone, ring=None)
        phone.send(phone.cancel(invite))
        phone.expect(200, "CANCEL")
        self.fence(phone)
        self.core.reply(seen, 100)
        cancel = self.core.expect("CANCEL")
        self.core.reply(cancel, 200)
        self.core.reply(seen, 487)
        self.core.expect("ACK")
        phone.send(phone.ack_failure(invite, phone.expect(487, "INVITE")))

    @each(*ALL)
    def test_TXN_22__the_cancel_mirrors_the_invite(self):
        phone = self.phone()
        invite, seen = self.pending(phone, headers=[("Require", "100rel"), ("Proxy-Authorization", "Digest x=y")])
        phone.send(phone.cancel(invite))
        phone.expect(200, "CANCEL")
        cancel = self.core.expect("CANCEL")
        self.assertEqual(cancel.uri, seen.uri)
        for name in ("To", "From", "Call-ID", "Route"):
            self.assertEqual(cancel.rows(name), seen.rows(name))
        self.assertEqual(cancel.cseq, (seen.cseq[0], "CANCEL"))
        self.assertEqual(len(cancel.values("Via")), 1)
        self.assertEqual(cancel.branch, seen.branch)
        self.assertFalse(cancel.has("Require") or cancel.has("Proxy-Require"))
        self.assertEqual((cancel.transport, cancel.source, cancel.path), (seen.transport, seen.source, seen.path))
        self.core.reply(cancel, 200)
        self.core.reply(seen, 487)
        phone.send(phone.ack_failure(invite, phone.expect(487, "INVITE")))

    @each(*ALL)
    def test_TXN_23__cancel_after_the_final(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        self.core.reply(seen, 486)
        self.core.expect("ACK")
        busy = phone.expect(486)
        phone.send(phone.cancel(invite))
        phone.expect(200, "CANCEL")
        phone.send(phone.ack_failure(invite, busy))
        self.fence(phone)

    def test_TXN_24__a_cancel_that_matches_nothing_is_checked_and_routed(self):
        phone = self.phone()
        stray = phone.cancel(phone.build("INVITE", f"sip:bob@{self.domain}"))
        phone.send(stray)
        seen = self.core.expect("CANCEL")
        self.assertEqual(seen.call_id, stray.call_id)
        self.core.reply(seen, 481)
        phone.send(phone.cancel(phone.build("INVITE", "sip:bob@unserved.invalid")))
        self.fence(phone)

    def test_TXN_25__proxy_require_in_cancel_and_ack_is_ignored(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        phone.send(phone.cancel(invite, headers=[("Proxy-Require", "nothing")]))
        phone.expect(200, "CANCEL")
        self.core.reply(self.core.expect("CANCEL"), 200)
        self.core.reply(seen, 487)
        self.core.expect("ACK")
        ack = phone.ack_failure(invite, phone.expect(487, "INVITE"))
        phone.send(ack.add("Proxy-Require", "nothing"))
        self.fence(phone)

    @each(*ALL)
    def test_TXN_26__the_reason_of_a_cancel_is_copied(self):
        phone = self.phone()
        invite, seen = self.pending(phone)
        reason = 'SIP;cause=200;text="Call completed elsewhere"'
        phone.send(phone.cancel(invite, headers=[("Reason", reason)]))
        phone.expect(200, "CANCEL")
        cancel = self.core.expect("CANCEL")
        self.assertEqual(cancel.rows("Reason"), [reason])
        self.core.reply(cancel, 200)
        self.core.reply(seen, 487)
        phone.send(phone.ack_failure(invite, phone.expect(487, "INVITE")))

    def test_TXN_28__sent_by_and_method_part_transactions(self):
        phone = self.phone()
        one = phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        two = one.copy().set("Via", one.get("Via").replace(phone.sent_by, "192.0.2.77:5060"))
        phone.send(one)
        phone.send(two)
        seen = [self.core.expect("MESSAGE"), self.core.expect("MESSAGE")]
        for message in seen:
            self.core.reply(message, 200)
            phone.expect(200)
        self.assertNotEqual(seen[0].branch, seen[1].branch)
        invite, pending = self.pending(phone)
        message = phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None, branch=invite.branch)
        self.through(phone, message)
        phone.send(phone.cancel(invite))
        phone.expect(200, "CANCEL")
        self.core.reply(self.core.expect("CANCEL"), 200)
        self.core.reply(pending, 487)
        phone.send(phone.ack_failure(invite, phone.expect(487, "INVITE")))

    def test_TXN_29__transactions_without_the_magic_cookie(self):
        phone = self.phone()
        phone.via = lambda branch=None: f"SIP/2.0/TLS {phone.sent_by};branch={branch or '1'}"
        invite = phone.build("INVITE", f"sips:bob@{self.domain}", body=SDP, branch=token("old"))
        phone.send(invite)
        seen = self.core.expect("INVITE")
        self.core.reply(seen, 180)
        phone.expect(180)
        phone.send(invite)
        self.core.reply(seen, 486)
        self.core.expect("ACK")
        busy = phone.expect(lambda answer: answer.status in (180, 486))  # the copy may get the 180 again
        if busy.status == 180:
            busy = phone.expect(486)
        phone.send(phone.ack_failure(invite, busy))
        del phone.via
        self.fence(phone)
        self.assertEqual(len(self.core.copies("INVITE")), 1)

    def test_TXN_30__merged_requests_both_pass(self):
        phone = self.phone()
        one = phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        two = one.copy().set("Via", phone.via())
        phone.send(one)
        phone.send(two)
        for _ in range(2):
            seen = self.core.expect("MESSAGE", call_id=one.call_id)
            self.core.reply(seen, 200)
            phone.expect(200)

    def test_TXN_19__a_request_repeated_after_its_final_gets_it_again_or_is_new(self):
        # Over a stream timer J is zero: the edge may forward the copy. It never answers anything else.
        phone = self.phone()
        message = phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        self.through(phone, message)
        phone.send(message)
        seen = self.core.expect("MESSAGE", call_id=message.call_id)
        self.core.reply(seen, 200)
        phone.expect(200)

    @each(*ALL)
    def test_TXN_32__an_answer_that_cannot_be_sent_leaves_the_transaction_as_it_is(self):
        phone = self.phone()
        invite = phone.invite(f"sips:bob@{self.domain}")
        seen = self.core.expect("INVITE", call_id=invite.call_id)
        phone.expect(100)
        phone.close()
        self.fence(self.phone("carol"))
        self.core.reply(seen, 486)
        self.core.expect("ACK", call_id=invite.call_id)
        again = self.phone()
        again.send(invite)  # a copy, over another connection: absorbed
        self.fence(again)
        again.send(again.ack_failure(invite, seen.reply(486, to_tag="x")))
        self.fence(again)
        self.assertEqual(len(self.core.copies("INVITE")), 1)
        self.assertEqual(len(self.core.copies("ACK")), 1)
