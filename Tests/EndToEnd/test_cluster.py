"""PBX-16: two edges with one secret serve the same domains in front of the same cores."""

import shutil

from harness import addresses, pki
from harness.case import EdgeTest, each
from harness.dialog import establish
from harness.edge import Edge
from harness.site import Site
from harness.tag import of

DOMAINS = ("pbx-udp", "pbx-tcp", "proxy-udp", "proxy-tcp")


class TwoEdges(EdgeTest):
    """The edge of the site, and a second one that reads its tokens."""

    @classmethod
    def make_site(cls):
        # Each takes requests from the cores, and from the other edge.
        site = Site(core={"trusted": ["127.0.0.0/8"]})
        for name in DOMAINS:
            kind, transport = name.split("-")
            site.add(f"{name}.example", kind, (transport,), outbound={"ca": pki.authority().certificate})
        return site

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = Edge({})
        try:
            one, cls.site.edge = cls.site.edge, cls.other
            configuration = cls.site.configuration()
        finally:
            cls.site.edge = one
        shutil.copytree(one.path("state"), cls.other.path("state"), ignore=shutil.ignore_patterns("bindings*"))
        cls.other.write({**configuration, "edge": {"name": "edge-other"}})
        cls.other.start()

    @classmethod
    def tearDownClass(cls):
        cls.other.stop()
        cls.other.cleanup()
        super().tearDownClass()

    def tearDown(self):
        super().tearDown()
        self.other.check_alive()

    def at_other(self, **options):
        """A phone that is connected to the second edge."""
        return self.phone(address=self.other.tls, **options)

    def by_other(self, dialog, method, **options):
        """A request of the core's within a dialog that reaches the second edge."""
        return self.core.send(dialog.build(method, **options), self.other.core_address)

    def passed_on(self):
        return self.other.metric("gatehouse_cluster_requests_total", domain=self.domain, role="passed_on")


class Cluster(TwoEdges):
    """A dialog of one edge goes on at the other."""

    @each(*DOMAINS)
    def test_PBX_16__a_device_that_comes_back_by_the_other_edge_hangs_up(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        phone.close()
        call.caller.peer = self.at_other()
        sent, seen, _ = call.hang_up()
        self.assertEqual(seen.uri, self.core.contact)
        self.assertEqual((of(seen).id, of(seen)["arrived"]), (of(call.seen).id, "sips"))

    @each(*DOMAINS)
    def test_PBX_16__the_core_hangs_up_by_the_other_edge(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        before = self.passed_on()
        self.by_other(call.callee, "BYE")
        seen = phone.expect("BYE", call_id=call.call_id)
        self.assertEqual(seen.uri, phone.contact)
        if self.domain.startswith("pbx"):
            self.assertNotIn(self.other.core, str(seen))
        phone.reply(seen, 200)
        answer = self.core.expect(200, "BYE", call_id=call.call_id)
        self.assertEqual(answer.values("Via"), [via for via in answer.values("Via") if self.core.sent_by in via])
        self.assertEqual(self.passed_on() - before, 1)

    @each(*DOMAINS)
    def test_PBX_16__a_call_is_refreshed_by_the_other_edge_and_goes_on_by_the_first(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        sent = self.by_other(call.callee, "INVITE", body=b"v=0\r\n")
        seen = phone.expect("INVITE", call_id=call.call_id)
        phone.reply(seen, 200, contact=phone.contact)
        ok = self.core.expect(200, "INVITE", call_id=call.call_id)
        call.callee.refresh(ok)
        ack = call.callee.build("ACK", number=sent.cseq[0])
        self.core.send(ack, self.other.core_address)
        self.assertEqual(phone.expect("ACK", call_id=call.call_id).uri, phone.contact)
        # The core's own address is in the dialog, not that of the edge that passed the request on.
        call.caller.refresh(seen)
        _, bye, _ = call.hang_up()
        self.assertEqual(bye.uri, self.core.contact)

    @each(*DOMAINS)
    def test_PBX_16__a_cancel_by_the_other_edge_ends_the_ringing(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        sent = self.by_other(call.callee, "INVITE", body=b"v=0\r\n")
        seen = phone.expect("INVITE", call_id=call.call_id)
        phone.reply(seen, 180)
        self.core.expect(180, "INVITE", call_id=call.call_id)
        self.core.send(self.core.cancel(sent), self.other.core_address)
        cancel = phone.expect("CANCEL", call_id=call.call_id)
        phone.reply(cancel, 200)
        phone.reply(seen, 487)
        self.core.expect_all(lambda answer: answer.status == 200, lambda answer: answer.status == 487)
        phone.expect("ACK", call_id=call.call_id)

    @each(*DOMAINS)
    def test_PBX_16__where_the_first_edge_has_lost_the_device_its_answer_comes_back(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        phone.close()
        self.by_other(call.callee, "BYE")
        answer = self.core.expect(lambda answer: answer.status > 100, "BYE", call_id=call.call_id)
        self.assertEqual(answer.status, 480)
        self.assert_warning(answer, 380)

    @each(*DOMAINS)
    def test_PBX_16__nothing_of_the_way_between_the_edges_reaches_the_device(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.by_other(call.callee, "OPTIONS")
        seen = phone.expect("OPTIONS", call_id=call.call_id)
        phone.reply(seen, 200)
        self.core.expect(200, "OPTIONS", call_id=call.call_id)
        self.assertEqual(seen.values("Route"), [])
        call.hang_up()


class LostEdge(TwoEdges):
    """The edge that has the device's connection is gone."""

    @each("pbx-udp", "proxy-udp")
    def test_PBX_16__a_dead_edge_is_480_with_a_warning(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.edge.kill()
        try:
            self.by_other(call.callee, "BYE")
            answer = self.core.expect(lambda answer: answer.status > 100, "BYE", call_id=call.call_id)
            self.assertEqual(answer.status, 480)
            self.assert_warning(answer, 399, "the edge that has the device's connection")
        finally:
            phone.close()
            self.edge.start()
