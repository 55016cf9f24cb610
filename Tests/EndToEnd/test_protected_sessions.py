"""What a call that came in as `sips` may leave over: SIPS-03, SIPS-09, SIPS-20."""

from harness import addresses, sip
from harness.dialog import Dialog
from harness.dns import A, NAPTR, SRV
from harness.outbound import OutboundTest
from harness.tag import NAME as TAG
from harness.tag import of

SECURE = ("S", "SIPS+D2T")
TCP = ("S", "SIP+D2T")
UDP = ("S", "SIP+D2U")


class ProtectedSessions(OutboundTest):
    """What a call that came in as `sips` may leave over."""

    #: Of the plain listeners of the lenient domains.
    ports = {"proxy": 5070, "pbx": 5080}

    @classmethod
    def add_domains(cls, site):
        override = {"to": "*.legacy.example", "allow": "insecure", "reason": "no TLS before spring",
                    "until": "2099-01-01"}
        for kind in ("proxy", "pbx"):
            cls.add(site, f"{kind}.example", kind)
            cls.add(site, f"lenient-{kind}.example", kind, security={"overrides": [override]},
                    tcp={"bind": [f"{site.edge.outside}:{cls.ports[kind]}"]})

    def protected(self):
        """The tag of a session that a phone began with a `sips` INVITE, which the core has yet to answer."""
        core, phone = self.core, self.phone("carol")
        phone.invite(f"sips:bob@{self.domain}")
        return of(core.expect("INVITE"))

    def peer(self, name, secure=True, **options):
        """A peer that offers UDP first, then TCP, then TLS."""
        far = self.far(udp=5060, tcp=5060, tls=5061, pair=name, **options)
        host = self.host(far.ip)
        services = [(UDP, "_sip._udp", 5060), (TCP, "_sip._tcp", 5060)] + [(SECURE, "_sips._tcp", 5061)] * secure
        for order, (service, label, port) in enumerate(services):
            self.dns.add(name, NAPTR(order, 1, *service, f"{label}.{name}"))
            self.dns.add(f"{label}.{name}", SRV(0, 0, port, host))
        return far

    def test_SIPS_03__every_leg_of_a_sips_session_is_tls(self):
        for kind in ("proxy", "pbx"):
            for scheme in ("sips", "sip"):
                with self.subTest(kind=kind, scheme=scheme):
                    self.domain = f"{kind}.example"
                    tag, name = self.protected(), self.name()
                    far = self.peer(name)
                    far.contact = f"{scheme}:bob@{name}"
                    sent = self.leg(f"{scheme}:bob@{name}", method="INVITE", body=sip.SDP,
                                    headers=[(TAG, tag.text)])
                    seen = far.expect("INVITE", call_id=sent.call_id)
                    far.reply(seen, 200)
                    ok = self.core.expect(200, "INVITE", call_id=sent.call_id)
                    dialog = Dialog(self.core, sent, ok, True)
                    for method in ("ACK", "INFO", "BYE"):
                        self.core.send(dialog.build(method, number=sent.cseq[0] if method == "ACK" else None),
                                       self.edge.core_address)
                        there = far.expect(method, call_id=sent.call_id)
                        if method != "ACK":
                            far.reply(there, 200)
                            self.core.expect(200, method, call_id=sent.call_id)
                    # A CANCEL, too.
                    sent = self.leg(f"{scheme}:bob@{name}", method="INVITE", body=sip.SDP,
                                    headers=[(TAG, tag.text)])
                    seen = far.expect("INVITE", call_id=sent.call_id)
                    far.reply(seen, 180)
                    self.core.expect(180, call_id=sent.call_id)
                    self.core.send(self.core.cancel(sent), self.edge.core_address)
                    far.reply(far.expect("CANCEL", call_id=sent.call_id), 200)
                    far.reply(seen, 487)
                    self.core.expect(200, "CANCEL", call_id=sent.call_id)
                    self.core.send(self.core.ack_failure(sent, self.core.expect(487, call_id=sent.call_id)),
                                   self.edge.core_address)
                    far.expect("ACK", call_id=sent.call_id)
                    self.assertEqual({message.transport for message in far.received}, {"TLS"})
                    self.assertEqual(far.accepted, [("TLS", name)])

    def test_SIPS_22__a_peer_that_names_its_plain_port_is_reached_over_the_connection_that_proved_it(self):
        for kind in ("proxy", "pbx"):
            for contact in ("sip:bob@{ip}", "sip:bob@{ip}:5060", "sip:bob@{name}:5060"):
                with self.subTest(kind=kind, contact=contact):
                    self.domain = f"{kind}.example"
                    tag, name = self.protected(), self.name()
                    far = self.peer(name)
                    self.dns.add(name, A(far.ip))
                    far.contact = contact.format(ip=far.ip, name=name)
                    sent = self.leg(f"sip:bob@{name}", method="INVITE", body=sip.SDP, headers=[(TAG, tag.text)])
                    far.reply(far.expect("INVITE", call_id=sent.call_id), 200)
                    ok = self.core.expect(200, "INVITE", call_id=sent.call_id)
                    dialog = Dialog(self.core, sent, ok, True)
                    for method in ("ACK", "BYE"):
                        self.core.send(dialog.build(method, number=sent.cseq[0] if method == "ACK" else None),
                                       self.edge.core_address)
                        there = far.expect(method, call_id=sent.call_id)
                        self.assertEqual(there.uri, far.contact)
                    far.reply(there, 200)
                    self.core.expect(200, method, call_id=sent.call_id)
                    self.assertEqual(far.accepted, [("TLS", name)])
                    self.assertEqual({message.transport for message in far.received}, {"TLS"})

    def test_SIPS_09__a_sips_session_with_insecure_candidates_alone_is_refused(self):
        for kind in ("proxy", "pbx"):
            for scheme in ("sips", "sip"):
                with self.subTest(kind=kind, scheme=scheme):
                    self.domain = f"{kind}.example"
                    tag, name = self.protected(), self.name()
                    far = self.peer(name, secure=False)
                    headers = [(TAG, tag.text)]
                    if scheme == "sips":
                        self.fails(480, f"sips:bob@{name}", warning=380, method="INVITE", headers=headers)
                    else:
                        self.fails(403, f"sip:bob@{name}", text="insecure leg refused", method="INVITE",
                                   headers=headers)
                    self.assertEqual(far.accepted, [])
                    far.expect_nothing()

    def test_SIPS_09__an_override_lets_it_through_and_is_logged_once_a_session_and_counted(self):
        for kind in ("proxy", "pbx"):
            with self.subTest(kind=kind):
                self.domain = f"lenient-{kind}.example"
                mark, tag = self.edge.mark(), self.protected()
                name = sip.token("n") + ".legacy.example"
                far = self.peer(name, secure=False)
                labels = {"domain": self.domain, "allow": "insecure"}
                before = self.edge.metric("gatehouse_overrides_total", **labels) or 0
                for scheme in ("sip", "sips"):  # it eases the transport, never the scheme
                    seen = self.goes_to(far, "udp", f"{scheme}:bob@{name}", headers=[(TAG, tag.text)])
                    self.assertEqual(seen.uri, f"{scheme}:bob@{name}")
                # Another peer of the same session, which no entry names:
                other = self.name()
                stranger = self.peer(other, secure=False)
                self.fails(403, f"sip:bob@{other}", headers=[(TAG, tag.text)])
                stranger.expect_nothing()
                self.edge.wait_log(f"override used.*{tag.id}", after=mark)
                lines = [line for line in self.edge.log_since(mark) if "override used" in line and tag.id in line]
                self.assertEqual(len(lines), 1)
                self.assertIn("no TLS before spring", lines[0])
                self.assertRegex(lines[0], r"gatehouse\.yaml:\d+")
                self.assertIn("insecure", lines[0])
                self.assertEqual(self.edge.metric("gatehouse_overrides_total", **labels), before + 2)

    def plain(self, kind, user="bob"):
        """A plain connection to the lenient domain."""
        return self.phone(user, tls=False, scheme="sip", address=(self.edge.outside, self.ports[kind]))

    def called(self, uri, far, *headers):
        """A call of the core's that the peer has answered. Returns both sides' dialogs."""
        sent = self.leg(uri, method="INVITE", body=sip.SDP, headers=list(headers))
        seen = far.expect("INVITE", call_id=sent.call_id)
        answer = far.reply(seen, 200)
        ok = self.core.expect(200, "INVITE", call_id=sent.call_id)
        one, other = Dialog(self.core, sent, ok, True), Dialog(far, seen, answer, False)
        self.core.send(one.build("ACK", number=sent.cseq[0]), self.edge.core_address)
        far.expect("ACK", call_id=sent.call_id)
        return one, other

    def on_plain(self, kind, dialog, method="BYE"):
        """The peer's request, by `sip` URIs alone and over a plain connection."""
        dialog.peer = self.plain(kind)
        request = dialog.build(method)
        return dialog.peer, dialog.peer.send(request.encode().replace(b"sips:", b"sip:"))

    def test_SIPS_09__a_dialog_under_an_override_goes_on_over_a_plain_connection(self):
        for kind in ("proxy", "pbx"):
            with self.subTest(kind=kind):
                self.domain = f"lenient-{kind}.example"
                tag, name = self.protected(), sip.token("n") + ".legacy.example"
                far = self.peer(name, secure=False)
                _, dialog = self.called(f"sip:bob@{name};transport=tcp", far, (TAG, tag.text))
                plain, _ = self.on_plain(kind, dialog)
                seen = self.core.expect("BYE", call_id=dialog.call_id)
                self.assertEqual((of(seen).id, of(seen)["arrived"]), (tag.id, "sips"))
                self.core.reply(seen, 200)
                plain.expect(200)

    def test_SIPS_10__no_other_dialog_does_and_one_without_a_tag_neither(self):
        for kind in ("proxy", "pbx"):
            for is_tagged in (True, False):
                with self.subTest(kind=kind, is_tagged=is_tagged):
                    self.domain = f"lenient-{kind}.example"
                    tag, name = self.protected(), sip.token("n") + ".legacy.example"
                    far = self.peer(name)
                    far.contact = f"sip:bob@{name}"
                    uri = f"sip:bob@{name}" if is_tagged else f"sips:bob@{name}"
                    ours, theirs = self.called(uri, far, *[(TAG, tag.text)] * is_tagged)
                    plain, _ = self.on_plain(kind, theirs, "INFO")
                    self.assertEqual(plain.expect(lambda answer: answer.status > 100).status, 403)
                    self.core.expect_nothing()
                    # And what the core sends in it finds a way that is secure, whatever the way before it.
                    far.drop_connections()
                    bye = ours.build("BYE")
                    self.core.send(bye, self.edge.core_address)
                    seen = far.expect("BYE", call_id=bye.call_id)
                    self.assertEqual(seen.transport, "TLS")
                    far.reply(seen, 200)
                    self.core.expect(200, call_id=bye.call_id)
                    self.assertEqual({message.transport for message in far.received}, {"TLS"})

    def test_SIPS_10__a_device_on_a_plain_connection_gets_no_leg_of_a_sips_session(self):
        for kind in ("proxy", "pbx"):
            with self.subTest(kind=kind):
                self.domain = f"lenient-{kind}.example"
                tag, device = self.protected(), self.plain(kind)
                seen, _ = device.register(self.core)
                routes = [("Route", value) for value in seen.values("Path")]
                answer = self.fails(480, seen.contact.spec, method="INVITE", warning=380,
                                    headers=[*routes, (TAG, tag.text)])
                self.assertEqual(answer.warnings[0][2], "SIPS Not Allowed")
                sent = self.leg(seen.contact.spec, headers=routes)
                got = device.expect("MESSAGE", call_id=sent.call_id)  # and nothing before it
                device.reply(got, 200)
                self.core.expect(200, call_id=sent.call_id)

    def test_SIPS_20__secure_candidates_that_all_fail_are_no_want_of_security(self):
        self.domain = "proxy.example"
        for what in ("refused", "bad certificate"):
            with self.subTest(what=what):
                name = self.name()
                far = self.far(udp=5060, tcp=5060, **({} if what == "refused" else {"tls": 5061, "pair": "x.example"}))
                self.host(far.ip, name)
                self.fails(500, f"sips:bob@{name}", text=name)
                self.fails(500, f"sip:bob@{name};transport=tls", text=name, headers=[(TAG, self.protected().text)])
                self.assertEqual(far.accepted, [])
                far.expect_nothing()
        name = self.name()
        self.dns.add(f"_sips._tcp.{name}", SRV(0, 0, 0, "."))
        self.host(addresses.fresh(), name)
        self.fails(480, f"sips:bob@{name}", warning=380)
