"""Registrations on disk: what is lost when the process is killed, and what a disk does that fails."""

import os
import subprocess
import time
import unittest

from harness.case import EdgeTest
from harness.site import Site
from harness.wait import until

#: What docs/operations.md grants a process that is killed, in seconds.
GRANTED = 1.0


class Store(EdgeTest):
    """One edge a test: each takes its process or its disk away."""

    domain = "pbx-udp.example"

    @classmethod
    def setUpClass(cls):
        pass

    def setUp(self):
        self.site = Site({"log": {"level": "info", "format": "text"}})
        self.site.add(self.domain, limits={"requests_per_second_per_source": "unlimited"})
        self.prepare(self.site.edge)
        self.site.start()
        super().setUp()

    def prepare(self, edge):
        pass

    def let_go(self):
        pass

    def tearDown(self):
        try:
            super().tearDown()
        finally:
            try:
                self.edge.stop()
            finally:
                self.let_go()
                self.site.stop()

    @property
    def state(self):
        return os.path.join(self.edge.folder, "state")

    def register(self, phone, *users):
        """Registers users over one connection, all under way at once."""
        calls = {}
        for user in users:
            phone.aor, phone.contact = f"sip:{user}@{self.domain}", f"sip:{user}@192.0.2.7:49152"
            calls[phone.request("REGISTER", f"sip:{self.domain}", to=f"<{phone.aor}>",
                                headers=[("Expires", "600")]).call_id] = user
        for _ in users:
            self.core.reply_as_registrar(self.core.expect("REGISTER"))
        for _ in users:
            self.assertIn(phone.expect(200, "REGISTER").call_id, calls)

    def known(self):
        """The users whose registrations the edge knows."""
        items = self.edge.api("/api/bindings?limit=10000")[1]["items"]
        return {one["contact"].removeprefix("sip:").partition("@")[0] for one in items}

    def written(self, count):
        until(lambda: self.edge.metric("gatehouse_store_changes_total", outcome="written") == count,
              f"{count} changes to be on disk", pause=0.02)

    def restart(self):
        self.edge.kill()
        self.edge.start()


class Crash(Store):
    weight = 30

    def test_store_a_kill_loses_at_most_the_last_second(self):
        phones = [self.phone(f"line{number}", scheme="sip") for number in range(4)]
        began, acknowledged, batch, at_once = time.monotonic(), {}, 0, 10
        # For two seconds at least, so that the edge has written in between; 2,000 on a machine that has the time.
        while time.monotonic() - began < 2 or len(acknowledged) < 2000 and time.monotonic() - began < 8:
            users = [f"u{batch}x{number}" for number in range(at_once)]
            self.register(phones[batch % len(phones)], *users)
            for user in users:
                acknowledged[user] = time.monotonic()
            batch += 1
        killed = time.monotonic()
        self.restart()
        old = {user for user, when in acknowledged.items() if when < killed - GRANTED}
        self.assertGreater(len(old), 100)
        known = self.known()
        self.assertEqual(old - known, set(), f"of {len(acknowledged)}, {len(old)} of them old")
        self.assertLessEqual(known, set(acknowledged))

    def test_store_a_refresh_and_an_end_are_kept_too(self):
        phone = self.phone(scheme="sip")
        self.register(phone, "stays", "goes")
        self.written(2)
        phone.aor = phone.contact = f"sip:goes@{self.domain}"
        phone.contact = "sip:goes@192.0.2.7:49152"
        phone.register(self.core, expires=0)
        self.register(phone, "stays")
        self.written(4)
        self.restart()
        self.assertEqual(self.known(), {"stays"})


class TakenAway(Store):
    def test_store_a_file_that_is_deleted_is_put_back(self):
        phone = self.phone(scheme="sip")
        self.register(phone, "before")
        self.written(1)
        for name in os.listdir(self.state):
            if name.startswith("bindings.sqlite"):
                os.unlink(os.path.join(self.state, name))
        self.edge.wait_log("file of registrations was moved or deleted", after=self.log_mark)
        self.register(phone, "after")
        self.written(2)
        self.restart()
        self.assertEqual(self.known(), {"before", "after"})


class FullDisk(Store):
    """The state directory lies on a file system of its own, which has little room."""

    #: Room for all that waits in the end, once the filler has gone.
    size = 8 * 1024 * 1024

    def prepare(self, edge):
        os.makedirs(os.path.join(edge.folder, "state"), mode=0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.size}", "none", self.state], capture_output=True)
        if done.returncode != 0:
            edge.cleanup()
            raise unittest.SkipTest("a small file system takes the right to mount one")

    def let_go(self):
        subprocess.run(["umount", self.state], check=True)

    def test_store_a_full_disk_holds_nobody_up(self):
        phone = self.phone(scheme="sip")
        self.register(phone, "first")
        self.written(1)
        filler = os.path.join(self.state, "filler")
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 1024)
            except OSError:
                pass
        count = 0
        while not self.edge.metric("gatehouse_store_failures_total"):
            self.register(phone, *[f"u{count + number}" for number in range(10)])
            count += 10
            self.assertLess(count, 5000, "the disk took them all")
        self.edge.wait_log("registrations cannot be written to disk: they wait in memory", after=self.log_mark)
        self.register(phone, "during")
        self.assertEqual(len(self.known()), count + 2)
        failures = self.edge.metric("gatehouse_store_failures_total")
        until(lambda: self.edge.metric("gatehouse_store_failures_total") > failures + 1, "it to try again", pause=0.05)
        self.assertGreater(self.edge.metric("gatehouse_queue_depth", queue="store"), 0)
        told = [line for line in self.edge.log_since(self.log_mark) if "cannot be written to disk" in line]
        self.assertEqual(len(told), 1, told)
        self.assertIn("edge.state_dir is writable and its disk has room", told[0])
        os.unlink(filler)
        self.edge.wait_log("registrations are written to disk again", after=self.log_mark)
        self.written(count + 2)
        self.restart()
        self.assertEqual(len(self.known()), count + 2)
