"""A peer of another domain: TLS at its port, and an observer at every port where a downgrade would arrive."""

from . import addresses, pki, sip
from .core import Core
from .dns import NAPTR, SRV, A
from .phone import TLSServer


class Watched:
    """A name that no test has used, for the edge remembers what DNS said, at an address of its own. Its DNS prefers plain SIP.

    `plain` hears UDP and TCP at 5060, `shadow` UDP at 5061, where TLS is meant; with `tls` off nobody hears TCP there.
    """

    def __init__(self, site, domain="far.example", tls=True, pair=None, offers=("SIP+D2T", "SIPS+D2T", "SIP+D2U")):
        name = f"{sip.token('h')}.{domain}"
        self.name, self.ip = name, addresses.fresh()
        self.plain = site.keep(Core(self.ip, name=f"{name} in clear"))
        self.shadow = site.keep(Core(self.ip, 5061, name=f"{name} in clear at 5061", tcp=False))
        self.tls = site.keep(TLSServer((self.ip, 5061), pair or pki.authority().issue(name))) if tls else None
        services = {"SIP+D2T": ("_sip._tcp", 5060), "SIPS+D2T": ("_sips._tcp", 5061), "SIP+D2U": ("_sip._udp", 5060)}
        for order, service in enumerate(offers):
            label, port = services[service]
            site.dns.add(name, NAPTR(order, 0, "s", service, f"{label}.{name}"))
            site.dns.add(f"{label}.{name}", SRV(0, 0, port, f"host.{name}"))
        site.dns.add(f"host.{name}", A(self.ip))
        self._site = site

    def accept(self, user="far"):
        """The edge's TLS connection, as a phone."""
        return self._site.keep(self.tls.accept_phone(user, self.name, scheme="sip"))

    def saw_nothing_in_clear(self):
        """Call it behind a fence."""
        for observer in (self.plain, self.shadow):
            observer.expect_nothing(0.05)
            assert observer.is_quiet() and not observer.connections, f"{observer.name} was spoken to"
