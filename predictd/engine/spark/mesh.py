"""Sockets between the workers of a program, and from the driver to them.

Spark's own barrier takes a second for each exchange, since it polls; SGD meets several times a second. So the workers
tell each other through Spark only where they listen, and then exchange arrays over connections of their own.

Those of `multiprocessing.connection` would not do: a stranger who connects and says nothing keeps all others out, IPv6
is missing, and two workers took over four times as long to exchange 800 kB.
"""

from __future__ import annotations

import hmac
import secrets
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np

from predictd.engine.base import Array
from predictd.engine.meeting import GOES_ON, check_agreement
from predictd.errors import WorkerError

Address = tuple[str, int]

_CONNECT_SECONDS = 60.0
# A stranger at the door must not keep the others waiting.
_HANDSHAKE_SECONDS = 5.0
_NONCE_BYTES = 32
_PROOF_BYTES = 32
_LET_IN = b"\x01"
_RANK = struct.Struct(">I")
# What a worker says ahead of an exchange, and how many bytes it has for each.
_WORD = struct.Struct(">BQ")


class PeerLost(Exception):
    """A worker has gone without a word: Spark has to start all of them again."""


class Listener:
    """Where others that know the token may connect.

    Parameters
    ----------
    host
        Name or address of one of this machine's interfaces.
    token
        What all know who may take part.
    backlog
        How many may wait to be let in.
    """

    def __init__(self, host: str, token: bytes, *, backlog: int) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.bind(address)
            self._socket.listen(backlog)
        except OSError:
            self._socket.close()
            raise
        self._token = token
        self.address: Address = (host, self._socket.getsockname()[1])

    def accept(self, seconds: float | None) -> tuple[int, socket.socket]:
        """The next who knows the token: its rank and the connection.

        Raises
        ------
        OSError
            When nobody came in time, or the listener was closed.
        """
        self._socket.settimeout(seconds)
        while True:
            connection, _ = self._socket.accept()
            try:
                connection.settimeout(_HANDSHAKE_SECONDS)
                _prove(connection, self._token, own=b"listener", other=b"caller")
                (rank,) = _RANK.unpack(_receive(connection, _RANK.size))
                connection.sendall(_LET_IN)
            except (OSError, PeerLost):
                connection.close()
                continue
            return rank, _tuned(connection)

    def close(self) -> None:
        """Stop listening; whoever waits for a connection gets an error."""
        # A close alone does not wake a thread that waits in accept.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def connect(address: Address, token: bytes, rank: int) -> socket.socket:
    """Connect to a listener as a worker of some rank."""
    connection = socket.create_connection(address, timeout=_CONNECT_SECONDS)
    try:
        _prove(connection, token, own=b"caller", other=b"listener")
        connection.sendall(_RANK.pack(rank))
        # One that was taken for a stranger, on a machine too busy to answer in time, must know.
        _receive(connection, len(_LET_IN))
    except BaseException:
        connection.close()
        raise
    return _tuned(connection)


def _prove(connection: socket.socket, token: bytes, *, own: bytes, other: bytes) -> None:
    """Show the other side that one knows the token, and have it show that it does; the token does not travel."""
    challenge = secrets.token_bytes(_NONCE_BYTES)
    connection.sendall(challenge)
    asked = _receive(connection, _NONCE_BYTES)
    connection.sendall(hmac.digest(token, own + asked, "sha256"))
    if not hmac.compare_digest(
        _receive(connection, _PROOF_BYTES), hmac.digest(token, other + challenge, "sha256")
    ):
        raise PeerLost("the other side does not know the token")


def _receive(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = connection.recv(count - len(received))
        if not piece:
            raise PeerLost("the connection was closed")
        received += piece
    return bytes(received)


def _tuned(connection: socket.socket) -> socket.socket:
    """Small messages leave at once, and a host that vanished is noticed."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connection


class TcpLink:
    """One worker's connections to all others; see `Link`, with one thread a process.

    Ahead of each exchange all say whether they take part, as the ranks of MPI do: one that failed thereby ends the
    others, which would wait for it for ever.

    Parameters
    ----------
    rank, size
        Of this worker among the workers.
    listener
        Of this worker; it is closed when all others are connected.
    addresses
        Of all workers' listeners, by rank.
    token
        Of this program.
    """

    def __init__(
        self, rank: int, size: int, listener: Listener, addresses: list[Address], token: bytes
    ) -> None:
        self.rank = rank
        self.size = size
        self._over = False
        self._peers: dict[int, socket.socket] = {}
        try:
            # The lower ranks let in, the higher ones call: rank 0 only lets in, so that nobody waits in a circle.
            for peer in range(rank):
                self._peers[peer] = connect(addresses[peer], token, rank)
            while len(self._peers) < size - 1:
                peer, connection = listener.accept(_CONNECT_SECONDS)
                self._peers[peer] = connection
        except (OSError, PeerLost) as err:
            self.close()
            raise PeerLost(f"the workers do not reach each other: {err}") from err
        finally:
            listener.close()
        for connection in self._peers.values():
            connection.setblocking(False)

    def allgather(self, arrays: Array) -> Array:
        """See `Link.allgather`; every worker sends its array to all others."""
        self._agree(GOES_ON, arrays.nbytes)
        gathered = np.empty((self.size, *arrays.shape[1:]), arrays.dtype)
        gathered[self.rank] = arrays[0]
        own = _bytes(np.ascontiguousarray(arrays))
        self._swap(
            dict.fromkeys(self._peers, own),
            {peer: _bytes(gathered[peer : peer + 1]) for peer in self._peers},
        )
        return gathered

    def alltoall(self, arrays: Array) -> Array:
        """See `Link.alltoall`; each pair of workers exchanges two arrays."""
        self._agree(GOES_ON, arrays.nbytes)
        pieces = np.ascontiguousarray(arrays[0])
        received = np.empty_like(pieces)
        received[self.rank] = pieces[self.rank]
        self._swap(
            {peer: _bytes(pieces[peer : peer + 1]) for peer in self._peers},
            {peer: _bytes(received[peer : peer + 1]) for peer in self._peers},
        )
        return received[:, np.newaxis]

    def barrier(self) -> None:
        """Wait until all workers say that they go on."""
        self._agree(GOES_ON)

    def leave(self, how: int) -> None:
        """Say that this worker takes part no more, unless the end of another one has been its own."""
        if not self._over:
            self._agree(how)

    def close(self) -> None:
        """Close the connections to all other workers."""
        for connection in self._peers.values():
            connection.close()

    def _agree(self, own: int, n_bytes: int = 0) -> None:
        word = memoryview(_WORD.pack(own, n_bytes))
        heard = {peer: bytearray(_WORD.size) for peer in self._peers}
        self._swap(dict.fromkeys(self._peers, word), {peer: memoryview(said) for peer, said in heard.items()})
        words = [(own, n_bytes), *(_WORD.unpack(said) for said in heard.values())]
        states = [state for state, _ in words]
        self._over = max(states) > GOES_ON
        check_agreement(own, most=max(states), least=min(states))
        if len(set(words)) > 1 and not self._over:
            self._over = True
            raise WorkerError("the workers have arrays of different shapes to exchange")

    def _swap(self, outgoing: Mapping[int, memoryview], incoming: Mapping[int, memoryview]) -> None:
        """Send and receive at the same time, as the connections allow: nobody waits for room at another's end."""
        to_send, to_fill = dict(outgoing), dict(incoming)
        try:
            with selectors.DefaultSelector() as selector:
                for peer, connection in self._peers.items():
                    if events := _wanted(to_send[peer], to_fill[peer]):
                        selector.register(connection, events, peer)
                while selector.get_map():
                    for key, events in selector.select():
                        peer, connection = key.data, self._peers[key.data]
                        if events & selectors.EVENT_WRITE:
                            to_send[peer] = to_send[peer][connection.send(to_send[peer]) :]
                        if events & selectors.EVENT_READ:
                            count = connection.recv_into(to_fill[peer])
                            if not count:
                                raise PeerLost(f"worker {peer} has gone")
                            to_fill[peer] = to_fill[peer][count:]
                        still = _wanted(to_send[peer], to_fill[peer])
                        if not still:
                            selector.unregister(connection)
                        elif still != key.events:
                            selector.modify(connection, still, peer)
        except OSError as err:
            raise PeerLost(f"a connection broke: {err}") from err


def _wanted(to_send: memoryview, to_fill: memoryview) -> int:
    return (selectors.EVENT_WRITE if len(to_send) else 0) | (selectors.EVENT_READ if len(to_fill) else 0)


def _bytes(array: Array) -> memoryview:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


class Relay:
    """Where the driver passes the number of a stop signal on to the workers of a program.

    Parameters
    ----------
    bind, host
        Interface to listen at, and the name under which executors find it.
    token
        Of the program.
    """

    def __init__(self, bind: str, host: str, token: bytes) -> None:
        self._listener = Listener(bind, token, backlog=128)
        self.address: Address = (host, self._listener.address[1])
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._number = 0
        threading.Thread(target=self._let_in, name="predictd-relay", daemon=True).start()

    def tell(self, number: int) -> None:
        """Tell all workers, those too that come later, once."""
        with self._lock:
            if not self._number:
                self._number = number
                for connection in self._connections:
                    self._pass_on(connection)

    def close(self) -> None:
        """Stop listening and close all connections."""
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def _let_in(self) -> None:
        while True:
            try:
                _, connection = self._listener.accept(None)
            except OSError:
                return
            with self._lock:
                self._connections.append(connection)
                if self._number:
                    self._pass_on(connection)

    def _pass_on(self, connection: socket.socket) -> None:
        # Workers that have gone are Spark's to replace.
        with suppress(OSError):
            connection.sendall(bytes([self._number]))


def hear(connection: socket.socket, note: Callable[[int], None]) -> None:
    """Note in the background what the driver tells, until the connection is closed."""

    def wait() -> None:
        with suppress(OSError):
            if received := connection.recv(1):
                note(received[0])

    threading.Thread(target=wait, name="predictd-hear", daemon=True).start()
