"""TXN and RESP: scaled timers of RFC 3261 §17, and core servers that are not there (docs/conformance.md §3, §4)."""

from harness import addresses
from harness.case import ALL, EdgeTest, each
from harness.sip import SDP
from harness.site import Site

T1, T2, T4 = 0.05, 0.2, 0.25
ALL_UDP = ("proxy-udp", "pbx-udp")


class Scaled(EdgeTest):
    """What waits for timers: T1 50 ms, T2 200 ms, T4 250 ms; so 64·T1 is 3.2 s."""

    domain = "proxy-udp.example"
    weight = 60

    @classmethod
    def make_site(cls):
        site = Site({"timers": {"t1": "50ms", "t2": "200ms", "t4": "250ms", "connect": "500ms"}})
        site.add("proxy-udp.example", "proxy", ("udp",))
        site.add("pbx-udp.example", "pbx", ("udp",))
        site.add("proxy-tcp.example", "proxy", ("tcp",))
        site.add("pbx-tcp.example", "pbx", ("tcp",))
        return site

    def times(self, method, call_id):
        """When each copy came, counted from the first, in units of T1."""
        found = [message.time for message in self.core.received
                 if message.is_request and message.method == method and message.call_id == call_id]
        return [round((time - found[0]) / T1, 1) for time in found]

    def assert_times(self, times, expected):
        """No copy comes early; none over 3·T1 late."""
        self.assertEqual(len(times), len(expected), times)
        for found, wanted in zip(times, expected):
            self.assertTrue(wanted - 0.6 <= found <= wanted + 3, f"{times} instead of {expected}")

    @each(*ALL_UDP)
    def test_TXN_01__invite_is_retransmitted_until_a_provisional(self):
        phone = self.phone()
        invite = phone.invite()
        seen = self.core.expect("INVITE")
        self.core.receive_until(lambda: len(self.core.copies("INVITE")) == 5)
        self.assert_times(self.times("INVITE", invite.call_id), [0, 1, 3, 7, 15])
        self.assertTrue(all(copy.raw == seen.raw for copy in self.core.copies("INVITE")))
        self.core.reply(seen, 100)
        self.core.expect_nothing(seconds=0)
        self.core.answers_retransmissions = False
        self.core.drain(17 * T1 * 1.2)
        self.core.answers_retransmissions = True
        self.assertEqual(len(self.core.copies("INVITE")), 5)
        self.core.reply(seen, 486)
        phone.send(phone.ack_failure(invite, phone.expect(486)))

    @each("proxy-udp", "pbx-tcp")
    def test_TXN_02__an_invite_without_answer_gets_408(self):
        phone = self.phone()
        invite = phone.invite()
        self.core.expect("INVITE")
        answer = phone.expect(lambda answer: answer.status > 100, seconds=6)
        self.assertEqual(answer.status, 408)
        phone.send(phone.ack_failure(invite, answer))
        self.fence(phone)
        count = len(self.core.copies("INVITE"))
        self.assertIn(count, (7,) if self.domain == "proxy-udp.example" else (1,))
        self.assertEqual(self.core.copies("ACK"), [])

    def test_TXN_04__a_retransmitted_invite_gets_the_latest_provisional(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        invite = self.core.build("INVITE", phone.contact, body=SDP, headers=[("Route", seen.values("Path")[0])])
        self.core.send(invite, self.edge.core_address)
        self.core.expect(100)
        got = phone.expect("INVITE")
        phone.reply(got, 183)
        first = self.core.expect(183)
        self.core.send(invite, self.edge.core_address)
        self.assertEqual(self.core.expect(183).to_tag, first.to_tag)
        phone.reply(got, 486)
        self.core.expect(486)
        self.core.send(self.core.ack_failure(invite, first), self.edge.core_address)
        phone.expect("ACK")
        phone.expect_nothing()

    def test_TXN_08__a_failure_over_udp_is_repeated_until_the_ack(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        invite = self.core.build("INVITE", phone.contact, body=SDP, headers=[("Route", seen.values("Path")[0])])
        self.core.send(invite, self.edge.core_address)
        got = phone.expect("INVITE")
        phone.reply(got, 486)
        phone.expect("ACK")
        finals = []
        self.core.receive_until(lambda: len(finals) == 5, lambda message: finals.append(message)
                                if message.status == 486 else None)
        times = [round((message.time - finals[0].time) / T1, 1) for message in finals]
        self.assert_times(times, [0, 1, 3, 7, 11])  # T1, doubling to T2
        self.core.send(self.core.ack_failure(invite, finals[0]), self.edge.core_address)
        self.core.expect_nothing(T2 * 2)

    def test_TXN_08__a_failure_over_tls_is_sent_once(self):
        phone = self.phone()
        invite = phone.invite()
        self.core.reply(self.core.expect("INVITE"), 486)
        busy = phone.expect(486)
        phone.expect_nothing(T2 * 2)
        phone.send(phone.ack_failure(invite, busy))

    def test_TXN_09__an_invite_after_its_2xx_is_absorbed(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        invite = self.core.build("INVITE", phone.contact, body=SDP, headers=[("Route", seen.values("Path")[0])])
        self.core.send(invite, self.edge.core_address)
        phone.reply(phone.expect("INVITE"), 200)
        self.core.expect(200)
        self.core.send(invite, self.edge.core_address)
        self.core.request("MESSAGE", phone.contact, self.edge.core_address, contact=None,
                          headers=[("Route", seen.values("Path")[0])])
        phone.reply(phone.expect("MESSAGE"), 200)
        self.assertEqual(self.core.expect(200).cseq[1], "MESSAGE")
        phone.expect_nothing()

    @each(*ALL_UDP)
    def test_TXN_14__other_requests_are_retransmitted_up_to_t2(self):
        phone = self.phone()
        message = phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        seen = self.core.expect("MESSAGE")
        self.core.receive_until(lambda: len(self.core.copies("MESSAGE")) == 6)
        self.assert_times(self.times("MESSAGE", message.call_id), [0, 1, 3, 7, 11, 15])
        self.core.answers_retransmissions = False
        self.core.reply(seen, 100)
        self.core.receive_until(lambda: len(self.core.copies("MESSAGE")) == 8)
        self.core.answers_retransmissions = True
        times = self.times("MESSAGE", message.call_id)
        self.assertTrue(3.4 <= times[7] - times[6] <= 7, times)
        self.core.reply(seen, 200)
        phone.expect(200)

    @each("proxy-udp", "pbx-tcp")
    def test_TXN_15_TXN_16__a_request_without_answer_gets_none(self):
        phone = self.phone()
        message = phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        seen = self.core.expect("MESSAGE")
        phone.expect_nothing(64 * T1 + 0.4, but=(100,))
        # TXN-16: nor does a late answer pass.
        self.core.reply(seen, 200)
        self.fence(phone)
        self.assertEqual(seen.call_id, message.call_id)

    @each("proxy-udp", "pbx-tcp")
    def test_TXN_18__trying_when_timer_e_reaches_t2(self):
        phone = self.phone()
        phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None)
        seen = self.core.expect("MESSAGE")
        trying = phone.receive(3)
        self.assertEqual(trying.status, 100)
        self.core.reply(seen, 200)
        phone.expect(200)

    def test_TXN_18__never_earlier_over_udp(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        sent = self.core.request("MESSAGE", phone.contact, self.edge.core_address, contact=None,
                                 headers=[("Route", seen.values("Path")[0])])
        got = phone.expect("MESSAGE", call_id=sent.call_id)
        trying = self.core.receive(3)
        self.assertEqual(trying.status, 100)
        self.assertGreaterEqual(trying.time - sent.time, 2.9 * T1)
        phone.reply(got, 200)
        self.core.expect(200)

    def test_TXN_19__a_request_repeated_over_udp_gets_the_final_again(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        sent = self.core.request("MESSAGE", phone.contact, self.edge.core_address, contact=None,
                                 headers=[("Route", seen.values("Path")[0])])
        phone.reply(phone.expect("MESSAGE"), 404)
        first = self.core.expect(404)
        for _ in range(2):
            self.core.send(sent, self.edge.core_address)
            self.assertEqual(self.core.expect(404).raw, first.raw)
        phone.expect_nothing()

    def test_TXN_21__without_a_provisional_no_cancel_is_sent(self):
        phone = self.phone()
        invite = phone.invite()
        self.core.expect("INVITE")
        phone.send(phone.cancel(invite))
        phone.expect(200, "CANCEL")
        answer = phone.expect(lambda answer: answer.status > 100, seconds=6)
        self.assertIn(answer.status, (408, 487))
        phone.send(phone.ack_failure(invite, answer))
        self.fence(phone)
        self.assertEqual(self.core.copies("CANCEL"), [])

    def test_TXN_27__a_cancelled_branch_without_a_final_ends(self):
        phone = self.phone()
        invite = phone.invite()
        seen = self.core.expect("INVITE")
        self.core.reply(seen, 180)
        phone.expect(180)
        phone.send(phone.cancel(invite))
        phone.expect(200, "CANCEL")
        self.core.reply(self.core.expect("CANCEL"), 200)
        answer = phone.expect(lambda answer: answer.status > 180, seconds=6)
        self.assertIn(answer.status, (408, 487))
        phone.send(phone.ack_failure(invite, answer))


class TimerC(EdgeTest):
    """RESP-11 with Timer C at 0.9 s."""

    @classmethod
    def make_site(cls):
        site = Site({"timers": {"timer_c": "900ms"}})
        for kind in ("pbx", "proxy"):
            for transport in ("udp", "tcp"):
                site.add(f"{kind}-{transport}.example", kind, (transport,))
        return site

    @each(*ALL)
    def test_RESP_11__timer_c_ends_a_call_that_rings_too_long(self):
        phone = self.phone()
        invite = phone.invite()
        seen = self.core.expect("INVITE")
        self.core.reply(seen, 180)
        phone.expect(180)
        self.core.expect_nothing(0.6)
        self.core.reply(seen, 183)  # restarts it
        phone.expect(183)
        self.core.expect_nothing(0.6)
        cancel = self.core.expect("CANCEL", seconds=2)
        self.core.reply(cancel, 200)
        self.core.reply(seen, 487)
        answer = phone.expect(lambda answer: answer.status > 183)
        self.assertIn(answer.status, (408, 487))
        phone.send(phone.ack_failure(invite, answer))

    @each("proxy-udp", "pbx-tcp")
    def test_RESP_11__a_100_does_not_restart_timer_c(self):
        phone = self.phone()
        invite = phone.invite()
        seen = self.core.expect("INVITE")
        self.core.reply(seen, 100)
        self.core.expect_nothing(0.6)
        self.core.reply(seen, 100)
        cancel = self.core.expect("CANCEL", seconds=2)
        self.assertLess(cancel.time - seen.time, 1.3)
        self.core.reply(cancel, 200)
        self.core.reply(seen, 487)
        answer = phone.expect(lambda answer: answer.status > 183)
        self.assertIn(answer.status, (408, 487))
        phone.send(phone.ack_failure(invite, answer))


class DeadCores(EdgeTest):
    """TXN-31, LOC-18: targets that are not there, and the one that is."""

    @classmethod
    def make_site(cls):
        site = Site({"timers": {"t1": "50ms", "t2": "200ms", "t4": "250ms", "connect": "400ms"}})
        for kind in ("proxy", "pbx"):
            for transport in ("udp", "tcp"):
                dead = addresses.fresh()
                site.add(f"{kind}-{transport}.example", kind, (transport,))
                entry = site.domains[f"{kind}-{transport}.example"]
                entry.options["core"] = {"targets": [f"{transport}:{dead}:5060", f"{transport}:{entry.core_ip}:5060"]}
                site.add(f"none-{kind}-{transport}.example", kind, (transport,), core_ip=addresses.fresh())
        return site

    @each(*ALL)
    def test_LOC_18_LOC_20__the_next_target_takes_over(self):
        phone = self.phone()
        invite = phone.invite()
        seen = self.core.expect("INVITE", seconds=8)
        self.core.reply(seen, 486)
        self.core.expect("ACK")  # LOC-20
        phone.send(phone.ack_failure(invite, phone.expect(486)))

    @each(*ALL)
    def test_TXN_31_RESP_06__no_target_is_left(self):
        self.domain = "none-" + self.domain
        phone = self.phone()
        invite = phone.invite()
        answer = phone.expect(lambda answer: answer.status > 100, seconds=8)
        self.assertEqual(answer.status, 500)  # RESP-06
        phone.send(phone.ack_failure(invite, answer))
