"""FRAME: where one message ends and the next begins (docs/conformance.md §1.3)."""


from harness.case import ALL, PROXY, EdgeTest, StandardTest, each
from harness.sip import SDP, pad
from harness.site import Site


class Framing(StandardTest):
    domain = "proxy-udp.example"

    def message(self, phone, **options):
        options.setdefault("body", b"hello")
        options.setdefault("content_type", "text/plain")
        return phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None, **options)

    def both(self, phone, sent):
        for message in sent:
            seen = self.core.expect("MESSAGE", call_id=message.call_id)
            self.assertEqual(seen.body, message.body)
            self.core.reply(seen, 200)
            phone.expect(200, call_id=message.call_id)
        self.core.expect_nothing()

    @each(*ALL)
    def test_FRAME_01__two_in_one_segment_then_one_octet_a_record(self):
        phone = self.phone()
        one, two, three = self.message(phone), self.message(phone, body=b"world" * 50), self.message(phone)
        phone.send(one.encode() + two.encode())
        seen = [self.core.expect("MESSAGE"), self.core.expect("MESSAGE")]
        self.assertEqual([message.call_id for message in seen], [one.call_id, two.call_id])
        for message in seen:
            self.core.reply(message, 200)
            phone.expect(200)
        phone.send_slowly(three.encode())
        self.both(phone, [three])

    def test_FRAME_01__halves_that_straddle_records(self):
        phone = self.phone()
        sent = [self.message(phone, body=bytes([65 + index]) * (index * 37)) for index in range(6)]
        octets = b"".join(message.encode() for message in sent)
        for size in (3, 700):
            phone.send_slowly(octets[:size])
            octets = octets[size:]
        phone.send(octets[:-1])
        phone.send(octets[-1:])
        self.both(phone, sent)

    def in_dialog(self, transport_phone):
        seen, _ = transport_phone.register(self.core)
        return seen.values("Path")[0]

    def from_core(self, phone, path, body=b"", **options):
        message = self.core.build("MESSAGE", phone.contact, contact=None, headers=[("Route", path)], body=body,
                                  content_type="text/plain", **options)
        return message

    def test_FRAME_02__udp_request_shorter_than_its_length(self):
        phone = self.phone()
        path = self.in_dialog(phone)
        message = self.from_core(phone, path, b"short").set("Content-Length", "9")
        self.core.send(message, self.edge.core_address)
        self.core.expect(400, call_id=message.call_id)
        good = self.core.send(self.from_core(phone, path, b"good"), self.edge.core_address)
        seen = phone.expect("MESSAGE")
        self.assertEqual(seen.call_id, good.call_id)
        phone.reply(seen, 200)
        self.core.expect(200)

    @each("proxy-udp", "pbx-udp")
    def test_FRAME_03__udp_response_shorter_than_its_length(self):
        phone = self.phone()
        invite = phone.invite()
        seen = self.core.expect("INVITE")
        short = seen.reply(200, to_tag="x", contact=self.core.contact, body=SDP).set("Content-Length", "4000")
        self.core.send_octets(short.encode(), seen.source)
        self.core.send_octets(seen.reply(486, to_tag="x").set("Content-Length", "1").encode(), seen.source)
        self.core.reply(seen, 603)
        answer = phone.expect(lambda answer: answer.status > 100)
        self.assertEqual(answer.status, 603)
        phone.send(phone.ack_failure(invite, answer))
        self.core.expect("ACK")

    def test_FRAME_04__udp_surplus_is_dropped(self):
        phone = self.phone()
        path = self.in_dialog(phone)
        octets = self.from_core(phone, path, b"body").encode() + b"surplus INVITE sip:x SIP/2.0\r\n\r\n"
        self.core.send_octets(octets, self.edge.core_address)
        seen = phone.expect("MESSAGE")
        self.assertEqual(seen.body, b"body")
        phone.reply(seen, 200)
        self.core.receive()
        phone.expect_nothing()

    def test_FRAME_05__udp_without_length_takes_all(self):
        phone = self.phone()
        path = self.in_dialog(phone)
        message = self.from_core(phone, path, b"to the end\r\n\r\nof it")
        self.core.send_octets(message.encode(content_length=False), self.edge.core_address)
        seen = phone.expect("MESSAGE")
        self.assertEqual(seen.body, message.body)
        self.assertEqual(seen.one("Content-Length"), str(len(message.body)))
        phone.reply(seen, 200)
        self.core.expect(200)

    @each("proxy-udp", "pbx-tcp")
    def test_FRAME_06__stream_request_without_a_clear_length(self):
        for lengths in ((), ("five",), ("-1",), ("5", "5"), ("5", "6"), ("99999999999999999999",)):
            phone = self.phone()
            message = self.message(phone)
            for value in lengths:
                message.add("Content-Length", value)
            phone.send(message.encode(content_length=False))
            self.assertEqual(phone.receive(what=f"400 for Content-Length {lengths}").status, 400, lengths)
            phone.expect_closed()
        self.fence(self.phone())

    def test_FRAME_06__stream_response_without_a_clear_length(self):
        for lengths in ((), ("five",), ("0", "0")):
            phone = self.phone()
            path = self.in_dialog(phone)
            sent = self.core.send(self.from_core(phone, path), self.edge.core_address)
            response = phone.expect("MESSAGE", call_id=sent.call_id).reply(200, to_tag="x")
            for value in lengths:
                response.add("Content-Length", value)
            phone.send(response.encode(content_length=False))
            phone.expect_closed()
            self.assertGreaterEqual(self.core.expect(lambda answer: answer.status > 100).status, 400)
            self.fence(self.phone())

    def test_FRAME_08__every_message_on_a_stream_has_its_length(self):
        phone = self.phone()
        message = phone.send(self.message(phone, body=b""))
        seen = self.core.expect("MESSAGE")
        reply = seen.reply(200, to_tag="x")
        self.core.send_octets(reply.encode(content_length=False), seen.source)
        self.assertEqual(phone.expect(200, call_id=message.call_id).one("Content-Length"), "0")
        self.assertEqual(seen.one("Content-Length"), "0")

    @each(*ALL)
    def test_FRAME_09__crlf_before_a_start_line_is_ignored(self):
        phone = self.phone()
        message = self.message(phone)
        phone.send(b"\r\n" * 7 + message.encode() + b"\r\n" + message.copy().set("Via", phone.via()).encode())
        for _ in range(2):
            seen = self.core.expect("MESSAGE")
            self.core.reply(seen, 200)
            phone.expect(200)

    def test_FRAME_10__length_counts_octets(self):
        phone = self.phone()
        message = self.message(phone, body="äöé".encode()[:5])
        octets = message.encode(content_length=False).replace(b"\r\n\r\n", b"\r\nl:  0005\r\n\r\n", 1)
        follow = self.message(phone)
        phone.send(octets + follow.encode())
        self.both(phone, [message, follow])

    def test_FRAME_11__largest_datagram(self):
        phone = self.phone()
        path = self.in_dialog(phone)
        message = pad(self.from_core(phone, path, b"@"), 65507)
        self.core.send(message, self.edge.core_address)
        seen = phone.expect("MESSAGE")
        self.assertEqual(len(seen.body), len(message.body))
        phone.reply(seen, 200)
        self.core.expect(200)

    def test_FRAME_12__what_is_not_sip_is_closed_without_an_answer(self):
        for octets in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" * 4,
                       b"\0" * 100, b"hello world\r\n\r\n"):
            phone = self.phone()
            phone.send(octets)
            phone.expect_closed()
            self.assertEqual((phone.framer.rest, list(phone.inbox)), (b"", []))

    @each(*PROXY)
    def test_FRAME_13__a_request_inside_a_body_is_body(self):
        phone = self.phone()
        inner = self.message(phone).encode()
        message = self.message(phone, body=inner + b"\r\n\r\n" + inner)
        phone.send(message)
        self.both(phone, [message])


class ShortBodies(EdgeTest):
    """FRAME-07, FRAME-12, TLS-14: deadlines inside a message, scaled."""

    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site({"timers": {"header": "300ms", "body": "300ms"}})
        site.add("a.example", "proxy", ("udp",), tcp={"bind": [f"{site.edge.outside}:5060"]})
        return site

    def short(self, phone):
        message = phone.build("MESSAGE", f"sip:bob@{self.domain}", contact=None, body=b"half of it")
        return message.encode()[:-4]

    def test_FRAME_07__half_closed_short_request_over_tls(self):
        phone = self.phone()
        phone.send(self.short(phone))
        phone.stream.finish()
        phone.expect(400)
        phone.expect_closed()
        self.fence(self.phone())

    def test_FRAME_07__half_closed_short_request_over_tcp(self):
        phone = self.phone(tls=False, scheme="sip")
        phone.send(self.short(phone))
        phone.stream.finish()
        phone.expect(400)
        phone.expect_closed()
        self.fence(self.phone())

    def test_FRAME_07__silent_peer_in_a_body(self):
        for tls in (True, False):
            phone = self.phone(tls=tls, scheme="sip")
            phone.send(self.short(phone))
            phone.expect(400, seconds=3)
            phone.expect_closed()
        self.fence(self.phone())

    def test_FRAME_07__short_response_is_dropped(self):
        for end in ("half-close", "silence"):
            phone = self.phone()
            seen, _ = phone.register(self.core)
            sent = self.core.request("MESSAGE", phone.contact, contact=None, address=self.edge.core_address,
                                     headers=[("Route", seen.values("Path")[0])])
            response = phone.expect("MESSAGE", call_id=sent.call_id).reply(200, to_tag="x", body=b"short")
            phone.send(response.encode()[:-2])
            if end == "half-close":
                phone.stream.finish()
            phone.expect_closed()
            self.assertGreaterEqual(self.core.expect(lambda answer: answer.status > 100).status, 400)
            self.fence(self.phone())

    def test_FRAME_12__headers_that_do_not_end_are_closed_without_an_answer(self):
        for tls in (True, False):
            phone = self.phone(tls=tls, scheme="sip")
            phone.send(self.short(phone)[:60])
            phone.expect_closed(seconds=3)
            self.assertEqual(list(phone.inbox), [])
        self.fence(self.phone())

    def test_TLS_09__fin_without_close_notify_in_a_message_discards_it(self):
        phone = self.phone()
        phone.send(self.short(phone))
        phone.stream.sock.shutdown(1)
        phone.expect_closed()
        self.assertEqual(list(phone.inbox), [])
        self.fence(self.phone())
