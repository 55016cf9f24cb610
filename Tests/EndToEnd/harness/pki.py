"""Certificates, made by the `openssl` command as the tests run; none is ever stored."""

import os
import subprocess
import tempfile
import threading

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
"""


def openssl(*arguments, **options):
    done = subprocess.run(["openssl", *arguments], capture_output=True, **options)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Pair:
    """A certificate chain and its key, as files."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

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

    def __init__(self, name="Test Authority"):
        self._folder = tempfile.TemporaryDirectory(prefix="gatehouse-pki-")
        self.folder = self._folder.name
        self._count = 0
        self._cache = {}
        self._guard = threading.Lock()
        self.pair = self._make(name, "authority", {}, "", None, 3650, "ec")
        self.certificate = self.pair.certificate

    def _path(self, suffix):
        return os.path.join(self.folder, f"{self._count}.{suffix}")

    def _key(self, kind):
        path = self._path("key")
        if kind == "ec":
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
        else:
            openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{kind[3:]}", "-out", path)
        return path

    def _make(self, cn, section, alternatives, usage, signer, days, kind, digest="sha256"):
        self._count += 1
        key, request, certificate = self._key(kind), self._path("csr"), self._path("pem")
        config = self._path("cnf")
        names = ",".join(f"{label}:{value}" for label, values in alternatives.items() for value in values)
        with open(config, "w") as file:
            file.write(_config.format(
                cn=cn, usage=f"extendedKeyUsage = {usage}" if usage else "",
                names=f"subjectAltName = {names}" if names else ""))
        openssl("req", "-new", "-key", key, "-config", config, "-out", request)
        sign = ["-CA", signer.certificate, "-CAkey", signer.key] if signer else ["-signkey", key]
        openssl("x509", "-req", "-in", request, "-out", certificate, "-days", str(days), f"-{digest}",
                "-extfile", config, "-extensions", section, "-set_serial", str(1000 + self._count), *sign)
        return Pair(certificate, key)

    def issue(self, *names, days=365, kind="ec", usage="serverAuth,clientAuth", uris=(), fresh=False, digest="sha256"):
        """A pair for DNS `names`; the same arguments give the same pair again, unless `fresh`."""
        arguments = (names, days, kind, usage, tuple(uris), digest)
        with self._guard:
            if fresh or arguments not in self._cache:
                alternatives = {"DNS": names, "URI": uris}
                self._cache[arguments] = self._make(
                    names[0] if names else "nobody", "leaf", alternatives, usage, self.pair, days, kind, digest)
            return self._cache[arguments]


_authority = None


def authority():
    """The authority of this process."""
    global _authority
    if _authority is None:
        _authority = Authority()
    return _authority
