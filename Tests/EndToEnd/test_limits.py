"""Limits: each key under `limits` by what it does, and by its counter (product contract §2)."""

import socket
import ssl

from harness import addresses, streams
from harness.case import EdgeTest, each
from harness.dialog import establish
from harness.sip import SDP, pad
from harness.site import Site
from harness.wait import until


class Limits(EdgeTest):
    @classmethod
    def make_site(cls):
        site = Site()
        for kind in ("pbx", "proxy"):
            for name, limits in (
                    ("conns", {"connections": 3}), ("source", {"connections_per_source": 2}),
                    ("shakes", {"handshakes_per_second": 5}), ("calls", {"calls": 2}),
                    ("cps", {"calls_per_second": 3}), ("rps", {"requests_per_second_per_source": 5}),
                    ("size", {"message_size": "4KiB"})):
                site.add(f"{name}-{kind}.example", kind, limits=limits)
        return site

    def hit(self, limit):
        """How often the limit of this domain was reached, by the counter."""
        return self.edge.metric("gatehouse_limits_hit_total", domain=self.domain, limit=limit) or 0

    def connects(self, **options):
        """Whether a phone gets as far as a pong."""
        try:
            phone = self.phone(**options)
            phone.send(b"\r\n\r\n")
            phone.expect_pong()
            return phone
        except (OSError, ssl.SSLError, streams.Closed):
            return None

    @each("conns-pbx", "conns-proxy")
    def test_limit_connections(self):
        before = self.hit("connections")
        phones = [self.connects() for _ in range(3)]
        self.assertTrue(all(phones))
        self.assertIsNone(self.connects())
        self.assertEqual(self.hit("connections"), before + 1)
        self.fence(phones[0])
        phones[1].close()
        until(lambda: self.connects(), "a place to become free", pause=0.05)

    @each("source-pbx", "source-proxy")
    def test_limit_connections_per_source(self):
        source = addresses.fresh()
        before = self.hit("connections_per_source")
        phones = [self.connects(source=source) for _ in range(2)]
        self.assertTrue(all(phones))
        self.assertIsNone(self.connects(source=source))
        self.assertIsNotNone(self.connects())  # another source
        self.assertEqual(self.hit("connections_per_source"), before + 1)
        self.fence(phones[1])

    @each("shakes-pbx")
    def test_limit_handshakes_per_second(self):
        before = self.hit("handshakes_per_second")
        phones = [self.connects() for _ in range(20)]
        good = [phone for phone in phones if phone]
        self.assertGreaterEqual(len(good), 5)
        self.assertLess(len(good), 20)
        self.assertEqual(self.hit("handshakes_per_second") - before, 20 - len(good))
        self.assertIsNotNone(self.connects(domain="shakes-proxy.example"))  # another domain of the same address
        self.fence(good[0])  # who is in does not notice
        until(lambda: self.connects(), "the rate to recover", seconds=4, pause=0.3)

    @each("calls-pbx", "calls-proxy")
    def test_limit_calls(self):
        phone = self.phone()
        before = self.hit("calls")
        calls = [establish(phone, self.core, f"sips:bob@{self.domain}") for _ in range(2)]
        invite = phone.build("INVITE", f"sips:bob@{self.domain}", body=SDP)
        answer = self.refused(phone, invite, 503)
        self.assertTrue(answer.get("Retry-After").isdigit())
        self.assertEqual(self.hit("calls"), before + 1)
        phone.send(calls[0].caller.build("INVITE", body=SDP))  # a re-INVITE is no new call
        self.core.reply(self.core.expect("INVITE"), 200)
        phone.expect(200, "INVITE")
        calls[0].caller.send("ACK", number=2)
        self.core.expect("ACK")
        calls[0].hang_up()
        calls[1].hang_up("callee")
        for _ in range(2):
            calls.append(establish(phone, self.core, f"sips:bob@{self.domain}"))
        for call in calls[2:]:
            call.hang_up()

    @each("calls-pbx", "calls-proxy")
    def test_limit_calls_counts_failed_calls_no_longer(self):
        phone = self.phone()
        for _ in range(5):
            invite = phone.invite()
            self.core.reply(self.core.expect("INVITE"), 486)
            self.core.expect("ACK")
            phone.send(phone.ack_failure(invite, phone.expect(486)))

    @each("cps-pbx", "cps-proxy")
    def test_limit_calls_per_second(self):
        phone = self.phone()
        before = self.hit("calls_per_second")
        invites = {invite.call_id: invite for invite in [phone.invite() for _ in range(12)]}
        self.core.drain(0.2)
        accepted = len(self.core.inbox)
        self.assertGreaterEqual(accepted, 3)
        self.assertLess(accepted, 12)
        while self.core.inbox:
            self.core.reply(self.core.inbox.popleft(), 486)
        refused = 0
        while invites:
            answer = phone.expect(lambda answer: answer.status in (503, 486))
            phone.send(phone.ack_failure(invites.pop(answer.call_id), answer))
            if answer.status == 503:
                self.assertTrue(answer.get("Retry-After").isdigit())
                refused += 1
        self.assertEqual(refused, 12 - accepted)
        self.core.inbox.clear()
        self.assertEqual(self.hit("calls_per_second") - before, refused)
        self.core.drain(0.1)
        self.core.inbox.clear()
        self.through(phone, phone.build("MESSAGE", f"sip:x@{self.domain}", contact=None))

    @each("rps-pbx", "rps-proxy")
    def test_SEC_05__requests_per_second_per_source(self):
        phone, other = self.phone(), self.phone("other")
        call = establish(other, self.core, f"sips:bob@{self.domain}")
        before = self.hit("requests_per_second_per_source")
        sent = [phone.request("MESSAGE", f"sip:bob@{self.domain}", contact=None) for _ in range(30)]
        self.fence(other, self.quiet_core())
        refused = 0
        try:
            while True:
                answer = phone.receive(0.3)
                if answer.status == 503:
                    self.assertTrue(answer.get("Retry-After").isdigit())
                    refused += 1
        except (AssertionError, streams.Closed):
            pass
        self.assertGreaterEqual(refused, 1)
        self.assertGreaterEqual(self.hit("requests_per_second_per_source") - before, refused)
        self.assertEqual(len(sent), 30)
        call.hang_up()

    def quiet_core(self):
        """The core with the flood taken out of its inbox and answered."""
        core = self.core
        core.drain(0.1)
        while core.inbox:
            core.reply(core.inbox.popleft(), 200)
        return core

    @each("size-pbx", "size-proxy")
    def test_limit_message_size(self):
        phone = self.phone()
        before = self.hit("message_size")
        message = pad(phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None), 4096)
        seen, _ = self.through(phone, message)
        self.assertEqual(len(seen.body), len(message.body))
        message = message.copy().set("Via", phone.via())
        message.body += b"@" * 2000
        phone.send(message)
        self.assertEqual(phone.expect(lambda answer: answer.status > 100).status, 413)
        phone.expect_closed()
        self.assertEqual(self.hit("message_size"), before + 1)
        self.fence(self.phone())


class SlowReader(EdgeTest):
    """SEC-08: what a peer does not read is not kept for ever."""

    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site({"limits": {"write_queue": "64KiB"}})
        site.add("a.example", "proxy")
        return site

    def test_SEC_08__a_slow_reader_is_closed(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        path = seen.values("Path")[0]
        phone.stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = b"@" * 20000

        def flooded():
            for _ in range(20):
                self.core.request("MESSAGE", phone.contact, self.edge.core_address, contact=None, body=body,
                                  headers=[("Route", path)])
            self.core.drain(0.05)
            answers = {message.status for message in self.core.inbox}
            self.core.inbox.clear()
            return 430 in answers

        until(flooded, "the slow reader to be closed", seconds=15)
        self.assertEqual(self.edge.metric("gatehouse_limits_hit_total", limit="write_queue"), 1)
        self.fence(self.phone("other"))

    def test_SEC_08__too_many_header_fields(self):
        phone = self.phone()
        message = phone.build("MESSAGE", "sip:x@a.example", contact=None)
        room = 256 - len(message.headers) - 1
        full = message.copy()
        full.headers += [("X", str(index)) for index in range(room)]
        self.through(phone, full)
        full.headers.append(("X", "one more"))
        phone.send(full.set("Via", phone.via()))
        self.assertEqual(phone.expect(lambda answer: answer.status > 100).status, 513)
        self.fence(self.phone("other"))
