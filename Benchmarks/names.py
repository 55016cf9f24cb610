#!/usr/bin/env python3
"""What names cost: calls go through the edge while thousands of different names are resolved, one of two name servers dead.

    Benchmarks/names.py                    a quiet run and runs with bursts, as a table for docs/benchmarks.md
    Benchmarks/names.py --memory 1000000   resident memory over so many names, with an answer kept for each tenth of them

Needs the release binary, NSD and the load generator (BENCH_DIR, as compare.sh). Ports 5061, 5070, 5080 and 8061 of 127.0.0.1,
and 5300 and 5060 of the addresses below, must be free.
"""

import argparse
import glob
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "Tests", "EndToEnd"))
from harness.dnsdata import A  # noqa: E402
from harness.programs import NSD, missing  # noqa: E402

BINARY = os.environ.get("GATEHOUSE", os.path.join(HERE, "..", ".build", "release", "gatehouse"))
BENCH = os.environ.get("BENCH_DIR", os.path.join(HERE, "..", "..", "shared", "bench"))
ALIVE, DEAD, FAR, CORE = "127.77.0.1", "127.77.0.2", "127.77.0.3", "127.0.0.1"
EDGE_CORE = ("127.0.0.1", 5070)
DOMAINS = "d{0..9}.example.test"


def request(host, number, port):
    return (f"OPTIONS sip:x@{host} SIP/2.0\r\nVia: SIP/2.0/UDP {CORE}:{port};branch=z9hG4bKn{os.getpid()}x{number}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:a@d0.example.test>;tag=a\r\nTo: <sip:x@{host}>\r\n"
            f"Call-ID: {os.getpid()}-{number}@bench\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n").encode()


def play_far():
    """A peer outside that answers every request with 200."""
    os.nice(5)  # what is measured is the edge
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
    sock.bind((FAR, 5060))
    while True:
        octets, source = sock.recvfrom(1 << 16)
        rows = [row for row in octets.split(b"\r\n") if row[:4] in (b"Via:", b"From", b"Call", b"CSeq")]
        to = next(row for row in octets.split(b"\r\n") if row[:3] == b"To:")
        sock.sendto(b"\r\n".join([b"SIP/2.0 200 OK", *rows, to + b";tag=far", b"Content-Length: 0", b"", b""]), source)


def play_burst(names, rate, label, report):
    """The core: an OPTIONS to each of so many names, `rate` a second (0: at once), counted by what comes back.

    A label with a colon is followed by a port, so that a name costs two questions and not six.
    """
    label, colon, uri_port = label.partition(":")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
    sock.bind((CORE, 0))
    port, start, sent, waiting, answers = sock.getsockname()[1], time.monotonic(), 0, set(), {}
    last = start
    while (sent < names or waiting) and time.monotonic() - last < 40:
        room = names if rate == 0 else int((time.monotonic() - start) * rate)
        for _ in range(min(room - sent, names - sent, 50)):
            sock.sendto(request(f"n{sent}.{label}.names.example{colon}{uri_port}", sent, port), EDGE_CORE)
            waiting.add(sent)
            sent += 1
        sock.settimeout(0.001 if sent < names else 1)
        try:
            while True:
                octets = sock.recv(1 << 16)
                status = octets[8:11].decode()
                number = int(re.search(rb"Call-ID: \d+-(\d+)@", octets)[1])
                if status >= "200" and number in waiting:
                    waiting.remove(number)
                    answers[status] = answers.get(status, 0) + 1
                    last = time.monotonic()
                if sent < names:
                    sock.settimeout(0)
        except (TimeoutError, BlockingIOError):
            pass
    with open(report, "w") as file:
        json.dump({"answers": answers, "lost": len(waiting), "seconds": last - start}, file)


class Bench:
    def __init__(self, options, cache=None):
        self.folder = tempfile.mkdtemp(prefix="gatehouse-bench-")
        self.tools = os.path.join(BENCH, "sipload", "build")
        subprocess.run([f"{self.tools}/mkcerts", f"{self.folder}/certs", DOMAINS], check=True, stdout=subprocess.DEVNULL)
        star = {"*.names.example": [A(FAR, ttl=3600)]}
        self.nsd = NSD({"names.example": star}, ip=ALIVE)
        self.dead = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.dead.bind((DEAD, 5300))
        self.far = subprocess.Popen([sys.executable, __file__, "--far"])
        self.start(options, cache)

    def start(self, options, cache):
        servers = [f"{ALIVE}:5300"] if options.alive else [f"{DEAD}:5300", f"{ALIVE}:5300"]
        path = os.path.join(self.folder, "gatehouse.yaml")
        with open(path, "w") as file:
            file.write(f"edge: {{ name: bench, workers: {options.workers}, state_dir: {self.folder}/state, "
                       f"log: {{ level: warning }}, admin: {{ bind: 127.0.0.1:8061 }} }}\n"
                       "core: { bind: [udp:127.0.0.1:5070, tcp:127.0.0.1:5070], trusted: [127.0.0.1/32] }\n"
                       f"dns: {{ servers: [{', '.join(map(json.dumps, servers))}]"
                       + (f", cache: {cache}" if cache else "") + " }\ndomains:\n")
            for number in range(10):
                name = f"d{number}.example.test"
                file.write(f"  - name: {name}\n    tls: {{ bind: [127.0.0.1:5061], certificate: {self.folder}/certs/{name}.crt,"
                           f" private_key: {self.folder}/certs/{name}.key }}\n"
                           "    core: { kind: proxy, targets: [udp:127.0.0.1:5080], health: { interval: off } }\n"
                           "    limits: { connections_per_source: 100000, handshakes_per_second: 100000,"
                           " requests_per_second_per_source: 1000000 }\n")
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.edge = subprocess.Popen([BINARY, "run", "--config", path], stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 10
        while True:
            try:
                urllib.request.urlopen("http://127.0.0.1:8061/readyz", timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.edge.poll() is not None:
                    sys.exit("the edge did not start:\n" + open(self.log.name).read())
                time.sleep(0.05)

    def metrics(self):
        with urllib.request.urlopen("http://127.0.0.1:8061/metrics", timeout=5) as page:
            return {match[1]: float(match[2]) for match in re.finditer(r"(?m)^(\S+) ([0-9.]+)$", page.read().decode())}

    def calls(self, options, mark=None):
        report = os.path.join(self.folder, "run.json")
        done = subprocess.run(
            [f"{self.tools}/sipload", "calls", "--target", "127.0.0.1:5061", "--core", "127.0.0.1:5080", "--ca",
             f"{self.folder}/certs/ca.pem", "--domains", DOMAINS, "--connections", "100", "--rate", str(options.rate),
             "--count", str(options.rate * options.seconds), "--warmup", str(options.rate), "--dut-pid",
             str(self.edge.pid), "--json", report, *(["--mark", mark] if mark else [])],
            capture_output=True, text=True)
        with open(report) as file:
            result = json.load(file)
        return result, done

    def close(self):
        for process in (self.edge, self.far):
            process.kill()
            process.wait()
        self.nsd.close()
        self.dead.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def burst_command(names, rate, label, report):
    return f"{sys.executable} {os.path.abspath(__file__)} --burst {names} {rate} {label} {report}"


def run_calls(options):
    bench = Bench(options)
    rows, quiet = [], []
    try:
        for index in range(options.runs):
            for kind, rate in (("none", None), ("all at once", 0), ("2,000 a second", 2000)):
                report = os.path.join(bench.folder, "burst.json")
                mark = None if rate is None else burst_command(options.names, rate, f"r{index}-{rate}", report)
                if os.path.exists(report):
                    os.remove(report)
                result, done = bench.calls(options, mark)
                p99 = result["latency"]["p99_ms"]
                if rate is None:
                    quiet.append(p99)
                burst = ""
                if mark:
                    deadline = time.monotonic() + 60
                    while not os.path.exists(report) and time.monotonic() < deadline:
                        time.sleep(0.2)
                    with open(report) as file:
                        burst = json.load(file)
                rows.append((kind, result, burst, p99))
                print(kind, f"p99 {p99} ms", f"failed {result['failed']}", burst, file=sys.stderr)
        metrics = bench.metrics()
    finally:
        bench.close()
    base = statistics.median(quiet)
    print(f"\n| {options.names:,} names | INVITE→180 p50, ms | p99, ms | against quiet | failed calls | names answered in, s |")
    print("|---|---:|---:|---:|---:|---:|")
    for kind in dict.fromkeys(row[0] for row in rows):
        these = [row for row in rows if row[0] == kind]
        p50 = statistics.median(row[1]["latency"]["p50_ms"] for row in these)
        p99 = statistics.median(row[3] for row in these)
        failed = sum(row[1]["failed"] for row in these)
        took = statistics.median(row[2]["seconds"] for row in these) if these[0][2] else None
        print(f"| {kind} | {p50:.2f} | {p99:.2f} | {p99 / base:.2f} | {failed} | {took and f'{took:.1f}' or '–'} |")
    for name in ("gatehouse_dns_cache_entries", "process_resident_memory_bytes"):
        print(f"{name} {metrics.get(name):.0f}")


def run_memory(options):
    bench = Bench(options, cache=options.memory // 10)
    step = options.memory // 10
    print("\n| names so far | answers kept | resident memory, MB |\n|---:|---:|---:|")
    try:
        for index in range(11):
            if index:
                report = os.path.join(bench.folder, f"burst{index}.json")
                subprocess.run(burst_command(step, options.memory_rate, f"m{index}:5060", report), shell=True, check=True)
                with open(report) as file:
                    print(json.load(file), file=sys.stderr)
            metrics = bench.metrics()
            print(f"| {index * step:,} | {metrics['gatehouse_dns_cache_entries']:,.0f} | "
                  f"{metrics['process_resident_memory_bytes'] / 1e6:.1f} |", flush=True)
    finally:
        bench.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=500, help="calls a second")
    parser.add_argument("--seconds", type=int, default=20, help="of each run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", default="auto")
    parser.add_argument("--alive", action="store_true", help="without the dead server")
    parser.add_argument("--memory", type=int, metavar="NAMES")
    parser.add_argument("--memory-rate", type=int, default=4000, help="names a second")
    parser.add_argument("--far", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--burst", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.far:
        return play_far()
    if options.burst:
        os.nice(5)
        names, rate, label, report = options.burst
        return play_burst(int(names), int(rate), label, report)
    absent = missing("nsd") or (not glob.glob(os.path.join(BENCH, "sipload", "build", "sipload")) and ["sipload"])
    if absent:
        print(f"{', '.join(absent)} is not there: nothing is measured (BENCH_DIR, scripts/install.sh test)")
        return 0
    return run_memory(options) if options.memory else run_calls(options)


if __name__ == "__main__":
    sys.exit(main())
