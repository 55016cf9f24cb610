"""Loopback addresses: each edge, core and phone has its own, so that tests in parallel never share a port."""

import itertools
import socket

_lock = None
_prefix = None
_numbers = itertools.count(1)


def _claim():
    """Takes a block 127.n.0.0/16 for this process; a bound socket holds the claim."""
    global _lock, _prefix
    for number in range(2, 250):
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((f"127.{number}.255.254", 9))
        except OSError:
            claim.close()
            continue
        claim.set_inheritable(False)
        _lock, _prefix = claim, f"127.{number}"
        return
    raise RuntimeError("no free loopback block left")


def fresh():
    """An address that nobody else uses."""
    if _prefix is None:
        _claim()
    number = next(_numbers)
    return f"{_prefix}.{number // 250}.{number % 250 + 1}"

