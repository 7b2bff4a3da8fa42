"""The viewer: a server that gives out what is listed and no more, and a page that draws it in a real browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

import chromium
from commands import call_predictd
from predictd.errors import ConfigError, DataError, OutputError, TableError, TrackError
from predictd.io.tracks.serve import HOST, RangeServer, Served
from predictd.workflows.tracks.view import make_view
from refusals import refused
from track_server import serving

SIZE, BINS = 25, 8000


class TestServer:
    @pytest.fixture
    def content(self) -> bytes:
        return np.random.default_rng(0).bytes(700_000)

    @pytest.fixture
    def ask(self, content, tmp_path):
        (tmp_path / "a.bw").write_bytes(content)
        (tmp_path / "secret").write_text("secret")
        with serving({"/a b.bw": Served(tmp_path / "a.bw"), "/": Served(b"page", "text/html")}) as ask:
            yield ask

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
        "path", ["/secret", "/../secret", "/a%20b.bw/../secret", "/%2e%2e/secret", "//etc/passwd", "/a", "*"]
    )
    def test_nothing_else_is_served(self, ask, path):
        got = ask(path)
        assert (got.status, got.read()) == (404, b"")

    def test_files_that_have_gone(self, ask, tmp_path):
        (tmp_path / "a.bw").unlink()
        assert ask("/a%20b.bw").status == 404
        assert ask("/").read() == b"page"

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


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imputed tracks of three pairs, of which the first has a deviation and was observed; two chromosomes."""
    folder = tmp_path_factory.mktemp("tracks")

    def write(name: str, height: float) -> str:
        with pyBigWig.open(str(folder / name), "w") as out:
            out.addHeader([("chr1", BINS * SIZE), ("chr2", BINS * SIZE)])
            for chrom in ("chr1", "chr2"):
                wave = height * (1.2 + np.sin(np.arange(BINS) / 40))
                # The strongest signal: where the view begins.
                wave[6000:6100] *= 3 if chrom == "chr1" else 1
                out.addEntries(chrom, 0, values=wave, span=SIZE, step=SIZE)
        return name

    rows = ["cell_type\tassay\tpath\tsd_path", f"K562\tH3K4me3\t{write('a.bw', 5)}\t{write('sd.bw', 1)}"]
    rows += [f"K562\t{assay}\t{write(f'{assay}.bw', 5)}\t" for assay in ("H3K36me3", "H3K9me3")]
    (folder / "tracks.tsv").write_text("\n".join(rows) + "\n")
    (folder / "observed.tsv").write_text(f"cell_type\tassay\tpath\nK562\tH3K4me3\t{write('o.bw', 6)}\n")
    (folder / "regions.bed").write_text("chr1\t150000\t152000\tregion\n")
    return folder


class TestView:
    def test_what_the_page_is_told(self, tracks):
        view = make_view(tracks, observed=tracks / "observed.tsv", regions=[tracks / "regions.bed"])
        told = json.loads(view.served["/view.json"].content)
        assert (told["genome"], told["chromosomes"], view.n_pairs) == ("genome", ["chr1", "chr2"], 3)
        assert view.served["/genome.chrom.sizes"].content == b"chr1\t200000\nchr2\t200000\n"
        chrom, start, end = re.split("[:-]", told["locus"])
        assert chrom == "chr1" and int(start) < 150_000 < int(end)
        second = told["pairs"][1]
        assert (second["assay"], second["imputed"], second["sd"], second["observed"]) == (
            "H3K4me3",
            "imputed/1.bw",
            "sd/1.bw",
            "observed/1.bw",
        )
        assert view.served["/sd/1.bw"].content == tracks / "sd.bw"
        assert told["regions"] == [{"name": "regions.bed", "url": "regions/0/regions.bed"}]
        assert told["shown"] == [0, 1, 2]
        assert json.loads(make_view(tracks, pairs="K562:H3K4me3").served["/view.json"].content)["shown"] == [
            1
        ]

    def test_few_of_many_pairs_are_drawn_at_first(self, tracks, tmp_path):
        rows = [f"C{i // 20}\tA{i % 20}\t{i}.bw" for i in range(1000)]
        for i in range(1000):
            os.link(tracks / "a.bw", tmp_path / f"{i}.bw")
        (tmp_path / "tracks.tsv").write_text("\n".join(["cell_type\tassay\tpath", *rows]) + "\n")
        view = make_view(tmp_path)
        told = json.loads(view.served["/view.json"].content)
        assert (view.n_pairs, len(told["pairs"]), told["shown"]) == (1000, 1000, [0, 1, 2])

    def test_tracks_behind_urls_are_left_out(self, tracks, tmp_path, caplog):
        table = tmp_path / "o.tsv"
        table.write_text("cell_type\tassay\tpath\nK562\tH3K4me3\thttps://example.org/x.bw\n")
        view = make_view(tracks, observed=table)
        assert "1 tracks behind URLs are left out" in caplog.text
        assert "example.org" not in view.served["/view.json"].content.decode()

    @pytest.mark.parametrize(
        ("locus", "shown"),
        [
            ("chr1:1,001-2,000", "chr1:1001-2000"),
            ("chr2:1-200000", "chr2:1-200000"),
            (" chr1 ", "chr1"),
            ("chr1:150000", "chr1:149500-150500"),
            ("chr1:100", "chr1:1-600"),
        ],
    )
    def test_where_it_begins(self, tracks, locus, shown):
        assert json.loads(make_view(tracks, locus=locus).served["/view.json"].content)["locus"] == shown

    @pytest.mark.parametrize(
        ("locus", "parts"),
        [
            ("chr1:0-100", ["`locus` chr1:0-100 is not within chr1:1-200000", "counted from 1"]),
            ("chr1:5-200001", ["is not within chr1:1-200000"]),
            ("chr1:9-5", ["is not within chr1:1-200000"]),
            ("chr1:200001", ["is not within"]),
            ("1:5-9", ["have no chromosome '1', but 'chr1'"]),
            ("MYC", ["have no chromosome 'MYC', only chr1", "write a place, as chr1:1,000-2,000"]),
            ("chr1:5-9-12", ["have no chromosome 'chr1:5-9-12'"]),
            ("chr1:,-,", ["have no chromosome 'chr1:,-,'"]),
        ],
    )
    def test_where_it_cannot_begin(self, tracks, locus, parts):
        with refused(ConfigError, *parts):
            make_view(tracks, locus=locus)

    def test_what_is_refused(self, tracks, tmp_path):
        with refused(DataError, "`pairs` K562:x: ", "has no such track, e.g. K562:H3K36me3"):
            make_view(tracks, pairs="K562:x")
        with refused(TrackError, "hg19 gives chr1 249,250,621 bp, not 200,000", "of another genome?"):
            make_view(tracks, genome="hg19")
        with refused(TableError, "gone.bed does not exist", "`regions`"):
            make_view(tracks, regions=[tmp_path / "gone.bed"])
        with refused(TableError, "has no tracks.tsv"):
            make_view(tmp_path)
        with refused(TableError, "nowhere does not exist"):
            make_view(tmp_path / "nowhere")

    @chromium.needs_chromium
    def test_tracks_are_drawn_in_a_real_browser(self, tracks, tmp_path):
        view = make_view(
            tracks,
            observed=tracks / "observed.tsv",
            regions=[tracks / "regions.bed"],
            pairs="K562:H3K4me3,K562:H3K36me3",
        )
        with serving(view.served) as ask:
            page = chromium.look_at(ask.url, tmp_path)
        assert 'data-state="drawn"' in page.dom and 'data-tracks="3"' in page.dom
        # Refusals of what the page may not reach, and errors, would stand there.
        assert not page.console
        # Right of the list there are wide areas of each track's colours: the assay's, and those of the band around it.
        area = page.picture[:, 300:].reshape(-1, 3).astype(int)

        def covered(*colour: int) -> int:
            return int((np.abs(area - np.array(colour)).max(axis=1) <= 8).sum())

        assert covered(215, 25, 28) > 1000  # H3K4me3, imputed
        assert covered(235, 140, 142) > 1000  # plus its deviation
        assert covered(138, 43, 44) > 1000  # minus it
        assert covered(108, 13, 14) > 1000  # observed
        assert covered(0, 136, 55) > 1000  # H3K36me3
        assert covered(94, 60, 153) < 100  # H3K9me3 was not chosen


class TestCommand:
    def test_it_serves_until_it_is_told_to_stop(self, tracks, tmp_path):
        process = subprocess.Popen(
            [sys.executable, "-m", "predictd", "view", tracks],
            cwd=tmp_path,
            env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.match(rf"http://{HOST}:(\d+)/ shows 3 pairs of ", line)
            assert found, line
            connection = http.client.HTTPConnection(HOST, int(found[1]), timeout=20)
            connection.request("GET", "/")
            assert b"igv.min.js" in connection.getresponse().read()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
        assert (process.returncode, out, err) == (0, "", "")

    def test_errors_are_one_line(self, tracks, tmp_path):
        with socket.socket() as other:
            other.bind((HOST, 0))
            other.listen()
            done = call_predictd("view", tracks, "--port", other.getsockname()[1], cwd=tmp_path)
        assert done.returncode == 1 and not done.stdout
        assert re.fullmatch(r"predictd: error: port \d+ is taken; name another --port, .*\n", done.stderr)
