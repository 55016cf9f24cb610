"""Whole calls from the core to peers outside, and what the peer starts in them."""

from harness import dns
from harness.case import VARIANTS, each
from harness.dialog import establish
from harness.far import BlackHole
from harness.outbound import OutboundTest
from harness.sip import SDP, NameAddr
from harness.tag import NAME
from harness.wait import until

OUT = tuple(f"{variant}-{leg}" for variant in VARIANTS for leg in ("udp", "tcp", "tls"))


class CallsOut(OutboundTest):
    """A domain for each kind of core; the last word of a variant is the transport of the leg outside."""

    @classmethod
    def add_domains(cls, site):
        for variant, (kind, transports) in VARIANTS.items():
            cls.add(site, f"{variant}.example", kind, transports, tls={"advertise": site.edge.outside})

    def setUp(self):
        variant, self.leg_transport = (self.domain or "").removesuffix(".example").rsplit("-", 1)
        self.domain = f"{variant}.example"
        super().setUp()

    def peer(self, scheme="sip"):
        """A peer by name, which sends what it starts over the edge's own connection, and the URI that leads there."""
        name = self.name()
        far = self.far(pair=name, **{self.leg_transport: 5061 if self.leg_transport == "tls" else 5060})
        self.host(far.ip, name)
        send = far.send

        def reuse(message, address=None, transport=None):
            if not far.connections:
                return send(message, address, transport)
            stream = list(far.connections)[-1]
            far.calls.add(message.call_id)
            far.log_out("the edge's connection", message.encode())
            stream.write(message.encode())
            return message

        far.send = reuse
        port = 5061 if self.leg_transport == "tls" else 5060
        return far, f"{scheme}:bob@{name}:{port};transport={self.leg_transport}"

    def call(self, far, uri, **options):
        call = establish(self.core, far, uri, address=self.edge.core_address, **options)
        self.assertEqual(call.seen.transport, self.leg_transport.upper())
        self.assertEqual(call.seen.vias[0].transport, self.leg_transport.upper())
        self.assertFalse(call.seen.has(NAME), "the tag stays inside")
        if self.domain.startswith("pbx"):
            self.assertEqual(len(call.seen.vias), 1)
            self.assertFalse([row for row in call.seen.headers if self.core.ip in row[1] and row[0] != "From"])
        return call

    @each(*OUT)
    def test_PBX_02_PBX_03__the_core_calls_and_hangs_up(self):
        far, uri = self.peer()
        call = self.call(far, uri)
        self.assertEqual(call.seen.uri, uri)
        sent, seen, _ = call.hang_up("caller")
        self.assertEqual(seen.uri, far.contact)

    @each(*OUT)
    def test_PBX_03_REUSE_06__the_peer_hangs_up(self):
        far, uri = self.peer()
        call = self.call(far, uri)
        sent, seen, _ = call.hang_up("callee")
        self.assertEqual(seen.uri, self.core.contact)
        if self.leg_transport != "udp":
            self.assertEqual(len(far.accepted), 1)

    @each(*OUT)
    def test_PBX_15__both_sides_renegotiate(self):
        far, uri = self.peer()
        call = self.call(far, uri)
        for one, other in ((call.caller, call.callee), (call.callee, call.caller)):
            invite = one.send("INVITE", body=SDP)
            seen = other.peer.expect("INVITE", call_id=call.call_id)
            other.peer.reply(seen, 200, headers=[("Content-Type", "application/sdp")], body=SDP)
            one.refresh(one.peer.expect(200, "INVITE", call_id=call.call_id))
            one.ack(invite)
            other.peer.expect("ACK", call_id=call.call_id)
        call.hang_up("callee")

    @each(*OUT)
    def test_RESP_01__busy_and_cancel(self):
        far, uri = self.peer()
        sent = self.core.request("INVITE", uri, self.edge.core_address, body=SDP)
        far.reply(far.expect("INVITE", call_id=sent.call_id), 486)
        busy = self.core.expect(486, call_id=sent.call_id)
        far.expect("ACK", call_id=sent.call_id)
        self.core.send(self.core.ack_failure(sent, busy), self.edge.core_address)
        sent = self.core.request("INVITE", uri, self.edge.core_address, body=SDP)
        seen = far.expect("INVITE", call_id=sent.call_id)
        far.reply(seen, 180)
        self.core.expect(180, call_id=sent.call_id)
        self.core.send(self.core.cancel(sent), self.edge.core_address)
        self.core.expect(200, "CANCEL", call_id=sent.call_id)
        cancel = far.expect("CANCEL", call_id=sent.call_id)
        self.assertEqual(cancel.branch, seen.branch)
        far.reply(cancel, 200)
        far.reply(seen, 487)
        far.expect("ACK", call_id=sent.call_id)
        ended = self.core.expect(487, "INVITE", call_id=sent.call_id)
        self.core.send(self.core.ack_failure(sent, ended), self.edge.core_address)

    def cancelled(self, sent):
        """The core cancels before anything was sent outside: 200 and 487 at once."""
        self.core.send(self.core.cancel(sent), self.edge.core_address)
        self.core.expect(200, "CANCEL", call_id=sent.call_id)
        ended = self.core.expect(487, "INVITE", call_id=sent.call_id)
        self.core.send(self.core.ack_failure(sent, ended), self.edge.core_address)

    @each("pbx-udp-tcp", "proxy-tcp-tcp")
    def test_TXN_27__a_call_is_cancelled_while_its_name_is_looked_up(self):
        name = self.name()
        late = self.dns.tell(name, dns.Late(dns.records(dns.A("127.0.0.1"))))
        sent = self.core.request("INVITE", f"sip:bob@{name}:5060;transport=tcp", self.edge.core_address, body=SDP)
        until(lambda: self.dns.asked(name), "the question")
        self.cancelled(sent)
        late.release()

    @each("pbx-udp-tcp", "proxy-tcp-tcp")
    def test_TXN_27__a_call_is_cancelled_while_a_connection_hangs(self):
        hole = self.site.keep(BlackHole())
        name = self.host(hole.ip)
        mark = self.edge.mark()
        sent = self.core.request("INVITE", f"sip:bob@{name}:5060;transport=tcp", self.edge.core_address, body=SDP)
        self.core.expect(100, call_id=sent.call_id)
        until(lambda: self.dns.asked(name), "the question")
        self.cancelled(sent)

    @each("pbx-udp-udp", "proxy-udp-udp")
    def test_LOC_18__a_peer_that_takes_no_datagrams_ends_the_call_at_once(self):
        far, uri = self.peer()
        far.close()
        sent = self.core.request("INVITE", uri, self.edge.core_address, body=SDP)
        answer = self.core.expect(500, call_id=sent.call_id, seconds=1)
        self.assert_warning(answer, 399)
        self.core.send(self.core.ack_failure(sent, answer), self.edge.core_address)

    @each("pbx-udp-tls", "proxy-udp-tls")
    def test_CERT_01__a_dialog_whose_peer_names_itself_by_address_goes_on(self):
        far, uri = self.peer()
        self.assertIn(far.ip, far.contact)  # the certificate has the name alone
        call = self.call(far, uri)
        far.drop_connections()
        sent = call.caller.send("BYE")
        far.wait_connections(2)
        far.reply(far.expect("BYE", call_id=sent.call_id), 200)
        self.core.expect(200, "BYE", call_id=sent.call_id)
        self.assertEqual([name for _, name in far.accepted], [NameAddr(f"<{uri}>").uri.host] * 2)
