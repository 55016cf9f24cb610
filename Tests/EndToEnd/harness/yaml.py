"""Writes a configuration as YAML in block style: dictionaries, lists, scalars; nothing more."""

import json
import re

_plain = re.compile(r"[A-Za-z/][A-Za-z0-9_./:\-]*\Z|[0-9]+(?:\.[0-9]+){3}(?::[0-9]+)?\Z|[0-9]+(?:ms|s|m|h|KiB|MiB|B)\Z")
_word = {"true", "false", "null", "yes", "no", "on", "~"}


class Raw(str):
    """A scalar that is written exactly as it is."""


def scalar(value):
    if isinstance(value, Raw):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if _plain.match(value) and value.lower() not in _word and not value.endswith(":"):
        return value
    return json.dumps(value)


def dump(value, indent=0):
    pad = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                lines.append(f"{pad}{key}:\n{dump(item, indent + 1)}")
            else:
                lines.append(f"{pad}{key}: {dump(item)}\n")
        return "".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            if isinstance(item, (dict, list)) and item:
                text = dump(item, indent + 1)
                lines.append(f"{pad}- {text[len(pad) + 2:]}")
            else:
                lines.append(f"{pad}- {dump(item)}\n")
        return "".join(lines)
    if value == {}:
        return "{}"
    if value == []:
        return "[]"
    return scalar(value)
