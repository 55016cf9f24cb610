"""Byte streams with deadlines: TCP, and TLS over memory buffers, so that tests own every record and every close."""

import select
import socket
import ssl

from .wait import Deadline, Timeout


class Closed(AssertionError):
    """The other side closed the stream."""


def connect(address, source=None, seconds=None):
    """A non-blocking connected TCP socket."""
    deadline = Deadline(seconds)
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if source:
            sock.bind(source)
        sock.settimeout(max(0.01, deadline.left))
        sock.connect(address)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    except BaseException:
        sock.close()
        raise


class TCPStream:
    """A connected TCP socket. `read` returns octets, or b'' once the other side has closed."""

    secure = False

    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(False)
        self.local, self.remote = sock.getsockname(), sock.getpeername()
        #: How the other side closed: None while open, else 'fin', 'reset' or 'close_notify'.
        self.closed_by = None

    def fileno(self):
        return self.sock.fileno()

    @property
    def has_buffered(self):
        return False

    def _send(self, octets, deadline):
        view = memoryview(octets)
        while view:
            try:
                view = view[self.sock.send(view):]
            except BlockingIOError:
                if not select.select([], [self.sock], [], deadline.left)[1]:
                    raise Timeout(f"{self.remote} takes no octets") from None
            except (ConnectionResetError, BrokenPipeError) as error:
                self.closed_by = "reset"
                raise Closed(f"{self.remote} closed the connection") from error

    def _receive(self, deadline):
        """Raw octets; b'' at the end; None if nothing came within the deadline."""
        while True:
            try:
                octets = self.sock.recv(1 << 18)
            except BlockingIOError:
                if not select.select([self.sock], [], [], deadline.left)[0]:
                    return None
                continue
            except ConnectionResetError:
                self.closed_by = self.closed_by or "reset"
                return b""
            if not octets:
                self.closed_by = self.closed_by or "fin"
            return octets

    def write(self, octets, seconds=None):
        self._send(octets, Deadline(seconds))

    def read(self, deadline):
        return self._receive(deadline)

    def finish(self):
        """Closes the sending direction: FIN."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Aborts the connection: RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self):
        self.sock.close()


class TLSStream(TCPStream):
    """TLS on a TCP socket, as client or server."""

    secure = True

    def __init__(self, sock, context, server_name=None, server_side=False, session=None, seconds=None):
        super().__init__(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._in, self._out, server_side=server_side, server_hostname=server_name,
                                       session=session)
        self._handshake(Deadline(seconds))

    def _flush(self, deadline):
        octets = self._out.read()
        if octets:
            self._send(octets, deadline)

    def _fill(self, deadline):
        octets = self._receive(deadline)
        if octets is None:
            return None
        if octets:
            self._in.write(octets)
        else:
            self._in.write_eof()
        return octets

    def _handshake(self, deadline):
        while True:
            try:
                self.object.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush(deadline)
                if self._fill(deadline) is None:
                    raise Timeout(f"TLS handshake with {self.remote}: no answer") from None
            except ssl.SSLError:
                try:
                    self._flush(deadline)
                except Closed:
                    pass
                raise
        self._flush(deadline)

    @property
    def version(self):
        return self.object.version()

    @property
    def cipher(self):
        return self.object.cipher()[0]

    @property
    def peer_der(self):
        return self.object.getpeercert(binary_form=True)

    @property
    def has_buffered(self):
        return self.object.pending() > 0 or self._in.pending > 0

    def write(self, octets, seconds=None):
        """One call is one TLS record (up to 16 KiB)."""
        deadline = Deadline(seconds)
        for start in range(0, len(octets), 1 << 14):
            self.object.write(octets[start:start + (1 << 14)])
        self._flush(deadline)

    def read(self, deadline):
        while True:
            try:
                octets = self.object.read(1 << 18)
                if not octets:
                    self.closed_by = "close_notify"
                return octets
            except ssl.SSLWantReadError:
                self._flush(deadline)
                got = self._fill(deadline)
                if got is None:
                    return None
            except ssl.SSLZeroReturnError:
                self.closed_by = "close_notify"
                return b""
            except ssl.SSLEOFError:
                self.closed_by = self.closed_by or "fin"
                return b""
            except ssl.SSLError as error:
                self.closed_by = error.reason or "TLS error"
                return b""

    def finish(self):
        """Closes the sending direction: close_notify, without a FIN."""
        try:
            self.object.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            pass
        self._flush(Deadline())

    def close(self):
        if self.closed_by is None:
            try:
                self.finish()
            except (Closed, Timeout, OSError):
                pass
        super().close()


def client_context(authority=None, certificate=None, versions=None, ciphers=None, alpn=None):
    """A client's TLS settings. Without an authority any certificate is accepted; names are compared by the tests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if authority:
        context.load_verify_locations(authority)
    else:
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate.certificate, certificate.key)
    if versions:
        context.minimum_version, context.maximum_version = versions
    if ciphers:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def server_context(certificate, client_authority=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    if client_authority:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(client_authority)
    return context
