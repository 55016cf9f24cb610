"""Cuts a stream into messages by Content-Length and sees the pongs between them (RFC 3261 §18.3, RFC 5626 §4.4.1)."""

from .sip import BadMessage, Message


class Framer:
    def __init__(self):
        self.rest = b""
        self.pongs = 0

    def feed(self, octets):
        """The messages that are complete now."""
        self.rest += octets
        messages = []
        while True:
            while self.rest.startswith(b"\r\n"):
                self.pongs += 1
                self.rest = self.rest[2:]
            end = self.rest.find(b"\r\n\r\n")
            if end < 0:
                return messages
            head = Message.parse(self.rest[:end + 4])
            lengths = head.rows("Content-Length")
            if len(lengths) != 1 or not lengths[0].isdigit():
                raise BadMessage(f"Content-Length {lengths} on a stream in {head.start!r}")
            size = end + 4 + int(lengths[0])
            if len(self.rest) < size:
                return messages
            messages.append(Message.parse(self.rest[:size]))
            self.rest = self.rest[size:]
