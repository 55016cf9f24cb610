"""A worker process: runs the test classes named on its standard input, reports each test as a line of JSON."""

import importlib
import json
import signal
import sys
import time
import traceback
import unittest

from . import case
from .ladder import ladder

#: Seconds that one test may take at most; a class may say `limit` for its own.
LIMIT = 40


class TookTooLong(AssertionError):
    """A test was stopped at its limit."""


def _alarm(number, frame):
    raise TookTooLong("stopped at its limit")


def _guarded(limit, function):
    """Runs `function`; returns (outcome, detail)."""
    signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        function()
        return "ok", ""
    except unittest.SkipTest as skip:
        return "skip", str(skip)
    except Exception:
        return "FAIL", traceback.format_exc(limit=-8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_test(test_class, name, variant):
    test = test_class(name)
    if variant:
        test.domain = f"{variant}.example"
    limit = getattr(getattr(test_class, name), "limit", getattr(test_class, "limit", LIMIT))

    def body():
        test.setUp()
        try:
            getattr(test, name)()
        finally:
            failing = sys.exc_info()[0] is not None
            try:
                test.tearDown()
            except Exception:
                if not failing:
                    raise
                print(traceback.format_exc(limit=-2), file=sys.stderr)
            test.doCleanups()

    outcome, detail = _guarded(limit, body)
    reason = getattr(getattr(test_class, name), "not_yet", None)
    if reason and outcome == "FAIL" and test.site.edge.alive:
        return "skip", f"not built yet: {reason}"
    if reason and outcome == "ok":
        return "FAIL", f"passes, so take its mark away: @not_yet({reason!r})"
    if outcome == "FAIL":
        detail += "\n" + ladder.text()
        site = getattr(test, "site", None)
        if site is not None:
            detail += "\n" + "\n".join("    log: " + line for line in site.edge.log_since(
                getattr(test, "log_mark", 0))[-60:])
    return outcome, detail


def run_class(module, name, wanted, report):
    test_class = getattr(importlib.import_module(module), name)
    chosen = [pair for pair in case.expand(test_class) if wanted is None or list(pair) in wanted]
    ladder.clear()
    outcome, detail = _guarded(60, test_class.setUpClass)
    if outcome != "ok":
        for method, variant in chosen:
            report(method, variant, outcome, detail, 0.0)
        _guarded(20, test_class.tearDownClass)
        return
    for method, variant in chosen:
        start = time.monotonic()
        outcome, detail = run_test(test_class, method, variant)
        report(method, variant, outcome, detail, time.monotonic() - start)
    outcome, detail = _guarded(20, test_class.tearDownClass)
    if outcome == "FAIL":
        report("tearDownClass", None, outcome, detail, 0.0)


def main():
    out = sys.stdout
    sys.stdout = sys.stderr

    def send(**fields):
        print(json.dumps(fields), file=out, flush=True)

    for line in sys.stdin:
        job = json.loads(line)

        def report(method, variant, outcome, detail, seconds):
            send(kind="test", name=method, variant=variant, outcome=outcome, detail=detail, seconds=seconds,
                 group=job["name"], notes=take_notes())

        try:
            run_class(job["module"], job["name"], job.get("tests"), report)
        except Exception:
            report("class", None, "FAIL", traceback.format_exc(), 0.0)
        send(kind="done", group=job["name"])
    outcome, detail = _guarded(20, case.StandardTest.stop_shared)
    if outcome == "FAIL":
        send(kind="test", name="the_shared_edge_stops", variant=None, outcome=outcome, detail=detail, seconds=0.0,
             group="StandardTest", notes=[])


_notes = []


def note(text):
    """A line that the runner prints under the test, whatever its outcome."""
    _notes.append(text)


def take_notes():
    taken = list(_notes)
    _notes.clear()
    return taken
