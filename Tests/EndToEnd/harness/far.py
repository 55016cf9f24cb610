"""A scripted peer outside, to which the edge connects: UDP, TCP and TLS on one address."""

import select
import socket

from . import addresses, pki, streams
from .core import Core
from .framing import Framer
from .wait import Deadline, Timeout


class Far(Core):
    """A server of a far domain. Each transport has a port, or is not there."""

    def __init__(self, udp=None, tcp=None, tls=None, pair=None, ip=None, name="far", client_authority=None):
        self._listeners, self.accepted, self.handshake_failures = {}, [], []
        super().__init__(ip or addresses.fresh(), udp=False, tcp=False, name=name)
        family = socket.AF_INET6 if ":" in self.ip else socket.AF_INET
        if udp:
            self.udp = socket.socket(family, socket.SOCK_DGRAM)
            self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            self.udp.bind((self.ip, udp))
            self.udp.setblocking(False)
        if tls:
            self._context = streams.server_context(pair or pki.authority().issue("far.example"), client_authority)
            self._context.sni_callback = self._note_server_name
        self._server_name = None
        for transport, port in (("TCP", tcp), ("TLS", tls)):
            if port:
                listener = socket.create_server((self.ip, port), family=family, backlog=64)
                listener.setblocking(False)
                self._listeners[listener] = transport
        port, transport = (udp, "udp") if udp else (tcp, "tcp") if tcp else (tls, "tls")
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        self.contact = f"sip:far@{host}:{port}" + ("" if transport == "udp" else f";transport={transport}")
        self.via_transport, self.sent_by = transport.upper(), f"{host}:{port}"

    def _note_server_name(self, connection, name, context):
        self._server_name = name

    @property
    def sockets(self):
        return super().sockets + list(self._listeners)

    def _pump(self, deadline):
        ready = select.select(self.sockets, [], [], deadline.left)[0]
        for sock in ready:
            if sock is self.udp:
                self._datagrams()
            elif sock in self._listeners:
                self._accept(sock)
            else:
                self._stream(sock)
                while sock in self.connections and sock.has_buffered:
                    self._stream(sock)  # another record came with the first
        return bool(ready)

    def _accept(self, listener):
        sock, source = listener.accept()
        if self._listeners[listener] == "TCP":
            self.accepted.append(("TCP", None))
            self.connections[streams.TCPStream(sock)] = Framer()
            return
        self._server_name = None
        try:
            stream = streams.TLSStream(sock, self._context, server_side=True)
        except (OSError, Timeout, streams.Closed) as error:
            self.handshake_failures.append(error)
            sock.close()
            return
        self.accepted.append(("TLS", self._server_name))
        self.connections[stream] = Framer()
        if stream.has_buffered:
            self._stream(stream)

    def request(self, method, uri, via=None, **options):
        """A request of ours over the newest connection of the edge's, or `via` that one."""
        stream = via or list(self.connections)[-1]
        message = self.build(method, uri, **options)
        self.calls.add(message.call_id)
        self.log_out(f"{stream.remote}", message.encode())
        stream.write(message.encode())
        return message

    def wait_connections(self, count, seconds=None):
        """Waits until the edge has opened so many connections (with TLS, shaken hands)."""
        deadline = Deadline(seconds)
        while len(self.accepted) < count:
            if not self._pump(deadline):
                raise Timeout(f"{self.name}: {len(self.accepted)} connections, not {count}")

    def close(self):
        super().close()
        for listener in self._listeners:
            listener.close()


class BlackHole:
    """A TCP port that lets connections hang: its queue of connections is full."""

    def __init__(self, ip=None, port=5060):
        self.ip, self.port = ip or addresses.fresh(), port
        family = socket.AF_INET6 if ":" in self.ip else socket.AF_INET
        self._listener = socket.create_server((self.ip, port), family=family, backlog=0)
        self._fillers = []
        for _ in range(4):
            filler = socket.socket(family, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex((self.ip, port))
            self._fillers.append(filler)

    def close(self):
        for sock in (self._listener, *self._fillers):
            sock.close()
