"""MSG: headers and start lines (docs/conformance.md §1.1), on a core of kind `proxy` unless a test says otherwise."""

from harness.case import ALL, PROXY, StandardTest, each
from harness.sip import SDP, Message, token


class Headers(StandardTest):
    domain = "proxy-udp.example"

    def message(self, phone, **options):
        options.setdefault("contact", None)
        return phone.build(options.pop("method", "MESSAGE"), options.pop("uri", f"sip:bob@{self.domain}"), **options)

    @each(*ALL)
    def test_MSG_01__compact_names_are_the_long_ones(self):
        phone = self.phone()
        invite = phone.build("INVITE", f"sips:bob@{self.domain}", body=SDP, headers=[
            ("k", "timer"), ("Supported", "replaces"), ("s", "a subject"), ("Subject", "another"), ("e", "identity")])
        names = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Contact": "m", "Content-Type": "c"}
        invite.headers = [(names.get(name, name), value) for name, value in invite.headers]
        low = ["SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKlow1", "SIP/2.0/TCP low.invalid;branch=z9hG4bKlow2"]
        invite.headers[1:1] = [("Via", low[0]), ("v", low[1])]
        invite.headers.append(("l", str(len(SDP))))
        phone.send(invite.encode(content_length=False))
        seen = self.core.expect("INVITE", call_id=invite.call_id)
        self.assert_forwarded(invite, seen, but=("contact",) if self.domain.startswith("pbx") else (),
                              uri=seen.uri)
        if self.domain.startswith("proxy"):
            self.assertEqual(seen.values("Via")[2:], low)
        self.core.reply(seen, 486)
        answer = phone.expect(486, "INVITE")
        self.core.expect("ACK", call_id=invite.call_id)
        self.assertEqual(answer.branch, invite.branch)
        self.assertEqual(answer.values("Via")[1:], low)
        phone.send(phone.ack_failure(invite, answer))
        self.fence(phone)

    def test_MSG_02__names_match_in_any_case(self):
        phone = self.phone()
        invite = phone.build("INVITE", f"sips:bob@{self.domain}", body=SDP)
        swapped = {"Max-Forwards": "MaX-fOrWaRdS", "Call-ID": "cAlL-iD", "CSeq": "CSEQ", "To": "TO"}
        invite.headers = [(swapped.get(name, name), value.replace(";branch=", ";BRANCH=") if name == "Via" else value)
                          for name, value in invite.headers]
        phone.send(invite)
        seen = self.core.expect("INVITE")
        self.assertEqual(seen.get("Max-Forwards"), "69")
        self.core.reply(seen, 180)
        phone.expect(180)
        cancel = phone.cancel(invite)
        cancel.headers = [(name, value.replace(";BRANCH=", ";Branch=")) for name, value in cancel.headers]
        phone.send(cancel)
        phone.expect(200, "CANCEL")
        self.core.reply(self.core.expect("CANCEL"), 200)
        self.core.reply(seen, 487)
        phone.expect(487, "INVITE")
        self.core.expect("ACK")

    def test_MSG_03__folded_lines_are_one_space(self):
        phone = self.phone()
        message = self.message(phone)
        octets = message.encode().replace(b";branch=", b"\r\n ;branch=", 1)
        octets = octets.replace(b"Max-Forwards:", b"X-Folded : one\r\n\ttwo\r\n  three\r\nMax-Forwards   :", 1)
        octets = octets.replace(b"From:", b"Route: <sip:%s\r\n ;lr>\r\nFrom  :" % self.domain.encode(), 1)
        if b"<sip:%s\r\n ;lr>" % self.domain.encode() in octets:  # LWS does not belong inside a URI: fold before it
            octets = octets.replace(b"<sip:%s\r\n ;lr>" % self.domain.encode(),
                                    b"\r\n <sip:%s;lr>" % self.domain.encode())
        phone.send(octets)
        seen = self.core.expect("MESSAGE")
        self.assertEqual(" ".join(seen.get("X-Folded").split()), "one two three")
        self.assertEqual(seen.values("Route"), [])
        self.assertEqual(seen.vias[1].branch, message.branch)
        self.core.reply(seen, 200)
        self.assertEqual(phone.expect(200).branch, message.branch)

    def test_MSG_04__rows_lists_and_mixtures_are_the_same(self):
        phone, low = self.phone(), ["SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa", "SIP/2.0/TCP 192.0.2.10;branch=z9hG4bKb"]
        routes, stacks = ["<sip:r1.invalid;lr>", "<sip:r2.invalid;lr>"], []
        for shape in ("rows", "list", "mixed"):
            message = self.message(phone, method="SUBSCRIBE", contact=True, headers=[("Event", "dialog")])
            top = message.get("Via")
            rows = {"rows": [top, *low], "list": [", ".join([top, *low])], "mixed": [top, ",  ".join(low)]}[shape]
            message.remove("Via")
            message.headers[0:0] = [("Via", row) for row in rows]
            for row in routes if shape == "rows" else [" , ".join(routes)]:
                message.add("Record-Route", row)
            seen, answer = self.through(phone, message)
            self.assertEqual(answer.values("Via")[1:], low)
            self.assertEqual(seen.values("Record-Route")[-2:], routes)
            stacks.append((seen.values("Via")[2:], len(seen.values("Record-Route"))))
        self.assertEqual(stacks[0], (low, stacks[0][1]))
        self.assertTrue(all(stack == stacks[0] for stack in stacks))

    def test_MSG_05__separators_inside_quotes_separate_nothing(self):
        phone = self.phone()
        display = '"a, b; c <sip:evil@x> \\" \\\\ d"'
        message = self.message(
            phone, method="SUBSCRIBE", contact=f"{display} <sips:alice@192.0.2.7>",
            headers=[("Event", "dialog"), ("Route", f"{display} <sip:{self.domain};lr>")])
        seen, _ = self.through(phone, message)
        self.assertEqual(seen.values("Route"), [])
        self.assert_forwarded(message, seen)
        self.assertIn(f"Contact: {display} <sips:alice@192.0.2.7>\r\n".encode(), seen.raw)

    def test_MSG_06__challenges_and_credentials_stay_rows(self):
        phone = self.phone()
        rows = [("Authorization", 'Digest username="a", realm="r1", nonce="1", uri="sip:x", response="0"'),
                ("Authorization", 'Digest username="a", realm="r2", nonce="2", uri="sip:x", response="0"'),
                ("Proxy-Authorization", 'Digest username="a", realm="r3", nonce="1", uri="sip:x", response="0"'),
                ("Proxy-Authorization", 'Digest username="a", realm="r4", nonce="2", uri="sip:x", response="0"')]
        message = phone.send(self.message(phone, headers=rows))
        seen = self.core.expect("MESSAGE")
        self.assert_forwarded(message, seen)
        challenges = [("WWW-Authenticate", 'Digest realm="r1", nonce="1"'),
                      ("WWW-Authenticate", 'Digest realm="r2", nonce="2"'),
                      ("Proxy-Authenticate", 'Digest realm="r3", nonce="1"'),
                      ("Proxy-Authenticate", 'Digest realm="r4", nonce="2"')]
        self.core.reply(seen, 401, headers=challenges)
        answer = phone.expect(401)
        self.assertEqual([row for row in answer.headers if "Authenticate" in row[0]], challenges)

    def test_MSG_07__order_of_values_is_kept(self):
        phone = self.phone()
        message = self.message(phone, headers=[
            ("X-A", "1, 2"), ("Subject", "s"), ("X-A", "3"), ("Accept", "a/b"), ("X-A", "4,5"), ("Accept", "c/d, e/f")])
        seen, _ = self.through(phone, message)
        self.assert_forwarded(message, seen)

    def test_MSG_08__parameter_twice_is_refused(self):
        phone = self.phone()
        message = self.message(phone)
        message.set("Via", phone.via() + ";x=1;X=2")
        self.refused(phone, message, 400)
        self.refused(phone, self.message(phone, headers=[("Route", f"<sip:{self.domain};lr>;a=1;a=1")]), 400)

    @each(*ALL)
    def test_MSG_09__unknown_methods_and_headers_pass(self):
        phone = self.phone()
        octets = self.message(phone, method="BREW", headers=[("X-Foo", "?"), ("X-Bar", ";;,,;")]).encode()
        octets = octets.replace(b"X-Foo: ?", b"X-Foo:")
        sent = Message.parse(octets)
        seen, _ = self.through(phone, octets)
        self.assert_forwarded(sent, seen)
        self.assertEqual(seen.method, "BREW")
        self.assertIn(b"\r\nX-Foo:\r\n", seen.raw)

    def test_MSG_10__method_in_lower_case_is_unknown(self):
        phone = self.phone()
        message = phone.send(self.message(phone, method="invite"))
        seen = self.core.receive()
        self.assertEqual(seen.method, "invite")
        self.core.reply(seen, 200)
        answer = phone.receive()  # no 100: it is no INVITE
        self.assertEqual((answer.status, answer.call_id), (200, message.call_id))

    def test_MSG_11__version_in_lower_case_is_accepted(self):
        phone = self.phone()
        octets = self.message(phone).encode().replace(b" SIP/2.0\r\nVia: SIP/2.0", b" sip/2.0\r\nVia: sip/2.0", 1)
        seen, _ = self.through(phone, octets)
        self.assertTrue(seen.start.endswith(" SIP/2.0"))
        self.assertTrue(seen.values("Via")[0].startswith("SIP/2.0/UDP "))

    def test_MSG_12__other_versions(self):
        phone = self.phone()
        message = self.message(phone)
        message.start = message.start.replace("SIP/2.0", "SIP/3.0")
        phone.send(message)
        self.assertEqual(phone.receive().status, 505)
        sent = phone.send(self.message(phone))
        seen = self.core.expect("MESSAGE", call_id=sent.call_id)
        self.core.send_octets(seen.reply(200).encode().replace(b"SIP/2.0 200", b"SIP/3.0 200", 1), seen.source)
        self.core.reply(seen, 202)
        self.assertEqual(phone.receive().status, 202)
        self.fence(phone)

    def test_MSG_13__requests_without_a_mandatory_header(self):
        phone = self.phone()
        for name in ("To", "From", "Call-ID", "CSeq"):
            message = self.message(phone)
            phone.send(message.copy().remove(name))
            self.assertEqual(phone.receive().status, 400, f"without {name}")
            self.fence(phone)
        phone.send(self.message(phone).remove("Via"))
        self.fence(phone)  # fails if anything but its own answer comes back
        phone.expect_nothing()

    def test_MSG_14__single_headers_twice_are_refused(self):
        phone = self.phone()
        for name in ("Call-ID", "CSeq", "To", "From", "Max-Forwards"):
            for other in (False, True):
                message = self.message(phone)
                row = message.get(name)
                message.add(name, row.replace("1 ", "2 ").replace("bob", "eve").replace("70", "69") if other else row)
                phone.send(message)
                self.assertEqual(phone.receive().status, 400, f"two rows of {name}")
        self.fence(phone)

    def test_MSG_15__cseq_numbers(self):
        phone = self.phone()
        seen, _ = self.through(phone, self.message(phone, cseq=4294967295))
        self.assertEqual(seen.cseq[0], 4294967295)
        self.refused(phone, self.message(phone, cseq=4294967296), 400)
        self.refused(phone, self.message(phone).set("CSeq", "1 OPTIONS"), 400)

    def test_MSG_16__max_forwards_out_of_range(self):
        phone = self.phone()
        for value in ("abc", "-1", "300", "4294967297", ""):
            phone.send(self.message(phone, max_forwards=value))
            self.assertEqual(phone.receive().status, 400, f"Max-Forwards {value!r}")
        self.fence(phone)

    def test_MSG_17__call_ids_compare_with_case(self):
        phone, name = self.phone(), token("case")
        one = self.message(phone, call_id=name.lower(), branch="old")
        other = self.message(phone, call_id=name.upper(), branch="old", from_=one.get("From"))
        first = phone.send(one) and self.core.expect("MESSAGE")
        second = phone.send(other) and self.core.expect("MESSAGE")
        self.assertEqual([first.call_id, second.call_id], [one.call_id, other.call_id])
        self.core.reply(first, 200)
        self.core.reply(second, 202)
        self.assertEqual({phone.receive().status, phone.receive().status}, {200, 202})

    def test_MSG_18__branches_compare_without_case(self):
        phone = self.phone()
        mark = token("abc")
        message = self.message(phone, branch="Z9HG4BK" + mark)
        phone.send(message)
        seen = self.core.expect("MESSAGE")
        phone.send(message.set("Via", message.get("Via").replace("Z9HG4BK" + mark, "z9hG4bK" + mark.upper())))
        # The edge's own answer shows that it has the copy; the core's could overtake that, and end the transaction.
        own = phone.request("OPTIONS", f"sip:{self.domain}", contact=None)
        phone.expect(200, call_id=own.call_id)
        self.core.reply(seen, 200)
        phone.expect(200)
        self.fence(phone)

    @each(*PROXY)
    def test_MSG_19__bodies_are_octets(self):
        phone = self.phone()
        body = bytes(range(256)) * 3 + b"\r\n\r\nINVITE sip:x SIP/2.0\r\n\r\n\0"
        message = self.message(phone, body=body, content_type="application/x-what; a=\"b,c\"")
        seen, _ = self.through(phone, message)
        self.assert_forwarded(message, seen)
        self.assertEqual(seen.body, body)

    def test_MSG_20__unknown_codes_pass_as_their_class(self):
        phone = self.phone()
        for status in (299, 499, 699):
            invite = phone.invite()
            seen = self.core.expect("INVITE", call_id=invite.call_id)
            self.core.reply(seen, status, "Odd", **({"contact": self.core.contact} if status < 300 else {}))
            answer = phone.expect(status, "INVITE")
            self.assertEqual(answer.start, f"SIP/2.0 {status} Odd")
            if status >= 300:
                self.core.expect("ACK", call_id=invite.call_id)
                phone.send(phone.ack_failure(invite, answer))
        self.fence(phone)

    def test_MSG_21__parameters_outside_angle_brackets_are_the_headers(self):
        phone = self.phone()
        seen, _ = phone.register(self.core, contact="sip:alice@192.0.2.7;transport=tcp")
        self.assertEqual(seen.rows("Contact"), ["sip:alice@192.0.2.7;transport=tcp"])
        sent = self.core.request("MESSAGE", "sip:alice@192.0.2.7", contact=None,
                                 headers=[("Route", seen.values("Path")[0])])
        got = phone.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual(got.uri, "sip:alice@192.0.2.7")
        phone.reply(got, 200)
        self.core.expect(200)

    def test_MSG_22__route_without_angle_brackets_is_refused(self):
        phone = self.phone()
        self.refused(phone, self.message(phone, headers=[("Route", f"sip:{self.domain};lr")]), 400)

    def test_MSG_23__bare_line_ends_and_control_octets(self):
        cases = {
            "bare LF": (b"\r\nFrom:", b"\nFrom:"), "bare CR": (b"\r\nFrom:", b"\rFrom:"),
            "NUL in a value": (b"Subject: s", b"Subject: a\0b"), "LF in a value": (b"Subject: s", b"Subject: a\nb"),
            "CR in a value": (b"Subject: s", b"Subject: a\rb")}
        for name, (old, new) in cases.items():
            with self.subTest(name):
                phone = self.phone()
                phone.send(self.message(phone, headers=[("Subject", "s")]).encode().replace(old, new, 1))
                self.assertEqual(phone.receive(what=f"the answer to a {name}").status, 400, name)
                phone.expect_closed()
        self.fence(self.phone())

    def test_MSG_24__response_headers_in_a_request_pass(self):
        phone = self.phone()
        message = self.message(phone, headers=[("Unsupported", "x"), ("Server", "s/1"), ("Retry-After", "3")])
        seen, _ = self.through(phone, message)
        self.assert_forwarded(message, seen)

    @each(*PROXY)
    def test_MSG_25__limits_of_uri_and_header_section(self):
        phone = self.phone()
        base = f"sip:@{self.domain}"
        uri = f"sip:{'u' * (4096 - len(base))}@{self.domain}"
        seen, _ = self.through(phone, self.message(phone, uri=uri, to="<sip:x@y.invalid>"))
        self.assertEqual(seen.uri, uri)
        phone.send(self.message(phone, uri=uri.replace("sip:u", "sip:uu"), to="<sip:x@y.invalid>"))
        self.assertEqual(phone.expect(lambda answer: answer.status > 100).status, 414)
        phone = self.phone()

        def sized(size):
            message = self.message(phone, headers=[("X-Fill", "@")])
            return message.set("X-Fill", "f" * (size - len(message.encode()) + 1))

        # Whether the start line and the empty line count is the edge's affair: a margin leaves both ways open.
        message = sized((32 << 10) - 100)
        seen, _ = self.through(phone, message)
        self.assert_forwarded(message, seen)
        phone.send(sized((32 << 10) + 100))
        self.assertEqual(phone.receive().status, 513)
        phone.expect_closed()
        self.fence(self.phone())


class URIs(StandardTest):
    """URI: what a Request-URI may look like (docs/conformance.md §1.2)."""

    domain = "proxy-udp.example"

    @each(*PROXY)
    def test_URI_01__own_domain_in_any_spelling(self):
        phone = self.phone()
        for host in (self.domain.upper(), self.domain + ".", self.domain.title()):
            message = phone.build("MESSAGE", f"SIP:User@{host}", to="<sip:x@y.invalid>", contact=None)
            seen, _ = self.through(phone, message)
            self.assertEqual(seen.uri, f"SIP:User@{host}")

    @each(*PROXY)
    def test_URI_05__request_uris_pass_octet_identical(self):
        phone = self.phone()
        path = phone.register(self.core)[0].values("Path")[0]
        for uri in ("sip:al%69ce:pa%3ass@far.invalid:5099;x=%41;maddr=192.0.2.1;lr;unknown",
                    "sip:a!$&'()*+,;=?/~-_.b@[2001:db8::9]:5061;user=phone", "sips:+1-555;phone-context=x@Far.Invalid"):
            sent = self.core.request("MESSAGE", uri, self.edge.core_address, contact=None, to="<sip:x@y.invalid>",
                                     headers=[("Route", path)])
            got = phone.expect("MESSAGE", call_id=sent.call_id)
            self.assertEqual(got.uri, uri)
            phone.reply(got, 200)
            self.core.expect(200, call_id=sent.call_id)

    def test_URI_06__tel_uris(self):
        phone = self.phone()
        self.refused(phone, phone.build("MESSAGE", "tel:+15551212", contact=None), 416)
        message = phone.build("MESSAGE", f"sip:bob@{self.domain}", to="<tel:+15551212>",
                              from_="<tel:+15551313>;tag=1", contact=None)
        self.assert_forwarded(message, self.through(phone, message)[0])

    @each("proxy-udp", "pbx-udp")
    def test_URI_07_URI_09__impossible_uris(self):
        phone = self.phone()
        for uri in (f"sip:bob@{self.domain}:0", f"sip:bob@{self.domain}:65536", f"sip:bob@{self.domain}:abc",
                    f"sip:@{self.domain}", "sip:bob@", "sip:", f"sip:bob@{self.domain}:", "sip:b@[fe80::1%25eth0]",
                    "sip:b@[2001:db8:::1]", "sip:b@[::1", "sip:b@2001:db8::1"):
            message = phone.build("MESSAGE", uri, to="<sip:x@y.invalid>", contact=None)
            phone.send(message)
            self.assertEqual(phone.receive(what=f"the answer to {uri}").status, 400, uri)
        self.fence(phone)
