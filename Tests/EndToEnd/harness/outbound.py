"""The base class of tests in which the core calls peers outside, located through the edge's own name server."""

import select

from . import dns, pki, sip
from .case import EdgeTest
from .far import Far
from .site import Site
from .wait import Deadline, Timeout

#: Short timers: 64*T1 is 1.28 s.
TIMERS = {"t1": "20ms", "t2": "80ms", "t4": "100ms", "connect": "1s"}


class OutboundTest(EdgeTest):
    """One edge with a scripted name server. Each test uses names that no other has, since the edge keeps answers."""

    domain = "a.example"

    @classmethod
    def make_site(cls):
        log = {"level": "debug", "format": "text", "lines_per_second": 1000}  # a test looks for a line of each call
        site = Site(edge_options={"timers": TIMERS, "log": log}, dns=cls.dns_settings())
        site.dns  # runs from now on
        cls.add_domains(site)
        return site

    @classmethod
    def dns_settings(cls):
        return {"timeout": "600ms"}

    @classmethod
    def add_domains(cls, site):
        cls.add(site, "a.example", "proxy")

    @staticmethod
    def add(site, name, kind="proxy", transports=("udp",), outbound=None, **options):
        """A domain that trusts the tests' authority on its outbound legs."""
        settings = {"ca": pki.authority().certificate, **(outbound or {})}
        return site.add(name, kind, transports, outbound=settings, **options)

    def setUp(self):
        super().setUp()
        self.fars = []

    @property
    def dns(self):
        return self.site.dns

    def name(self, label="far"):
        """A domain name that is not in the edge's cache."""
        return f"{label}-{sip.token('')}.example"

    def host(self, address, name=None, **options):
        """A name with that address (or several); returns it."""
        name = name or self.name("host")
        many = [address] if isinstance(address, str) else address
        self.dns.add(name, *[(dns.AAAA if ":" in one else dns.A)(one, **options) for one in many])
        return name

    def far(self, pair=None, **options):
        """A peer outside, closed when the test ends; `pair`: its certificate, or the name in it."""
        if isinstance(pair, str):
            pair = pki.authority().issue(pair)
        far = Far(pair=pair, **options)
        self.fars.append(far)
        return self.site.keep(far)

    def leg(self, uri, route=(), method="MESSAGE", core=None, **options):
        """A request of the core's to the outside."""
        core = core or self.core
        headers = [("Route", value) for value in ([route] if isinstance(route, str) else route)]
        return core.request(method, uri, self.edge.core_address, headers=headers + options.pop("headers", []),
                            **options)

    def goes_to(self, far, transport, uri, route=(), **options):
        """The core's MESSAGE reaches `far` over `transport`, and its 200 comes back. Returns what `far` saw."""
        sent = self.leg(uri, route, **options)
        seen = far.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual((seen.transport, seen.vias[0].transport), (transport.upper(),) * 2)
        far.reply(seen, 200)
        self.core.expect(200, call_id=sent.call_id)
        return seen

    def fails(self, status, uri, route=(), warning=399, text=None, seconds=None, **options):
        """The edge answers the core's MESSAGE itself, finally, and once. Returns the answer."""
        sent = self.leg(uri, route, **options)
        self.tend_until(lambda: any(message.call_id == sent.call_id and (message.status or 0) >= 200
                                    for message in self.core.inbox), seconds)
        answer = self.core.expect(lambda answer: answer.status >= 200, call_id=sent.call_id)
        if sent.method == "INVITE":
            self.core.send(self.core.ack_failure(sent, answer), self.edge.core_address)
        self.assertEqual(answer.status, status, str(answer))
        if warning:
            self.assert_warning(answer, warning, text)
        return answer

    def tend_until(self, condition, seconds=None):
        """Has every peer do its part (accept, shake hands) until the condition holds."""
        deadline, peers = Deadline(seconds), [self.core, *self.fars]
        while not condition():
            select.select([sock for peer in peers for sock in peer.sockets], [], [], min(0.05, deadline.left))
            for peer in peers:
                peer._pump(Deadline(0))
            if deadline.passed:
                raise Timeout("what the test waits for did not come")

    def asked(self, name=None, kind=None):
        """(type, name) of the questions so far, sorted."""
        return sorted((query.kind, query.name) for query in self.dns.asked(name, kind))
