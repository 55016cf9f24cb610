"""Deadlines: every wait of the harness has one, and says what did not come."""

import os
import time

#: Seconds that an event may take; a slow machine can ask for more.
DEFAULT = float(os.environ.get("GATEHOUSE_TEST_DEADLINE", "5"))
#: Seconds of silence that count as "nothing more comes", after an event that had to come later has come.
QUIET = 0.08


class Timeout(AssertionError):
    """The deadline passed before the awaited event."""


class Deadline:
    def __init__(self, seconds=None):
        self.end = time.monotonic() + (DEFAULT if seconds is None else seconds)

    @property
    def left(self):
        return max(0.0, self.end - time.monotonic())

    @property
    def passed(self):
        return time.monotonic() >= self.end


def until(condition, what, seconds=None, pause=0.01):
    """Waits until `condition()` is true and returns its value. Only for what no socket or log announces."""
    deadline = Deadline(seconds)
    while True:
        value = condition()
        if value:
            return value
        if deadline.passed:
            raise Timeout(f"{what}: not within the deadline")
        time.sleep(min(pause, deadline.left))
