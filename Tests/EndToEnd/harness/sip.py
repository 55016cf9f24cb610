"""SIP messages, URIs and header values as the tests read and write them (RFC 3261 §7, §19, §25).

Header text is latin-1, so that any octet survives reading and writing. The reader is strict: what the edge writes
must be well-formed, and a fault raises `BadMessage`, which fails the test.
"""

import itertools
import re
import secrets

COMPACT = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type",
    "k": "supported", "s": "subject", "e": "content-encoding", "o": "event", "r": "refer-to", "b": "referred-by",
    "u": "allow-events", "x": "session-expires", "a": "accept-contact", "j": "reject-contact",
    "d": "request-disposition", "y": "identity", "n": "identity-info",
}
TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
REASONS = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted", 302: "Moved Temporarily",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 407: "Proxy Authentication Required",
    423: "Interval Too Brief", 480: "Temporarily Unavailable", 486: "Busy Here", 487: "Request Terminated",
    500: "Server Internal Error", 503: "Service Unavailable", 603: "Decline",
}


class BadMessage(AssertionError):
    """What was received is not a well-formed SIP message."""


def canonical(name):
    name = name.strip().lower()
    return COMPACT.get(name, name)


def split_outside(text, separator):
    """Splits at `separator`, except inside quoted strings and angle brackets."""
    parts, start, quoted, angle, index = [], 0, False, False, 0
    while index < len(text):
        character = text[index]
        if quoted:
            if character == "\\":
                index += 1
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character == "<":
            angle = True
        elif character == ">":
            angle = False
        elif character == separator and not angle:
            parts.append(text[start:index])
            start = index + 1
        index += 1
    parts.append(text[start:])
    return [part.strip() for part in parts]


def parameters(text):
    """`;a=1;b` as a dictionary in order; names in lower case, a parameter without value is ''."""
    result = {}
    for part in split_outside(text, ";"):
        if part:
            name, _, value = part.partition("=")
            name = name.strip().lower()
            if name in result:
                raise BadMessage(f"parameter {name!r} twice in {text!r}")
            result[name] = value.strip()
    return result


class URI:
    """A sip: or sips: URI; `str()` gives it back in the order scheme, user, host, port, parameters, headers."""

    def __init__(self, scheme, user, host, port=None, params=None, headers=""):
        self.scheme, self.user, self.host, self.port = scheme, user, host, port
        self.params, self.headers = dict(params or {}), headers

    @classmethod
    def parse(cls, text):
        match = re.fullmatch(
            r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):(?:(?P<user>[^@?]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)"
            r"(?::(?P<port>[0-9]{1,5}))?(?P<params>(?:;[^;?]*)*)(?:\?(?P<headers>.*))?", text)
        if not match or match["scheme"].lower() not in ("sip", "sips"):
            raise BadMessage(f"not a SIP URI: {text!r}")
        return cls(match["scheme"].lower(), match["user"], match["host"], int(match["port"]) if match["port"] else None,
                   parameters(match["params"]), match["headers"] or "")

    @property
    def is_loose(self):
        return "lr" in self.params

    @property
    def transport(self):
        return self.params.get("transport", "").lower() or None

    def __str__(self):
        text = self.scheme + ":" + (self.user + "@" if self.user is not None else "") + self.host
        text += f":{self.port}" if self.port else ""
        text += "".join(f";{name}={value}" if value else f";{name}" for name, value in self.params.items())
        return text + ("?" + self.headers if self.headers else "")

    def __repr__(self):
        return f"URI({self})"


class NameAddr:
    """A value of To, From, Contact, Route, Record-Route, Path (RFC 3261 §25.1)."""

    def __init__(self, text):
        self.text = text
        match = re.fullmatch(r'(?P<display>(?:"(?:[^"\\]|\\.)*"|[^<"]*?))\s*<(?P<uri>[^>]*)>(?P<params>.*)', text, re.S)
        if match:
            self.display, self.spec = match["display"].strip(), match["uri"]
            self.params = parameters(match["params"])
        else:
            self.display = ""
            self.spec, _, rest = text.partition(";")
            self.spec = self.spec.strip()
            self.params = parameters(rest)

    @property
    def uri(self):
        return URI.parse(self.spec)

    @property
    def tag(self):
        return self.params.get("tag")


class Via:
    """One value of a Via header field (RFC 3261 §20.42)."""

    def __init__(self, text):
        self.text = text
        match = re.fullmatch(
            r"SIP\s*/\s*2\.0\s*/\s*(?P<transport>\S+)\s+(?P<host>\[[^\]]+\]|[^\s:;]+)(?:\s*:\s*(?P<port>[0-9]+))?"
            r"\s*(?P<params>(?:;.*)?)", text, re.S | re.I)
        if not match:
            raise BadMessage(f"not a Via value: {text!r}")
        self.transport, self.host = match["transport"].upper(), match["host"]
        self.port = int(match["port"]) if match["port"] else None
        self.params = parameters(match["params"])

    @property
    def branch(self):
        return self.params.get("branch")

    @property
    def sent_by(self):
        return f"{self.host}:{self.port}" if self.port else self.host


class Message:
    """A request or response: start line, header rows in order, body. `raw` holds the octets if it was received."""

    def __init__(self, start, headers=(), body=b""):
        self.start, self.headers, self.body, self.raw = start, list(headers), body, b""
        self.transport = self.source = None

    @classmethod
    def request(cls, method, uri, headers=(), body=b""):
        return cls(f"{method} {uri} SIP/2.0", headers, body)

    @classmethod
    def parse(cls, raw):
        head, separator, body = raw.partition(b"\r\n\r\n")
        if not separator:
            raise BadMessage(f"no end of the header section: {raw[:200]!r}")
        text = head.decode("latin-1")
        if re.search(r"(?<!\r)\n|\r(?!\n)", text):
            raise BadMessage(f"bare CR or LF: {raw[:400]!r}")
        lines = re.sub(r"\r\n[ \t]+", " ", text).split("\r\n")
        headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not TOKEN.match(name.rstrip()):
                raise BadMessage(f"not a header line: {line!r}")
            headers.append((name.rstrip(), value.strip()))
        message = cls(lines[0], headers, body)
        message.raw = raw
        if not re.fullmatch(r"SIP/2\.0 [1-6][0-9]{2} .*|[^ ]+ [^ ]+ SIP/2\.0", lines[0], re.S):
            raise BadMessage(f"not a start line: {lines[0]!r}")
        return message

    # Start line.

    @property
    def is_request(self):
        return not self.start.upper().startswith("SIP/")

    @property
    def method(self):
        return self.start.split(" ", 1)[0] if self.is_request else self.cseq[1]

    @property
    def uri(self):
        return self.start.split(" ")[1]

    @uri.setter
    def uri(self, value):
        self.start = f"{self.method} {value} SIP/2.0"

    @property
    def status(self):
        return 0 if self.is_request else int(self.start.split(" ")[1])

    # Header fields.

    def rows(self, name):
        """The values of every row of `name`, in long or compact form, as written."""
        return [value for key, value in self.headers if canonical(key) == canonical(name)]

    def get(self, name, default=None):
        rows = self.rows(name)
        return rows[0] if rows else default

    def one(self, name):
        rows = self.rows(name)
        if len(rows) != 1:
            raise BadMessage(f"{len(rows)} rows of {name} in {self.start!r}")
        return rows[0]

    def values(self, name):
        """All values of `name`, over rows and comma lists, in order."""
        return [value for row in self.rows(name) for value in split_outside(row, ",") if value]

    def has(self, name):
        return bool(self.rows(name))

    def add(self, name, value):
        self.headers.append((name, str(value)))
        return self

    def insert(self, name, value):
        self.headers.insert(0, (name, str(value)))
        return self

    def set(self, name, value):
        """Puts one row in place of the first of that name (or at the end) and removes the others."""
        kept, done = [], False
        for key, old in self.headers:
            if canonical(key) != canonical(name):
                kept.append((key, old))
            elif not done:
                kept.append((name, str(value)))
                done = True
        self.headers = kept if done else kept + [(name, str(value))]
        return self

    def remove(self, name):
        self.headers = [(key, value) for key, value in self.headers if canonical(key) != canonical(name)]
        return self

    @property
    def vias(self):
        return [Via(value) for value in self.values("Via")]

    @property
    def branch(self):
        return self.vias[0].branch

    @property
    def call_id(self):
        return self.get("Call-ID")

    @property
    def cseq(self):
        match = re.fullmatch(r"([0-9]+)\s+(\S+)", self.get("CSeq", ""))
        if not match:
            raise BadMessage(f"CSeq {self.get('CSeq')!r}")
        return int(match[1]), match[2]

    @property
    def from_tag(self):
        return NameAddr(self.one("From")).tag

    @property
    def to_tag(self):
        return NameAddr(self.one("To")).tag

    @property
    def contact(self):
        return NameAddr(self.values("Contact")[0])

    @property
    def warnings(self):
        """(code, agent, text) of each Warning value."""
        result = []
        for value in self.values("Warning"):
            match = re.fullmatch(r'([0-9]{3}) (\S+) "((?:[^"\\]|\\.)*)"', value)
            if not match:
                raise BadMessage(f"Warning {value!r}")
            result.append((int(match[1]), match[2], match[3]))
        return result

    # Writing.

    def encode(self, content_length=True):
        headers = self.headers
        if content_length and not self.has("Content-Length"):
            headers = headers + [("Content-Length", str(len(self.body)))]
        lines = [self.start] + [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + self.body

    def copy(self):
        other = Message(self.start, self.headers, self.body)
        other.raw, other.transport, other.source = self.raw, self.transport, self.source
        return other

    def reply(self, status, reason=None, headers=(), body=b"", to_tag=None, contact=None):
        """A response to this request (RFC 3261 §8.2.6.2): Vias, From, To, Call-ID, CSeq and Record-Route copied."""
        response = Message(f"SIP/2.0 {status} {reason if reason is not None else REASONS.get(status, 'Reply')}")
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            for value in self.rows(name):
                if name == "To" and to_tag and status > 100 and not NameAddr(value).tag:
                    value += f";tag={to_tag}"
                response.add(name, value)
        if 100 < status < 300:
            for value in self.rows("Record-Route"):
                response.add("Record-Route", value)
        if contact:
            response.add("Contact", f"<{contact}>")
        for name, value in headers:
            response.add(name, value)
        response.body = body
        return response

    def __str__(self):
        return self.encode(content_length=False).decode("latin-1").replace("\r\n", "\n")

    def __repr__(self):
        return f"<{self.start} {self.call_id}>"


def pad(message, size, overhead=0):
    """Makes the body of `message` as long as it takes for `size` octets in all, less `overhead`."""
    while len(message.encode()) != size - overhead:
        difference = size - overhead - len(message.encode())
        if difference < 0:
            message.body = message.body[:difference]
        else:
            message.body += b"@" * difference
    return message


_numbers = itertools.count(1)


def token(prefix="t"):
    """A fresh token: unique in this process, unlikely elsewhere."""
    return f"{prefix}{next(_numbers)}{secrets.token_hex(5)}"


def branch():
    return token("z9hG4bK")


SDP = (b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"
       b"a=rtpmap:0 PCMU/8000\r\n")
