"""From server to server, and what connections carry: LOC-17 to LOC-23, LOC-26, MTU, CONN (RFC 3263 §4.3, RFC 2782, RFC 8305)."""

from harness import addresses, dns, pki
from harness.dns import SOA, SRV
from harness.far import BlackHole
from harness.outbound import TIMERS, OutboundTest
from harness.sip import pad
from harness.wait import Deadline, until


class Failover(OutboundTest):
    """Several servers of one name."""

    @classmethod
    def add_domains(cls, site):
        cls.add(site, "a.example")
        cls.add(site, "tcp.example", outbound={"transports": ["tcp", "udp"]})

    def servers(self, *fars, transport="udp", name=None, ttl=300, priorities=None):
        """A name whose SRV lists these in order; returns it."""
        name = name or self.name()
        port = {"udp": 5060, "tcp": 5060, "tls": 5061}[transport]
        service = "_sips._tcp" if transport == "tls" else f"_sip._{transport}"
        for index, far in enumerate(fars):
            priority = priorities[index] if priorities else index
            self.dns.add(f"{service}.{name}", SRV(priority, 1, port, self.host(far.ip), ttl=ttl))
        return name

    def test_LOC_17__weights_share_and_a_lower_priority_waits_for_all_higher_to_fail(self):
        heavy, light, spare = (self.far(udp=5060) for _ in range(3))
        name = self.name()
        hosts = {far: self.host(far.ip) for far in (heavy, light, spare)}
        self.dns.add(f"_sip._udp.{name}", SRV(1, 300, 5060, hosts[heavy]), SRV(1, 100, 5060, hosts[light]),
                     SRV(2, 60000, 5060, hosts[spare]))
        count = 400
        for _ in range(count):
            self.leg(f"sip:bob@{name}", contact=None)
        self.tend_until(lambda: len(heavy.inbox) + len(light.inbox) + len(spare.inbox) >= count)
        # 300 of 400 are expected; the bounds are 6 standard deviations away.
        self.assertTrue(248 <= len(heavy.inbox) <= 352, len(heavy.inbox))
        self.assertEqual(len(spare.inbox), 0)
        for far in (heavy, light):
            while far.inbox:
                far.reply(far.inbox.popleft(), 200)

    def test_LOC_18__503_then_a_refused_connection_then_the_next(self):
        self.domain = "tcp.example"
        busy, good = self.far(tcp=5060), self.far(tcp=5060)
        name = self.name()
        nobody = self.host(addresses.fresh())
        self.dns.add(f"_sip._tcp.{name}", SRV(1, 0, 5060, self.host(busy.ip)), SRV(2, 0, 5060, nobody),
                     SRV(3, 0, 5060, self.host(good.ip)))
        sent = self.leg(f"sip:bob@{name}", method="INVITE")
        first = busy.expect("INVITE", call_id=sent.call_id)
        busy.reply(first, 503)
        busy.expect("ACK", call_id=sent.call_id)
        second = good.expect("INVITE", call_id=sent.call_id)
        self.assertNotEqual(first.branch, second.branch)
        good.reply(second, 486)
        self.core.expect(486, call_id=sent.call_id)
        good.expect("ACK", call_id=sent.call_id)

    def test_FWD_01__each_server_gets_a_via_of_its_own_on_top(self):
        fars = [self.far(udp=5060) for _ in range(3)]
        sent = self.leg(f"sip:bob@{self.servers(*fars)}")
        attempts = []
        for far, status in zip(fars, (503, 503, 200)):
            attempts.append(far.expect(sent.method, call_id=sent.call_id))
            far.reply(attempts[-1], status)
        self.core.expect(200, call_id=sent.call_id)
        branches = {seen.branch for seen in attempts} | {sent.branch}
        self.assertEqual(len(branches), 4, branches)
        self.assertTrue(all(branch.startswith("z9hG4bK") for branch in branches), branches)
        self.assertEqual({(seen.vias[0].host, seen.vias[0].transport) for seen in attempts},
                         {(attempts[0].vias[0].host, "UDP")})

    def test_LOC_18__the_list_ends_and_503_becomes_500(self):
        self.domain = "tcp.example"
        busy = [self.far(tcp=5060), self.far(tcp=5060)]
        name = self.servers(*busy, transport="tcp")
        sent = self.leg(f"sip:bob@{name}", method="INVITE")
        for far in busy:
            far.reply(far.expect("INVITE", call_id=sent.call_id), 503)
        self.core.expect(500, call_id=sent.call_id)

    def test_LOC_18__a_silent_server_is_passed_over_for_the_next(self):
        silent, good = self.far(udp=5060), self.far(udp=5060)
        name = self.servers(silent, good)
        sent = self.leg(f"sip:bob@{name}", method="INVITE")
        first = silent.expect("INVITE", call_id=sent.call_id)
        self.tend_until(lambda: good.inbox)
        second = good.expect("INVITE", call_id=sent.call_id)
        self.assertNotEqual(first.branch, second.branch)
        good.reply(second, 486)
        self.core.expect(486, call_id=sent.call_id)

    def test_LOC_19__other_finals_end_the_search(self):
        for status in (404, 486, 500, 603):
            with self.subTest(status=status):
                first, second = self.far(udp=5060), self.far(udp=5060)
                sent = self.leg(f"sip:bob@{self.servers(first, second)}", method="INVITE")
                first.reply(first.expect("INVITE", call_id=sent.call_id), status)
                self.core.expect(status, call_id=sent.call_id)
                first.expect("ACK", call_id=sent.call_id)
                second.expect_nothing()

    def test_LOC_20__after_failover_retransmissions_ack_and_cancel_follow(self):
        busy, silent = self.far(udp=5060), self.far(udp=5060)
        name = self.servers(busy, silent)
        sent = self.leg(f"sip:bob@{name}", method="INVITE")
        busy.reply(busy.expect("INVITE", call_id=sent.call_id), 503)
        busy.expect("ACK", call_id=sent.call_id)
        seen = silent.expect("INVITE", call_id=sent.call_id)
        silent.receive_until(lambda: len(silent.copies("INVITE")) >= 3)
        self.assertEqual({copy.branch for copy in silent.copies("INVITE")}, {seen.branch})
        silent.reply(seen, 180)
        self.core.expect(180, call_id=sent.call_id)
        self.core.send(self.core.cancel(sent), self.edge.core_address)
        cancel = silent.expect("CANCEL", call_id=sent.call_id)
        self.assertEqual(cancel.branch, seen.branch)
        silent.reply(cancel, 200)
        silent.reply(seen, 487)
        self.core.expect(200, "CANCEL", call_id=sent.call_id)
        self.core.expect(487, "INVITE", call_id=sent.call_id)
        ack = silent.expect("ACK", call_id=sent.call_id)
        self.assertEqual(ack.branch, seen.branch)
        busy.expect_nothing()

    def test_LOC_21__answers_are_reused_until_their_ttl(self):
        far = self.far(udp=5060)
        name = self.host(far.ip, self.name(), ttl=2)
        for _ in range(3):
            self.goes_to(far, "udp", f"sip:bob@{name}:5060")
        self.assertEqual(len(self.dns.asked(name, "A")), 1)
        until(lambda: self.goes_to(far, "udp", f"sip:bob@{name}:5060") and len(self.dns.asked(name, "A")) == 2,
              "a question after the TTL")

    def test_LOC_21__negative_answers_hold_for_what_their_soa_says(self):
        for behaviour, again in ((dns.nxdomain(), 1), (dns.nxdomain(None), 2), (dns.nodata(), 1),
                                 (dns.nodata(None), 2), (dns.nxdomain(SOA(minimum=0)), 2)):
            name = self.name()
            self.dns.tell(name, behaviour)
            for _ in range(2):
                self.fails(500, f"sip:bob@{name}:5060")
            self.assertEqual(len(self.dns.asked(name, "A")), again)

    def test_LOC_22__both_address_families_are_asked_for_and_one_without_a_route_is_skipped(self):
        far = self.far(udp=5060)
        name = self.host(["fe80::1", far.ip], self.name())  # without an interface nothing leads there
        self.goes_to(far, "udp", f"sip:bob@{name}:5060")
        self.assertEqual(self.asked(name), [("A", name), ("AAAA", name)])

    def test_LOC_22__addresses_of_one_srv_target_are_not_mixed_with_the_next_ones(self):
        self.domain = "tcp.example"
        first, second = self.far(tcp=5060), self.far(tcp=5060)
        nobody = [addresses.fresh() for _ in range(2)]
        name = self.name()
        self.dns.add(f"_sip._tcp.{name}", SRV(1, 0, 5060, self.host([*nobody, first.ip])),
                     SRV(2, 0, 5060, self.host(second.ip)))
        self.goes_to(first, "tcp", f"sip:bob@{name}")
        second.expect_nothing()

    def test_LOC_22__ipv6_is_preferred_where_there_is_a_way(self):
        self.domain = "tcp.example"
        port = 40_000 + int(self.edge.outside.split(".")[1])
        try:
            six = self.far(tcp=port, ip="::1")
        except OSError:
            self.skipTest("this host has no IPv6")
        four = self.far(tcp=port)
        name = self.host([four.ip, "::1"], self.name())
        self.goes_to(six, "tcp", f"sip:bob@{name}:{port};transport=tcp")
        four.expect_nothing()

    def test_LOC_23__a_connection_that_hangs_gets_company_and_one_copy_is_written(self):
        self.domain = "tcp.example"
        port = 41_000 + int(self.edge.outside.split(".")[1])
        try:
            self.site.keep(BlackHole("::1", port))
        except OSError:
            self.skipTest("this host has no IPv6")
        four = self.far(tcp=port)
        name = self.host([four.ip, "::1"], self.name())
        sent = self.leg(f"sip:bob@{name}:{port};transport=tcp")
        seen = four.expect("MESSAGE", call_id=sent.call_id)
        self.assertTrue(0.2 <= seen.time - sent.time <= 0.95, seen.time - sent.time)
        four.reply(seen, 200)
        self.core.expect(200, call_id=sent.call_id)
        self.assertEqual(len(four.accepted), 1)
        four.expect_nothing()

    def test_LOC_26__a_name_does_not_lead_inside(self):
        for address, port in ((self.core.ip, 5060), (self.edge.outside, 5061), (self.edge.core, 5060)):
            name = self.host(address, self.name())
            for transport in ("udp", "tcp"):
                answer = self.fails(500, f"sip:bob@{name}:{port};transport={transport}")
                self.assertIn(name, answer.warnings[0][2])
        self.core.expect_nothing()


class Ringing(OutboundTest):
    """A short timer C."""

    @classmethod
    def make_site(cls):
        site = super().make_site()
        site.edge_options = {"timers": {**TIMERS, "timer_c": "300ms"}}
        return site

    def test_LOC_19__a_time_out_after_a_provisional_ends_the_search(self):
        first, second, name = self.far(udp=5060), self.far(udp=5060), self.name()
        self.dns.add(f"_sip._udp.{name}", SRV(1, 0, 5060, self.host(first.ip)), SRV(2, 0, 5060, self.host(second.ip)))
        sent = self.leg(f"sip:bob@{name}", method="INVITE")
        seen = first.expect("INVITE", call_id=sent.call_id)
        first.reply(seen, 180)
        self.core.expect(180, call_id=sent.call_id)
        cancel = first.expect("CANCEL", call_id=sent.call_id)
        first.reply(cancel, 200)
        first.reply(seen, 487)
        self.core.expect(lambda answer: answer.status in (408, 487), call_id=sent.call_id)
        second.expect_nothing()


class Sizes(OutboundTest):
    """UDP or TCP by size (RFC 3261 §18.1.1)."""

    @classmethod
    def add_domains(cls, site):
        cls.add(site, "a.example", transports=("tcp",))
        cls.add(site, "jumbo.example", transports=("tcp",), outbound={"path_mtu": 9000})

    def sized(self, uri, octets):
        """A MESSAGE that is so long as the core writes it."""
        message = self.core.build("MESSAGE", uri, body=b"x", content_type="text/plain")
        return self.core.send(pad(message, octets), self.edge.core_address, "tcp")

    def _lands(self, far, sent, transport):
        seen = far.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual((seen.transport, seen.vias[0].transport), (transport,) * 2)
        far.reply(seen, 200)
        self.core.expect(200, call_id=sent.call_id)
        return seen

    def test_MTU_02__with_a_larger_path_mtu_more_stays_on_udp(self):
        self.domain = "jumbo.example"
        far = self.far(udp=5060, tcp=5060)
        uri = f"sip:bob@{self.host(far.ip)}"
        self._lands(far, self.sized(uri, 5000), "UDP")
        self._lands(far, self.sized(uri, 8900), "TCP")

    def test_MTU_04__a_tcp_connect_that_times_out_is_a_failure_and_no_udp_is_tried(self):
        ip = addresses.fresh()
        far = self.far(udp=5060, ip=ip)
        self.site.keep(BlackHole(ip, 5060))
        other = self.far(udp=5060, tcp=5060)
        name = self.name()
        self.dns.add(f"_sip._udp.{name}", SRV(1, 0, 5060, self.host(ip)), SRV(2, 0, 5060, self.host(other.ip)))
        sent = self.sized(f"sip:bob@{name}", 2000)
        self.assertEqual(self._lands(other, sent, "TCP").body, sent.body)
        far.expect_nothing()

    def test_MTU_05__the_size_outranks_transport_udp(self):
        far = self.far(udp=5060, tcp=5060)
        name = self.host(far.ip)
        self._lands(far, self.sized(f"sip:bob@{name};transport=udp", 1500), "TCP")
        self._lands(far, self.sized(f"sip:bob@{name};transport=udp", 700), "UDP")


class Connections(OutboundTest):
    """Outbound connections are shared and kept (CONN-01, CONN-02)."""

    @classmethod
    def make_site(cls):
        site = super().make_site()
        # 64*T1 is 1.28 s.
        site.edge_options = {"timers": {**TIMERS, "idle": "1500ms"}}
        return site

    def test_CONN_02__a_burst_while_connecting_makes_one_connection(self):
        for transport, port in (("tcp", 5060), ("tls", 5061)):
            with self.subTest(transport=transport):
                name = self.name()
                far = self.far(**{transport: port}, pair=name)
                self.host(far.ip, name)
                scheme = "sips" if transport == "tls" else "sip"
                legs = [self.leg(f"{scheme}:bob@{name};transport=tcp") for _ in range(20)]
                for _ in legs:
                    far.reply(far.expect("MESSAGE"), 200)
                for leg in legs:
                    self.core.expect(200, call_id=leg.call_id)
                self.goes_to(far, transport, f"{scheme}:bob@{name};transport=tcp")
                self.assertEqual(len(far.accepted), 1)

    def test_CONN_02__names_of_one_server_that_prove_different_identities_have_connections_of_their_own(self):
        names = [self.name(), self.name()]
        far = self.far(tls=5061, pair=pki.authority().issue(*names))
        for name in names:
            self.host(far.ip, name)
        for _ in range(2):
            for name in names:
                self.goes_to(far, "tls", f"sips:bob@{name}")
        self.assertEqual(far.accepted, [("TLS", name) for name in names])

    def test_CONN_02__a_request_that_meets_a_closing_connection_goes_over_a_new_one(self):
        for transport, port in (("tcp", 5060), ("tls", 5061)):
            for method in ("MESSAGE", "INVITE"):
                with self.subTest(transport=transport, method=method):
                    name = self.name()
                    far = self.far(**{transport: port}, pair=name)
                    self.host(far.ip, name)
                    uri = f"{'sips' if transport == 'tls' else 'sip'}:bob@{name};transport=tcp"
                    self.goes_to(far, transport, uri)
                    sent = self.leg(uri, method=method)
                    far.expect(method, call_id=sent.call_id)
                    far.drop_connections()
                    seen = far.expect(method, call_id=sent.call_id)
                    self.assertEqual(len(far.accepted), 2)
                    # That one is fresh: a server that closes it does not take the request.
                    far.drop_connections()
                    answer = self.core.expect(500, call_id=sent.call_id)
                    self.assert_warning(answer, 399, "does not take the request")
                    if method == "INVITE":
                        self.core.send(self.core.ack_failure(sent, answer), self.edge.core_address)
                    self.assertEqual(seen.body, sent.body)
                    self.goes_to(far, transport, uri)
                    self.assertEqual(len(far.accepted), 3)

    def test_CONN_01__an_idle_connection_is_kept_for_a_transaction_s_time_at_least(self):
        far = self.far(tcp=5060)
        name = self.host(far.ip)
        self.goes_to(far, "tcp", f"sip:bob@{name};transport=tcp")
        start = Deadline(60)
        self.tend_until(lambda: not far.connections or start.left < 60 - 1.3)
        self.assertTrue(far.connections, "closed within 64*T1")
        self.goes_to(far, "tcp", f"sip:bob@{name};transport=tcp")
        self.assertEqual(len(far.accepted), 1)
        self.tend_until(lambda: not far.connections)  # idle for edge.timers.idle
