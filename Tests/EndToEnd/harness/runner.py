"""Finds the tests, hands their classes to worker processes, prints a line a test and the sum."""

import argparse
import importlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from . import case
from .edge import BINARY

HERE = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))


def discover(pattern):
    """[(module, class, [(method, variant)], weight)] of what matches `pattern`, heaviest first."""
    groups = []
    for file in sorted(os.listdir(HERE)):
        if not (file.startswith("test_") and file.endswith(".py")):
            continue
        module = importlib.import_module(file[:-3])
        for name, value in vars(module).items():
            if not (isinstance(value, type) and issubclass(value, unittest.TestCase)):
                continue
            if value.__module__ != module.__name__:
                continue
            pairs = case.expand(value)
            if pattern:
                pairs = [pair for pair in pairs
                         if any(part in f"{file} {name} {pair[0]} [{pair[1]}]" for part in pattern)]
            if pairs:
                groups.append((module.__name__, name, pairs, getattr(value, "weight", len(pairs))))
    return sorted(groups, key=lambda group: -group[3])


class Worker:
    """A worker process and the thread that feeds it."""

    def __init__(self, jobs, results, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-u", os.path.join(HERE, "run.py"), "--worker"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": folder})
        self.thread = threading.Thread(target=self._feed, args=(jobs, results), daemon=True)
        self.thread.start()

    def _feed(self, jobs, results):
        while True:
            try:
                module, name, pairs, _ = jobs.get_nowait()
            except queue.Empty:
                break
            if not self._run(module, name, pairs, results):
                results.put({"kind": "dead"})
                return
        self.process.stdin.close()
        for line in self.process.stdout:
            results.put(json.loads(line))
        self.process.wait()
        results.put({"kind": "end"})

    def _run(self, module, name, pairs, results):
        left = [list(pair) for pair in pairs]
        try:
            print(json.dumps({"module": module, "name": name, "tests": left}), file=self.process.stdin, flush=True)
            for line in self.process.stdout:
                result = json.loads(line)
                if result["kind"] == "done":
                    return True
                if [result["name"], result["variant"]] in left:
                    left.remove([result["name"], result["variant"]])
                results.put(result)
        except BrokenPipeError:
            pass
        code = self.process.wait()
        for method, variant in left:
            results.put({"kind": "test", "name": method, "variant": variant, "outcome": "FAIL", "seconds": 0,
                         "detail": f"the worker process ended with {code}", "group": name, "notes": []})
        return False


def main():
    parser = argparse.ArgumentParser(prog="run.py", description="End-to-end tests of the gatehouse binary.")
    parser.add_argument("-k", action="append", metavar="TEXT",
                        help="only tests whose file, class, name or variant contains TEXT; may be repeated")
    parser.add_argument("-j", type=int, default=max(4, os.cpu_count() or 1), metavar="N", help="worker processes")
    parser.add_argument("-l", action="store_true", help="list the tests and stop")
    parser.add_argument("-v", action="store_true", help="show the wire and the log of each failure in full")
    parser.add_argument("--slowest", type=int, default=0, metavar="N", help="name the N slowest tests")
    options = parser.parse_args()
    groups = discover(options.k)
    if options.l:
        for module, name, pairs, _ in groups:
            for method, variant in pairs:
                print(f"{module}.{name}.{method}" + (f" [{variant}]" if variant else ""))
        return 0
    if not groups:
        print("no test matches", file=sys.stderr)
        return 2
    if not os.access(BINARY, os.X_OK):
        print(f"{BINARY}: not there. Build it with `swift build -c release`, or set GATEHOUSE_BIN.", file=sys.stderr)
        return 2
    # What a worker, a peer or an edge leaves behind goes with this folder, however it ended.
    with tempfile.TemporaryDirectory(prefix="gatehouse-tests-", ignore_cleanup_errors=True) as folder:
        return run(groups, options, folder)


def run(groups, options, folder):
    jobs, results = queue.Queue(), queue.Queue()
    for group in groups:
        jobs.put(group)
    count = min(options.j, len(groups))
    start = time.monotonic()
    workers = [Worker(jobs, results, folder) for _ in range(count)]
    running, sums, failures, times = count, {"ok": 0, "FAIL": 0, "skip": 0}, [], []
    while running:
        result = results.get()
        if result["kind"] == "end":
            running -= 1
        elif result["kind"] == "dead":
            workers.append(Worker(jobs, results, folder))  # the next one takes over what is left
        else:
            label = result["name"] + (f" [{result['variant']}]" if result["variant"] else "")
            times.append((result["seconds"], label))
            sums[result["outcome"]] += 1
            reason = f": {result['detail']}" if result["outcome"] == "skip" else ""
            print(f"{result['outcome']:4} {result['seconds'] * 1000:7.0f} ms  {label}{reason}", flush=True)
            for line in result["notes"]:
                print(f"                  {line}", flush=True)
            if result["outcome"] == "FAIL":
                failures.append((label, result["detail"]))
    for label, detail in failures:
        lines = detail.rstrip("\n").split("\n")
        if not options.v and len(lines) > 60:
            lines = lines[:25] + [f"        … {len(lines) - 60} lines: see them with -v"] + lines[-35:]
        print(f"\n=== FAIL {label}\n" + "\n".join(lines))
    for seconds, label in sorted(times, reverse=True)[:options.slowest]:
        print(f"slow {seconds:6.2f} s  {label}")
    for worker in workers:
        worker.process.stdout.close()
    print(f"\nin {time.monotonic() - start:.1f} s")
    print(f"{sums['ok']} passed, {sums['FAIL']} failed, {sums['skip']} skipped")
    return 1 if sums["FAIL"] else 0
