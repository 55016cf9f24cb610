"""TRUST and SEC: what may cross the boundary (docs/conformance.md §9)."""

from harness import addresses, pki, streams
from harness.case import ALL, PBX, PROXY, EdgeTest, StandardTest, each
from harness.core import Core
from harness.dialog import establish
from harness.sip import NameAddr
from harness.site import Site
from harness.tag import NAME, of

LISTED = ("Remote-Party-ID", "P-Charging-Vector", "P-Charging-Function-Addresses", "Diversion")


def names(message):
    """The names of its header fields, in lower case."""
    return [name.lower() for name, _ in message.headers]


class ToPhone:
    """For a test of requests that the core sends to a device."""

    def to_phone(self, phone, *headers):
        """Registers the phone, and has the core send it a MESSAGE. Returns what the phone saw."""
        seen, _ = phone.register(self.core)
        routes = [("Route", value) for value in seen.values("Path")]
        sent = self.core.request("MESSAGE", seen.contact.spec, self.edge.core_address, contact=None,
                                 headers=routes + list(headers))
        got = phone.expect("MESSAGE", call_id=sent.call_id)
        phone.reply(got, 200)
        self.core.expect(200)
        return got


class Boundary(ToPhone, StandardTest):
    domain = "proxy-udp.example"

    def message(self, phone, *headers, uri=None):
        return phone.build("MESSAGE", uri or f"sip:bob@{self.domain}", contact=None, headers=headers)

    @each(*ALL)
    def test_TRUST_01__asserted_identity_from_outside_is_removed(self):
        phone = self.phone()
        message = self.message(phone, ("P-Asserted-Identity", '"B, oss" <sip:boss@a.example>, <tel:+1>'),
                               ("p-asserted-IDENTITY", "<sip:ceo@a.example>"), ("X-Keep", "me"))
        octets = message.encode().replace(b"X-Keep:", b"P-ASSERTED-IDENTITY :\r\n <sip:folded@a.example>\r\nX-Keep:")
        seen, _ = self.through(phone, octets)
        self.assertNotIn("p-asserted-identity", names(seen))
        self.assertNotIn(b"folded@", seen.raw)
        self.assertEqual(seen.get("X-Keep"), "me")

    @each(*ALL)
    def test_TRUST_01__asserted_identity_in_a_response_from_outside_is_removed(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        routes = [("Route", value) for value in seen.values("Path")]
        sent = self.core.request("MESSAGE", seen.contact.spec, self.edge.core_address, contact=None, headers=routes)
        got = phone.expect("MESSAGE", call_id=sent.call_id)
        phone.reply(got, 200, headers=[("P-Asserted-Identity", "<sip:boss@a.example>"), ("X-Keep", "me"),
                                       ("P-Asserted-Identity", "<tel:+1>"), (NAME, "000000000000; arrived=sips")])
        ok = self.core.expect(200)
        self.assertNotIn("p-asserted-identity", names(ok))
        self.assertNotIn(NAME.lower(), names(ok))
        self.assertEqual(ok.get("X-Keep"), "me")

    @each(*ALL)
    def test_TRUST_02__preferred_identity_is_removed(self):
        phone = self.phone()
        seen, _ = self.through(phone, self.message(phone, ("P-Preferred-Identity", "<sip:boss@a.example>"),
                                                   ("P-PREFERRED-identity", "<tel:+1>")))
        self.assertNotIn("p-preferred-identity", names(seen))

    @each(*ALL)
    def test_TRUST_03__privacy_id_hides_the_identity(self):
        got = self.to_phone(self.phone(), ("P-Asserted-Identity", "<sip:x@a.example>"), ("Privacy", "header;id"),
                             ("p-asserted-identity", "<tel:+1>"))
        self.assertNotIn("p-asserted-identity", names(got))
        self.assertEqual(got.rows("Privacy"), ["header;id"])

    @each(*ALL)
    def test_TRUST_04__otherwise_it_is_kept(self):
        for privacy in ([("Privacy", "none")], []):
            got = self.to_phone(self.phone(), ("P-Asserted-Identity", "<sip:x@a.example>"), *privacy)
            self.assertEqual(got.rows("P-Asserted-Identity"), ["<sip:x@a.example>"])
            self.assertEqual(got.rows("Privacy"), [value for _, value in privacy])

    @each(*ALL)
    def test_TRUST_06__our_own_header_from_outside_is_gone(self):
        phone = self.phone()
        forged = "7f3c9e1ab2d4; arrived=sips; transport=tls; domain=x; expires=9999999999; sig=AAAAAAAAAAAAAAAAAAAAAA"
        for names in ((NAME,), ("x-gatehouse-session", "X-GATEHOUSE-SESSION"), ("X-Gatehouse-Other", NAME),
                      ("x-gateHOUSE-override",)):
            seen, _ = self.through(phone, self.message(phone, *[(name, forged) for name in names]))
            ours = [(name, value) for name, value in seen.headers if name.lower().startswith("x-gatehouse-")]
            self.assertEqual(len(ours), 1, ours)
            self.assertEqual(of(seen)["arrived"], "tls")
            self.assertNotEqual(of(seen).id, "7f3c9e1ab2d4")

    @each(*ALL)
    def test_TRUST_06__a_stolen_tag_from_outside_counts_for_nothing(self):
        phone = self.phone()
        seen, _ = self.through(phone, self.message(phone, uri=f"sips:bob@{self.domain}"))
        other = self.phone("mallory", scheme="sip")
        again, _ = self.through(other, self.message(other, (NAME, seen.get(NAME))))
        self.assertEqual(of(again)["arrived"], "tls")
        self.assertNotEqual(of(again).id, of(seen).id)

    @each(*ALL)
    def test_TRUST_07__our_own_header_never_leaves(self):
        phone = self.phone()
        self.assertNotIn(NAME.lower(), names(phone.register(self.core)[1]))
        invite = phone.invite()
        seen = self.core.expect("INVITE")
        for status in (180, 486):
            self.core.reply(seen, status, headers=[(NAME, seen.get(NAME)), ("X-Gatehouse-Other", "1"), ("X-K", "1")])
            answer = phone.expect(status)
            self.assertFalse([name for name in names(answer) if name.startswith("x-gatehouse-")])
            self.assertEqual(answer.get("X-K"), "1")
        phone.send(phone.ack_failure(invite, answer))
        self.core.expect("ACK")
        got = self.to_phone(phone, (NAME, seen.get(NAME)))
        self.assertFalse([name for name in names(got) if name.startswith("x-gatehouse-")])

    @each(*ALL)
    def test_TRUST_08__privacy_passes_and_proxy_require_privacy_does_not(self):
        phone = self.phone()
        answer = self.refused(phone, self.message(phone, ("Proxy-Require", "privacy"), ("Privacy", "id")), 420)
        self.assertEqual(answer.values("Unsupported"), ["privacy"])
        seen, _ = self.through(phone, self.message(phone, ("Privacy", "id;critical")))
        self.assertEqual(seen.rows("Privacy"), ["id;critical"])

    @each(*ALL)
    def test_TRUST_09__the_listed_headers_are_removed(self):
        phone = self.phone()
        seen, _ = self.through(phone, self.message(phone, *[(name, "<sip:x@y.invalid>") for name in LISTED]))
        self.assertFalse(set(names(seen)) & {name.lower() for name in LISTED})

    def new_leg(self, phone, *headers, method="MESSAGE"):
        """A new leg of the core to a registered phone. Returns the request as sent."""
        seen, _ = phone.register(self.core)
        routes = [("Route", value) for value in seen.values("Path")]
        return self.core.request(method, seen.contact.spec, self.edge.core_address, headers=routes + list(headers))

    @each(*ALL)
    def test_tag_a_copied_tag_is_accepted(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        bob = self.phone("bob")
        sent = self.new_leg(bob, (NAME, call.seen.get(NAME)))
        got = bob.expect("MESSAGE", call_id=sent.call_id)
        self.assertFalse(got.has(NAME))
        bob.reply(got, 200)
        self.core.expect(200, call_id=sent.call_id)
        call.hang_up()

    @each(*ALL)
    def test_tag_a_forged_tag_is_an_attack(self):
        phone = self.phone()
        seen, _ = self.through(phone, self.message(phone, uri=f"sip:bob@{self.domain}"))
        tag = seen.get(NAME)
        parsed = of(seen)
        forged = [tag.replace("arrived=tls", "arrived=plain"), tag.replace("arrived=tls", "arrived=sips"),
                  tag.replace(parsed.id, "000000000000"),
                  tag.replace(f"expires={parsed['expires']}", "expires=4294967295"),
                  tag.replace(parsed["sig"], ("A" if parsed["sig"][0] != "A" else "B") + parsed["sig"][1:]),
                  tag.replace(f"domain={self.domain}", "domain=other.example"), parsed.id, "rubbish",
                  tag.replace(f"sig={parsed['sig']}", "sig=")]
        for value in forged:
            mark = self.edge.mark()
            sent = self.new_leg(phone, (NAME, value))
            answer = self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id)
            self.assertEqual(answer.status, 403, value)
            self.edge.wait_log(r"(?i)forged|tag", after=mark)
        sent = self.new_leg(phone, (NAME, tag), (NAME, tag))
        self.assertEqual(self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id).status, 403)
        self.fence(phone)
        phone.expect_nothing()

    @each(*ALL)
    def test_SEC_02__escaped_line_ends_stay_escaped(self):
        phone = self.phone()
        nasty = f"sip:bob%0d%0aRoute%3a%20%3csip%3aevil%40x%3e@{self.domain};x=%0d%0aRoute"
        message = self.message(phone, ("Subject", "a%0d%0aRoute: x"), uri=nasty)
        message.set("From", f'"%0d%0aRoute: <sip:evil>" <sip:a%0d%0a@{self.domain}>;tag=1')
        seen, _ = self.through(phone, message)
        self.assertEqual(seen.uri, nasty)
        self.assertEqual(seen.get("From"), message.get("From"))
        self.assertEqual(seen.values("Route"), [])

    @each(*PROXY)
    def test_SEC_03__max_breadth(self):
        phone = self.phone()
        for value, expected in ((None, "60"), ("500", "60"), ("10", "10")):
            seen, _ = self.through(phone, self.message(phone, *([("Max-Breadth", value)] if value else [])))
            self.assertEqual(seen.rows("Max-Breadth"), [expected])

    @each("proxy-udp", "pbx-udp")
    def test_SEC_07__strangers_at_the_core_port_hear_nothing(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        stranger = self.site.keep(Core(addresses.fresh(), name="stranger"))
        target = NameAddr((seen.values("Path") or seen.values("Contact"))[0]).spec
        stranger.request("OPTIONS", target, self.edge.core_address)
        stranger.request("INVITE", f"sip:alice@{self.domain}", self.edge.core_address)
        stranger.send_octets(b"rubbish", self.edge.core_address)
        stranger.request("MESSAGE", seen.contact.spec, self.edge.core_address,
                         headers=[("Route", value) for value in seen.values("Path")])
        self.fence(phone)
        stranger.expect_nothing()
        phone.expect_nothing()

    def test_SEC_07__strangers_at_the_core_tcp_port_hear_nothing(self):
        stranger = self.site.keep(Core(addresses.fresh(), name="stranger"))
        try:
            stranger.request("OPTIONS", f"sip:{self.domain}", self.edge.core_address, "tcp")
            stranger.expect_nothing(0.2)
        except (OSError, AssertionError) as error:
            self.assertNotIn("expected nothing", str(error))
        self.fence(self.phone())

    @each(*ALL)
    def test_SEC_10__logs_hold_no_credentials(self):
        phone, mark = self.phone(), self.edge.mark()
        secret = [("Authorization", 'Digest username="a", realm="r", response="s3cretresponse"'),
                  ("Proxy-Authorization", 'Digest username="a", response="s3cretresponse"')]
        phone.request("REGISTER", f"sips:{self.domain}", headers=secret + [("Supported", "path")],
                      contact="<sips:alice:s3cretresponse@192.0.2.7>")
        seen = self.core.expect("REGISTER")
        self.core.reply_as_registrar(seen)
        phone.expect(200)
        for status, message in ((400, phone.build("INVITE", f"sips:bob:s3cretresponse@{self.domain};transport=udp", headers=secret)),
                                (403, phone.build("INVITE", "sips:bob:s3cretresponse@far.invalid", headers=secret)),
                                (404, phone.build("INVITE", f"sips:gh-s3cretresponses3cretresponse@{self.domain}", headers=secret))):
            phone.send(message)
            answer = phone.expect(lambda answer: answer.status >= 200 or answer.is_request)
            phone.send(phone.ack_failure(message, answer))
        self.edge.wait_log("request refused|breaks the rules", after=mark)
        self.fence(phone)
        self.assertNotIn("s3cretresponse", "\n".join(self.edge.log_since(mark)))

    @each(*PBX)
    def test_SEC_10__no_core_address_and_no_version_outside(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        for answer in (call.ok, call.ringing):
            self.assertFalse(answer.has("Server"))
            for row in [value for name, value in answer.headers if name.lower() not in ("from", "to", "call-id")]:
                self.assertNotIn(self.core.ip, row)
                self.assertNotIn(self.edge.core, row)
        call.hang_up()


class Untagged(EdgeTest):
    """`untagged: refuse`, and legs to external domains, which this release does not serve."""

    domain = "refuse.example"

    @classmethod
    def make_site(cls):
        dns = addresses.fresh()
        cls.dns = dns
        site = Site(dns={"servers": [f"{dns}:53"], "timeout": "500ms"})
        for name in ("refuse", "allow"):
            for kind in ("pbx", "proxy"):
                site.add(f"{name}{'-proxy' if kind == 'proxy' else ''}.example", kind,
                         security={"untagged": name})
        return site

    def leg(self, phone, *headers):
        seen, _ = phone.register(self.core)
        routes = [("Route", value) for value in seen.values("Path")]
        return seen, self.core.request("MESSAGE", seen.contact.spec, self.edge.core_address,
                                       headers=routes + list(headers))

    @each("refuse", "refuse-proxy")
    def test_untagged_refuse(self):
        phone = self.phone()
        seen, sent = self.leg(phone)
        answer = self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id)
        self.assertEqual(answer.status, 403)
        self.assert_warning(answer, 399)
        _, sent = self.leg(phone, (NAME, seen.get(NAME)))
        phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200)
        self.core.expect(200, call_id=sent.call_id)

    @each("refuse", "refuse-proxy")
    def test_PBX_14__an_untagged_qualify_is_no_leg(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        sent = self.core.request("OPTIONS", seen.contact.spec, self.edge.core_address, contact=None,
                                 headers=[("Route", value) for value in seen.values("Path")])
        phone.reply(phone.expect("OPTIONS", call_id=sent.call_id), 200)
        self.core.expect(200, call_id=sent.call_id)

    @each("allow", "allow-proxy")
    def test_untagged_allow(self):
        phone = self.phone()
        _, sent = self.leg(phone)
        phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200)
        self.core.expect(200, call_id=sent.call_id)

    @each("allow")
    def test_SEC_01__no_dns_query_for_a_refused_request(self):
        phone = self.phone()
        nameserver = self.site.keep(Core(self.dns, 53, name="name server", tcp=False))
        self.refused(phone, phone.build("INVITE", "sip:bob@far.invalid"), 403)
        self.assertTrue(nameserver.is_quiet())


class Settings(ToPhone, EdgeTest):
    """`security.asserted_identity`, `security.removed_headers` and `tls.trusted_peers`."""

    domain = "strip-pbx.example"

    @classmethod
    def make_site(cls):
        site = Site()
        cls.authority = pki.Authority("Client Authority")
        for kind in ("pbx", "proxy"):
            site.add(f"strip-{kind}.example", kind, security={"asserted_identity": "strip"})
            site.add(f"list-{kind}.example", kind, security={"removed_headers": ["X-Vendor", "user-AGENT"]})
            site.add(f"peers-{kind}.example", kind, tls={
                "client_certificate": "request", "client_ca": cls.authority.certificate,
                "trusted_peers": ["Carrier.example", "sbc.carrier.example"]})
            site.add(f"none-{kind}.example", kind, tls={
                "client_certificate": "request", "client_ca": cls.authority.certificate})
        return site

    @each("strip-pbx", "strip-proxy")
    def test_TRUST_04__a_domain_may_strip_it(self):
        identity = ("P-Asserted-Identity", "<sip:x@a.example>")
        for privacy, expected in (([], []), ([("Privacy", "header")], []), ([("Privacy", "id;none")], []),
                                  ([("Privacy", "none")], [identity[1]])):
            got = self.to_phone(self.phone(), identity, *privacy)
            self.assertEqual(got.rows("P-Asserted-Identity"), expected)
            self.assertEqual(got.rows("Privacy"), [value for _, value in privacy])
        phone = self.phone()
        phone.request("MESSAGE", f"sips:bob@{self.domain}", contact=None)
        self.core.reply(self.core.expect("MESSAGE"), 200, headers=[identity])
        self.assertEqual(phone.expect(200).rows("P-Asserted-Identity"), [])

    @each("list-pbx", "list-proxy")
    def test_TRUST_09__the_list_can_be_another(self):
        phone = self.phone()
        message = phone.build("MESSAGE", f"sips:bob@{self.domain}", contact=None, headers=[
            *[(name, "<sip:x@y.invalid>") for name in LISTED], ("x-vendor", "1"), ("User-Agent", "u"), ("X-Vendor2", "2"),
            ("P-Asserted-Identity", "<sip:boss@a.example>"), (NAME, "1")])
        seen, _ = self.through(phone, message)
        for name in LISTED:
            self.assertEqual(seen.rows(name), ["<sip:x@y.invalid>"])
        self.assertEqual(seen.rows("X-Vendor2"), ["2"])
        self.assertFalse({"x-vendor", "user-agent", "p-asserted-identity"} & set(names(seen)))
        of(seen)  # one tag, and it is ours

    def peer(self, *names):
        """A peer that shows a certificate with these names, or none."""
        context = streams.client_context(pki.authority().certificate)
        if names:
            pair = self.authority.issue(*names)
            context.load_cert_chain(pair.certificate, pair.key)
        return self.phone(context=context)

    def asserted(self, phone):
        message = phone.build("MESSAGE", f"sips:bob@{self.domain}", contact=None, headers=[
            ("P-Asserted-Identity", "<sip:boss@a.example>"), ("P-Preferred-Identity", "<sip:boss@a.example>"),
            ("P-Asserted-Identity", "<tel:+1>")])
        seen, _ = self.through(phone, message)
        self.assertFalse(seen.has("P-Preferred-Identity"))
        return seen.rows("P-Asserted-Identity")

    @each("peers-pbx", "peers-proxy")
    def test_TRUST_05__a_listed_peer_asserts_identities(self):
        both = ["<sip:boss@a.example>", "<tel:+1>"]
        for names, expected in ((("carrier.example",), both), (("other.example", "SBC.carrier.example"), both),
                                (("other.example",), []), (("*.example",), []), (("x.carrier.example",), []), ((), [])):
            with self.subTest(names):
                self.assertEqual(self.asserted(self.peer(*names)), expected)

    @each("peers-pbx", "peers-proxy")
    def test_TRUST_05__also_in_its_answers(self):
        for names, expected in ((("carrier.example",), ["<tel:+1>"]), (("other.example",), [])):
            phone = self.peer(*names)
            seen, _ = phone.register(self.core)
            routes = [("Route", value) for value in seen.values("Path")]
            sent = self.core.request("MESSAGE", seen.contact.spec, self.edge.core_address, contact=None, headers=routes)
            phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200, headers=[("P-Asserted-Identity", "<tel:+1>")])
            self.assertEqual(self.core.expect(200).rows("P-Asserted-Identity"), expected)

    @each("none-pbx", "none-proxy")
    def test_TRUST_05__a_certificate_alone_is_no_trust(self):
        self.assertEqual(self.asserted(self.peer("carrier.example")), [])
