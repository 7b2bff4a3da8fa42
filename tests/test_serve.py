"""The server of the viewer: it gives out what is listed and no more, to who has the token, whole or by ranges."""

from __future__ import annotations

import socket
from pathlib import Path
from unittest import mock
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from predictd.errors import OutputError
from predictd.io.tracks.serve import HOST, RangeServer, Served, open_in_browser
from refusals import refused
from track_server import serving


@pytest.fixture(scope="module")
def content() -> bytes:
    return np.random.default_rng(0).bytes(700_000)


@pytest.fixture(scope="module")
def served(content, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "a.bw").write_bytes(content)
    (folder / "secret").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def ask(served):
    with serving({"/a b.bw": Served(served / "a.bw"), "/": Served(b"page", "text/html")}) as ask:
        yield ask


class TestServer:
    @pytest.mark.parametrize(
        ("asked", "first", "end"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=100-299999", 100, 300_000),
            ("bytes=699990-", 699_990, 700_000),
            ("bytes=-7", 699_993, 700_000),
            ("bytes=-900000", 0, 700_000),
            ("bytes=10-9999999", 10, 700_000),
        ],
    )
    def test_ranges(self, ask, content, asked, first, end):
        got = ask("/a%20b.bw?x=1", Range=asked)
        assert (got.status, got.headers["Content-Range"]) == (206, f"bytes {first}-{end - 1}/700000")
        assert got.read() == content[first:end]

    @pytest.mark.parametrize("asked", ["bytes=700000-", "bytes=9-3", "bytes=-0"])
    def test_ranges_outside_of_the_file(self, ask, asked):
        got = ask("/a%20b.bw", Range=asked)
        assert (got.status, got.headers["Content-Range"], got.read()) == (416, "bytes */700000", b"")

    @pytest.mark.parametrize(
        "asked", [{}, {"Range": "bytes=0-1,5-6"}, {"Range": "lines=0-1"}, {"Range": "bytes=-"}]
    )
    def test_whole_files(self, ask, content, asked):
        got = ask("/a%20b.bw", **asked)
        assert (got.status, got.headers["Accept-Ranges"], got.read()) == (200, "bytes", content)

    def test_heads_have_no_body(self, ask):
        got = ask("/a%20b.bw", "HEAD")
        assert (got.status, got.headers["Content-Length"], got.read()) == (200, "700000", b"")

    @pytest.mark.parametrize(
        "path", ["/secret", "/../secret", "/a%20b.bw/../secret", "/%2e%2e/secret", "//etc/passwd", "/a", "/*"]
    )
    def test_nothing_else_is_served(self, ask, path):
        got = ask(path)
        assert (got.status, got.read()) == (404, b"")

    def test_files_that_have_gone(self, ask, served):
        (served / "a.bw").rename(served / "b.bw")
        assert ask("/a%20b.bw").status == 404
        assert ask("/").read() == b"page"
        (served / "b.bw").rename(served / "a.bw")

    @pytest.mark.parametrize(
        ("host", "status"),
        [
            ("localhost:9", 200),
            ("127.0.0.1", 200),
            ("[::1]:80", 200),
            ("example.org", 403),
            ("127.0.0.1.example.org:80", 403),
        ],
    )
    def test_only_this_machines_names(self, ask, host, status):
        assert ask("/", Host=host).status == status

    def test_without_the_token_everything_is_refused(self, ask):
        text = b"Open the whole address that predictd printed, with its token.\n"
        for path in ("/", "/a%20b.bw", "/secret", "//", "/?token=x", "/%2e%2e/secret", "//["):
            for before in ("", "/0", "/" + "0" * 48, "/%c3%a4", "/%ff"):
                for method in ("GET", "HEAD"):
                    got = ask(path, method, before=before, Range="bytes=0-9")
                    assert (got.status, got.read()) == (403, text if method == "GET" else b""), (path, before)

    def test_tokens_differ_and_are_not_told(self, ask):
        one, other = (RangeServer(0, {}) for _ in range(2))
        for server in (one, other):
            server.server_close()
        assert one.token != other.token and len(one.token) == 48 and one.url.endswith(f"/{one.token}/")
        # Where pages lead, nobody learns where from.
        assert ask("/").headers["Referrer-Policy"] == "no-referrer"
        token = ask.url.rstrip("/").rpartition("/")[2]
        # Part of a token is none.
        assert ask("/", before=f"/{token[:-1]}").status == ask("/", before=f"/{token}0").status == 403
        assert token not in str(ask("/", before="").headers)

    def test_the_address_without_its_last_slash(self, ask):
        got = ask("")
        assert (got.status, got.read()) == (302, b"") and ask.url.endswith(got.headers["Location"])

    def test_browsers_are_not_started_with_the_token(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setenv("HOME", str(tmp_path))
        with mock.patch("webbrowser.open") as opened, open_in_browser("http://127.0.0.1:1/token/"):
            (argument,) = opened.call_args.args
            assert "token" not in argument and argument.startswith("file://")
            page = Path(unquote(urlsplit(argument).path))
            assert "url=http://127.0.0.1:1/token/" in page.read_text() and page.stat().st_mode & 0o077 == 0
        assert not list(tmp_path.iterdir())
        monkeypatch.setenv("HOME", str(tmp_path / "gone"))
        with open_in_browser("http://127.0.0.1:1/token/"):
            assert "gone cannot be written into" in caplog.text and "open the address yourself" in caplog.text

    def test_pages_may_not_reach_out(self, ask):
        policy = ask("/").headers["Content-Security-Policy"]
        assert (
            "default-src 'none'" in policy
            and "connect-src 'self' data: blob:;" in policy
            and "http" not in policy
        )

    def test_nothing_can_be_written(self, ask):
        assert ask("/", "POST").status == 501

    def test_a_port_that_is_taken(self):
        with socket.socket() as other:
            other.bind((HOST, 0))
            other.listen()
            with refused(OutputError, f"port {other.getsockname()[1]} is taken", "another `port`"):
                RangeServer(other.getsockname()[1], {})
