"""Certificates, made by the `openssl` command as the tests run; none is ever stored."""

import os
import subprocess
import tempfile
import threading
import time

_config = """[req]
distinguished_name = name
prompt = no
[name]
CN = {cn}
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
{usage}
{names}
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
{extra}
[ca]
default_ca = files
[files]
database = {database}
serial = {database}.serial
new_certs_dir = {folder}
unique_subject = no
policy = any
default_md = sha256
default_crl_days = 30
[any]
commonName = supplied
"""


def openssl(*arguments, **options):
    done = subprocess.run(["openssl", *arguments], capture_output=True, **options)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Pair:
    """A certificate chain and its key, as files."""

    def __init__(self, certificate, key, authority=None):
        """`authority`: whose folder they are in, which lasts as long as it is referred to."""
        self.certificate, self.key, self.authority = certificate, key, authority

    @property
    def der(self):
        return openssl("x509", "-in", self.certificate, "-outform", "DER")

    @property
    def fingerprint(self):
        """SHA-256, upper case, colons."""
        text = openssl("x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256").decode()
        return text.strip().split("=", 1)[1]


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, name="Test Authority", parent=None, section="authority", extra=""):
        """`parent`: who certifies it; itself, unless given. `section` leaf: one that may not issue."""
        self._folder = tempfile.TemporaryDirectory(prefix="gatehouse-pki-")
        self.folder = self._folder.name
        self._count = 0
        self._cache = {}
        self._guard = threading.Lock()
        signer = parent.pair if parent else None
        self.pair = self._make(name, section, {}, "", signer, 3650, "ec", extra=extra)
        self.certificate, self.parent = self.pair.certificate, parent

    def _path(self, suffix):
        return os.path.join(self.folder, f"{self._count}.{suffix}")

    def _key(self, kind):
        path = self._path("key")
        if kind == "ec":
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
        else:
            openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{kind[3:]}", "-out", path)
        return path

    def _write_config(self, cn, usage="", names="", extra=""):
        path, database = self._path("cnf"), self._path("index")
        with open(path, "w") as file:
            file.write(_config.format(
                cn=cn, usage=f"extendedKeyUsage = {usage}" if usage else "", extra=extra,
                names=f"subjectAltName = {names}" if names else "", database=database, folder=self.folder))
        return path, database

    def _make(self, cn, section, alternatives, usage, signer, days, kind, digest="sha256", extra="", starts=None):
        # Serial numbers that no other authority uses: a parent's certificates may be made in several folders.
        self._count += 1
        serial = f"{int.from_bytes(os.urandom(7), 'big') | 1 << 52:X}"
        key, request, certificate = self._key(kind), self._path("csr"), self._path("pem")
        names = ",".join(f"{label}:{value}" for label, values in alternatives.items() for value in values)
        config, database = self._write_config(cn, usage, names, extra)
        openssl("req", "-new", "-key", key, "-config", config, "-out", request)
        extensions = ["-extfile", config, "-extensions", section]
        if starts is None:
            sign = ["-CA", signer.certificate, "-CAkey", signer.key] if signer else ["-signkey", key]
            openssl("x509", "-req", "-in", request, "-out", certificate, "-days", str(days), f"-{digest}", *extensions,
                    "-set_serial", "0x" + serial, *sign)
            return Pair(certificate, key, self)
        open(database, "w").close()
        with open(database + ".serial", "w") as file:
            file.write(serial if len(serial) % 2 == 0 else "0" + serial)
        openssl("ca", "-batch", "-notext", "-config", config, "-in", request, "-out", certificate, *extensions,
                "-cert", signer.certificate, "-keyfile", signer.key, "-startdate", _time(starts),
                "-enddate", _time(starts + days))
        return Pair(certificate, key, self)

    def issue(self, *names, days=365, kind="ec", usage="serverAuth,clientAuth", uris=(), ips=(), cn=None, starts=None,
              fresh=False, digest="sha256"):
        """A pair for DNS `names`; the same arguments give the same pair again, unless `fresh`.

        `starts`: days from now to when it is valid. The chain of an authority below another holds that one too.
        """
        arguments = (names, days, kind, usage, tuple(uris), tuple(ips), cn, starts, digest)
        with self._guard:
            if fresh or arguments not in self._cache:
                alternatives = {"DNS": names, "URI": uris, "IP": ips}
                pair = self._make(cn or (names[0] if names else "nobody"), "leaf", alternatives, usage, self.pair, days,
                                  kind, digest, starts=starts)
                if self.parent:
                    with open(pair.certificate, "a") as chain, open(self.certificate) as own:
                        chain.write(own.read())
                self._cache[arguments] = pair
            return self._cache[arguments]

    def self_signed(self, name):
        """A pair for a DNS name that its own key signed."""
        with self._guard:
            return self._make(name, "leaf", {"DNS": [name]}, "serverAuth", None, 365, "ec")

    def revoke(self, *pairs, days=30, starts=-1):
        """A revocation list with these pairs in it, valid from `starts` days from now for `days`; returns its path."""
        with self._guard:
            self._count += 1
            config, database = self._write_config("crl")
            with open(database, "w") as file:
                for pair in pairs:
                    serial = openssl("x509", "-in", pair.certificate, "-noout", "-serial").decode().strip().split("=")[1]
                    file.write(f"R\t{_time(3650)[2:]}\t{_time(-1)[2:]}\t{serial}\tunknown\t/CN=revoked\n")
            path = self._path("crl")
            openssl("ca", "-gencrl", "-config", config, "-cert", self.certificate, "-keyfile", self.pair.key,
                    "-crl_lastupdate", _time(starts), "-crl_nextupdate", _time(starts + days), "-out", path)
            return path


def _time(days):
    """So many days from now, as X.509 writes it."""
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


_authority = None


def authority():
    """The authority of this process."""
    global _authority
    if _authority is None:
        _authority = Authority()
    return _authority
