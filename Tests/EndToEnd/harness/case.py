"""The base classes of the tests."""

import unittest

from .ladder import ladder
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


PBX = ("pbx-udp", "pbx-tcp")
PROXY = ("proxy-udp", "proxy-tcp")
ALL = PBX + PROXY


class EdgeTest(unittest.TestCase):
    """Tests that share one edge, started for the class by `make_site`."""

    site = None
    domain = None

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

    def fence(self, phone, core=None, uri=None):
        """A MESSAGE that goes through: what was sent before on this way has been dealt with."""
        core = core or self.core
        sent = phone.request("MESSAGE", uri or f"sip:fence@{phone.domain}", contact=None, body=b"fence",
                             content_type="text/plain")
        seen = core.expect("MESSAGE", call_id=sent.call_id)
        core.reply(seen, 200)
        phone.expect(200, "MESSAGE", call_id=sent.call_id)


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
