"""Files over HTTP on the loopback interface, whole or by ranges: only those that are listed, to who has the token."""

from __future__ import annotations

import errno
import hmac
import logging
import re
import secrets
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import unquote

from predictd.errors import OutputError

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
# What a page of ours may do: run its own scripts and talk to this server, and nothing else.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
_PIECE = 2**18
_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
# Bytes of the token: as many as Jupyter's.
_TOKEN = 24
_NO_TOKEN = b"Open the whole address that predictd printed, with its token.\n"


@dataclass(frozen=True)
class Served:
    """What is served at a path.

    Attributes
    ----------
    content
        The bytes, or the file that holds them.
    kind
        Media type.
    """

    content: bytes | Path
    kind: str = "application/octet-stream"


class RangeServer(ThreadingHTTPServer):
    """Serves what is listed below a random token, a thread a connection.

    Every user of a machine reaches its loopback interface: who does not know the token is refused, whatever the path.
    It is first in the path, so that what a page asks for, relative to its own address, has it.

    Parameters
    ----------
    port
        To listen at; 0: any that is free.
    listed
        What is served, by path; `/` is the start page.

    Raises
    ------
    OutputError
        If the port is taken or may not be used.
    """

    daemon_threads = True

    def __init__(self, port: int, listed: Mapping[str, Served]) -> None:
        self.listed = listed
        self.token = secrets.token_hex(_TOKEN)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as err:
            what = "is taken" if err.errno == errno.EADDRINUSE else f"cannot be used ({err.strerror})"
            raise OutputError(
                f"port {port} {what}; name another `port`, or leave it out to get any free one"
            ) from err

    @property
    def url(self) -> str:
        """Address of the start page, with the port that was taken and the token."""
        return f"http://{HOST}:{self.server_address[1]}/{self.token}/"

    def serve_until(self, stop: Callable[[], bool]) -> None:
        """Answer requests until asked to stop, which is looked at a few times a second."""
        self.timeout = 0.2
        while not stop():
            self.handle_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers hang up when the user scrolls on; that is no error."""


@contextmanager
def open_in_browser(url: str) -> Iterator[None]:
    """Open an address that holds a token in the user's browser.

    The browser is started with a file that leads there, and only this user may read, for as long as the context lasts:
    every user of a machine sees the arguments of its processes. It lies in the home directory, since browsers in
    sandboxes do not see the system's temporary one.
    """
    with ExitStack() as stack:
        try:
            page = stack.enter_context(
                NamedTemporaryFile(
                    "w", prefix="predictd-view-", suffix=".html", dir=Path.home(), encoding="utf-8"
                )
            )
            page.write(
                f'<!DOCTYPE html>\n<meta http-equiv="refresh" content="0; url={url}">\n<a href="{url}">{url}</a>\n'
            )
            page.flush()
        except OSError as err:
            log.warning(
                "%s cannot be written into (%s): open the address yourself", Path.home(), err.strerror
            )
        else:
            webbrowser.open(Path(page.name).as_uri())
        yield


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Seconds that an idle connection may stay open.
    timeout = 60
    # A body does not wait until the client has acknowledged its headers, which takes 40 ms.
    disable_nagle_algorithm = True
    server: RangeServer

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        # A page from elsewhere whose name was bound to this machine must not read what is here.
        host = self.headers.get("Host", "")
        local = (host if host.endswith("]") else host.rpartition(":")[0] or host) in _LOCAL_NAMES
        token, slash, path = unquote(self.path.partition("?")[0]).removeprefix("/").partition("/")
        # Compared in constant time, and always, so that the time of an answer tells nothing.
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode())
        if not (local and known):
            self._refuse(HTTPStatus.FORBIDDEN, content=_NO_TOKEN if local and body else b"")
            return
        if not slash:
            self._refuse(HTTPStatus.FOUND, {"Location": f"/{token}/"})
            return
        served = self.server.listed.get(f"/{path}")
        if served is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            size = len(served.content) if isinstance(served.content, bytes) else served.content.stat().st_size
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            wanted = _parse_range(self.headers.get("Range"), size)
        except ValueError:
            self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
            return
        first, end = wanted or (0, size)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK)
        self._send_headers(
            {
                "Content-Type": served.kind,
                "Content-Length": str(end - first),
                "Accept-Ranges": "bytes",
                **({"Content-Range": f"bytes {first}-{end - 1}/{size}"} if wanted else {}),
            }
        )
        if body:
            self._send(served.content, first, end)

    def _send(self, content: bytes | Path, first: int, end: int) -> None:
        if isinstance(content, bytes):
            self.wfile.write(content[first:end])
            return
        with content.open("rb", buffering=0) as file:
            file.seek(first)
            left = end - first
            while left > 0 and (piece := file.read(min(left, _PIECE))):
                self.wfile.write(piece)
                left -= len(piece)
            # Cut short meanwhile: the client must not wait for the rest.
            self.close_connection = self.close_connection or left > 0

    def _refuse(
        self, status: HTTPStatus, headers: Mapping[str, str] | None = None, *, content: bytes = b""
    ) -> None:
        self.send_response(status)
        self._send_headers(
            {"Content-Type": "text/plain", "Content-Length": str(len(content)), **(headers or {})}
        )
        self.wfile.write(content)

    def _send_headers(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a browser asks thousands of times."""

    def version_string(self) -> str:
        return "predictd"


def _parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and end of the one range that is asked for; None: the whole, also where several are asked for.

    Raises
    ------
    ValueError
        If it lies outside of the file.
    """
    match = _RANGE.match(header.strip()) if header else None
    if match is None or match.group(0) == "bytes=-":
        return None
    low, high = match.groups()
    first = int(low) if low else max(0, size - int(high))
    end = min(size, int(high) + 1) if low and high else size
    if not first < end:
        raise ValueError("outside of the file")
    return first, end
