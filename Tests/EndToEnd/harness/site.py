"""The usual set-up: one edge that serves several domains, each with its own kind of core, at its own address."""

from . import addresses, pki
from .core import Core
from .edge import Edge
from .phone import Phone


class Domain:
    """A domain of a site: its name, its configuration entry and the address of its core."""

    def __init__(self, site, name, kind, transports, **options):
        self.site, self.name, self.kind, self.transports = site, name, kind, transports
        self.core_ip = options.pop("core_ip", None) or addresses.fresh()
        self.options = options

    def entry(self):
        edge, options = self.site.edge, self.options
        pair = options.get("pair") or pki.authority().issue(self.name)
        certificate, key = edge.install(pair, self.name)
        second = options.get("second_pair")
        if second:
            other = edge.install(second, self.name + ".second")
            certificate = [{"certificate": certificate, "private_key": key},
                           {"certificate": other[0], "private_key": other[1]}]
        entry = {"name": self.name}
        if "aliases" in options:
            entry["aliases"] = options["aliases"]
        if options.get("tls") is not False:
            entry["tls"] = {"bind": [f"{edge.outside}:5061"], "certificate": certificate,
                            **({} if second else {"private_key": key}), **(options.get("tls") or {})}
        core = {"kind": self.kind, "targets": [f"{transport}:{self.core_ip}:5060" for transport in self.transports],
                "health": {"interval": "off"}, **options.get("core", {})}
        entry["core"] = core
        for key in ("tcp", "udp", "security", "limits", "outbound"):
            if key in options:
                entry[key] = options[key]
        return entry

    @property
    def transport(self):
        return self.transports[0]


class Site:
    """An edge, its domains, and the cores behind it."""

    def __init__(self, edge_options=None, **top):
        self.edge = Edge({})
        self.edge_options, self.top = edge_options or {}, top
        self.domains, self.cores, self._phones = {}, {}, []

    def add(self, name, kind="pbx", transports=("udp",), **options):
        self.domains[name] = Domain(self, name, kind, transports, **options)
        return self.domains[name]

    def configuration(self):
        whole = dict(self.top)
        if self.edge_options:
            whole["edge"] = self.edge_options
        whole["domains"] = [domain.entry() for domain in self.domains.values()]
        return whole

    def start(self):
        self.edge.write(self.configuration())
        self.edge.start()
        return self

    @property
    def dns(self):
        """The edge's own name server: ask for it before the start, and it is in the configuration."""
        return self.edge.dns

    def core(self, domain, **options):
        """The core of a domain, bound until the site stops."""
        if domain not in self.cores:
            entry = self.domains[domain]
            options.setdefault("udp", True)
            options.setdefault("tcp", True)
            self.cores[domain] = Core(entry.core_ip, name=f"core of {domain}", transport=entry.transport,
                                      edge=self.edge, **options)
        return self.cores[domain]

    def phone(self, domain, user="alice", **options):
        """A phone that is connected to the edge for `domain` and is closed when the test ends."""
        tls = options.get("tls", True)
        address = options.pop("address", None) or (self.edge.tls if tls else (self.edge.outside, 5060))
        phone = Phone.connect(address, domain, user, **options)
        self._phones.append(phone)
        return phone

    def keep(self, closable):
        """Closes it when the test ends."""
        self._phones.append(closable)
        return closable

    def end_test(self):
        for phone in self._phones:
            phone.close()
        self._phones.clear()
        for core in self.cores.values():
            core.forget()
        self.edge.forget()

    def stop(self):
        self.end_test()
        for core in self.cores.values():
            core.close()
        self.cores.clear()
        try:
            self.edge.stop()
        finally:
            self.edge.cleanup()
