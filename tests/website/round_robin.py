"""One address before several servers: each new connection goes to the next of them."""

import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from itertools import cycle

_AT_ONCE_BYTES = 65_536
_MOST_CONNECTIONS = 16


@contextmanager
def in_turn(servers: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Listen on a free port of the loopback, and give its URL, until the block ends."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, cycle(servers)))
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket, servers: Iterator[tuple[str, int]]) -> None:
    with ThreadPoolExecutor(_MOST_CONNECTIONS) as connections:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            connections.submit(_join, client, socket.create_connection(next(servers)))


def _join(client: socket.socket, server: socket.socket) -> None:
    with client, server, ThreadPoolExecutor(1) as back:
        back.submit(_hand_on, server, client)
        _hand_on(client, server)


def _hand_on(source: socket.socket, sink: socket.socket) -> None:
    """Hand on what comes, and then that nothing more comes."""
    with suppress(OSError):
        while data := source.recv(_AT_ONCE_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
