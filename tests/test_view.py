"""What the viewer shows at first, and its page in a real browser."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pytest

import chromium
from commands import call_predictd
from predictd.errors import ConfigError, DataError, TableError, TrackError
from predictd.io.tables import read_tracks
from predictd.io.tensor.manifest import SourceFile, read_manifest
from predictd.io.tracks.genomes import Genome, built_in_blacklist, load_genome
from predictd.io.tracks.serve import HOST
from predictd.pairs import Experiment
from predictd.workflows.tracks.beginning import first_pairs, strongest
from predictd.workflows.tracks.view import make_view
from refusals import refused
from track_server import serving

SIZE, BINS = 25, 8000


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


def write_wave(path: Path, height: float) -> Path:
    """A bigWig of one chromosome, everywhere of this height."""
    with pyBigWig.open(str(path), "w") as out:
        out.addHeader([("chr1", 100_000)])
        out.addEntries("chr1", 0, values=np.full(100, float(height)), span=1000, step=1000)
    return path


def told_of(*arguments: Any, **settings: Any) -> dict[str, Any]:
    """What the page is told by `make_view`."""
    return json.loads(make_view(*arguments, **settings).served["/view.json"].content)


def write_track(path: Path, lengths: dict[str, int], peaks: list[tuple[str, int, float]]) -> str:
    """A bigWig of 1 in bins of 1 kb, but for peaks: chromosome, start, height; chromosomes without any are left out."""
    with pyBigWig.open(str(path), "w") as out:
        out.addHeader(list(lengths.items()))
        for chrom in dict.fromkeys(chrom for chrom, _, _ in peaks):
            values = np.ones(lengths[chrom] // 1000)
            for where, start, height in peaks:
                if where == chrom:
                    values[start // 1000 : start // 1000 + 20] = height
            out.addEntries(chrom, 0, values=values, span=1000, step=1000)
    return str(path)


class TestBeginning:
    def test_the_pairs(self):
        def kinds(*names: str) -> dict[str, str]:
            return dict.fromkeys(names, "x.bw")

        a, b, c, d, e = (
            Experiment(*text.split(":")) for text in ("C1:A1", "C1:A2", "C2:A1", "C2:A2", "C3:A3")
        )
        both = kinds("imputed", "sd", "observed")
        assert first_pairs({a: kinds("imputed"), d: both, b: both, c: kinds("observed")}) == [b, d]
        assert first_pairs(dict.fromkeys((e, d, c, b), both)) == [b, c, d]
        assert first_pairs({b: kinds("imputed"), a: kinds("imputed")}) == [a, b]
        # None was observed: beside them is the same assay in another cell type, else another assay in the same.
        observed = {c: kinds("observed"), d: kinds("observed"), Experiment("C3", "A9"): kinds("observed")}
        assert first_pairs({b: kinds("imputed"), e: kinds("imputed"), **observed}) == [b, d, e, ("C3", "A9")]
        assert first_pairs({e: kinds("imputed"), a: kinds("observed")}) == [e]

    def test_the_place(self, tmp_path):
        lengths = {"chr1": 2_000_000, "chr2": 1_000_000}

        def place(*tracks: list[tuple[str, int, float]], genome: Genome | None = None) -> str:
            paths = [write_track(tmp_path / f"{i}.bw", lengths, peaks) for i, peaks in enumerate(tracks)]
            return strongest(paths, lengths, genome)

        low, high, alone = ("chr1", 400_000, 5), ("chr2", 600_000, 50), ("chr1", 1_500_000, 900)
        assert place([low, high]) == "chr2:580000-630000"
        # Where all have signal, and not where one has most.
        assert place([low, high, alone], [low, ("chr2", 100_000, 3)]) == "chr1:380000-430000"
        # Of chromosomes that a track lacks, those of the others do not count.
        assert place([low, high], [low]) == "chr1:380000-430000"
        # None in common: where one has signal.
        assert place([low], [high]) in ("chr1:380000-430000", "chr2:580000-630000")
        # At the end of a chromosome, and without any signal.
        assert place([("chr2", 980_000, 9)]) == "chr2:960000-1000000"
        assert place([("chr2", 0, 1)]).startswith("chr2:1-")

    def test_artefacts_are_no_signal(self, tmp_path):
        hg19 = load_genome("hg19")
        chrom, start, end = "chr1", 564_000, 570_000
        assert any(
            one.chrom == chrom and one.start < end and one.end > start for one in built_in_blacklist(hg19)
        )
        lengths = {chrom: hg19.chromosomes[chrom]}
        path = write_track(tmp_path / "a.bw", lengths, [(chrom, 560_000, 900), (chrom, 100_000_000, 9)])
        assert strongest([path], lengths, hg19) == "chr1:99980000-100030000"
        assert strongest([path], lengths, None) == "chr1:540000-590000"


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
        # What is imputed beside what was observed; without observed tracks, the first.
        assert (told["shown"], told["what"], told["genes"]) == ([1], "imputed", [])
        alone = told_of(tracks)
        assert (alone["shown"], alone["what"]) == ([0, 1, 2], "imputed")
        assert told_of(tracks, pairs="K562:H3K9me3,K562:H3K4me3")["shown"] == [2, 1]
        assert told_of(tracks / "a.bw")["what"] == "signal"

    def test_observed_tracks_of_the_tensor(self, data, tensor_path, tmp_path):
        read = read_tracks(data / "tracks.tsv")
        rows = [f"{track.experiment.cell_type}\t{track.experiment.assay}\t{track.path}" for track in read[:3]]
        (tmp_path / "tracks.tsv").write_text("\n".join(["cell_type\tassay\tpath", *rows]) + "\n")
        results = {"tensor": str(tensor_path), "genome": "g", "bin_size": 25}
        (tmp_path / "run.json").write_text(json.dumps({"results": results}))
        told = told_of(tmp_path)
        assert sum("observed" in pair for pair in told["pairs"]) == len(read) == len(told["pairs"])
        assert len(told["shown"]) == 3 and all("imputed" in told["pairs"][index] for index in told["shown"])
        # Others are taken where they are named, and none where the tensor has gone.
        named = told_of(tmp_path, observed=Path(read[0].path))
        assert sum("observed" in pair for pair in named["pairs"]) == 1
        results["tensor"] = str(tmp_path / "gone")
        (tmp_path / "run.json").write_text(json.dumps({"results": results}))
        assert not any("observed" in pair for pair in told_of(tmp_path)["pairs"])

    def test_observed_tracks_that_have_changed_are_left_out(self, own_tensor, tracks, tmp_path):
        manifest = read_manifest(own_tensor)
        whole, other = (tracks / "o.bw", (tracks / "o.bw").stat().st_size), (tracks / "a.bw", 1)
        sources = [
            tuple(SourceFile(path=str(path), bytes=size, sha256="0" * 64) for path, size in files)
            for files in ([whole], [other], [whole, whole])
        ]
        first, second, third = (
            entry.model_copy(update={"sources": files})
            for entry, files in zip(manifest.experiments, sources, strict=False)
        )
        manifest.model_copy(update={"experiments": (first, second, third)}).write(own_tensor)
        results = {"tensor": str(own_tensor), "genome": "g", "bin_size": 25}
        (tmp_path / "run.json").write_text(json.dumps({"results": results}))
        (tmp_path / "tracks.tsv").write_text(f"cell_type\tassay\tpath\nK562\tX\t{tracks / 'a.bw'}\n")
        observed = [pair for pair in told_of(tmp_path)["pairs"] if "observed" in pair]
        assert [(pair["cell_type"], pair["assay"]) for pair in observed] == [tuple(first.experiment)]

    def test_genes(self, tracks, tmp_path):
        genes = tmp_path / "genes.bed"
        genes.write_text("1\t149000\t151000\tABC1\t0\t-\nchr2\t10\t90\tXyz\nchr3\t1\t9\tother\n")
        view = make_view(tracks, genes=genes)
        assert json.loads(view.served["/view.json"].content)["genes"] == ["ABC1", "Xyz"]
        lines = gzip.decompress(view.served["/genes.bed.gz"].content).decode().splitlines()
        assert [line.split("\t")[:6] for line in lines] == [
            ["chr1", "149000", "151000", "ABC1", "0", "-"],
            ["chr2", "10", "90", "Xyz", "0", "."],
        ]
        assert told_of(tracks, genes=genes, locus="abc1")["locus"] == "chr1:148001-152000"
        assert told_of(tracks, genes=genes, locus="XYZ")["locus"] == "chr2:1-590"
        with refused(ConfigError, "have no chromosome 'MYC', only chr1, chr2, and no gene 'MYC' is known"):
            make_view(tracks, genes=genes, locus="MYC")
        with refused(TableError, "cannot read", "gone.bed"):
            make_view(tracks, genes=tmp_path / "gone.bed")

    def test_genes_of_known_genomes(self, tmp_path):
        sizes = load_genome("hg38").chromosomes
        path = tmp_path / "a.bw"
        write_track(path, {"chr21": sizes["chr21"]}, [("chr21", 1_000_000, 9)])
        told = told_of(path)
        assert told["genome"] == "hg38" and {"APP", "RUNX1", "SOD1"} <= set(told["genes"])
        assert "MYC" not in told["genes"]
        write_track(path, {"21": sizes["chr21"]}, [("21", 1_000_000, 9)])
        assert told_of(path, locus="runx1")["locus"].startswith("21:34")

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
        (tmp_path / "folds.json").touch()
        (tmp_path / "models").mkdir()
        with refused(
            TableError, f"{tmp_path} is a cross-validation: 'predictd impute {tmp_path} TENSOR' writes"
        ):
            make_view(tmp_path)
        (tmp_path / "manifest.json").touch()
        with refused(
            TableError, f"{tmp_path} is a tensor: 'predictd export {tmp_path} DIRECTORY' writes its tracks"
        ):
            make_view(tmp_path)
        with refused(TableError, "nowhere does not exist"):
            make_view(tmp_path / "nowhere")

    @chromium.needs_chromium
    def test_tracks_are_drawn_in_a_real_browser(self, tracks, tmp_path):
        genes = tmp_path / "genes.bed"
        genes.write_text("chr1\t20000\t24000\tSMALL\nchr2\t90000\t130000\tABC1\t0\t-\n")
        view = make_view(
            tracks,
            observed=tracks / "observed.tsv",
            regions=[tracks / "regions.bed"],
            genes=genes,
            pairs="K562:H3K4me3,K562:H3K36me3",
        )
        with serving(view.served) as ask:
            page = chromium.look_at(ask.url, tmp_path)
            # The address keeps what a user has set, and igv.js finds genes by name.
            narrow = chromium.look_at(
                f"{ask.url}#locus=abc1&pairs=1&scale=own&log=1", tmp_path, size=(500, 800)
            )
        for one, n in ((page, 3), (narrow, 2)):
            assert 'data-state="drawn"' in one.dom and f'data-tracks="{n}"' in one.dom
            # Refusals of what the page may not reach, and errors, would stand there.
            assert not one.console
        for one, chrom, first, last in ((page, "chr1", 150_000, 152_500), (narrow, "chr2", 90_000, 130_000)):
            found = re.search(rf'data-locus="{chrom}:([\d.]+)-([\d.]+)"', one.dom)
            assert found and float(found[1]) < first and last < float(found[2]) < last + 30_000

        def covered(one: chromium.Page, *colour: int, left: int = 300) -> int:
            """Pixels of a colour right of the list."""
            area = one.picture[150:, left:].reshape(-1, 3).astype(int)
            return int((np.abs(area - np.array(colour)).max(axis=1) <= 8).sum())

        # Wide areas of each track's colours: the assay's, and those of the band around it.
        assert covered(page, 215, 25, 28) > 1000  # H3K4me3, imputed
        assert covered(page, 235, 140, 142) > 1000  # plus its deviation
        assert covered(page, 138, 43, 44) > 1000  # minus it
        assert covered(page, 108, 13, 14) > 1000  # observed
        assert covered(page, 0, 136, 55) > 1000  # H3K36me3
        assert covered(page, 94, 60, 153) < 100  # H3K9me3 was not chosen
        # The gene is drawn where it is looked for, and the list of pairs makes room on a narrow screen.
        assert covered(narrow, 0, 0, 150, left=0) > 1000 and covered(page, 0, 0, 150) < 1000
        assert covered(narrow, 215, 25, 28, left=0) > 500 and '<details id="choice">' in narrow.dom
        for one, shown in ((page, ["of-imputed"]), (narrow, [])):
            for part in ("of-observed", "of-imputed", "of-band"):
                hidden = re.search(rf'id="{part}"[^>]*hidden', one.dom) is not None
                assert hidden == (part == "of-imputed" and not shown), part

    @chromium.needs_chromium
    def test_scales_and_logarithms(self, tmp_path):
        """A track of 10 and one of 100 at one scale, of 60 pixels."""
        rows = [
            f"C\t{assay}\t{write_wave(tmp_path / f'{assay}.bw', height)}\n"
            for assay, height in (("H3K4me3", 100), ("H3K36me3", 10))
        ]
        (tmp_path / "tracks.tsv").write_text("cell_type\tassay\tpath\n" + "".join(rows))
        with serving(make_view(tmp_path).served) as ask:
            page = chromium.look_at(f"{ask.url}#scale=all&log=1", tmp_path)
        assert 'data-state="drawn"' in page.dom and not page.console
        # It would be 60 high at its own scale, and 6 were it not for the logarithm of signal plus 1.
        green = np.abs(page.picture[150:, 300:].astype(int) - (0, 136, 55)).max(axis=2) <= 8
        assert abs(green.sum(axis=0).max() - 60 * np.log10(11) / np.log10(101)) < 3


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
            found = re.match(rf"http://{HOST}:(\d+)(/[0-9a-f]{{48}}/) shows 3 pairs of ", line)
            assert found, line
            for path, status in ((found[2], 200), ("/", 403), ("/view.json", 403)):
                connection = http.client.HTTPConnection(HOST, int(found[1]), timeout=20)
                connection.request("GET", path)
                got = connection.getresponse()
                assert (got.status, b"igv.min.js" in got.read()) == (status, status == 200)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
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
