"""The base classes of the tests."""

import unittest

from .ladder import ladder
from .sip import canonical
from .site import Site

VARIANTS = {
    "pbx-udp": ("pbx", ("udp",)),
    "pbx-tcp": ("pbx", ("tcp",)),
    "proxy-udp": ("proxy", ("udp",)),
    "proxy-tcp": ("proxy", ("tcp",)),
}


def each(*variants):
    """Runs the test once for each variant: sets `self.domain` to `<variant>.example` first."""
    def mark(function):
        function.variants = variants
        return function
    return mark


#: What a proxy adds, removes or rewrites; Max-Breadth by RFC 5393 §5.3.3.
EDGE_HEADERS = {"via", "max-forwards", "record-route", "path", "route", "content-length", "x-gatehouse-session",
                "max-breadth"}
def not_yet(reason):
    """Marks a test of what is not built: its failure counts as skipped, its success fails until the mark is gone."""
    def mark(function):
        function.not_yet = reason
        return function
    return mark


PBX = ("pbx-udp", "pbx-tcp")
PROXY = ("proxy-udp", "proxy-tcp")
ALL = PBX + PROXY


class EdgeTest(unittest.TestCase):
    """Tests that share one edge, started for the class by `make_site`."""

    site = None
    domain = None
    #: Whether the core of `domain` is there from the start of each test.
    has_core = True

    @classmethod
    def make_site(cls):
        """The site of this class, not yet started."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        cls.site = cls.make_site().start()

    @classmethod
    def tearDownClass(cls):
        if cls.site:
            site, cls.site = cls.site, None
            site.stop()

    @property
    def edge(self):
        return self.site.edge

    @property
    def core(self):
        return self.site.core(self.domain)

    def phone(self, user="alice", **options):
        return self.site.phone(options.pop("domain", self.domain), user, **options)

    def setUp(self):
        ladder.clear()
        self.log_mark = self.edge.mark()
        if self.has_core and self.domain in self.site.domains:
            self.site.core(self.domain)

    def tearDown(self):
        self.site.end_test()
        self.edge.check_alive()

    # Assertions that many tests share.

    def assert_warning(self, response, code, text=None):
        """A well-formed Warning with `code` (RFC 3261 §20.43)."""
        found = [warning for warning in response.warnings if warning[0] == code]
        self.assertTrue(found, f"no Warning {code} in {response.start!r}: {response.rows('Warning')}")
        if text is not None:
            self.assertIn(text, found[0][2])

    def kept(self, message, but=()):
        """The header rows that a proxy must pass on as they are (FWD-01, FWD-02)."""
        ours = EDGE_HEADERS | {canonical(name) for name in but}
        return [(name, value) for name, value in message.headers if canonical(name) not in ours]

    def assert_forwarded(self, sent, seen, but=(), uri=None):
        """`seen` is `sent` but for what the edge must change; `but` names further header fields that may differ."""
        self.assertEqual(seen.start, sent.start if uri is None else f"{sent.method} {uri} SIP/2.0")
        self.assertEqual(self.kept(seen, but), self.kept(sent, but))
        self.assertEqual(seen.body, sent.body)

    def fence(self, phone, core=None, uri=None):
        """A MESSAGE that goes through, and alone: what was sent before on this way has been dealt with."""
        core = core or self.core
        sent = phone.request("MESSAGE", uri or f"sip:fence@{phone.domain}", contact=None, body=b"fence",
                             content_type="text/plain")
        seen = core.expect("MESSAGE", call_id=sent.call_id)
        core.reply(seen, 200)
        phone.expect(200, "MESSAGE", call_id=sent.call_id)
        core.expect_nothing()

    def refused(self, phone, message, status, core=None, stays_open=True):
        """The edge answers `status` and forwards nothing. Returns the answer."""
        phone.send(message)
        answer = phone.expect(lambda answer: answer.status >= 200)
        self.assertEqual(answer.status, status, str(answer))
        if not isinstance(message, bytes) and message.method == "INVITE" and message.has("Via"):
            phone.send(phone.ack_failure(message, answer))
        if stays_open:
            self.fence(phone, core)
        else:
            phone.expect_closed()
            self.fence(self.phone(domain=phone.domain), core)
        return answer

    def through(self, phone, message, core=None, status=200):
        """A non-INVITE request that the core sees and answers. Returns (what the core saw, the answer)."""
        core = core or self.core
        phone.send(message)
        seen = core.receive(what="the forwarded request")
        core.reply(seen, status)
        return seen, phone.expect(status)


class StandardTest(EdgeTest):
    """Tests on the edge with a domain for each variant; all classes of one process share it."""

    shared = None

    @classmethod
    def make_site(cls):
        site = Site()
        for variant, (kind, transports) in VARIANTS.items():
            site.add(f"{variant}.example", kind, transports)
        return site

    @classmethod
    def setUpClass(cls):
        shared = StandardTest.shared
        if shared is not None and not shared.edge.alive:
            shared.edge.cleanup()
            for core in shared.cores.values():
                core.close()
            shared = None
        if shared is None:
            StandardTest.shared = shared = StandardTest.make_site().start()
        cls.site = shared

    @classmethod
    def tearDownClass(cls):
        cls.site = None

    @classmethod
    def stop_shared(cls):
        if StandardTest.shared is not None:
            shared, StandardTest.shared = StandardTest.shared, None
            shared.stop()


def expand(test_class):
    """The (method name, variant or None) pairs of a class, in order of definition."""
    pairs = []
    for name in dir(test_class):
        if name.startswith("test"):
            function = getattr(test_class, name)
            for variant in getattr(function, "variants", (None,)):
                pairs.append((name, variant))
    return pairs
