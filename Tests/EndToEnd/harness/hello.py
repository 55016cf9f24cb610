"""ClientHellos made by hand, and what a server answers to them, record by record (RFC 8446 §4, RFC 5246 §7)."""

import secrets
import struct

from . import addresses, streams
from .wait import Deadline, Timeout

TLS10, TLS11, TLS12, TLS13 = 0x0301, 0x0302, 0x0303, 0x0304
SSL3 = 0x0300
ALERTS = {10: "unexpected_message", 40: "handshake_failure", 47: "illegal_parameter", 50: "decode_error",
          70: "protocol_version", 86: "inappropriate_fallback", 109: "missing_extension", 112: "unrecognized_name",
          116: "certificate_required", 120: "no_application_protocol"}
MODERN = (0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030)
ECDHE_GCM = (0xC02B, 0xC02F)


def _vector(length_octets, octets):
    return len(octets).to_bytes(length_octets, "big") + octets


def _extension(number, octets):
    return struct.pack(">H", number) + _vector(2, octets)


def client_hello(name=None, version=TLS12, offered=None, suites=MODERN, record=TLS10, compression=b"\0"):
    """A ClientHello record. `offered`: the values of supported_versions, none without the extension."""
    extensions = b""
    if name is not None:
        extensions += _extension(0, _vector(2, b"\0" + _vector(2, name.encode())))
    extensions += _extension(10, _vector(2, struct.pack(">HHH", 0x001D, 0x0017, 0x0018)))  # supported_groups
    extensions += _extension(11, b"\1\0")  # ec_point_formats
    extensions += _extension(13, _vector(2, struct.pack(">8H", 0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501, 0x0201,
                                                        0x0203)))
    if offered:
        extensions += _extension(43, _vector(1, b"".join(struct.pack(">H", value) for value in offered)))
        if TLS13 in offered:
            extensions += _extension(51, _vector(2, struct.pack(">H", 0x001D) + _vector(2, secrets.token_bytes(32))))
    body = struct.pack(">H", version) + secrets.token_bytes(32) + b"\0"
    body += _vector(2, b"".join(struct.pack(">H", suite) for suite in suites)) + _vector(1, compression)
    body += _vector(2, extensions)
    handshake = b"\1" + _vector(3, body)
    return b"\x16" + struct.pack(">H", record) + _vector(2, handshake)


class Answer:
    """What came back: `alert` (a name or number), `hello` (version and suite), the types of `records`."""

    def __init__(self, octets):
        self.alert = self.hello = self.certificate = None
        self.records, handshake = [], b""
        while len(octets) >= 5:
            kind, size = octets[0], int.from_bytes(octets[3:5], "big")
            payload, octets = octets[5:5 + size], octets[5 + size:]
            self.records.append(kind)
            if kind == 21 and len(payload) == 2:
                self.alert = ALERTS.get(payload[1], payload[1])
            elif kind == 22:
                handshake += payload
        while len(handshake) >= 4:
            kind, size = handshake[0], int.from_bytes(handshake[1:4], "big")
            body, handshake = handshake[4:4 + size], handshake[4 + size:]
            if kind == 2:
                session = body[34]
                suite, self.compression = struct.unpack_from(">HB", body, 35 + session)
                version = struct.unpack_from(">H", body)[0]
                if b"\0\x2b\0\2\3\4" in body[38 + session:]:
                    version = TLS13
                self.hello = (version, suite)
            elif kind == 11:
                self.certificate = body


def probe(address, octets, seconds=None):
    """Sends octets to a TLS port and reads until an alert, a ServerHello or the close."""
    stream = streams.TCPStream(streams.connect(address, (addresses.fresh(), 0)))
    try:
        stream.write(octets)
        got, deadline = b"", Deadline(seconds)
        while True:
            more = stream.read(deadline)
            if more is None:
                raise Timeout("no answer to the ClientHello")
            got += more
            answer = Answer(got)
            if not more or answer.alert is not None or answer.hello is not None:
                return answer
    finally:
        stream.close()
