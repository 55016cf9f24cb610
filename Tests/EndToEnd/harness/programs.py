"""Real peers as processes: dnsmasq, NSD, baresip, sipp, Kamailio. Each is stopped by its pid, with its test."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

from . import addresses, dnsdata
from .children import die_with_parent
from .wait import Deadline, Timeout, until

PEERS = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "peers"))


def missing(*names):
    """The programs among `names` that are not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in names if not shutil.which(name, path=path)]


def fill(name, **values):
    """The text of a file in peers/, with @NAME@ put to its value."""
    with open(os.path.join(PEERS, name)) as file:
        text = file.read()
    for key, value in values.items():
        text = text.replace(f"@{key.upper()}@", str(value))
    left = re.findall(r"@[A-Z_]+@", text)
    if left:
        raise ValueError(f"{name}: {left} not filled in")
    return text


class Program:
    """A process in a folder of its own, with what it printed."""

    def __init__(self, *command, environment=None, folder=None):
        self._folder = None if folder else tempfile.TemporaryDirectory(prefix="gatehouse-peer-")
        self.folder = folder or self._folder.name
        self.command, self.lines = command, []
        self._grew = threading.Condition()
        self.process = subprocess.Popen(
            command, cwd=self.folder, preexec_fn=die_with_parent, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", **(environment or {})})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._grew:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._grew.notify_all()

    @property
    def text(self):
        with self._grew:
            return "\n".join(self.lines)

    def wait_line(self, pattern, seconds=None, after=0):
        deadline, expression = Deadline(seconds), re.compile(pattern)
        with self._grew:
            while True:
                for line in self.lines[after:]:
                    if expression.search(line):
                        return line
                if deadline.passed:
                    raise Timeout(f"{self.command[0]}: no line like {pattern!r}\n" + "\n".join(self.lines[-40:]))
                self._grew.wait(min(0.5, deadline.left))

    def wait_exit(self, seconds=None):
        try:
            return self.process.wait(Deadline(seconds).left)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.command[0]} did not end\n{self.text[-3000:]}") from None

    def check_alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.command[0]} ended with {self.process.returncode}\n{self.text[-3000:]}")

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                pass
        # What it started goes with it: a child that is left holds the other end of the pipe that is read here.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self._reader.join(2)
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass
        if self._folder:
            self._folder.cleanup()


class NameServer(Program):
    """dnsmasq that knows the given records and no others."""

    def __init__(self, hosts=(), services=(), pointers=()):
        """`hosts`: (name, address); `services`: (service, target, port); `pointers`: NAPTR as dnsmasq writes it."""
        self.ip = addresses.fresh()
        options = [f"--host-record={name},{address}" for name, address in hosts]
        options += [f"--srv-host={service},{target},{port}" for service, target, port in services]
        options += [f"--naptr-record={pointer}" for pointer in pointers]
        super().__init__(
            "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=",
            "--pid-file=", "--bind-interfaces", f"--listen-address={self.ip}", "--log-facility=-", "--log-queries",
            "--no-daemon", *options)
        self.wait_line("started")


class NSD(Program):
    """NSD, authoritative for the zones given; it answers nothing else (REFUSED)."""

    port = 5300

    def __init__(self, zones, soa=None, ip=None):
        """`zones`: {zone: {owner: [records of dnsdata]}}. `soa`: of each zone."""
        self.ip = ip or addresses.fresh()
        self._own = folder = tempfile.mkdtemp(prefix="gatehouse-nsd-")
        lines = ["server:", f"  ip-address: {self.ip}@{self.port}", '  username: ""', '  chroot: ""', '  pidfile: ""',
                 f'  zonesdir: "{folder}"', f'  zonelistfile: "{folder}/zone.list"', f'  xfrdfile: "{folder}/xfrd.state"',
                 f'  xfrdir: "{folder}"', '  database: ""', "  server-count: 1", "  verbosity: 1",
                 "  rrl-ratelimit: 0", "  rrl-whitelist-ratelimit: 0",
                 "remote-control:", "  control-enable: no"]
        for zone, owners in zones.items():
            lines += ["zone:", f"  name: {zone}", f"  zonefile: {zone}.zone"]
            with open(os.path.join(folder, f"{zone}.zone"), "w") as file:
                file.write((soa or dnsdata.SOA()).line(zone) + f"\n{zone}. 300 IN NS ns.invalid.\n")
                for owner, records in owners.items():
                    file.writelines(record.line(owner) + "\n" for record in records)
        path = os.path.join(folder, "nsd.conf")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        super().__init__("nsd", "-d", "-c", path, folder=folder)
        self._zone = next(iter(zones))
        until(self._answers, "NSD to answer", pause=0.02)

    @property
    def endpoint(self):
        """As `dns.servers` has it."""
        return f"{self.ip}:{self.port}"

    def _answers(self):
        self.check_alive()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.2)
            sock.connect((self.ip, self.port))
            try:
                sock.send(b"\0\1\0\0\0\1\0\0\0\0\0\0" + dnsdata.name_octets(self._zone) + b"\0\6\0\1")
                return sock.recv(512)[:2] == b"\0\1"
            except OSError:
                return False

    def close(self):
        super().close()
        shutil.rmtree(self._own, ignore_errors=True)


class Baresip(Program):
    """A softphone without sound card, steered over its TCP control port."""

    def __init__(self, account, nameserver=None, authority=None, folder=None):
        folder = folder or tempfile.mkdtemp(prefix="gatehouse-baresip-")
        self._own = folder
        self.ip = addresses.fresh()
        with open(os.path.join(folder, "config"), "w") as file:
            file.write(fill("baresip.conf", ip=self.ip, modules=self.modules(),
                            dns=f"dns_server {nameserver.ip}:53" if nameserver else "",
                            authority=f"sip_cafile {authority}" if authority else ""))
        with open(os.path.join(folder, "accounts"), "w") as file:
            file.write(account + "\n")
        for name in ("contacts", "uuid"):
            with open(os.path.join(folder, name), "w") as file:
                file.write("" if name == "contacts" else "00000000-0000-4000-8000-000000000001")
        super().__init__("baresip", "-4", "-s", "-f", folder, folder=folder)
        self.wait_line("baresip is ready", 10)
        self.control = socket.create_connection((self.ip, 4444), 5)
        self.control.settimeout(0.2)
        self._pending, self.events = b"", []

    @staticmethod
    def modules():
        for folder in ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"):
            if os.path.isdir(folder):
                return folder
        raise FileNotFoundError("baresip's modules")

    def command_line(self, command, parameters=""):
        """Runs a command as typed at its prompt."""
        text = json.dumps({"command": command, "params": parameters, "token": "t"}).encode()
        self.control.sendall(b"%d:%s," % (len(text), text))

    def _receive(self):
        try:
            more = self.control.recv(1 << 16)
        except TimeoutError:
            return
        self._pending += more
        while True:
            size, colon, rest = self._pending.partition(b":")
            if not colon or len(rest) <= int(size):
                return
            self.events.append(json.loads(rest[:int(size)]))
            self._pending = rest[int(size) + 1:]

    def wait_registered(self, seconds=10):
        """By what it prints: its event may come before there is a control connection to tell it on."""
        self.wait_line(r"200 OK \(.*\) \[\d+ binding", seconds)

    def wait_event(self, kind, seconds=10):
        """The next event of that type (CALL_ESTABLISHED, …)."""
        deadline = Deadline(seconds)
        while True:
            while self.events:
                event = self.events.pop(0)
                if event.get("type") == kind:
                    return event
            if deadline.passed:
                raise Timeout(f"baresip: no {kind}\n{self.text[-4000:]}")
            self.check_alive()
            self._receive()

    def close(self):
        try:
            self.control.close()
        except AttributeError:
            pass
        super().close()
        shutil.rmtree(self._own, ignore_errors=True)


class Sipp(Program):
    """SIPp with a scenario from peers/."""

    def __init__(self, scenario, ip, *options, target=None, tcp=False, count=1, port=5060, **values):
        self.ip = ip
        folder = tempfile.mkdtemp(prefix="gatehouse-sipp-")
        self._own = folder
        path = os.path.join(folder, scenario)
        with open(path, "w") as file:
            file.write(fill(scenario, **values))
        arguments = ["sipp", "-sf", path, "-i", ip, "-p", str(port), "-m", str(count), "-nostdin", "-t",
                     "t1" if tcp else "u1", "-timeout", "30", "-timeout_error", "-trace_err", "-max_socket", "100",
                     *options]
        if target:
            arguments.append(target)
        super().__init__(*arguments, folder=folder, environment={"TERM": "dumb"})

    def wait_success(self, seconds=20):
        code = self.wait_exit(seconds)
        if code != 0:
            errors = ""
            for name in os.listdir(self.folder):
                if name.endswith("_errors.log"):
                    with open(os.path.join(self.folder, name), errors="replace") as file:
                        errors += file.read()[-3000:]
            raise AssertionError(f"sipp ended with {code}\n{errors}\n{self.text[-1500:]}")

    def close(self):
        super().close()
        shutil.rmtree(self._own, ignore_errors=True)


class Kamailio(Program):
    """Kamailio as registrar and proxy of a domain, behind the edge; or, by another file of peers/, something else."""

    def __init__(self, ip, domain, configuration="kamailio.cfg", port=5060, **values):
        folder = tempfile.mkdtemp(prefix="gatehouse-kamailio-")
        self._own, self._port = folder, port
        values = {"out": "sip:nobody@nowhere.invalid", "edge": "127.0.0.1", **values}
        path = os.path.join(folder, "kamailio.cfg")
        with open(path, "w") as file:
            file.write(fill(configuration, ip=ip, domain=domain, modules=self.modules(), **values))
        ready = self._answers if port == 5060 else self._listens
        # It forks a dozen processes, which now and then wait for one another for ever (5.6): then it gets another chance.
        for last in (False, True):
            super().__init__("kamailio", "-DD", "-E", "-f", path, "-m", "64", "-M", "8", "-Y", folder,
                             "-P", os.path.join(folder, "pid"), "--atexit=no", folder=folder)
            try:
                until(lambda: ready(ip), "Kamailio to be ready", seconds=20 if last else 8, pause=0.05)
                return
            except Timeout:
                if last:
                    raise
                super().close()

    def _listens(self, ip):
        self.check_alive()
        try:
            socket.create_connection((ip, self._port), 1).close()
            return True
        except OSError:
            return False

    def _answers(self, ip):
        """Whether each kind of its processes works: it refuses what has no hop left."""
        self.check_alive()
        for kind, name in ((socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")):
            with socket.socket(socket.AF_INET, kind) as sock:
                sock.settimeout(1)
                try:
                    sock.connect((ip, self._port))
                    own = "{}:{}".format(*sock.getsockname())
                    sock.send(f"OPTIONS sip:{ip} SIP/2.0\r\nVia: SIP/2.0/{name} {own};branch=z9hG4bKready;rport\r\n"
                              f"Max-Forwards: 0\r\nFrom: <sip:ready@{ip}>;tag=1\r\nTo: <sip:{ip}>\r\nCall-ID: {own}\r\n"
                              "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode())
                    if not sock.recv(4096).startswith(b"SIP/2.0 483"):
                        return False
                except OSError:
                    return False
        return True

    @staticmethod
    def modules():
        for folder in ("/usr/lib/x86_64-linux-gnu/kamailio/modules", "/usr/lib/aarch64-linux-gnu/kamailio/modules",
                       "/usr/lib64/kamailio/modules", "/usr/lib/kamailio/modules"):
            if os.path.isdir(folder):
                return folder + "/"
        raise FileNotFoundError("Kamailio's modules")

    def close(self):
        super().close()
        shutil.rmtree(self._own, ignore_errors=True)
