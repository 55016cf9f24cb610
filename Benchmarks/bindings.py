#!/usr/bin/env python3
"""What a million registrations cost: memory, the start, a look-up and a refresh, beside the same with a thousand.

    Benchmarks/bindings.py                      a thousand and a million, as a table for docs/benchmarks.md
    Benchmarks/bindings.py --counts 1000 50000

A phone registers through the edge; its row in bindings.sqlite is copied under other names, as often as asked for, and the edge is
started on that. Then the core sends requests to the phone (a look-up each), and the phone refreshes its registration. Needs the release
binary (GATEHOUSE_BIN).
"""

import argparse
import os
import sqlite3
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "Tests", "EndToEnd"))
from harness.site import Site  # noqa: E402
from harness.wait import Deadline, Timeout  # noqa: E402

DOMAIN, USER, HOST = "d0.example.test", "subscriber-{:07}", "10.{}.{}.{}"


def database(edge, mode="rw"):
    path = os.path.join(edge.folder, "state", "bindings.sqlite")
    return sqlite3.connect(f"file:{path}?mode={mode}", uri=True, timeout=30)


def rows(edge, minimum):
    """The rows on disk, once there are so many."""
    deadline = Deadline(10)
    while deadline.left > 0:
        with database(edge, "ro") as file:
            found = file.execute("SELECT * FROM bindings").fetchall()
        if len(found) >= minimum:
            return found
        time.sleep(0.05)
    raise Timeout("the registration did not get to the disk")


def fill(edge, row, count):
    """Copies of a row under other names; returns the bytes of their URIs."""
    uris = 0

    def copies():
        nonlocal uris
        for number in range(count):
            user = USER.format(number)
            host = HOST.format(number >> 16 & 255, number >> 8 & 255, number & 255)
            aor = f"{user}@{DOMAIN}".encode()
            contact = f"sip:{user}@{host}:5060;transport=tls".encode()
            uris += len(aor) + len(contact)
            key = int.from_bytes(os.urandom(8), "big", signed=True), int.from_bytes(os.urandom(8), "big", signed=True)
            yield (*key, row[2], aor, contact, *row[5:])

    with database(edge) as file:
        file.executemany(f"INSERT INTO bindings VALUES ({','.join('?' * len(row))})", copies())
    return uris


def resident(edge):
    with open(f"/proc/{edge.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu(edge):
    with open(f"/proc/{edge.process.pid}/stat") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(edge, times, action):
    """(median round trip in µs, CPU of the edge in µs) of an action."""
    taken, before = [], cpu(edge)
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[times // 2] * 1e6, (cpu(edge) - before) / times * 1e6


def run(count, times):
    site = Site({"log": {"level": "warning"}, "limits": {"bindings": max(count + 1000, 100_000)}})
    site.add(DOMAIN, "pbx", ("udp",), limits={"requests_per_second_per_source": 1_000_000})
    site.start()
    edge = site.edge
    try:
        core = site.core(DOMAIN)
        phone = site.phone(DOMAIN)
        phone.register(core, expires=86400)
        row = rows(edge, 1)[0]
        edge.stop()
        phone.close()
        uris = fill(edge, row, count)
        start = time.monotonic()
        edge.start(60)
        ready = time.monotonic() - start
        memory = resident(edge)
        assert edge.metric("gatehouse_bindings") == count + 1, "the edge did not take all rows"
        phone = site.phone(DOMAIN)
        seen, _ = phone.register(core, expires=86400)
        target = seen.contact.spec

        def look_up():
            sent = core.request("MESSAGE", target)
            phone.reply(phone.expect("MESSAGE", call_id=sent.call_id), 200)
            core.expect(200, call_id=sent.call_id)

        look_up()
        result = memory, uris, ready, measure(edge, times, look_up), measure(
            edge, times, lambda: phone.register(core, expires=86400))
        site.end_test()
        return result
    finally:
        site.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 1_000_000], help="registrations")
    parser.add_argument("--times", type=int, default=3000, help="look-ups and refreshes")
    options = parser.parse_args()
    empty = run(0, 1)[0]
    print(f"without registrations: {empty / 1e6:.1f} MB resident\n")
    print("| registrations | memory above the URIs, bytes each | ready after, s | look-up: round trip, µs | CPU, µs "
          "| refresh: round trip, µs | CPU, µs |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for count in options.counts:
        memory, uris, ready, look_up, refresh = run(count, options.times)
        each = f"{(memory - empty - uris) / count:.0f}" if count >= 100_000 else "–"
        print(f"| {count:,} | {each} | {ready:.2f} | {look_up[0]:.0f} | {look_up[1]:.0f} | {refresh[0]:.0f} | {refresh[1]:.0f} |",
              flush=True)


if __name__ == "__main__":
    main()
