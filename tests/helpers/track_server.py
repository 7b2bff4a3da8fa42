"""A server of tracks for a while, and what asks it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from predictd.io.tracks.serve import HOST, RangeServer, Served


@contextmanager
def serving(listed: dict[str, Served]) -> Iterator[Callable[..., http.client.HTTPResponse]]:
    """A server for a while; yields what asks it, with its token (`ask.url` is the page) unless another is given."""
    done = threading.Event()
    with RangeServer(0, listed) as server:
        thread = threading.Thread(target=server.serve_until, args=(done.is_set,))
        thread.start()

        def ask(
            path: str, method: str = "GET", *, before: str = f"/{server.token}", **headers: str
        ) -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection(HOST, server.server_address[1], timeout=20)
            connection.putrequest(method, before + path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            return connection.getresponse()

        ask.url = server.url  # type: ignore[attr-defined]
        try:
            yield ask
        finally:
            done.set()
            thread.join()
