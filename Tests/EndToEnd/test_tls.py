"""TLS: the server side (docs/conformance.md §6.2)."""

import ssl

from harness import addresses, hello, pki, streams
from harness.case import EdgeTest
from harness.edge import Edge, run_command
from harness.phone import Phone
from harness.sip import Message
from harness.site import Site
from harness.tag import of
from harness.wait import Deadline

V12 = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
V13 = (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)


class TLS(EdgeTest):
    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site()
        cls.single, cls.defaulted = addresses.fresh(), addresses.fresh()
        site.add("a.example", "proxy")
        site.add("b.example", "proxy", aliases=["*.b.example"])
        site.add("alone.example", "proxy", tls={"bind": [f"{cls.single}:5061"]})
        site.add("default.example", "proxy", tls={"bind": [f"{cls.defaulted}:5061"], "default": True})
        site.add("lenient.example", "proxy", tls={"bind": [f"{cls.defaulted}:5061"], "unknown_sni": "reject"})
        site.add("strict.example", "proxy", tls={"min_version": "1.3"})
        site.add("rsa.example", "proxy", pair=pki.authority().issue("rsa.example", kind="rsa2048"))
        site.add("twin.example", "proxy", second_pair=pki.authority().issue("twin.example", kind="rsa2048"))
        site.add("request.example", "proxy")
        site.add("require.example", "proxy")
        for name in ("request", "require"):
            domain = site.domains[f"{name}.example"]
            with open(site.edge.path("clients.pem"), "wb") as file, open(pki.authority().certificate, "rb") as source:
                file.write(source.read())
            domain.options["tls"] = {"client_certificate": name, "client_ca": "clients.pem"}
        return site

    def stream(self, name, address=None, **options):
        """A TLS stream with SNI `name`; '' sends none."""
        context = streams.client_context(pki.authority().certificate, **options)
        sock = streams.connect(address or self.edge.tls, (addresses.fresh(), 0))
        try:
            return self.site.keep(streams.TLSStream(sock, context, name or None))
        except BaseException:
            sock.close()
            raise

    def certificate(self, name):
        pair = self.site.domains[name].options.get("pair") or pki.authority().issue(name)
        return pair.der

    def test_TLS_01__sni_chooses_the_certificate(self):
        for sent, domain in (("a.example", "a.example"), ("b.example", "b.example"), ("B.EXAMPLE", "b.example"),
                             ("x.b.example", "b.example"), ("rsa.example", "rsa.example")):
            for versions in (V12, V13):
                stream = self.stream(sent, versions=versions)
                self.assertEqual(stream.peer_der, self.certificate(domain), sent)

    def test_TLS_01__sni_chooses_the_domain(self):
        phone = self.phone(domain="a.example")
        self.refused(phone, phone.build("MESSAGE", "sip:x@b.example", contact=None), 403)
        phone = self.phone(domain="b.example")
        core = self.site.core("b.example")
        phone.request("MESSAGE", "sip:x@b.example", contact=None)
        seen = core.expect("MESSAGE")
        self.assertEqual(of(seen)["domain"], "b.example")
        core.reply(seen, 200)
        phone.expect(200)

    def test_TLS_02__unknown_names_get_unrecognized_name(self):
        for name, address in (("nobody.example", self.edge.outside), ("127.0.0.1", self.edge.outside),
                              ("alone.example", self.edge.outside), ("a.example", self.single),
                              ("nobody.example", self.single), ("nobody.example", self.defaulted),
                              ("x.a.example", self.edge.outside), ("x.y.b.example", self.edge.outside)):
            for offered in ((hello.TLS13, hello.TLS12), ()):
                answer = hello.probe((address, 5061), hello.client_hello(name, offered=offered))
                self.assertEqual(answer.alert, "unrecognized_name", f"{name} at {address} {offered}")
                self.assertEqual(answer.records, [21])

    def test_TLS_02__a_malformed_name_is_no_crash(self):
        for name in ("", "a" * 300, "a.example\0evil", "\u0000", "." * 60, "-"):
            answer = hello.probe(self.edge.tls, hello.client_hello(name, offered=(hello.TLS13, hello.TLS12)))
            self.assertIsNone(answer.hello, name)
        self.fence(self.phone())

    def test_TLS_03__no_sni(self):
        offered = (hello.TLS13, hello.TLS12)
        answer = hello.probe(self.edge.tls, hello.client_hello(None, offered=offered))
        self.assertEqual((answer.alert, answer.records), ("missing_extension", [21]))
        answer = hello.probe(self.edge.tls, hello.client_hello(None))
        self.assertEqual((answer.alert, answer.records), ("handshake_failure", [21]))
        self.assertEqual(self.stream("", (self.single, 5061)).peer_der, self.certificate("alone.example"))
        self.assertEqual(self.stream("", (self.defaulted, 5061)).peer_der, self.certificate("default.example"))
        self.edge.wait_log("default", after=self.log_mark)  # the log says which key would admit the client

    def test_TLS_04__old_versions_get_protocol_version(self):
        for version in (hello.TLS11, hello.TLS10, hello.SSL3):
            for offered in ((), (version,)):
                octets = hello.client_hello("a.example", version=version, offered=offered,
                                            suites=(0xC009, 0xC013, 0x002F), record=max(version, hello.SSL3))
                answer = hello.probe(self.edge.tls, octets)
                self.assertEqual((answer.alert, answer.hello), ("protocol_version", None), f"{version:#x} {offered}")
        for version in (hello.TLS12, hello.TLS13):
            octets = hello.client_hello("a.example", offered=(version,), record=hello.TLS10)
            answer = hello.probe(self.edge.tls, octets)
            self.assertEqual(answer.hello[0], version)

    def test_TLS_04__min_version_of_the_domain(self):
        answer = hello.probe(self.edge.tls, hello.client_hello("strict.example", offered=(hello.TLS12,)))
        self.assertEqual(answer.alert, "protocol_version")
        answer = hello.probe(self.edge.tls, hello.client_hello("strict.example"))
        self.assertEqual(answer.alert, "protocol_version")
        self.assertEqual(self.stream("strict.example").version, "TLSv1.3")

    def test_TLS_05__versions_and_suites(self):
        answer = hello.probe(self.edge.tls, hello.client_hello("a.example", offered=(hello.TLS12, hello.TLS13)))
        self.assertEqual(answer.hello[0], hello.TLS13)
        weak = {"NULL": 0x0002, "RC4": 0x0005, "export": 0x0008, "3DES": 0x000A, "static RSA": 0x002F,
                "static RSA GCM": 0x009C, "static DH": 0x0031, "static ECDH": 0xC00E, "anonymous": 0x0034,
                "ECDHE 3DES": 0xC012, "ECDHE RC4": 0xC011, "ECDHE NULL": 0xC010}
        for domain in ("a.example", "rsa.example"):
            for name, suite in weak.items():
                answer = hello.probe(self.edge.tls, hello.client_hello(domain, suites=(suite, 0x00FF)))
                self.assertEqual((answer.alert, answer.hello), ("handshake_failure", None), f"{domain}: {name}")
            answer = hello.probe(self.edge.tls, hello.client_hello(domain, suites=hello.ECDHE_GCM))
            self.assertIn(answer.hello[1], hello.ECDHE_GCM)

    def test_TLS_05__rsa_and_ecdsa_side_by_side(self):
        rsa = pki.authority().issue("twin.example", kind="rsa2048").der
        ecdsa = pki.authority().issue("twin.example").der
        for ciphers, der in (("ECDHE-RSA-AES128-GCM-SHA256", rsa), ("ECDHE-ECDSA-AES128-GCM-SHA256", ecdsa)):
            self.assertEqual(self.stream("twin.example", versions=V12, ciphers=ciphers).peer_der, der)

    def test_TLS_06__compression_is_not_used(self):
        answer = hello.probe(self.edge.tls, hello.client_hello("a.example", compression=b"\1\0"))
        self.assertEqual((answer.hello is not None, answer.compression), (True, 0))

    def sessions(self, versions):
        context = streams.client_context(pki.authority().certificate, versions=versions)

        def open_with(name, session=None):
            sock = streams.connect(self.edge.tls, (addresses.fresh(), 0))
            return self.site.keep(streams.TLSStream(sock, context, name, session=session))

        first = open_with("a.example")
        phone = Phone(first, "alice", "a.example")
        phone.send(b"\r\n\r\n")
        phone.expect_pong()  # a TLS 1.3 ticket comes before this
        return open_with, first.object.session

    def test_TLS_07__a_session_never_resumes_under_another_name(self):
        for versions in (V12, V13):
            open_with, session = self.sessions(versions)
            again = open_with("a.example", session)
            self.assertTrue(again.object.session_reused, f"{versions}: sessions of the same name resume")
            other = open_with("b.example", session)
            self.assertFalse(other.object.session_reused, versions)
            self.assertEqual(other.peer_der, self.certificate("b.example"))

    def test_TLS_07__a_session_does_not_get_round_a_client_certificate(self):
        for versions in (V12, V13):
            open_with, session = self.sessions(versions)
            with self.assertRaises((ssl.SSLError, AssertionError)):
                stream = open_with("require.example", session)
                self.alive(stream, "require.example")

    def alive(self, stream, domain):
        """The connection works: a ping is answered."""
        phone = Phone(stream, "alice", domain)
        phone.send(b"\r\n\r\n")
        phone.expect_pong()

    def test_TLS_08__a_half_closed_connection_still_gets_answers_in_tls_1_3(self):
        phone = self.phone()
        phone.send(phone.build("MESSAGE", "sip:bob@a.example", contact=None))
        phone.stream.finish()
        seen = self.core.expect("MESSAGE")
        self.core.reply(seen, 200)
        phone.expect(200)
        self.assertEqual(phone.expect_closed(), "close_notify")

    def test_TLS_08__close_notify_comes_before_the_close(self):
        phone = self.phone()
        phone.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(phone.expect_closed(), "close_notify")

    def test_TLS_08__close_notify_in_tls_1_2_still_delivers_requests(self):
        context = streams.client_context(pki.authority().certificate, versions=V12)
        phone = self.phone(context=context)
        phone.send(phone.build("MESSAGE", "sip:bob@a.example", contact=None))
        phone.stream.finish()
        self.core.reply(self.core.expect("MESSAGE"), 200)

    def test_TLS_10__client_certificates(self):
        good = pki.authority().issue("phone7")
        another = pki.Authority("Another")
        bad = another.issue("phone7")
        expired = pki.authority().issue("phone8", days=-1)
        for versions in (V12, V13):
            self.alive(self.stream("request.example", versions=versions), "request.example")
            for name in ("request.example", "require.example"):
                self.alive(self.stream(name, versions=versions, certificate=good), name)
                for wrong in (bad, expired):
                    with self.assertRaises((ssl.SSLError, streams.Closed)):
                        self.alive(self.stream(name, versions=versions, certificate=wrong), name)
            with self.assertRaises((ssl.SSLError, streams.Closed)):
                self.alive(self.stream("require.example", versions=versions), "require.example")

    def test_TLS_10__the_tag_names_the_verified_client(self):
        context = streams.client_context(pki.authority().certificate, certificate=pki.authority().issue("phone7"))
        self.domain = "request.example"
        phone = self.phone(context=context)
        seen, _ = self.through(phone, phone.build("MESSAGE", "sip:x@request.example", contact=None))
        self.assertIn("phone7", of(seen)["verified"])
        seen, _ = self.through(self.phone(), phone.build("MESSAGE", "sip:x@request.example", contact=None))
        self.assertIsNone(of(seen).get("verified"))

    def test_TLS_11__alpn(self):
        self.alive(self.stream("a.example", alpn=["sip/2"]), "a.example")
        with self.assertRaises(ssl.SSLError) as caught:
            self.stream("a.example", alpn=["h2"])
        self.assertIn("no application protocol", str(caught.exception).lower().replace("_", " "))

    def test_TLS_14__plain_sip_on_a_tls_port_is_closed(self):
        stream = self.site.keep(streams.TCPStream(streams.connect(self.edge.tls)))
        message = Message.request("OPTIONS", "sip:a.example", [("Via", "SIP/2.0/TCP x;branch=z9hG4bK1")])
        stream.write(message.encode())
        deadline = Deadline()
        got = b""
        while stream.closed_by is None:
            octets = stream.read(deadline)
            self.assertIsNotNone(octets, "the edge did not close")
            got += octets
        self.assertNotIn(b"SIP/2.0", got)

    def test_records_of_rubbish_are_no_crash(self):
        for octets in (b"\x16\x03\x01\x40\x00" + b"\1\0\x3f\xfc" + b"\xff" * 300, b"\x16\x03\x01\x00\x00",
                       b"\x17\x03\x03\x00\x05hello", b"\x15\x03\x03\x00\x02\x02\x28", b"\x80\x2e\x01\0\2" + b"\0" * 41,
                       hello.client_hello("a.example")[:-7], b"\x16\x03\x01\xff\xff" + b"\0" * 65535):
            stream = self.site.keep(streams.TCPStream(streams.connect(self.edge.tls)))
            try:
                stream.write(octets)
                stream.finish()
                while stream.closed_by is None:
                    self.assertIsNotNone(stream.read(Deadline()), "the edge did not close")
            except (streams.Closed, OSError):
                pass
        self.fence(self.phone())


class HandshakeTimeout(EdgeTest):
    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site({"timers": {"handshake": "300ms"}})
        site.add("a.example", "proxy")
        return site

    def test_TLS_14__an_unfinished_handshake_is_closed(self):
        for octets in (b"", b"\x16", hello.client_hello("a.example", offered=(hello.TLS13,))[:50],
                       hello.client_hello("a.example")):
            stream = self.site.keep(streams.TCPStream(streams.connect(self.edge.tls)))
            stream.write(octets)
            deadline = Deadline(3)
            while stream.closed_by is None:
                self.assertIsNotNone(stream.read(deadline), f"still open after {octets[:20]!r}")
        self.fence(self.phone())


class BadCertificates(EdgeTest):
    """TLS-12: what keeps the edge from starting."""

    @classmethod
    def make_site(cls):
        site = Site()
        site.add("a.example", "proxy")
        return site

    def refused_start(self, pair):
        edge = Edge({})
        self.addCleanup(edge.cleanup)
        certificate, key = edge.install(pair, "bad")
        edge.write({"domains": [{
            "name": "bad.example", "tls": {"bind": [f"{edge.outside}:5061"], "certificate": certificate,
                                           "private_key": key},
            "core": {"targets": [f"udp:{addresses.fresh()}:5060"]}}]})
        edge.start(ready=False)
        try:
            self.assertEqual(edge.wait_exit(), 1)
            text = edge.tail(20)
            self.assertRegex(text, r"gatehouse\.yaml:\d+:\d+")
            self.assertTrue("bad.example" in text or "bad.pem" in text or "bad.key" in text, text)
        finally:
            edge.kill()
        status, out, err = run_command("check", edge.config_path)
        self.assertEqual(status, 1, out + err)
        self.assertRegex(out + err, r"gatehouse\.yaml:\d+:\d+")

    def test_TLS_12__a_key_under_2048_bits(self):
        self.refused_start(pki.authority().issue("bad.example", kind="rsa1024"))

    def test_TLS_12__a_sha_1_signature(self):
        self.refused_start(pki.authority().issue("bad.example", digest="sha1"))

    def test_TLS_12__a_key_of_another_certificate(self):
        one, two = pki.authority().issue("bad.example"), pki.authority().issue("other.example")
        self.refused_start(pki.Pair(one.certificate, two.key))

    def test_TLS_12__a_certificate_without_the_domain(self):
        self.refused_start(pki.authority().issue("other.example"))
