"""Whom the edge takes a TLS peer for, to which it connects: CERT (RFC 5922, RFC 5280)."""

import shutil
import signal
import ssl

from harness import addresses, pki, sip, streams
from harness.dns import NAPTR, SRV
from harness.outbound import OutboundTest

SECURE = ("S", "SIPS+D2T")
TCP = ("S", "SIP+D2T")
UDP = ("S", "SIP+D2U")


class CertificateTest(OutboundTest):
    """Peers with certificates of every kind, and observers on their plain ports."""

    def watched(self, pair, name, ip=None):
        """A peer with that certificate behind `name`, which would take everything over UDP and TCP too."""
        far = self.far(udp=5060, tcp=5060, tls=5061, pair=pair, ip=ip)
        self.host(far.ip, name, ttl=0)
        return far

    def accepted(self, pair, name):
        far = self.watched(pair, name)
        self.goes_to(far, "tls", f"sips:bob@{name}")
        self.assertEqual(far.accepted, [("TLS", name)])

    def refused(self, pair, name, cause, far=None):
        """A `sips` request to `name` is answered 500; the peer sees a broken handshake and no octet of SIP."""
        far, mark = far or self.watched(pair, name), self.edge.mark()
        self.fails(500, f"sips:bob@{name}", text=name)
        self.assertEqual(len(far.handshake_failures), 1, cause)
        self.assertEqual(far.accepted, [], cause)
        far.expect_nothing()
        line = self.edge.wait_log(r"connection to a peer failed", after=mark)
        self.assertRegex(line, cause)
        self.assertIn(f"{far.ip}:5061", line)


class Names(CertificateTest):
    """RFC 5922 §7: which names count, and which match."""

    @classmethod
    def add_domains(cls, site):
        cls.add(site, "a.example")
        cls.add(site, "cn.example", outbound={"accept_common_name": True})

    def test_CERT_01__the_certificate_is_for_the_domain_and_not_for_the_host_that_srv_leads_to(self):
        for proves_domain in (True, False):
            with self.subTest(proves_domain=proves_domain):
                name, host = self.name(), self.name("host1")
                far = self.far(udp=5060, tcp=5060, tls=5061, pair=name if proves_domain else host)
                self.host(far.ip, host)
                self.dns.add(f"_sips._tcp.{name}", SRV(0, 0, 5061, host))
                if proves_domain:
                    self.goes_to(far, "tls", f"sips:bob@{name}")
                else:
                    self.refused(None, name, f"certificate is for {host}, not for {name}", far)

    def test_CERT_02__the_server_name_is_the_domain_before_dns(self):
        name, host, elsewhere = self.name(), self.name("host1"), self.name("hosting")
        far = self.far(tls=5061, pair=name)
        self.host(far.ip, host)
        self.dns.add(name, NAPTR(1, 1, *SECURE, f"_sips._tcp.{elsewhere}"))
        self.dns.add(f"_sips._tcp.{elsewhere}", SRV(0, 0, 5061, host))
        self.goes_to(far, "tls", f"sips:bob@{name.upper()}")
        self.assertEqual([asked.lower() for _, asked in far.accepted], [name])

    def test_CERT_02__a_final_dot_is_no_part_of_the_name(self):
        # RFC 6066 §3: the name is asked for without it; so are the certificate's, the connection's and the zone's.
        name, host = self.name(), self.name("host1")
        far = self.far(tls=5061, pair=name)
        self.host(far.ip, host)
        self.dns.add(f"_sips._tcp.{name}", SRV(0, 0, 5061, host))
        for uri in (f"sips:bob@{name}.", f"sips:bob@{name}", f"sips:bob@{name.upper()}.;transport=tcp"):
            self.assertEqual(self.goes_to(far, "tls", uri).uri, uri)
        self.assertEqual(far.accepted, [("TLS", name)])
        self.assertEqual(len(self.dns.asked(f"_sips._tcp.{name}")), 1)

    def test_CERT_02__a_numeric_host_gets_no_server_name_and_has_to_prove_its_address(self):
        ip, other = addresses.fresh(), addresses.fresh()
        far = self.far(tls=5061, pair=pki.authority().issue("x.example", ips=[ip]), ip=ip)
        self.goes_to(far, "tls", f"sips:bob@{ip}")
        self.assertEqual(far.accepted, [("TLS", None)])
        far = self.far(udp=5060, tcp=5060, tls=5061, pair=pki.authority().issue("x.example", ips=[ip]), ip=other)
        self.refused(None, other, f"not for {other}", far)

    def test_CERT_03__a_sip_uri_is_the_identity_and_puts_the_dns_names_aside(self):
        name, issue = self.name(), pki.authority().issue
        self.accepted(issue(uris=[f"sip:{name}"]), name)
        for names, uris, counts in (
                (["other.example"], ["sip:{}"], True),
                (["{}"], ["https://other.example", "sip:user@other.example"], True),
                (["{}"], ["sip:other.example"], False),
                ([], ["sip:user@{}"], False),
                ([], ["sips:{}"], False),
                (["{}"], [], True)):
            with self.subTest(names=names, uris=uris):
                name = self.name()
                pair = issue(*[text.format(name) for text in names], uris=[text.format(name) for text in uris])
                if counts:
                    self.accepted(pair, name)
                else:
                    self.refused(pair, name, f"not for {name}")

    def test_CERT_04__names_match_whole_whatever_the_letter_case(self):
        issue = pki.authority().issue
        for presented, wanted, matches in (
                ("*.example", "{}.example", False), ("*.{}.example", "a.{}.example", False),
                ("{}.example", "a.{}.example", False), ("a.{}.example", "{}.example", False),
                ("x{}.example", "{}.example", False), ("{}.example.evil.example", "{}.example", False),
                ("{}.EXAMPLE", "{}.example", True), ("{}.xn--bcher-kva.example", "{}.xn--bcher-kva.example", True)):
            with self.subTest(presented=presented, wanted=wanted):
                token = sip.token("n")
                name, pair = wanted.format(token), issue(presented.format(token))
                if matches:
                    self.accepted(pair, name)
                else:
                    self.refused(pair, name, f"not for {name}")

    def test_CERT_05__a_common_name_counts_where_the_domain_says_so(self):
        issue = pki.authority().issue
        name = self.name()
        self.refused(issue(cn=name), name, f"names {name} as common name alone")
        self.domain = "cn.example"
        name = self.name()
        self.accepted(issue(cn=name), name)
        # Not beside a subjectAltName, and not another one's.
        name = self.name()
        self.refused(issue("other.example", cn=name), name, f"not for {name}")
        name = self.name()
        self.refused(issue(cn="other.example"), name, f"not for {name}")


class Chains(CertificateTest):
    """RFC 5280: what makes a chain good."""

    def test_CERT_06__chains_that_do_not_verify(self):
        root, name = pki.authority(), self.name
        good = pki.Authority("Good intermediate", root)
        narrow = pki.Authority("Narrow intermediate", root,
                               extra="nameConstraints = critical,permitted;DNS:permitted.example")
        no_authority = pki.Authority("Not an authority", root, section="leaf")
        stranger = pki.Authority("Stranger")
        for what, make, cause in (
                ("expired", lambda name: root.issue(name, days=-1), "certificate has expired"),
                ("not yet valid", lambda name: root.issue(name, starts=5), "certificate is not yet valid"),
                ("unknown root", stranger.issue, "unable to get local issuer certificate"),
                ("self-signed", root.self_signed, "self.signed certificate"),
                ("intermediate without CA", no_authority.issue, "invalid CA certificate"),
                ("breach of name constraints", narrow.issue, "permitted subtree violation")):
            with self.subTest(what=what):
                wanted = name()
                self.refused(make(wanted), wanted, cause)
        for what, authority, wanted in (("intermediate", good, name()),
                                        ("constraints kept", narrow, sip.token("n") + ".permitted.example")):
            with self.subTest(what=what):
                self.accepted(authority.issue(wanted), wanted)

    def test_CERT_07__extended_key_usage(self):
        for usage, permits in (("serverAuth", True), ("anyExtendedKeyUsage", True), ("1.3.6.1.5.5.7.3.20", True),
                               ("", True), ("clientAuth", False), ("emailProtection,codeSigning", False)):
            with self.subTest(usage=usage):
                name = self.name()
                pair = pki.authority().issue(name, usage=usage)
                if permits:
                    self.accepted(pair, name)
                else:
                    self.refused(pair, name, "purpose")


class Revocation(CertificateTest):
    """CERT-08: revocation lists (RFC 5280 §6.3)."""

    @classmethod
    def add_domains(cls, site):
        root = pki.authority()
        cls.revoked = root.issue("revoked.example", fresh=True)
        cls.phone_revoked = root.issue("phone7", fresh=True)
        cls.fresh = root.revoke(cls.revoked, cls.phone_revoked)
        old = root.revoke(cls.revoked, cls.phone_revoked, days=30, starts=-40)
        cls.stranger = pki.Authority("Stranger")
        # A copy, which a test rewrites.
        cls.changing = site.edge.path("changing.crl")
        shutil.copyfile(root.revoke(), cls.changing)
        for name, crl, expired in (
                ("a.example", cls.fresh, "refuse"), ("hard.example", old, "refuse"), ("soft.example", old, "accept"),
                ("unlisted.example", cls.stranger.revoke(), "accept"), ("changing.example", cls.changing, "refuse")):
            asks = {"client_certificate": "request", "client_ca": root.certificate, "client_crl": crl,
                    "client_crl_expired": expired}
            cls.add(site, name, tls=asks, outbound={"crl": crl, "crl_expired": expired})

    def greets(self, pair):
        """Whether the edge takes a client with that certificate."""
        context = streams.client_context(pki.authority().certificate, certificate=pair)
        try:
            phone = self.phone(context=context)
            phone.send(b"\r\n\r\n")
            phone.expect_pong()
            return True
        except (ssl.SSLError, streams.Closed):
            return False

    def test_CERT_08__what_a_list_revokes_is_refused(self):
        name = self.name()
        self.accepted(pki.authority().issue(name), name)
        self.refused(self.revoked, "revoked.example", "is revoked, as outbound.crl of a.example says")
        self.assertTrue(self.greets(pki.authority().issue("phone8")))
        self.assertFalse(self.greets(self.phone_revoked))
        self.edge.wait_log("is revoked, as tls.client_crl of a.example says", after=self.log_mark)

    def test_CERT_08__a_list_past_its_next_update_counts_as_the_setting_says(self):
        self.domain, name = "hard.example", self.name()
        self.refused(pki.authority().issue(name), name, "past its next update: fetch a new one, or set outbound.crl_exp")
        self.assertFalse(self.greets(pki.authority().issue("phone8")))
        self.edge.wait_log("tls.client_crl_expired: accept", after=self.log_mark)
        self.domain, name = "soft.example", self.name()
        self.accepted(pki.authority().issue(name), name)
        self.assertTrue(self.greets(pki.authority().issue("phone8")))
        self.refused(self.revoked, "revoked.example", "is revoked")
        self.assertFalse(self.greets(self.phone_revoked))

    def test_CERT_08__an_issuer_without_a_list_vouches_for_nobody(self):
        self.domain, name = "unlisted.example", self.name()
        self.refused(pki.authority().issue(name), name, "outbound.crl of unlisted.example has no list of whoever issued")
        self.assertFalse(self.greets(pki.authority().issue("phone8")))

    def test_CERT_08__each_issuer_of_the_chain_needs_a_list(self):
        name, intermediate = self.name(), pki.Authority("Intermediate", pki.authority())
        self.refused(intermediate.issue(name), name, "has no list of whoever issued")

    def reload(self, log="configuration reloaded"):
        mark = self.edge.mark()
        self.edge.signal(signal.SIGHUP)
        self.edge.wait_log(log, after=mark)

    def test_CERT_08__a_new_list_counts_after_a_reload(self):
        self.domain, name = "changing.example", self.name()
        issue = pki.authority().issue
        pair, client = issue(name), issue("phone9")
        self.accepted(issue(other := self.name()), other)
        self.assertTrue(self.greets(client))
        shutil.copyfile(pki.authority().revoke(pair, client), self.changing)
        self.reload()
        self.assertFalse(self.greets(client))
        self.accepted(issue(other := self.name()), other)
        self.refused(pair, name, "is revoked")
        # A list that can't be read keeps what was in force.
        with open(self.changing, "w") as file:
            file.write("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
        self.reload(r"changing\.crl: PEM block 1 is no revocation list")
        self.assertFalse(self.greets(client))

    def test_CERT_08__connections_of_a_peer_that_was_revoked_carry_no_new_requests(self):
        self.domain = "changing.example"
        shutil.copyfile(pki.authority().revoke(), self.changing)
        self.reload()
        opened, aliased = self.name(), self.name()
        pairs = [pki.authority().issue(opened), pki.authority().issue(aliased)]
        far, other = self.watched(pairs[0], opened), self.watched(pairs[1], aliased)
        self.goes_to(far, "tls", f"sips:bob@{opened}")
        peer = self.phone("p", source=other.ip, context=streams.client_context(
            pki.authority().certificate, certificate=pairs[1]))
        peer.sent_by = f"{other.ip}:5061"
        message = peer.build("MESSAGE", f"sips:bob@{self.domain}", contact=None)
        self.through(peer, message.set("Via", message.get("Via") + ";alias"))
        sent = self.leg(f"sips:bob@{aliased}")
        peer.reply(peer.expect("MESSAGE", call_id=sent.call_id), 200)
        self.core.expect(200, call_id=sent.call_id)
        # A reload that changes nothing changes nothing here.
        self.reload()
        self.goes_to(far, "tls", f"sips:bob@{opened}")
        self.assertEqual(len(far.accepted), 1)
        shutil.copyfile(pki.authority().revoke(*pairs), self.changing)
        self.reload()
        for name, there in ((opened, far), (aliased, other)):
            self.fails(500, f"sips:bob@{name}", text="is revoked")
            self.assertEqual(len(there.handshake_failures), 1)
            there.expect_nothing()
        peer.expect_nothing()


class Unverified(CertificateTest):
    """CERT-09: a check that failed stays failed."""

    @classmethod
    def add_domains(cls, site):
        override = {"allow": "unverified", "reason": "its certificate is its own", "until": "2099-01-01"}
        cls.add(site, "a.example")
        # The entry that verify: false needs is for another peer.
        cls.add(site, "lax.example", outbound={"verify": False},
                security={"overrides": [{"to": "*.lab.example", **override}]})

    def test_CERT_09__a_sips_session_gets_neither_plain_text_nor_an_unverified_peer(self):
        for domain in ("a.example", "lax.example"):
            for method in ("INVITE", "MESSAGE", "SUBSCRIBE"):
                with self.subTest(domain=domain, method=method):
                    self.domain = domain
                    name = self.name()
                    far = self.far(udp=5060, tcp=5060, tls=5061, pair="other.example")
                    host = self.host(far.ip)
                    self.dns.add(name, NAPTR(1, 1, *UDP, f"_sip._udp.{name}"), NAPTR(2, 1, *TCP, f"_sip._tcp.{name}"),
                                 NAPTR(3, 1, *SECURE, f"_sips._tcp.{name}"))
                    for service, port in (("_sip._udp", 5060), ("_sip._tcp", 5060), ("_sips._tcp", 5061)):
                        self.dns.add(f"{service}.{name}", SRV(0, 0, port, host))
                    self.fails(500, f"sips:bob@{name}", method=method)
                    self.assertEqual((len(far.handshake_failures), far.accepted), (1, []))
                    far.expect_nothing()

    def test_outbound_verify_false_lets_unprotected_sessions_go_unverified(self):
        self.domain = "lax.example"
        name = self.name()
        far = self.watched(pki.Authority("Stranger").issue("other.example"), name)
        self.goes_to(far, "tls", f"sip:bob@{name}:5061;transport=tls")

    def test_CERT_09_SIPS_14__nor_does_a_sip_request_that_a_sips_route_leads(self):
        self.domain = "lax.example"
        name = self.name()
        far = self.watched(pki.Authority("Stranger").issue("other.example"), name)
        self.fails(500, "sip:bob@elsewhere.invalid", route=f"<sips:{name};lr>")
        self.assertEqual(far.accepted, [])

    def test_an_unverified_override_lets_a_sips_session_through_and_is_seen(self):
        self.domain = "lax.example"
        name = sip.token("n") + ".lab.example"
        far = self.watched(pki.Authority("Stranger").issue("other.example"), name)
        before = self.edge.metric("gatehouse_overrides_total", domain="lax.example", allow="unverified") or 0
        unproved = {"domain": "lax.example", "cause": "certificate_invalid"}
        opened = self.edge.metric("gatehouse_outbound_unproved_total", **unproved) or 0
        self.goes_to(far, "tls", f"sips:bob@{name}")
        line = self.edge.wait_log("override used", after=self.log_mark)
        self.assertIn("its certificate is its own", line)
        after = self.edge.metric("gatehouse_overrides_total", domain="lax.example", allow="unverified")
        self.assertEqual(after, before + 1)
        self.assertIn("does not verify: ", line)
        self.assertEqual(self.edge.metric("gatehouse_outbound_unproved_total", **unproved), opened + 1)
        # The pattern has the name with a final dot as well, and the connection too.
        self.goes_to(far, "tls", f"sips:bob@{name}.")
        self.assertEqual(self.edge.metric("gatehouse_outbound_unproved_total", **unproved), opened + 1)
