"""The header X-Gatehouse-Session as a core reads it (product contract §1)."""

import base64
import re

from .sip import BadMessage, split_outside

NAME = "X-Gatehouse-Session"


class Tag:
    def __init__(self, text):
        parts = split_outside(text, ";")
        self.text, self.id, self.params = text, parts[0], {}
        for part in parts[1:]:
            name, equals, value = part.partition("=")
            if not equals or name in self.params:
                raise BadMessage(f"{NAME}: {text!r}")
            self.params[name] = value
        if not re.fullmatch(r"[0-9a-f]{12}", self.id):
            raise BadMessage(f"{NAME}: the id {self.id!r}")

    def __getitem__(self, name):
        return self.params[name]

    def get(self, name):
        return self.params.get(name)

    @property
    def signature(self):
        """128 bits in base64url without padding."""
        text = self.params["sig"]
        if not re.fullmatch(r"[A-Za-z0-9_-]{22}", text):
            raise BadMessage(f"{NAME}: sig {text!r}")
        return base64.urlsafe_b64decode(text + "==")


def of(message):
    """The one tag of a message that the core received."""
    return Tag(message.one(NAME))
