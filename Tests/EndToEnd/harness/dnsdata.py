"""DNS messages and records by hand (RFC 1035, 2782, 3403, 3596): what the scripted name server says, and how NSD reads it."""

import socket
import struct

A_TYPE, CNAME_TYPE, SOA_TYPE, AAAA_TYPE, SRV_TYPE, NAPTR_TYPE, OPT_TYPE = 1, 5, 6, 28, 33, 35, 41
TYPES = {"A": A_TYPE, "CNAME": CNAME_TYPE, "SOA": SOA_TYPE, "AAAA": AAAA_TYPE, "SRV": SRV_TYPE, "NAPTR": NAPTR_TYPE}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
QR, AA, TC, RD, RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080


def name_octets(name):
    """A name as labels, uncompressed; "" and "." are the root."""
    labels = [label.encode() for label in name.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


class Record:
    """A record without its owner: type, TTL in seconds, data as octets and as a zone file writes it."""

    def __init__(self, kind, ttl, data, text):
        self.kind, self.type, self.ttl, self.data, self.text = kind, TYPES[kind], ttl, data, text

    def octets(self, owner):
        return name_octets(owner) + struct.pack("!HHIH", self.type, 1, self.ttl, len(self.data)) + self.data

    def line(self, owner):
        """A line of a zone file (RFC 1035 §5)."""
        return f"{owner.strip('.')}. {self.ttl} IN {self.kind} {self.text}"


def A(address, ttl=300):
    return Record("A", ttl, socket.inet_pton(socket.AF_INET, address), address)


def AAAA(address, ttl=300):
    return Record("AAAA", ttl, socket.inet_pton(socket.AF_INET6, address), address)


def CNAME(target, ttl=300):
    return Record("CNAME", ttl, name_octets(target), f"{target.strip('.')}.")


def SRV(priority, weight, port, target, ttl=300):
    """`target` "." says that the service is not offered (RFC 2782)."""
    return Record("SRV", ttl, struct.pack("!HHH", priority, weight, port) + name_octets(target),
                  f"{priority} {weight} {port} {target.strip('.')}.")


def NAPTR(order, preference, flags, service, replacement, expression="", ttl=300):
    strings = b"".join(bytes([len(text)]) + text.encode() for text in (flags, service, expression))
    return Record("NAPTR", ttl, struct.pack("!HH", order, preference) + strings + name_octets(replacement),
                  f'{order} {preference} "{flags}" "{service}" "{expression}" {replacement.strip(".")}.')


def SOA(minimum=60, ttl=300):
    """Negative answers hold for the lower of `ttl` and `minimum` (RFC 2308 §5)."""
    return Record("SOA", ttl, name_octets("ns.invalid") + name_octets("root.invalid")
                  + struct.pack("!IIIII", 1, 3600, 600, 86400, minimum),
                  f"ns.invalid. root.invalid. 1 3600 600 86400 {minimum}")


class Query:
    """A question as it came."""

    def __init__(self, octets, transport):
        self.octets, self.transport = octets, transport
        self.id, self.flags, count = struct.unpack("!HHH", octets[:6])
        labels, position = [], 12
        while octets[position]:
            size = octets[position]
            labels.append(octets[position + 1:position + 1 + size].decode("ascii"))
            position += 1 + size
        #: As asked, letter case included.
        self.spelling = ".".join(labels)
        self.name = self.spelling.lower()
        self.type, dns_class = struct.unpack("!HH", octets[position + 1:position + 5])
        self.question = octets[12:position + 5]
        if count != 1 or dns_class != 1:
            raise ValueError(f"{count} questions of class {dns_class}")
        #: The largest datagram that the asker takes (RFC 6891 §6.2.3).
        self.size, rest = 512, octets[position + 5:]
        if len(rest) >= 11 and rest[:3] == b"\0\0\x29":
            self.size = struct.unpack("!H", rest[3:5])[0]

    @property
    def kind(self):
        return TYPE_NAMES.get(self.type, str(self.type))

    def __repr__(self):
        return f"{self.kind} {self.name} over {self.transport}"

    def reply(self, answers=(), authorities=(), rcode=NOERROR, flags=QR | AA | RA, id=None, question=None,
              counts=None):
        """A reply's octets. `answers` and `authorities`: (owner, Record) pairs. `counts` overrides the header's four."""
        question = self.question if question is None else question
        header = counts or (1 if question else 0, len(answers), len(authorities), 0)
        octets = struct.pack("!HHHHHH", self.id if id is None else id, flags | self.flags & RD | rcode, *header)
        return octets + question + b"".join(record.octets(owner) for owner, record in (*answers, *authorities))
