"""Core servers given by name: located as any next hop with a port and a transport (LOC-08), and kept when the DNS fails."""

from harness import addresses, dns
from harness.case import EdgeTest
from harness.core import Core
from harness.dns import A, NAPTR, SRV
from harness.site import Site


class CoreNames(EdgeTest):
    domain = "a.example"
    has_core = False

    @classmethod
    def make_site(cls):
        site = Site(dns={"timeout": "300ms"})
        cls.ip = addresses.fresh()
        site.dns.add("pbx.example", A(cls.ip, ttl=1), NAPTR(1, 1, "s", "SIP+D2U", "_sip._udp.pbx.example"))
        site.dns.add("_sip._udp.pbx.example", SRV(0, 0, 5099, "nobody.example"))
        for name, target in (("a.example", "udp:pbx.example:5060"), ("lost.example", "udp:none.example:5060")):
            site.add(name, core={"targets": [target]})
        return site

    def call(self, core):
        phone = self.phone()
        self.through(phone, phone.build("MESSAGE", "sips:bob@a.example", contact=None), core)

    def test_LOC_08__a_core_server_by_name_is_asked_for_addresses_alone(self):
        core = self.site.keep(Core(self.ip))
        self.call(core)
        self.site.dns.wait_question("pbx.example", "A", seconds=12)
        self.site.dns.wait_question("pbx.example", "AAAA", seconds=12)
        self.assertEqual({query.kind for query in self.site.dns.asked("pbx.example")}, {"A", "AAAA"})
        self.assertEqual(self.site.dns.asked(kind="SRV"), [])

    def test_LOC_21__a_core_server_that_moves_is_found_and_one_whose_name_is_lost_keeps_its_address(self):
        other = self.site.keep(Core(addresses.fresh()))
        self.site.dns.replace("pbx.example", A(other.ip, ttl=1))
        self.edge.wait_log(f"core server resolved.*{other.ip}:5060", seconds=12)
        self.call(other)
        self.site.dns.tell("pbx.example", dns.nxdomain())
        line = self.edge.wait_log("does not resolve.*pbx.example", after=self.edge.mark(), seconds=12)
        self.assertRegex(line, r"the name does not exist \(A+ pbx\.example\)")
        self.call(other)

    def test_a_core_name_that_never_resolved_is_logged_with_the_question(self):
        line = self.edge.wait_log("does not resolve.*none.example")
        self.assertRegex(line, r"the name does not exist \(A+ none\.example\)")
        phone = self.phone(domain="lost.example")
        phone.send(phone.build("MESSAGE", "sips:bob@lost.example", contact=None))
        phone.expect(lambda answer: answer.status in (500, 503))
