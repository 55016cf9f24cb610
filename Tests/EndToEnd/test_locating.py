"""Which server a request of the core's goes to: LOC, RT-06, SIPS-14 to -16 (RFC 3263, RFC 2782)."""

from harness import pki
from harness.dialog import Dialog
from harness.dns import A, AAAA, NAPTR, SRV
from harness.outbound import OutboundTest
from harness.sip import NameAddr

SECURE = ("S", "SIPS+D2T")
TCP = ("S", "SIP+D2T")
UDP = ("S", "SIP+D2U")


class NextHop(OutboundTest):
    """Proxy, Route, contact, Request-URI: whose URI is located (LOC-01 to LOC-05)."""

    @classmethod
    def add_domains(cls, site):
        cls.add(site, "a.example")
        cls.add(site, "pbx.example", "pbx")
        for name, forced in (("proxied", False), ("forced", True)):
            for kind in ("proxy", "pbx"):
                suffix = "-pbx" if kind == "pbx" else ""
                cls.add(site, f"{name}{suffix}.example", kind,
                        outbound={"proxy": f"sip:proxy.{name}.example;transport=tcp", "force_proxy": forced})
        cls.add(site, "named.example", outbound={"proxy": "sip:proxy.named.example"})

    def proxy(self, name):
        far = self.far(tcp=5060)
        self.dns.replace(f"proxy.{name}.example", A(far.ip, ttl=0))
        return far

    def test_LOC_01__proxy_then_route_then_registered_contact_then_request_uri(self):
        for kind in ("", "-pbx"):
            with self.subTest(kind=kind):
                self.domain = f"proxied{kind}.example"
                proxy, far, router = self.proxy("proxied"), self.far(udp=5060), self.far(udp=5060)
                phone = self.phone(scheme="sip")
                phone.register(self.core)
                uri, route = phone.aor, f"<sip:{self.host(router.ip)};lr>"
                self.goes_to(proxy, "tcp", uri, route)
                # Without a proxy:
                self.domain = "pbx.example" if kind else "a.example"
                phone = self.phone(scheme="sip")
                phone.register(self.core)
                self.goes_to(router, "udp", phone.aor, route)
                # Without a Route; a proxy names the contact that it has, by the way of its Path:
                seen, _ = phone.register(self.core)
                sent = self.leg(phone.aor) if kind else self.leg(seen.contact.spec, seen.values("Path"))
                phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200)
                self.core.expect(200, call_id=sent.call_id)
                # Without a binding:
                self.goes_to(far, "udp", f"sip:bob@{self.host(far.ip)}")
                for other in (proxy, far, router):
                    other.expect_nothing()

    def _dialog(self, first, then):
        """A call of the core's that enters at `first`, which passes it on: the BYE goes to `then`."""
        contact = self.far(udp=5060)
        if then == "contact":
            then = contact
        contact.contact = f"sip:bob@{contact.ip}:5060"
        sent = self.leg("sip:bob@far.invalid", f"<sip:{self.host(first.ip)};lr>" if first.udp else (),
                        method="INVITE")
        seen = first.expect("INVITE", call_id=sent.call_id)
        first.reply(seen, 200, contact=contact.contact)
        ok = self.core.expect(200, "INVITE", call_id=sent.call_id)
        dialog = Dialog(self.core, sent, ok, True)
        for method in ("ACK", "BYE"):
            message = dialog.build(method, number=sent.cseq[0] if method == "ACK" else None)
            self.core.send(message, self.edge.core_address)
            there = then.expect(method, call_id=sent.call_id)
            if method == "BYE":
                then.reply(there, 200)
                self.core.expect(200, "BYE", call_id=sent.call_id)
        for other in {first, contact} - {then}:
            other.expect_nothing()

    def test_LOC_02__within_a_dialog_the_proxy_counts_only_where_it_is_forced(self):
        for kind in ("", "-pbx"):
            for name in ("proxied", "forced"):
                with self.subTest(kind=kind, name=name):
                    self.domain = f"{name}{kind}.example"
                    proxy = self.proxy(name)
                    self._dialog(proxy, proxy if name == "forced" else "contact")

    def test_LOC_03__transport_is_chosen_after_the_route(self):
        router = self.far(tcp=5060)
        name = self.host(router.ip)
        seen = self.goes_to(router, "tcp", "sip:bob@nowhere.invalid;transport=udp", f"<sip:{name};transport=tcp;lr>")
        self.assertEqual(seen.uri, "sip:bob@nowhere.invalid;transport=udp")
        self.assertEqual(self.dns.asked("nowhere.invalid"), [])

    def test_LOC_04__a_route_of_a_sips_request_is_resolved_as_sips(self):
        name = self.name()
        router = self.far(tls=5070, pair=name)
        self.host(router.ip, name)
        seen = self.goes_to(router, "tls", "sips:bob@far.invalid", f"<sip:{name}:5070;transport=tcp;lr>")
        self.assertEqual(seen.uri, "sips:bob@far.invalid")

    def test_LOC_05__a_strict_router_is_what_is_looked_up(self):
        router = self.far(udp=5060)
        name = self.host(router.ip)
        sent_uri = "sip:bob@far.invalid"
        seen = self.goes_to(router, "udp", sent_uri, f"<sip:{name}>")
        self.assertEqual(seen.uri, f"sip:{name}")
        self.assertEqual(NameAddr(seen.values("Route")[-1]).spec, sent_uri)

    def test_LOC_06__an_outbound_proxy_given_as_a_name_goes_through_the_whole_procedure(self):
        self.domain, name = "named.example", "proxy.named.example"
        proxy = self.far(tcp=5080)
        self.dns.add(name, NAPTR(10, 10, *TCP, f"_sip._tcp.{name}", ttl=0))
        self.dns.add(f"_sip._tcp.{name}", SRV(0, 0, 5080, self.host(proxy.ip), ttl=0))
        self.goes_to(proxy, "tcp", "sip:bob@far.invalid")
        self.assertEqual([query.kind for query in self.dns.asked(name)], ["NAPTR"])
        self.assertEqual(self.dns.asked("far.invalid"), [])

    def test_RT_09__the_outbound_proxy_is_pushed_above_the_routes_with_lr(self):
        for kind in ("", "-pbx"):
            with self.subTest(kind=kind):
                self.domain, proxy = f"proxied{kind}.example", self.proxy("proxied")
                routes = ["<sip:one.invalid;lr>", "<sip:two.invalid;lr;x=1>"]
                sent = self.leg("sip:bob@far.invalid", routes)
                got = proxy.expect("MESSAGE", call_id=sent.call_id)
                self.assertEqual(got.uri, sent.uri)
                self.assertEqual(got.values("Route"), ["<sip:proxy.proxied.example;transport=tcp;lr>", *routes])
                proxy.reply(got, 200)
                self.core.expect(200, call_id=sent.call_id)

    def test_RT_06__maddr_is_the_only_target(self):
        far = self.far(udp=5066)
        seen = self.goes_to(far, "udp", f"sip:bob@far.invalid:5066;maddr={far.ip}")
        self.assertEqual(seen.uri, f"sip:bob@far.invalid:5066;maddr={far.ip}")
        name = self.host(far.ip)
        self.goes_to(far, "udp", f"sip:bob@far.invalid:5066;maddr={name}")
        self.assertEqual(self.dns.asked("far.invalid"), [])

    def test_LOC_28__a_device_is_reached_over_its_connection_whatever_transport_comes_first(self):
        for domain in ("a.example", "pbx.example"):
            with self.subTest(domain=domain):
                self.domain = domain
                phone = self.phone(scheme="sip", contact="sip:alice@192.0.2.7:5060;transport=udp")
                seen, _ = phone.register(self.core)
                sent = self.leg(seen.contact.spec, seen.values("Path"))
                phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200)
                self.core.expect(200, call_id=sent.call_id)


class Procedure(OutboundTest):
    """NAPTR, SRV, addresses (LOC-07 to LOC-16, LOC-24)."""

    def test_LOC_07__a_numeric_host_is_asked_nothing_about(self):
        far = self.far(udp=5060, tcp=5060, tls=5061)
        self.goes_to(far, "udp", f"sip:bob@{far.ip}")
        self.goes_to(far, "tcp", f"sip:bob@{far.ip};transport=tcp")
        other = self.far(udp=5088)
        self.goes_to(other, "udp", f"sip:bob@{other.ip}:5088")
        self.assertEqual(self.dns.questions, [])
        # TLS to an address: the certificate must hold the address, and this one holds a name.
        self.fails(500, f"sips:bob@{far.ip}")
        self.assertEqual(far.accepted[-1][0] if far.accepted else None, "TCP")
        self.assertEqual(self.dns.questions, [])

    def test_LOC_08__a_name_with_a_port_is_asked_for_addresses_alone(self):
        for port in (5060, 5099):
            far = self.far(udp=port, tls=5071, pair=(name := self.name()))
            self.host(far.ip, name)
            self.goes_to(far, "udp", f"sip:bob@{name}:{port}")
            self.goes_to(far, "tls", f"sips:bob@{name}:5071")
            self.assertEqual(self.asked(name), [("A", name), ("AAAA", name)])
            self.dns.reset()
            far.close()

    def test_LOC_09__the_naptr_of_lowest_order_wins_then_its_srv(self):
        far, other = self.far(tcp=5073), self.far(udp=5074)
        name = self.name()
        self.dns.add(name, NAPTR(20, 10, *UDP, f"_sip._udp.{name}"), NAPTR(10, 20, *UDP, f"_x._udp.{name}"),
                     NAPTR(10, 10, *TCP, f"_odd._tcp.{name}"))
        self.dns.add(f"_odd._tcp.{name}", SRV(0, 0, 5073, self.host(far.ip)))
        self.dns.add(f"_sip._udp.{name}", SRV(0, 0, 5074, self.host(other.ip)))
        self.dns.add(f"_x._udp.{name}", SRV(0, 0, 5074, self.host(other.ip)))
        self.goes_to(far, "tcp", f"sip:bob@{name}")
        self.assertEqual(self.dns.questions[0].kind, "NAPTR")
        other.expect_nothing()

    def test_LOC_10__of_a_sips_uri_only_sips_services_count(self):
        far, name = self.far(tcp=5060, udp=5060, tls=5061), self.name()
        self.dns.add(name, NAPTR(10, 10, *TCP, f"_sip._tcp.{name}"), NAPTR(10, 20, *UDP, f"_sip._udp.{name}"),
                     A(far.ip))
        for service in ("_sip._tcp", "_sip._udp"):
            self.dns.add(f"{service}.{name}", SRV(0, 0, 5060, name))
        self.fails(480, f"sips:bob@{name}", warning=380)
        self.assertEqual(far.accepted, [])
        far.expect_nothing()
        # With a secure service beside them, that one.
        name = self.name()
        far = self.far(tls=5072, pair=name)
        self.dns.add(name, NAPTR(10, 10, *TCP, f"_sip._tcp.{name}"), NAPTR(90, 10, *SECURE, f"_sips._tcp.{name}"))
        self.dns.add(f"_sips._tcp.{name}", SRV(0, 0, 5072, self.host(far.ip)))
        self.goes_to(far, "tls", f"sips:bob@{name}")

    def test_LOC_11__a_sip_uri_takes_tls_where_it_is_preferred_and_stays_sip(self):
        name = self.name()
        far = self.far(tls=5061, pair=name)
        self.dns.add(name, NAPTR(10, 10, *SECURE, f"_sips._tcp.{name}"), NAPTR(20, 10, *UDP, f"_sip._udp.{name}"))
        self.dns.add(f"_sips._tcp.{name}", SRV(0, 0, 5061, self.host(far.ip)))
        self.assertEqual(self.goes_to(far, "tls", f"sip:bob@{name}").uri, f"sip:bob@{name}")

    def test_LOC_12__services_of_other_transports_and_records_with_a_regexp_are_discarded(self):
        far, name = self.far(udp=5060), self.name()
        self.dns.add(
            name, NAPTR(1, 1, "S", "SIP+D2S", f"_sip._sctp.{name}"), NAPTR(2, 1, "S", "SIP+D2W", f"_sip._ws.{name}"),
            NAPTR(3, 1, "S", "SIPS+D2U", f"_sips._udp.{name}"),
            NAPTR(4, 1, "U", "SIP+D2T", ".", "!^.*$!sip:bad@bad.invalid!"), NAPTR(9, 1, *UDP, f"_sip._udp.{name}"))
        self.dns.add(f"_sip._udp.{name}", SRV(0, 0, 5060, self.host(far.ip)))
        self.goes_to(far, "udp", f"sip:bob@{name}")
        for service in ("_sip._sctp", "_sip._ws", "_sips._udp"):
            self.assertEqual(self.dns.asked(f"{service}.{name}"), [])

    def test_LOC_13__without_naptr_tcp_comes_before_udp_and_sips_asks_for_tls_alone(self):
        far, name = self.far(udp=5060, tcp=5060), self.name()
        host = self.host(far.ip)
        self.dns.add(f"_sip._udp.{name}", SRV(0, 0, 5060, host)).add(f"_sip._tcp.{name}", SRV(9, 0, 5060, host))
        self.goes_to(far, "tcp", f"sip:bob@{name}")
        self.assertTrue(self.dns.asked(f"_sip._tcp.{name}", "SRV") and self.dns.asked(f"_sip._udp.{name}", "SRV"))
        name = self.name()
        self.dns.add(f"_sip._udp.{name}", SRV(0, 0, 5060, host))
        self.goes_to(far, "udp", f"sip:bob@{name}")
        name = self.name()
        secure = self.far(tls=5075, pair=name)
        self.dns.add(f"_sips._tcp.{name}", SRV(0, 0, 5075, self.host(secure.ip)))
        self.goes_to(secure, "tls", f"sips:bob@{name}")
        self.assertEqual([query.name for query in self.dns.asked(kind="SRV") if query.name.endswith(name)],
                         [f"_sips._tcp.{name}"])

    def test_LOC_14__without_naptr_and_srv_the_addresses_at_the_default_port(self):
        name = self.name()
        far = self.far(udp=5060, tcp=5060, tls=5061, pair=name)
        self.host(far.ip, name)
        self.goes_to(far, "udp", f"sip:bob@{name}")
        self.goes_to(far, "tls", f"sips:bob@{name}")
        # Too big for UDP, and no TLS connection is open:
        far = self.far(udp=5060, tcp=5060)
        name = self.host(far.ip)
        self.goes_to(far, "tcp", f"sip:bob@{name}", body=b"x" * 1400, content_type="text/plain")

    def test_LOC_15__a_transport_without_a_port_asks_for_its_srv_and_no_naptr(self):
        name = self.name()
        far = self.far(tcp=5076, tls=5077, pair=name)
        host = self.host(far.ip)
        self.dns.add(f"_sip._tcp.{name}", SRV(0, 0, 5076, host)).add(f"_sips._tcp.{name}", SRV(0, 0, 5077, host))
        self.goes_to(far, "tcp", f"sip:bob@{name};transport=tcp")
        self.goes_to(far, "tls", f"sips:bob@{name};transport=tcp")
        self.assertEqual(self.dns.asked(kind="NAPTR"), [])
        name = self.name()
        far = self.far(tcp=5060, tls=5061, pair=name)
        self.host(far.ip, name)
        self.goes_to(far, "tcp", f"sip:bob@{name};transport=tcp")
        self.goes_to(far, "tls", f"sips:bob@{name};transport=tcp")
        self.assertEqual(self.dns.asked(kind="NAPTR"), [])

    def test_LOC_16__an_srv_target_of_dot_says_that_the_service_is_absent(self):
        name = self.name()
        far = self.far(udp=5060, tcp=5060, tls=5061, pair=name)
        self.host(far.ip, name)
        self.dns.add(f"_sip._tcp.{name}", SRV(0, 0, 0, ".")).add(f"_sip._udp.{name}", SRV(0, 0, 5060, name))
        self.dns.add(f"_sips._tcp.{name}", SRV(0, 0, 0, "."))
        self.fails(500, f"sip:bob@{name};transport=tcp", text=f"_sip._tcp.{name}")
        self.fails(480, f"sips:bob@{name}", warning=380)
        self.assertEqual(far.accepted, [])
        self.goes_to(far, "udp", f"sip:bob@{name}")

    def test_LOC_24__the_identity_is_the_name_before_dns(self):
        name, elsewhere = self.name(), self.name("hosting")
        self.dns.add(name, NAPTR(10, 10, *SECURE, f"_sips._tcp.{elsewhere}"))
        good, bad = self.far(tls=5061, pair=name), self.far(tls=5061, pair=elsewhere)
        self.dns.add(f"_sips._tcp.{elsewhere}", SRV(0, 0, 5061, self.host(good.ip), ttl=0))
        self.goes_to(good, "tls", f"sips:bob@{name}")
        self.assertEqual(good.accepted, [("TLS", name)])
        self.dns.replace(f"_sips._tcp.{elsewhere}", SRV(0, 0, 5061, self.host(bad.ip)))
        self.fails(500, f"sips:bob@{name}")
        bad.expect_nothing()


class Schemes(OutboundTest):
    """What asks for TLS (SIPS-14 to SIPS-16), and what lets it go (LOC-27)."""

    @classmethod
    def add_domains(cls, site):
        cls.add(site, "a.example")
        allow = [{"to": "proxy.strict.example", "allow": "insecure", "reason": "a test", "until": "2099-01-01"}]
        for name, options in (("strict", {}), ("lenient", {"security": {"overrides": allow}})):
            cls.add(site, f"{name}.example", outbound={"proxy": "sip:proxy.strict.example;transport=udp"}, **options)

    def test_SIPS_14__a_sips_route_of_a_sip_request_is_reached_over_tls(self):
        name = self.name()
        router = self.far(tls=5061, pair=name)
        self.host(router.ip, name)
        seen = self.goes_to(router, "tls", "sip:bob@far.invalid", f"<sips:{name};lr>")
        self.assertEqual(seen.uri, "sip:bob@far.invalid")
        self.assertTrue(NameAddr(seen.values("Route")[0]).spec.startswith(f"sips:{name}"))

    def test_SIPS_15__a_peer_with_an_open_connection_that_proved_its_name_is_spoken_to_over_it(self):
        name = self.name()
        far = self.far(udp=5060, tls=5061, pair=name)
        self.host(far.ip, name)
        self.goes_to(far, "udp", f"sip:bob@{name}")
        self.goes_to(far, "tls", f"sips:bob@{name}")
        seen = self.goes_to(far, "tls", f"sip:bob@{name}")
        self.assertEqual((seen.uri, len(far.accepted)), (f"sip:bob@{name}", 1))

    def test_SIPS_16__transport_of_a_sips_uri(self):
        name = self.name()
        far = self.far(udp=5060, tcp=5060, tls=5061, pair=name)
        self.host(far.ip, name)
        self.goes_to(far, "tls", f"sips:bob@{name};transport=tcp")
        sent = self.leg(f"sips:bob@{name};transport=udp")
        self.core.expect(400, call_id=sent.call_id)
        far.expect_nothing()

    def test_LOC_25__an_unsupported_transport_is_a_transport_failure(self):
        self.fails(500, f"sip:bob@{self.name()};transport=sctp")
        self.assertEqual(self.dns.questions, [])

    def test_LOC_27__a_sips_session_does_not_take_a_plain_proxy_without_an_override(self):
        proxy = self.far(udp=5060, tcp=5060, tls=5061)
        self.dns.replace("proxy.strict.example", A(proxy.ip))
        self.domain = "strict.example"
        self.fails(480, "sips:bob@far.invalid", warning=380)
        proxy.expect_nothing()
        self.assertEqual(proxy.accepted, [])
        self.domain = "lenient.example"
        seen = self.goes_to(proxy, "udp", "sips:bob@far.invalid")
        self.assertEqual(seen.uri, "sips:bob@far.invalid")
        self.edge.wait_log("override used", after=self.log_mark)
