"""A response whose connection is gone (RFC 3261 §18.2.2, RFC 3263 §5): VIA-07, VIA-08."""

from harness import addresses, pki
from harness.dns import A, SRV
from harness.outbound import OutboundTest
from harness.sip import SDP
from harness.wait import until


class LostConnections(OutboundTest):
    """A device asks, its connection closes, and the core's answer looks for it."""

    @classmethod
    def add_domains(cls, site):
        for kind in ("proxy", "pbx"):
            cls.add(site, f"{kind}.example", kind)
            cls.add(site, f"lax-{kind}.example", kind, outbound={"verify": False}, security={"overrides": [
                {"to": "*.lab.example", "allow": "unverified", "reason": "what verify: false needs", "until": "2099-01-01"}]})
            plain = addresses.fresh()
            cls.add(site, f"tcp-{kind}.example", kind, tcp={"bind": [f"{plain}:5060"]})
            cls.plain = {**getattr(cls, "plain", {}), f"tcp-{kind}.example": plain}

    def asks(self, sent_by, method="INVITE", tls=True, scheme="sips"):
        """A request whose connection is gone before its answer. Returns (the device's address, what the core saw)."""
        ip = addresses.fresh()
        where = {"scheme": scheme}
        if not tls:
            where = {"tls": False, "address": (self.plain[self.domain], 5060), "scheme": "sip"}
        core, phone = self.core, self.phone(source=ip, **where)
        phone.sent_by = sent_by.format(ip=ip)
        phone.request(method, f"{phone.scheme}:bob@{self.domain}", body=SDP if method == "INVITE" else b"")
        seen = core.expect(method)
        phone.close()
        self.fence(self.phone(**where), core)
        return ip, seen

    def answered(self, far, seen, transport, status=486):
        """The core's answer reaches `far`, over a connection of its own."""
        self.core.reply(seen, status)
        if seen.method == "INVITE" and status >= 300:
            self.core.expect("ACK", call_id=seen.call_id)
        self.tend_until(lambda: far.inbox)
        answer = far.expect(status)
        self.assertEqual((answer.transport, len(far.accepted)), (transport, 1))
        self.assertEqual(len(answer.vias), 1)
        return answer

    def unanswered(self, seen, *observers):
        """The core gives its answer, and nobody gets it in clear."""
        self.core.reply(seen, 486)
        if seen.method == "INVITE":
            self.core.expect("ACK", call_id=seen.call_id)
        self.fence(self.phone())
        for observer in observers:
            observer.expect_nothing()
            self.assertEqual([kind for kind, _ in observer.accepted if kind == "TCP"], [])

    def test_VIA_07__a_new_connection_to_the_received_address_and_the_sent_by_port(self):
        for kind in ("proxy", "pbx"):
            for sent_by, port in (("{ip}:5071", 5071), ("{ip}", 5061), ("{name}:5071", 5071), ("{name}", 5061),
                                  ("{name}.", 5061)):
                for method in ("INVITE", "MESSAGE"):
                    with self.subTest(kind=kind, sent_by=sent_by, method=method):
                        self.domain, name = f"{kind}.example", self.name("device")
                        ip, seen = self.asks(sent_by.format(ip="{ip}", name=name), method)
                        far = self.far(udp=5060, tcp=5060, tls=port, ip=ip,
                                       pair=pki.authority().issue(name, ips=[ip]))
                        answer = self.answered(far, seen, "TLS")
                        self.assertEqual(answer.vias[0].params["received"], ip)
                        self.assertEqual(far.accepted, [("TLS", name if "{name}" in sent_by else None)])
                        self.assertEqual(self.dns.asked(name), [])

    def test_VIA_07__over_tcp_the_port_is_that_of_the_via_or_5060(self):
        for kind in ("proxy", "pbx"):
            for sent_by, port in (("{ip}:5080", 5080), ("{ip}", 5060), ("device.invalid:5080", 5080)):
                with self.subTest(kind=kind, sent_by=sent_by):
                    self.domain = f"tcp-{kind}.example"
                    ip, seen = self.asks(sent_by, tls=False)
                    self.answered(self.far(udp=port, tcp=port, ip=ip), seen, "TCP")

    def test_VIA_07__where_nobody_listens_the_name_in_the_via_is_located(self):
        for kind in ("proxy", "pbx"):
            with self.subTest(kind=kind, what="SRV"):
                self.domain, name = f"{kind}.example", self.name("device")
                _, seen = self.asks(name)
                far = self.far(udp=5060, tcp=5060, tls=5075, pair=name)
                self.dns.add(f"_sips._tcp.{name}", SRV(0, 0, 5075, self.host(far.ip)))
                self.answered(far, seen, "TLS")
                self.assertEqual([query.name for query in self.dns.asked(kind="SRV")], [f"_sips._tcp.{name}"])
                self.assertEqual(self.dns.asked(kind="NAPTR"), [])
                self.dns.reset()
            with self.subTest(kind=kind, what="port"):
                name = self.name("device")
                _, seen = self.asks(f"{name}:5076")
                far = self.far(tls=5076, pair=name)
                self.host(far.ip, name)
                self.answered(far, seen, "TLS")
                self.assertEqual(self.dns.asked(kind="SRV"), [])
                self.dns.reset()
        with self.subTest(what="TCP"):
            self.domain, name = "tcp-proxy.example", self.name("device")
            _, seen = self.asks(name, tls=False)
            far = self.far(udp=5077, tcp=5077)
            self.dns.add(f"_sip._tcp.{name}", SRV(0, 0, 5077, self.host(far.ip)))
            self.dns.add(f"_sip._udp.{name}", SRV(0, 0, 5077, self.host(far.ip)))
            self.answered(far, seen, "TCP")

    def test_VIA_07__the_call_that_was_answered_is_answered_again_where_it_was_lost(self):
        # A 2xx to INVITE, which the core sends until the ACK comes.
        self.domain, name = "proxy.example", self.name("device")
        ip, seen = self.asks(f"{name}:5071")
        far = self.far(tls=5071, ip=ip, pair=name)
        self.answered(far, seen, "TLS", 200)
        self.core.repeat(seen)
        self.tend_until(lambda: far.inbox)
        far.expect(200)
        self.assertEqual(len(far.accepted), 1)

    def test_VIA_08__what_came_over_tls_is_answered_over_tls_or_not_at_all(self):
        for kind in ("proxy", "pbx"):
            for what in ("no TLS", "another name", "plain SRV"):
                with self.subTest(kind=kind, what=what):
                    self.domain, name = f"{kind}.example", self.name("device")
                    ip, seen = self.asks(name)
                    plain = self.far(udp=5060, tcp=5060, ip=ip,
                                     **({"tls": 5061, "pair": "other.example"} if what == "another name" else {}))
                    other = self.far(udp=5060, tcp=5060)
                    host = self.host(other.ip)
                    if what == "plain SRV":
                        self.dns.add(name, A(other.ip))
                        for service in ("_sip._tcp", "_sip._udp"):
                            self.dns.add(f"{service}.{name}", SRV(0, 0, 5060, host))
                    self.unanswered(seen, plain, other)

    def test_VIA_08__of_a_sips_session_no_answer_goes_to_a_peer_that_proves_nothing(self):
        for kind in ("proxy", "pbx"):
            for scheme in ("sip", "sips"):
                with self.subTest(kind=kind, scheme=scheme):
                    self.domain, name = f"lax-{kind}.example", self.name("device")
                    ip, seen = self.asks(name, scheme=scheme)
                    far = self.far(udp=5060, tcp=5060, tls=5061, ip=ip, pair="other.example")
                    if scheme == "sip":
                        self.answered(far, seen, "TLS")  # `outbound.verify: false` is for such
                    else:
                        self.unanswered(seen, far)


class LostCalls(OutboundTest):
    """The connection that an INVITE went over is gone while it rings (TXN-33, RFC 5923 §8.1)."""

    @classmethod
    def add_domains(cls, site):
        for kind in ("proxy", "pbx"):
            cls.add(site, f"{kind}.example", kind, ("tcp",))

    def loses(self, peer):
        """Closes the peer's connections, and waits until the edge knows."""
        before = self.edge.metric("process_open_fds")
        peer.drop_connections()
        until(lambda: self.edge.metric("process_open_fds") < before, "the edge to see the connection's end")

    def rings_outside(self, **options):
        """A call of the core's that rings at a peer outside, whose connection is then lost."""
        name = self.name()
        far = self.far(tls=5061, pair=options.pop("pair", name))
        self.dns.add(name, A(far.ip))
        sent = self.core.request("INVITE", f"sips:bob@{name}", self.edge.core_address, body=SDP)
        seen = self.tended(far, "INVITE", sent)
        far.reply(seen, 180)
        self.core.expect(180, call_id=sent.call_id)
        self.loses(far)
        return far, sent, seen

    def tended(self, far, what, sent):
        self.tend_until(lambda: far.inbox)
        return far.expect(what, call_id=sent.call_id)

    def test_TXN_33__a_cancel_takes_a_new_connection_to_the_same_server(self):
        for kind in ("proxy", "pbx"):
            with self.subTest(kind=kind):
                self.domain = f"{kind}.example"
                far, sent, seen = self.rings_outside()
                # Should its name lead elsewhere by now, the call is still where it rings.
                self.core.send(self.core.cancel(sent), self.edge.core_address)
                self.core.expect(200, "CANCEL", call_id=sent.call_id)
                cancel = self.tended(far, "CANCEL", sent)
                self.assertEqual((cancel.branch, cancel.uri), (seen.branch, seen.uri))
                self.assertEqual([kind for kind, _ in far.accepted], ["TLS", "TLS"])
                far.reply(cancel, 200)
                seen.path = cancel.path
                far.reply(seen, 487)
                self.core.expect(487, "INVITE", call_id=sent.call_id)
                self.tended(far, "ACK", sent)
                self.assertEqual(len(far.accepted), 2)

    def test_TXN_33__the_ack_of_a_refusal_takes_a_new_connection(self):
        self.domain = "proxy.example"
        far, sent, seen = self.rings_outside()
        # The refusal comes over a connection that the peer opens to the edge's listener, which takes no request back.
        phone = self.phone(source=far.ip, domain=self.domain)
        phone.send(seen.reply(486, to_tag="far"))
        self.core.expect(486, "INVITE", call_id=sent.call_id)
        ack = self.tended(far, "ACK", sent)
        self.assertEqual(ack.branch, seen.branch)
        self.assertEqual([kind for kind, _ in far.accepted], ["TLS", "TLS"])

    def test_TXN_33__a_call_to_the_core_is_cancelled_over_a_new_connection(self):
        for kind in ("proxy", "pbx"):
            with self.subTest(kind=kind):
                self.domain = f"{kind}.example"
                phone, core = self.phone(), self.core
                sent = phone.invite()
                seen = core.expect("INVITE", call_id=sent.call_id)
                core.reply(seen, 180)
                phone.expect(180)
                self.loses(core)
                phone.send(phone.cancel(sent))
                phone.expect(200, "CANCEL")
                cancel = core.expect("CANCEL", call_id=sent.call_id)
                self.assertEqual(cancel.branch, seen.branch)
                core.reply(cancel, 200)
                seen.path = cancel.path
                core.reply(seen, 487)
                phone.expect(487, "INVITE")
                core.expect("ACK", call_id=sent.call_id)
