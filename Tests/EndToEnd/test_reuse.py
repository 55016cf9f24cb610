"""Requests both ways over one connection (RFC 5923): REUSE-01 to REUSE-06."""

import unittest

from harness import addresses, pki, streams
from harness.dialog import establish
from harness.dns import SRV
from harness.outbound import OutboundTest
from harness.programs import Program, missing
from harness.sip import Message
from harness.tag import of
from harness.wait import until


class Reuse(OutboundTest):
    """P is a peer that connects to the edge, and could be connected to as well: `far` sees whether it is."""

    @classmethod
    def add_domains(cls, site):
        asks = {"client_certificate": "request", "client_ca": pki.authority().certificate}
        for name in ("a.example", "b.example"):
            cls.add(site, name, tls=asks)
        cls.add(site, "apart.example", tls=asks, outbound={"reuse": False})
        cls.add(site, "plain.example", tcp={"bind": [f"{site.edge.outside}:5060"]})

    def peer(self, far, pair=None, **options):
        """P's own connection to the edge, from the address of `far`; `pair`: what it shows of itself."""
        if options.get("tls", True):
            options["context"] = streams.client_context(pki.authority().certificate, certificate=pair)
        return self.phone("p", source=far.ip, **options)

    def announce(self, peer, sent_by, alias=True):
        """A request of P's, with or without `alias`; it reaches the core and is answered."""
        peer.sent_by = sent_by
        message = peer.build("MESSAGE", f"{peer.scheme}:bob@{self.domain}", contact=None)
        if alias:
            message.set("Via", message.get("Via").replace(";rport", ";rport;alias"))
        seen, _ = self.through(peer, message)
        return seen

    def known(self, port=5061, alias=True, shows=True, sent_by="{ip}:{port}", domain="a.example", names=()):
        """P with a name of its own, which it has proved, listening at `port` too. Returns (P, far, name)."""
        self.domain, name = domain, self.name()
        pair = pki.authority().issue(name, *names)
        far = self.far(tls=port, pair=pair, client_authority=pki.authority().certificate)
        self.host(far.ip, name)
        if port != 5061:
            self.dns.add(f"_sips._tcp.{name}", SRV(0, 0, port, name))
        peer = self.peer(far, pair if shows else None, contact=f"sips:p@{name}" + f":{port}" * (port != 5061))
        self.announce(peer, sent_by.format(ip=far.ip, port=port, name=name), alias)
        return peer, far, name

    def comes_to(self, peer, name, far):
        """The core's request to `name` comes over P's own connection, and no other is opened."""
        count = len(far.accepted)
        sent = self.leg(f"sips:bob@{name}")
        peer.reply(peer.expect("MESSAGE", call_id=sent.call_id), 200)
        self.core.expect(200, call_id=sent.call_id)
        self.assertEqual(len(far.accepted), count)

    def test_REUSE_01__a_peer_that_proved_its_name_and_wrote_alias_is_reached_over_its_connection(self):
        for sent_by, port in (("{ip}:{port}", 5061), ("{ip}", 5061), ("{name}:{port}", 5071), ("{name}", 5061)):
            with self.subTest(sent_by=sent_by, port=port):
                peer, far, name = self.known(port, sent_by=sent_by)
                for _ in range(3):
                    self.comes_to(peer, name, far)
                # And what P asks next still reaches the core.
                self.announce(peer, peer.sent_by)
                self.assertEqual(far.accepted, [])

    def test_REUSE_01__without_alias_there_is_a_connection_of_our_own(self):
        peer, far, name = self.known(alias=False)
        self.goes_to(far, "tls", f"sips:bob@{name}")
        self.assertEqual(far.accepted, [("TLS", name)])
        self.fence(peer)

    def test_REUSE_02__alias_without_a_client_certificate_is_none(self):
        peer, far, name = self.known(shows=False)
        self.goes_to(far, "tls", f"sips:bob@{name}")
        self.assertEqual(far.accepted, [("TLS", name)])
        self.fence(peer)

    def test_REUSE_02__alias_on_tcp_is_none(self):
        self.domain = "plain.example"
        far = self.far(tcp=5060)
        name = self.host(far.ip)
        peer = self.peer(far, tls=False, scheme="sip")
        self.announce(peer, f"{far.ip}:5060")
        self.goes_to(far, "tcp", f"sip:bob@{name};transport=tcp")
        self.assertEqual(len(far.accepted), 1)
        self.fence(peer)

    def test_REUSE_02__nothing_is_reused_where_the_domain_says_so(self):
        peer, far, name = self.known(domain="apart.example")
        seen = self.goes_to(far, "tls", f"sips:bob@{name}")
        self.assertNotIn("alias", seen.vias[0].params)
        self.fence(peer)

    def test_REUSE_03__another_name_at_the_peer_s_address_is_another_connection(self):
        self.domain, name, other = "a.example", self.name(), self.name("b2")
        issue = pki.authority().issue
        far = self.far(tls=5061, pair=issue(name, other))
        self.host(far.ip, name)
        self.host(far.ip, other)
        peer = self.peer(far, issue(name))
        self.announce(peer, f"{far.ip}:5061")
        self.comes_to(peer, name, far)
        self.goes_to(far, "tls", f"sips:bob@{other}")
        self.assertEqual(far.accepted, [("TLS", other)])
        # One that proves both names carries both.
        both = self.peer(far, issue(name, other))
        self.announce(both, f"{far.ip}:5061")
        self.comes_to(both, other, far)

    def test_REUSE_04__a_connection_carries_one_domain_s_requests(self):
        name = self.name()
        far = self.far(tls=5061, pair=name, client_authority=pki.authority().certificate)
        self.host(far.ip, name)
        for _ in range(2):
            for self.domain in ("a.example", "b.example"):
                seen = self.goes_to(far, "tls", f"sips:bob@{name}")
                self.assertEqual(seen.path.peer_der, pki.authority().issue(self.domain).der)
                self.assertEqual(seen.vias[0].host, self.domain)
        self.assertEqual(len(far.accepted), 2)

    def test_REUSE_04__a_peer_s_connection_to_one_domain_is_not_the_other_s(self):
        peer, far, name = self.known(domain="a.example")
        self.domain = "b.example"
        seen = self.goes_to(far, "tls", f"sips:bob@{name}")
        self.assertEqual(seen.path.peer_der, pki.authority().issue("b.example").der)
        self.domain = "a.example"
        self.comes_to(peer, name, far)

    def test_REUSE_05__after_an_aliased_connection_a_new_one_goes_to_the_sent_by_port(self):
        for port in (5061, 5071):
            with self.subTest(port=port):
                peer, far, name = self.known(port)
                self.comes_to(peer, name, far)
                mark = self.edge.mark()
                peer.close()
                self.fence(self.phone())
                seen = self.goes_to(far, "tls", f"sips:bob@{name}")
                self.assertEqual((len(far.accepted), seen.path.local[1]), (1, port))
                self.goes_to(far, "tls", f"sips:bob@{name}")
                self.assertEqual(len(far.accepted), 1)
                # P comes back: the table is brought up to date.
                again = self.peer(far, pki.authority().issue(name))
                self.announce(again, f"{far.ip}:{port}")
                self.comes_to(again, name, far)
                self.assertFalse([line for line in self.edge.log_since(mark) if " error: " in line])

    def test_REUSE_05__the_end_of_a_dialog_does_not_end_the_connection(self):
        peer, far, name = self.known()
        for caller, uri in ((peer, f"sips:bob@{self.domain}"), (self.core, f"sips:bob@{name}")):
            if caller is peer:
                call = establish(peer, self.core, uri)
            else:
                call = establish(self.core, peer, invite=self.leg(uri, method="INVITE"))
            call.hang_up()
            self.comes_to(peer, name, far)

    def test_REUSE_06__our_via_has_alias_and_the_peer_may_send_on_our_connection(self):
        for self.domain in ("a.example", "b.example"):
            with self.subTest(domain=self.domain):
                name = self.name()
                far = self.far(tls=5061, pair=name, client_authority=pki.authority().certificate)
                self.host(far.ip, name)
                seen = self.goes_to(far, "tls", f"sips:bob@{name}")
                self.assertIn("alias", seen.vias[0].params)
                self.assertEqual(seen.vias[0].port, 5061)
                sent = far.request("MESSAGE", f"sips:carol@{self.domain}", via=seen.path)
                there = self.core.expect("MESSAGE", call_id=sent.call_id)
                tag = of(there)
                self.assertEqual((tag["domain"], tag["transport"], tag["arrived"]), (self.domain, "tls", "sips"))
                self.assertIn(name, tag["verified"])
                self.core.reply(there, 200)
                far.expect(200, call_id=sent.call_id)

    def test_REUSE_06__no_alias_where_the_peer_does_not_know_who_we_are(self):
        self.domain, name = "a.example", self.name()
        far = self.far(tls=5061, pair=name)  # which asks for no certificate
        self.host(far.ip, name)
        seen = self.goes_to(far, "tls", f"sips:bob@{name}")
        self.assertNotIn("alias", seen.vias[0].params)


@unittest.skipIf(missing("openssl"), "openssl is not installed")
class MutualTLS(OutboundTest):
    """`outbound.client_certificate` before a server that takes nobody whom it does not know: openssl s_server."""

    @classmethod
    def add_domains(cls, site):
        pair = pki.authority().issue("client.example")
        cls.add(site, "a.example")
        cls.add(site, "none.example", outbound={"client_certificate": "none"})
        cls.add(site, "pair.example", outbound={
            "client_certificate": {"certificate": pair.certificate, "private_key": pair.key}})

    def server(self, name):
        """An s_server with that name, which requires a client certificate of the tests' authority."""
        pair, ip = pki.authority().issue(name), addresses.fresh()
        self.host(ip, name)
        program = self.site.keep(Program(
            "openssl", "s_server", "-accept", f"{ip}:5061", "-cert", pair.certificate, "-key", pair.key, "-CAfile",
            pki.authority().certificate, "-Verify", "2", "-verify_return_error", "-quiet"))
        def listens():
            try:
                streams.connect((ip, 5061)).close()
                return True
            except OSError:
                return False
        until(listens, "s_server")
        return program

    def test_REUSE_06__a_server_that_requires_a_certificate_gets_the_one_that_is_configured(self):
        for self.domain, shown in (("a.example", "a.example"), ("pair.example", "client.example")):
            with self.subTest(domain=self.domain):
                name = self.name()
                server = self.server(name)
                sent = self.leg(f"sips:bob@{name}")
                server.wait_line(f"MESSAGE sips:bob@{name}")
                server.wait_line("^Content-Length|^l:")
                server.wait_line(f"CN ?= ?{shown}$")
                text = server.text
                start = text.index(f"MESSAGE sips:bob@{name}")
                seen = Message.parse(text[start:].replace("\r", "").replace("\n", "\r\n").encode() + b"\r\n\r\n")
                self.assertIn("alias", seen.vias[0].params)
                server.process.stdin.write(seen.reply(200, to_tag="s").encode())
                server.process.stdin.flush()
                self.core.expect(200, call_id=sent.call_id)

    def test_a_domain_that_shows_nothing_is_refused_by_it_and_says_so(self):
        self.domain, name = "none.example", self.name()
        server = self.server(name)
        answer = self.fails(500, f"sips:bob@{name}", text="client_certificate")
        self.assertIn("alert 'certificate required'", answer.get("Warning"))
        self.assertNotIn("MESSAGE", server.text)
        line = self.edge.wait_log("connection to a peer ended before it answered", after=self.log_mark)
        self.assertIn(name, line)
