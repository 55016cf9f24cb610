"""Starts and stops the gatehouse binary, and reads its log and its admin endpoint."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request

from . import addresses, yaml
from .children import die_with_parent
from .dns import DNSServer
from .wait import Deadline, Timeout

REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BINARY = os.environ.get("GATEHOUSE_BIN") or os.path.join(REPOSITORY, ".build", "release", "gatehouse")
#: Event loops of each edge; more than one, so that messages cross from loop to loop.
WORKERS = int(os.environ.get("GATEHOUSE_TEST_WORKERS", "2"))
CRASH = re.compile(r"Fatal error|Precondition failed|Program crashed|Swift runtime failure|Illegal instruction"
                   r"|Segmentation fault|AddressSanitizer|ThreadSanitizer|SWIFT TASK CONTINUATION MISUSE")


class EdgeFailed(AssertionError):
    """The process did not start, died, or logged a crash."""


class Edge:
    """One gatehouse process with its folder, addresses and configuration.

    `configuration` is a dictionary; `edge.admin`, `edge.state_dir`, `edge.secret_file` and `core.bind` are filled in, and
    `dns.servers` where the test asked for `dns` before the start.
    """

    def __init__(self, configuration, outside=None, core=None):
        self._folder = tempfile.TemporaryDirectory(prefix="gatehouse-edge-")
        self.folder = self._folder.name
        #: Where devices connect, and where cores do.
        self.outside, self.core = outside or addresses.fresh(), core or addresses.fresh()
        self.admin = f"{self.outside}:8061"
        self.configuration = configuration
        self.process, self.lines, self._grew = None, [], threading.Condition()
        self._reader, self._seen_crash, self._dns = None, None, None

    # Addresses.

    @property
    def tls(self):
        return (self.outside, 5061)

    @property
    def core_address(self):
        return (self.core, 5060)

    @property
    def dns(self):
        """This edge's own scripted name server, which runs from the first time that it is asked for."""
        if self._dns is None:
            if self.process is not None:
                raise EdgeFailed("ask for its name server before the edge is started")
            self._dns = DNSServer()
        return self._dns

    def forget(self):
        """Lets its name server forget what a test told it and asked of it."""
        if self._dns is not None:
            self._dns.reset()

    # Configuration.

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def config_path(self):
        return self.path("gatehouse.yaml")

    def write(self, configuration=None, text=None):
        """Writes the configuration file; `text` as it is, a dictionary with the common keys filled in."""
        if configuration is not None:
            self.configuration = configuration
        if text is None:
            whole = dict(self.configuration)
            edge = {"name": "edge-test", "workers": WORKERS, "secret_file": "state/secret", "state_dir": "state",
                    "admin": {"bind": self.admin}, "log": {"level": "debug", "format": "text"}, "drain": "200ms"}
            edge.update(whole.get("edge", {}))
            core = {"bind": [f"udp:{self.core}:5060", f"tcp:{self.core}:5060"]}
            core.update(whole.get("core", {}))
            whole.pop("edge", None)
            whole.pop("core", None)
            if self._dns is not None:
                whole["dns"] = {"servers": [self._dns.endpoint], **whole.get("dns", {})}
            text = yaml.dump({"edge": edge, "core": core, **whole})
        with open(self.config_path, "w") as file:
            file.write(text)
        return text

    def install(self, pair, name):
        """Copies a certificate pair into the folder; returns (certificate, private_key) as relative paths."""
        names = (f"{name}.pem", f"{name}.key")
        shutil.copyfile(pair.certificate, self.path(names[0]))
        shutil.copyfile(pair.key, self.path(names[1]))
        return names

    # Process.

    def start(self, seconds=None, ready=True):
        if not os.path.exists(self.config_path):
            self.write()
        self.process = subprocess.Popen(
            [BINARY, "run", "--config", self.config_path], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        if ready:
            self.wait_ready(seconds)
        return self

    def _read(self, process):
        for line in process.stdout:
            text = line.decode(errors="replace").rstrip("\n")
            with self._grew:
                self.lines.append(text)
                if CRASH.search(text) and not self._seen_crash:
                    self._seen_crash = text
                self._grew.notify_all()
        with self._grew:
            self._grew.notify_all()

    def wait_ready(self, seconds=None):
        deadline = Deadline(seconds if seconds is not None else 10)
        while True:
            self.check_alive()
            try:
                if self.http("/readyz")[0] == 200:
                    return self
            except OSError:
                pass
            if deadline.passed:
                raise EdgeFailed(f"not ready within the deadline\n{self.tail()}")
            with self._grew:
                self._grew.wait(min(0.02, deadline.left))

    def check_alive(self):
        if self.process is None:
            raise EdgeFailed("never started")
        if self._seen_crash:
            raise EdgeFailed(f"crashed: {self._seen_crash}\n{self.tail(60)}")
        code = self.process.poll()
        if code is not None:
            self._reader.join(2)
            raise EdgeFailed(f"the process ended with {code}\n{self.tail(60)}")

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, seconds=None):
        """Waits for the end; returns the exit status."""
        try:
            code = self.process.wait(Deadline(seconds).left)
        except subprocess.TimeoutExpired:
            raise Timeout(f"the process did not end\n{self.tail()}") from None
        self._reader.join(2)
        return code

    def stop(self):
        """SIGTERM twice: drain, then stop. Fails if the process had crashed or does not go."""
        if self.process is None:
            return
        try:
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
                try:
                    self.process.wait(0.6)
                except subprocess.TimeoutExpired:
                    self.signal(signal.SIGTERM)
            code = self.wait_exit(8)
            if code != 0 or self._seen_crash:
                raise EdgeFailed(f"ended with {code} after SIGTERM\n{self.tail(60)}")
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.process = None

    def kill(self):
        """SIGKILL, as in a power cut."""
        self.process.kill()
        self.process.wait()
        self._reader.join(2)
        self.process.stdout.close()
        self.process = None

    def cleanup(self):
        if self._dns is not None:
            self._dns.close()
            self._dns = None
        self._folder.cleanup()

    # Log.

    def tail(self, count=30):
        with self._grew:
            return "\n".join("    log: " + line for line in self.lines[-count:])

    def mark(self):
        """A position in the log, for `wait_log(after=…)`."""
        with self._grew:
            return len(self.lines)

    def wait_log(self, pattern, after=0, seconds=None):
        """The first log line after `after` that matches."""
        deadline, expression, index = Deadline(seconds), re.compile(pattern), after
        with self._grew:
            while True:
                while index < len(self.lines):
                    if expression.search(self.lines[index]):
                        return self.lines[index]
                    index += 1
                if deadline.passed:
                    raise Timeout(f"no log line like {pattern!r}")
                self._grew.wait(deadline.left)

    def log_since(self, mark):
        with self._grew:
            return self.lines[mark:]

    # Admin endpoint.

    def http(self, path, method="GET", seconds=3):
        """(status, body) of a request to the admin endpoint."""
        request = urllib.request.Request(f"http://{self.admin}{path}", method=method,
                                         data=b"" if method == "POST" else None)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def api(self, path, method="GET"):
        status, body = self.http(path, method)
        return status, json.loads(body) if body.strip() else None

    def metrics(self):
        """Every sample of /metrics: {(name, frozenset of label pairs): value}."""
        status, body = self.http("/metrics")
        assert status == 200, f"/metrics answers {status}"
        samples = {}
        for line in body.splitlines():
            if not line or line.startswith("#"):
                continue
            match = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: [0-9]+)?", line)
            if not match:
                raise AssertionError(f"/metrics: not a sample: {line!r}")
            labels = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', match[2] or "")
            samples[(match[1], frozenset(labels))] = float(match[3])
        return samples

    def metric(self, name, **labels):
        """The sum of the samples of `name` whose labels include `labels`; None if there is none."""
        wanted = set((key, str(value)) for key, value in labels.items())
        found = [value for (key, have), value in self.metrics().items() if key == name and wanted <= have]
        return sum(found) if found else None


def run_command(*arguments, seconds=20, cwd=None):
    """Runs `gatehouse …` to its end: (exit status, standard output, standard error)."""
    done = subprocess.run([BINARY, *arguments], capture_output=True, timeout=seconds, cwd=cwd,
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
