"""Messages of RFC 4475 and RFC 5118 whose row says more than that they pass: what becomes of what they carry."""

from harness import addresses
from harness.case import EdgeTest, StandardTest, each
from harness.core import Core
from harness.site import Site

BOTH = ("pbx-udp", "proxy-udp")


class Registrations(StandardTest):
    """The REGISTERs of RFC 4475, for our domain and with the Via of the connection that they come over."""

    def octets(self, phone, *rows):
        """A REGISTER with these rows, `{domain}` and `{via}` filled in."""
        text = "\r\n".join(("REGISTER sip:{domain} SIP/2.0", *rows, "Via: {via}", "Content-Length: 0", "", ""))
        return text.format(domain=self.domain, via=phone.via()).encode()

    def contacts(self):
        """The contacts that the edge keeps for this domain."""
        items = self.edge.api(f"/api/bindings?domain={self.domain}")[1]["items"]
        return {one["contact"]: one for one in items}

    @each(*BOTH)
    def test_T4475_escnull__escaped_nulls_are_kept(self):
        phone, before = self.phone(scheme="sip"), set(self.contacts())
        wanted = ["sip:%00@host5.example.com", "sip:%00%00@host5.example.com"]
        phone.send(self.octets(
            phone, "To: sip:null-%00-null@{domain}", "From: sip:null-%00-null@{domain};tag=839923423", "Max-Forwards: 70",
            "Call-ID: escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd", "CSeq: 14398234 REGISTER", "Expires: 600",
            "Supported: path", *[f"Contact: <{contact}>" for contact in wanted]))
        seen = self.core.expect("REGISTER")
        self.assertEqual(seen.rows("To"), [f"sip:null-%00-null@{self.domain}"])
        self.assertEqual(len(seen.values("Contact")), 2)
        if self.domain == "proxy-udp.example":
            self.assertEqual(seen.values("Contact"), [f"<{contact}>" for contact in wanted])
        self.core.reply_as_registrar(seen)
        answer = phone.expect(200)
        self.assertEqual([value.partition(">")[0] + ">" for value in answer.values("Contact")],
                         [f"<{contact}>" for contact in wanted])
        if self.domain == "pbx-udp.example":
            new = {contact: one for contact, one in self.contacts().items() if contact not in before}
            self.assertEqual(sorted(new), sorted(wanted))
            self.assertEqual({one["address_of_record"] for one in new.values()}, {f"null-%00-null@{self.domain}"})
            # Each is reached by the token that the core has for it.
            for value, contact in zip(seen.values("Contact"), wanted):
                sent = self.core.request("MESSAGE", value.partition("<")[2].partition(">")[0], contact=None)
                got = phone.expect("MESSAGE", call_id=sent.call_id)
                self.assertEqual(got.uri, contact)
                phone.reply(got, 200)
                self.core.expect(200, call_id=sent.call_id)
        self.assertFalse([line for line in self.edge.log_since(self.log_mark) if "\0" in line])

    @each(*BOTH)
    def test_T4475_unksm2__an_unknown_scheme_in_contact_makes_no_binding(self):
        phone, before = self.phone(scheme="sip"), set(self.contacts())
        rows = ("To: isbn:2983792873", "From: <http://www.example.com>;tag=3234233", "Contact: <name:John_Smith>")
        phone.send(self.octets(phone, *rows, "Call-ID: unksm2.daksdj@hyphenated-host.example.com",
                               "CSeq: 234902 REGISTER", "Max-Forwards: 70", "Supported: path"))
        seen = self.core.expect("REGISTER")
        self.assertEqual(seen.uri, f"sip:{self.domain}")
        for row in rows:
            name, _, value = row.partition(": ")
            self.assertEqual(seen.rows(name), [value])
        self.core.reply(seen, 200, headers=[("Contact", "<name:John_Smith>;expires=600")])
        self.assertEqual(phone.expect(200).rows("Contact"), ["<name:John_Smith>;expires=600"])
        self.assertEqual(set(self.contacts()), before)

    @each(*BOTH)
    def test_T4475_regaut01__an_unknown_authorization_scheme_passes(self):
        phone = self.phone(scheme="sip")
        phone.send(self.octets(
            phone, "To: sip:j.user@{domain}", "From: sip:j.user@{domain};tag=87321hj23128", "Max-Forwards: 8",
            "Call-ID: regaut01.0ha0isndaksdj", "CSeq: 9338 REGISTER", "Supported: path",
            "Authorization: NoOneKnowsThisScheme opaque-data=here"))
        seen = self.core.expect("REGISTER")
        self.assertEqual(seen.rows("Authorization"), ["NoOneKnowsThisScheme opaque-data=here"])
        self.assertEqual(seen.get("Max-Forwards"), "7")
        self.core.reply(seen, 401, headers=[("WWW-Authenticate", "NoOneKnowsThisScheme opaque-data=there")])
        self.assertEqual(phone.expect(401).rows("WWW-Authenticate"), ["NoOneKnowsThisScheme opaque-data=there"])

    @each(*BOTH)
    def test_T4475_regescrt__an_escaped_route_is_never_acted_on(self):
        phone = self.phone(scheme="sip")
        contact = "sip:user@example.com?Route=%3Csip:sip.example.com%3E"
        phone.send(self.octets(
            phone, "To: sip:user@{domain}", "From: sip:user@{domain};tag=8", "Max-Forwards: 70",
            "Call-ID: regescrt.k345asrl3fdbv@192.0.2.1", "CSeq: 14398234 REGISTER", "Expires: 600", "Supported: path",
            f"M: <{contact}>"))
        seen = self.core.expect("REGISTER")
        self.assertEqual(seen.values("Route"), [])
        self.core.reply_as_registrar(seen)
        answer = phone.expect(200)
        self.assertEqual(answer.contact.spec, contact)
        if self.domain == "proxy-udp.example":
            self.assertEqual(seen.contact.spec, contact)
        else:
            self.assertIn(contact, self.contacts())
        # What the core sends to this contact goes over its flow, and bears no Route.
        sent = self.core.request("MESSAGE", seen.contact.spec.partition("?")[0], self.edge.core_address, contact=None,
                                 headers=[("Route", value) for value in seen.values("Path")])
        got = phone.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual((got.uri, got.values("Route")), ("sip:user@example.com", []))
        phone.reply(got, 200)
        self.core.expect(200, call_id=sent.call_id)


class Datagrams(EdgeTest):
    """RFC 5118, over UDP from outside."""

    domain = "host.example.net"

    @classmethod
    def make_site(cls):
        site = Site()
        site.add(cls.domain, "proxy", udp={"bind": [f"{site.edge.outside}:5060"]})
        return site

    def test_T5118_mult_ip_in_header__vias_of_both_families_stay_in_order(self):
        device = self.site.keep(Core(addresses.fresh(), 5062, name="device", tcp=False))
        named = self.site.keep(Core(device.ip, 6050, name="port of the Via", tcp=False))
        vias = ["SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111",
                "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144",
                "SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200"]
        device.send_octets("\r\n".join([
            f"BYE sip:user@{self.domain} SIP/2.0", *[f"Via: {via}" for via in vias], "Call-ID: 997077@lau.rel",
            "Max-Forwards: 70", "CSeq: 89187 BYE", "To: sip:user@example.net;tag=9817--94",
            "From: sip:user@example.com;tag=81x2", "Content-Length: 0", "", ""]).encode(), (self.edge.outside, 5060))
        seen = self.core.expect("BYE")
        mine, first, *rest = seen.rows("Via")
        self.assertIn(self.edge.core, mine)
        self.assertEqual(first, f"{vias[0]};received={device.ip}")
        self.assertEqual(rest, vias[1:])
        # The answer goes to the source's address and the port that the Via names (RFC 3261 §18.2.2).
        self.core.reply(seen, 481, to_tag=None)
        answer = named.expect(481)
        self.assertEqual(answer.rows("Via"), [first, *rest])
        device.expect_nothing()
