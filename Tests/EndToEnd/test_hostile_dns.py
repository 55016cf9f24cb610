"""Every hostile answer of the DNS: one defined final answer to the caller, and one log line that names the question."""

import re
import unittest

from harness import addresses, dns
from harness.dns import A, AAAA, CNAME, NAPTR, SRV, DNSServer, Late
from harness.outbound import OutboundTest
from harness.programs import NSD, missing


class HostileAnswers(OutboundTest):
    """What the one name server says, and what the core and the log get."""

    def told(self, behaviour, status, cause, kind="A", name=None, uri=None):
        """The core's request to a name that is answered so ends with `status`, and the log says why, once."""
        name = name or self.name("hostile")
        mark = self.edge.mark()
        if behaviour:
            self.dns.tell(name, behaviour)
        answer = self.fails(status, uri or f"sip:bob@{name}:5060", text=name)
        self.assertIn(cause, answer.warnings[0][2])
        self.edge.wait_log(re.escape(name), after=mark)
        lines = [line for line in self.edge.log_since(mark) if name in line and " debug: " not in line]
        self.assertEqual(len(lines), 1, "\n".join(lines))
        self.assertIn(f"{kind} {name}", lines[0])
        self.assertIn(cause, lines[0])
        return answer

    def test_LOC_25__negative_answers_and_failures(self):
        for behaviour, cause in ((dns.nxdomain(), "does not exist"), (dns.nxdomain(None), "does not exist"),
                                 (dns.nodata(), "no usable address"), (dns.nodata(None), "no usable address"),
                                 (dns.servfail, "the name server failed"), (dns.notimp, "the name server failed"),
                                 (dns.formerr, "the name server failed"), (dns.refused, "refused the question")):
            self.told(behaviour, 500, cause)

    def test_LOC_25__silence_is_504(self):
        for behaviour in (dns.silence, dns.wrong_id, dns.wrong_question):
            self.told(behaviour, 504, "in time")

    def test_LOC_25__malformed_replies_are_a_failure_or_not_heard(self):
        # What cannot be matched to the question is as if nothing had come.
        unmatched = {"header-cut", "question-cut", "no-question", "noise"}
        for kind, behaviour in dns.MALFORMED.items():
            with self.subTest(kind=kind):
                if kind in unmatched:
                    self.told(behaviour, 504, "in time")
                else:
                    self.told(behaviour, 500, "malformed")

    def test_LOC_25__loops_and_chains_of_aliases(self):
        self.told(dns.cname_loop, 500, "malformed")
        name = self.name("itself")
        self.dns.add(name, CNAME(name))
        self.told(None, 500, "malformed", name=name)
        names = [self.name("chain") for _ in range(19)]
        for one, other in zip(names, names[1:]):
            self.dns.add(one, CNAME(other))
        self.dns.add(names[-1], A("192.0.2.1"))
        self.told(None, 500, "malformed", name=names[0])

    def test_LOC_09__an_alias_is_followed(self):
        far = self.far(udp=5060)
        names = [self.name("chain") for _ in range(5)]
        for one, other in zip(names, names[1:]):
            self.dns.add(one, CNAME(other))
        self.host(far.ip, names[-1])
        self.goes_to(far, "udp", f"sip:bob@{names[0]}:5060")

    def test_LOC_25__srv_records_that_lead_back_or_nowhere(self):
        name = self.name()
        self.dns.add(f"_sip._udp.{name}", SRV(0, 0, 5060, f"_sip._udp.{name}"))
        self.fails(500, f"sip:bob@{name}", text=name)
        name = self.name()
        self.dns.add(f"_sip._udp.{name}", *(SRV(0, 0, 5060, self.name("nobody")) for _ in range(60)))
        self.fails(500, f"sip:bob@{name}")
        name = self.name()
        self.dns.add(name, NAPTR(1, 1, "S", "SIP+D2U", name))
        self.fails(500, f"sip:bob@{name}", text=name)

    def test_LOC_25__a_flood_of_records_is_bounded(self):
        far = self.far(udp=5060)
        name = self.name("flood")
        self.dns.tell(name, dns.flood(1000, lambda number: A(far.ip)), "A")
        self.goes_to(far, "udp", f"sip:bob@{name}:5060")
        # Nothing but records of another type:
        name = self.name("flood")
        self.dns.add(name, NAPTR(1, 1, "S", "SIP+D2U", name))
        self.dns.tell(name, dns.flood(1000, lambda number: AAAA("2001:db8::1")), "A")
        self.told(None, 500, "no usable address", name=name)

    def test_LOC_25__a_truncated_reply_is_asked_for_over_tcp(self):
        far = self.far(udp=5060)
        name = self.host(far.ip, self.name())
        self.dns.tell(name, dns.truncated())
        self.goes_to(far, "udp", f"sip:bob@{name}:5060")
        self.assertEqual(len(self.dns.asked(name, "A", "tcp")), 1)
        # Truncated there too, or closed upon:
        self.told(lambda server, query: [query.reply(flags=dns.QR | dns.TC)], 500, "malformed")
        self.told(dns.truncated(dns.silence), 504, "in time")

    def test_LOC_25__the_true_answer_counts_among_forged_ones(self):
        for forged in (dns.wrong_id, dns.wrong_question, dns.MALFORMED["noise"], dns.MALFORMED["header-cut"]):
            far = self.far(udp=5060)
            name = self.host(far.ip, self.name())
            self.dns.tell(name, dns.both(forged, DNSServer.from_zone))
            self.goes_to(far, "udp", f"sip:bob@{name}:5060")
            far.close()

    def test_LOC_21__a_failure_is_not_asked_again_at_once(self):
        name = self.name()
        self.dns.tell(name, dns.servfail)
        for _ in range(5):
            self.fails(500, f"sip:bob@{name}:5060", text=name)
        self.assertLessEqual(len(self.dns.asked(name, "A")), 2)

    def test_LOC_21__an_answer_held_back_holds_no_other_call_up(self):
        far = self.far(udp=5060)
        late, known, fresh = (self.host(far.ip, self.name()) for _ in range(3))
        self.goes_to(far, "udp", f"sip:bob@{known}:5060")
        gate = self.dns.tell(late, Late())
        waiting = [self.leg(f"sip:bob@{late}:5060") for _ in range(10)]
        self.dns.wait_question(late, "A")
        for name in (known, fresh):
            self.goes_to(far, "udp", f"sip:bob@{name}:5060")
        gate.release()
        for sent in waiting:
            far.reply(far.expect("MESSAGE", call_id=sent.call_id), 200)
        for sent in waiting:
            self.core.expect(200, call_id=sent.call_id)
        self.assertEqual(len(self.dns.asked(late, "A")), 1)

    def test_dns_metrics_tell_what_was_asked(self):
        before = {name: self.edge.metric("gatehouse_dns_queries_total", type="a", result=name) or 0
                  for name in ("answered", "no_such_name", "server_failed")}
        far = self.far(udp=5060)
        for _ in range(2):
            self.goes_to(far, "udp", f"sip:bob@{self.host(far.ip)}:5060")
        self.told(dns.nxdomain(), 500, "does not exist")
        self.told(dns.servfail, 500, "failed")
        after = {name: self.edge.metric("gatehouse_dns_queries_total", type="a", result=name) for name in before}
        self.assertEqual({name: after[name] - before[name] for name in before},
                         {"answered": 2, "no_such_name": 1, "server_failed": 1})
        self.assertGreater(self.edge.metric("gatehouse_dns_cache_entries"), 0)
        self.assertEqual(self.edge.metric("gatehouse_dns_server_up", server=self.dns.endpoint), 1)


class DeadServer(OutboundTest):
    """Two name servers, of which the first is dead."""

    @classmethod
    def make_site(cls):
        cls.silent = DNSServer(default=dns.silence)
        return super().make_site()

    @classmethod
    def dns_settings(cls):
        return {"timeout": "2400ms"}

    @classmethod
    def setUpClass(cls):
        cls.site = cls.make_site()
        cls.site.top["dns"]["servers"] = [cls.silent.endpoint, cls.site.dns.endpoint]
        cls.site.start()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.silent.close()

    def test_LOC_21__a_dead_first_server_costs_few_calls_time(self):
        far = self.far(udp=5060)
        for _ in range(4):
            self.goes_to(far, "udp", f"sip:bob@{self.host(far.ip)}:5060")
        self.edge.wait_log("name server is silent", after=self.log_mark)
        self.assertEqual(self.edge.metric("gatehouse_dns_server_up", server=self.silent.endpoint), 0)
        for _ in range(10):
            name = self.host(far.ip)
            self.goes_to(far, "udp", f"sip:bob@{name}:5060")
            self.assertEqual(len(self.dns.asked(name, "A")), 1)


class Limits(OutboundTest):
    """Room for the two questions of one name, A and AAAA, and for few answers."""

    @classmethod
    def dns_settings(cls):
        return {"timeout": "5s", "questions": 2, "cache": 10}

    def test_more_questions_than_may_wait_are_503_and_counted(self):
        far = self.far(udp=5060)
        late, known, turned_away = (self.host(far.ip, self.name()) for _ in range(3))
        self.goes_to(far, "udp", f"sip:bob@{known}:5060")
        gate = self.dns.tell(late, Late())
        sent = self.leg(f"sip:bob@{late}:5060")
        for kind in ("A", "AAAA"):
            self.dns.wait_question(late, kind)
        answer = self.fails(503, f"sip:bob@{turned_away}:5060", text=turned_away)
        self.assertTrue(answer.has("Retry-After"))
        self.assertGreaterEqual(self.edge.metric("gatehouse_dns_lookups_total", outcome="refused"), 1)
        self.assertEqual(self.edge.metric("gatehouse_queue_depth", queue="dns"), 2)
        self.goes_to(far, "udp", f"sip:bob@{known}:5060")  # from the cache
        gate.release()
        far.reply(far.expect("MESSAGE", call_id=sent.call_id), 200)
        self.core.expect(200, call_id=sent.call_id)
        self.goes_to(far, "udp", f"sip:bob@{turned_away}:5060")

    def test_the_cache_keeps_no_more_than_it_may(self):
        far = self.far(udp=5060)
        for _ in range(20):
            self.goes_to(far, "udp", f"sip:bob@{self.host(far.ip)}:5060")
        self.assertLessEqual(self.edge.metric("gatehouse_dns_cache_entries"), 10)


class RealServer(OutboundTest):
    """NSD, which shares no code with anything here."""

    @classmethod
    def setUpClass(cls):
        if missing("nsd"):
            raise unittest.SkipTest("nsd is not installed: scripts/install.sh test")
        super().setUpClass()

    @classmethod
    def make_site(cls):
        site = super().make_site()
        cls.secure_ip, cls.plain_ip = addresses.fresh(), addresses.fresh()
        cls.nsd = NSD({"far.example": {
            "far.example": [NAPTR(10, 10, "s", "SIPS+D2T", "_sips._tcp.far.example"),
                            NAPTR(20, 10, "s", "SIP+D2U", "_sip._udp.far.example")],
            "_sips._tcp.far.example": [SRV(1, 1, 5061, "a.far.example")],
            "_sip._udp.large.far.example": [SRV(60000, 1, 5060, "b.far.example")] + [
                SRV(60001 + index, 1, 5099, f"{'x' * 60}{index}.far.example") for index in range(40)],
            "a.far.example": [A(cls.secure_ip)], "b.far.example": [A(cls.plain_ip)],
            "alias.far.example": [CNAME("b.far.example")]}})
        site.top["dns"]["servers"] = [cls.nsd.endpoint]
        return site

    @classmethod
    def tearDownClass(cls):
        if cls.site:
            super().tearDownClass()
            cls.nsd.close()

    def test_LOC_09__the_procedure_against_a_real_server(self):
        secure, plain = self.far(tls=5061, pair="far.example", ip=self.secure_ip), self.far(udp=5060, ip=self.plain_ip)
        self.goes_to(secure, "tls", "sip:bob@far.example")
        self.goes_to(plain, "udp", "sip:bob@alias.far.example:5060")
        # Over TCP, since the datagram cannot hold it.
        self.goes_to(plain, "udp", "sip:bob@large.far.example;transport=udp")
        self.fails(500, "sip:bob@none.far.example", text="none.far.example")
        self.fails(500, "sip:bob@elsewhere.example", text="refused the question")
