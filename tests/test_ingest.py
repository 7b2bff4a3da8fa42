"""Ingest against arithmetic by hand: bins, transforms, regions, replicates; and the same bytes whoever makes them."""

from __future__ import annotations

import json
import logging
import math
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pytest

from commands import call_predictd
from folders import contents, names
from made_tracks import BIN, NAN, Bases, as_lines, binned_by_hand, hit, random_bases, write_bases
from predictd.engine import Engine
from predictd.errors import DataError, TensorFormatError, TrackError
from predictd.io.files import sha256_of
from predictd.io.tables import Interval
from predictd.io.tensor.manifest import read_manifest
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.genomes import built_in_blacklist, load_genome
from predictd.pairs import Experiment
from predictd.workflows.tensor.coverage import require_complete
from predictd.workflows.tensor.info import describe, verify
from refusals import refused
from workbench import LENGTHS, PAIRS, Workbench, by_hand, stored


@pytest.fixture
def bench(tmp_path: Path, engine: Engine) -> Workbench:
    return Workbench(tmp_path, engine)


@pytest.fixture
def three(bench: Workbench) -> tuple[Workbench, dict[tuple[str, str], Bases]]:
    """A table of three random tracks."""
    tracks = {pair: random_bases(seed, LENGTHS) for seed, pair in enumerate(PAIRS)}
    for pair, track in tracks.items():
        bench.add(pair, track)
    return bench, tracks


def left_out(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of chromosomes since the last call."""
    messages = [message for message in caplog.messages if message.startswith("no track has")]
    caplog.clear()
    return messages


class TestSignal:
    @pytest.mark.parametrize(("uncovered", "bin_size"), [("missing", 25), ("zero", 25), ("missing", 100)])
    def test_against_one_base_after_the_other(self, three, uncovered, bin_size):
        bench, tracks = three
        tensor = bench.ingest(uncovered=uncovered, bin_size=bin_size)
        assert tensor.experiments == sorted(PAIRS)
        assert (tensor.manifest.uncovered, tensor.manifest.bin_size) == (uncovered, bin_size)
        found = stored(tensor)
        assert list(found) == list(LENGTHS)
        for chrom, (bins, signal) in found.items():
            expected = by_hand(tracks, chrom, uncovered, bin_size)
            assert bins == list(range(-(-LENGTHS[chrom] // bin_size)))
            np.testing.assert_allclose(signal, expected, rtol=3e-7)
            np.testing.assert_array_equal(np.isnan(signal), np.isnan(expected))

    def test_float16_is_the_rounded_float32(self, three):
        bench, _ = three
        half, single = stored(bench.ingest("half", dtype="float16")), stored(bench.ingest("single"))
        for chrom in LENGTHS:
            rounded = single[chrom][1].astype(np.float16).astype(np.float32)
            np.testing.assert_array_equal(half[chrom][1], rounded)
            assert (single[chrom][1] != rounded).any()

    @pytest.mark.parametrize("shard_bins", [64, 130, 401])
    def test_shards_do_not_matter(self, three, shard_bins):
        bench, tracks = three
        tensor = bench.ingest(shard_bins=shard_bins)
        assert max(entry.n_bins for entry in tensor.manifest.shards) <= shard_bins
        assert len(tensor.manifest.shards) == sum(
            math.ceil(math.ceil(n / BIN) / shard_bins) for n in LENGTHS.values()
        )
        for chrom, (_, signal) in stored(tensor).items():
            np.testing.assert_allclose(signal, by_hand(tracks, chrom), rtol=3e-7)

    def test_transforms_by_assay(self, bench):
        tracks = {
            name: random_bases(seed, LENGTHS, scale=0.2)
            for seed, name in enumerate(["log1p", "logit", "none"])
        }
        tracks["logit"] = {chrom: bases % 1 for chrom, bases in tracks["logit"].items()}
        tracks["none"] = {chrom: -bases for chrom, bases in tracks["none"].items()}
        for name, track in tracks.items():
            bench.add(("C", name), track, None, name, "peaks-are-for-evaluation.bed")
        tensor = bench.ingest()
        assert [entry.transform for entry in tensor.manifest.experiments] == ["log1p", "logit", "none"]
        for chrom, (_, signal) in stored(tensor).items():
            log1p, logit, none = (
                binned_by_hand(tracks[name][chrom], "missing") for name in ("log1p", "logit", "none")
            )
            inside = 0.998 * logit + 0.001
            np.testing.assert_allclose(signal[:, 0], np.log(1 + log1p), rtol=1e-6)
            np.testing.assert_allclose(signal[:, 1], np.log(inside / (1 - inside)), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(signal[:, 2], none, rtol=1e-6)

    def test_chromosomes_that_only_some_tracks_have(self, bench):
        tracks = {pair: random_bases(seed, LENGTHS) for seed, pair in enumerate(PAIRS)}
        for pair, track in tracks.items():
            bench.add(
                pair, {chrom: track[chrom] for chrom in LENGTHS if chrom == "chr1" or pair == ("C1", "A2")}
            )
        for uncovered, value in (("missing", NAN), ("zero", 0.0)):
            found = stored(bench.ingest(uncovered, uncovered=uncovered))
            assert list(found) == list(LENGTHS)
            np.testing.assert_allclose(found["chr1"][1], by_hand(tracks, "chr1", uncovered), rtol=3e-7)
            for chrom in ("chr2", "chr3"):
                expected = by_hand(tracks, chrom, uncovered)
                expected[:, [0, 2]] = value
                np.testing.assert_allclose(found[chrom][1], expected, rtol=3e-7)

    def test_chromosomes_that_no_track_has(self, bench, caplog):
        track = random_bases(0, {"chr2": LENGTHS["chr2"]})
        bench.add(("C", "A"), track)
        with caplog.at_level(logging.WARNING, "predictd.workflows.tensor.ingest"):
            found = stored(bench.ingest("all"))
            assert left_out(caplog) == ["no track has chr1, chr3: left out of the tensor"]
            bench.ingest("some", regions=bench.bed(Interval("chr2", 0, 500), Interval("chr3", 0, 5)))
            assert left_out(caplog) == ["no track has chr3: left out of the tensor"]
            bench.ingest("one", regions=bench.bed(Interval("chr2", 0, 500)))
            assert left_out(caplog) == []
        assert list(found) == ["chr2"]
        np.testing.assert_allclose(found["chr2"][1], by_hand({("C", "A"): track}, "chr2"), rtol=3e-7)
        with refused(DataError, "no bins are left"):
            bench.ingest("none", regions=bench.bed(Interval("chr1", 0, 500)))

    def test_a_long_list_of_chromosomes_is_cut(self, bench, caplog):
        bench.genome.write_text("".join(f"c{i}\t100\n" for i in range(9)))
        bench.add(("C", "A"), random_bases(0, {"c4": 100}))
        with caplog.at_level(logging.WARNING, "predictd.workflows.tensor.ingest"):
            bench.ingest()
        assert left_out(caplog) == ["no track has c0, c1, c2, c3, c5 and 3 more: left out of the tensor"]


class TestRegions:
    REGIONS = (
        Interval("chr2", 2590, 2601),
        Interval("chr1", 130, 900),
        Interval("chr1", 880, 1010),
        Interval("chr1", 5000, 5001),
    )
    EXCLUDE = (Interval("chr1", 300, 326), Interval("chr1", 999, 1000), Interval("chr2", 0, 2600))

    @pytest.mark.parametrize("use_regions", [True, False])
    @pytest.mark.parametrize("use_exclude", [True, False])
    def test_bins_against_brute_force(self, three, use_regions, use_exclude):
        bench, tracks = three
        options = {}
        if use_regions:
            options["regions"] = bench.bed(*self.REGIONS, name="regions.bed")
        if use_exclude:
            options["exclude"] = str(bench.bed(*self.EXCLUDE, name="exclude.bed"))
        found = stored(bench.ingest(**options))
        for chrom, length in LENGTHS.items():
            expected = [
                b
                for b in range(-(-length // BIN))
                if (not use_regions or hit(self.REGIONS, chrom, b, BIN))
                and not (use_exclude and hit(self.EXCLUDE, chrom, b, BIN))
            ]
            bins, signal = found.get(chrom, ([], np.zeros((0, 3))))
            assert bins == expected
            np.testing.assert_allclose(signal, by_hand(tracks, chrom)[expected], rtol=3e-7)

    def test_runs_follow_the_regions(self, three):
        bench, _ = three
        tensor = bench.ingest(regions=bench.bed(*self.REGIONS))
        with tensor.open_shard("chr1.0000") as shard:
            assert shard.places.runs.tolist() == [[5, 36], [200, 1]]

    def test_the_blacklist_that_comes_along(self, bench):
        genome = load_genome("hg19")
        blacklist = built_in_blacklist(genome)
        length = genome.chromosomes["chr1"]
        # Stretches of zeros around a few edges of the blacklist.
        edges = [i.end for i in blacklist if i.chrom == "chr1"][:5]
        regions = [Interval("chr1", max(0, edge - 3000), edge + 3000) for edge in edges]
        file = pyBigWig.open(str(bench.path / "a.bw"), "w")
        file.addHeader([("chr1", length)])
        file.addEntries(["chr1"], [0], ends=[length], values=[0.0])
        file.close()
        bench.add(("C", "A"), None, "a.bw")
        bed = bench.bed(*regions)
        tensor = bench.ingest(genome="hg19", regions=bed, exclude="auto")
        first, last = min(i.start for i in regions) // BIN, max(i.end for i in regions) // BIN + 1
        near = [i for i in blacklist if i.chrom == "chr1" and i.start < last * BIN]
        expected = [
            b for b in range(first, last) if hit(regions, "chr1", b, BIN) and not hit(near, "chr1", b, BIN)
        ]
        assert 0 < len(expected) < sum(-(-(i.end - i.start) // BIN) for i in regions)
        assert stored(tensor)["chr1"][0] == expected
        assert tensor.manifest.provenance["exclude"] == "auto"

    def test_the_pilot_regions(self, bench, pilot):
        genome = load_genome("hg19")
        for number in range(2):
            file = pyBigWig.open(str(bench.path / f"{number}.bw"), "w")
            # Only the autosomes, as in the pilot's own tracks: the regions on chrX have no track.
            lengths = [(f"chr{i}", genome.chromosomes[f"chr{i}"]) for i in range(1, 23)]
            file.addHeader(lengths)
            for chrom, length in lengths:
                file.addEntries([chrom], [0], ends=[length], values=[1.0 + number])
            file.close()
            bench.add(("C", f"A{number}"), None, f"{number}.bw")
        tensor = bench.ingest(genome="hg19", regions=pilot / "data" / "genomes" / "encode-pilot.hg19.bed")
        assert tensor.n_bins == tensor.n_complete == 1_126_426
        np.testing.assert_allclose(tensor.summary()[:, 1] / tensor.n_bins, np.arcsinh([1.0, 2.0]), rtol=1e-6)


class TestReplicates:
    @pytest.mark.parametrize("uncovered", ["missing", "zero"])
    def test_means_where_there_is_signal(self, bench, uncovered):
        replicates = [random_bases(seed, LENGTHS) for seed in range(3)]
        other = random_bases(9, LENGTHS)
        for track in replicates[:2]:
            bench.add(("C", "A"), track)
        bench.add(("C", "B"), other)
        bench.add(("C", "A"), replicates[2])
        tensor = bench.ingest(merge="mean", uncovered=uncovered)
        assert tensor.experiments == [("C", "A"), ("C", "B")]
        assert [[Path(s.path).name for s in e.sources] for e in tensor.manifest.experiments] == [
            ["track0.bw", "track1.bw", "track3.bw"],
            ["track2.bw"],
        ]
        for chrom, (_, signal) in stored(tensor).items():
            each = np.stack([binned_by_hand(track[chrom], uncovered) for track in replicates])
            n = (~np.isnan(each)).sum(axis=0)
            merged = np.where(n, np.nansum(each, axis=0) / np.maximum(n, 1), NAN)
            if chrom == "chr1" and uncovered == "missing":
                assert set(n.tolist()) == {0, 1, 2, 3}
            np.testing.assert_allclose(signal[:, 0], np.arcsinh(merged), rtol=3e-7)
            np.testing.assert_allclose(
                signal[:, 1], np.arcsinh(binned_by_hand(other[chrom], uncovered)), rtol=3e-7
            )

    def test_merging_changes_nothing_where_there_is_one_track(self, three):
        bench, _ = three
        assert (
            bench.ingest("merged", merge="mean").manifest.checksum == bench.ingest("plain").manifest.checksum
        )


class TestSameBytes:
    def test_for_any_number_of_workers(self, three, single):
        bench, _ = three
        two = bench.ingest("two", shard_bins=64, dtype="float16")
        one = bench.ingest("one", single, shard_bins=64, dtype="float16")
        assert contents(one.path) == contents(two.path)
        assert one.manifest.checksum == two.manifest.checksum
        assert names(one.path) == ["manifest.json", "run.json", "shards"]

    def test_from_bedgraph(self, three):
        bench, tracks = three
        plain = bench.ingest("bigwig")
        bench.rows.clear()
        for suffix, (pair, track) in zip((".bedGraph", ".bdg", ".bw"), tracks.items(), strict=True):
            path = bench.path / f"{pair[0]}-{pair[1]}{suffix}"
            source = write_bases(bench.path / "source.bw", track)
            if suffix == ".bw":
                shutil.copy(source, path)
            else:
                path.write_text("".join(as_lines(source)))
            bench.add(pair, None, path.name)
        tensor = bench.ingest("bedgraph")
        assert tensor.manifest.checksum == plain.manifest.checksum
        assert names(tensor.path) == ["manifest.json", "run.json", "shards"]
        assert [Path(e.sources[0].path).suffix for e in tensor.manifest.experiments] == [
            ".bw",
            ".bdg",
            ".bedGraph",
        ]

    def test_from_other_places(self, three, tmp_path):
        bench, _ = three
        tensor = bench.ingest()
        moved = Workbench(Path(shutil.copytree(tmp_path, tmp_path / "moved")), bench.engine)
        moved.rows = bench.rows
        assert moved.ingest("again").manifest.checksum == tensor.manifest.checksum


class TestRecords:
    def test_what_the_manifest_says(self, three):
        bench, _ = three
        tensor = bench.ingest(regions=bench.bed(Interval("chr1", 0, 5000)))
        manifest = tensor.manifest
        assert manifest.genome.name == "small"
        assert dict(manifest.genome.chromosomes) == LENGTHS
        for entry, pair in zip(manifest.experiments, sorted(PAIRS), strict=True):
            (source,) = entry.sources
            path = bench.path / f"track{PAIRS.index(pair)}.bw"
            assert (source.path, source.bytes) == (str(path), path.stat().st_size)
            assert source.sha256 is not None and len(source.sha256) == 64
        assert manifest.provenance["table"] == str(bench.path / "tracks.tsv")
        assert manifest.provenance["regions"] == str(bench.path / "a.bed")
        assert "numpy" in manifest.provenance["software"]

    def test_what_run_json_says(self, three):
        bench, _ = three
        regions = bench.bed(Interval("chr1", 0, 2000))
        exclude = bench.bed(Interval("chr1", 100, 200), name="x.bed")
        tensor = bench.ingest(regions=regions, exclude=str(exclude))
        run = json.loads((tensor.path / "run.json").read_text())
        assert [stage["name"] for stage in run["stages"]] == ["read headers", "make shards"]
        assert run["results"] == {
            "experiments": 3,
            "bins": tensor.n_bins,
            "complete_bins": tensor.n_complete,
            "tensor": tensor.manifest.checksum,
        }
        read = bench.path / "tracks.tsv", bench.genome, regions, exclude
        assert run["inputs"] == {str(path): sha256_of(path) for path in read}

    def test_names_with_odd_letters(self, bench):
        pairs = [("T-cell, CD4+", "H2A.Z"), ("β/α", '100% "x"'), ("..", "~")]
        tracks = {pair: random_bases(seed, LENGTHS) for seed, pair in enumerate(pairs)}
        for pair, track in tracks.items():
            bench.add(pair, track, f"{Experiment(*pair).file_stem}.bw")
        tensor = bench.ingest()
        assert tensor.experiments == sorted(pairs)
        np.testing.assert_allclose(stored(tensor)["chr1"][1], by_hand(tracks, "chr1"), rtol=3e-7)

    def test_describe_against_numpy(self, bench):
        tracks = {pair: random_bases(seed, LENGTHS) for seed, pair in enumerate(PAIRS)}
        for pair, track in tracks.items():
            bench.add(pair, track)
        # Outside of the regions.
        bench.add(("C9", "A9"), {"chr3": np.ones(11, dtype=np.float32)})
        regions = bench.bed(Interval("chr1", 0, 10_013), Interval("chr2", 0, 2601))
        tensor = bench.ingest(regions=regions)
        contents = describe(tensor)
        signal = np.concatenate([block for _, block in stored(tensor).values()]).astype(np.float64)
        assert (contents["bins"], contents["cell_types"], contents["assays"]) == (len(signal), 3, 3)
        assert contents["complete_bins"] == 0
        assert contents["bytes"] == sum(tensor.shard_path(name).stat().st_size for name in tensor.shard_names)
        for column, entry in enumerate(contents["experiments"][:3]):
            assert (entry["cell_type"], entry["assay"]) == sorted(PAIRS)[column]
            values = signal[:, column]
            assert entry["observed"] == pytest.approx((~np.isnan(values)).mean())
            assert entry["mean"] == pytest.approx(np.nanmean(values))
            assert entry["sd"] == pytest.approx(np.nanstd(values))
            assert entry["max"] == np.nanmax(values)
        last = contents["experiments"][3]
        assert (last["observed"], last["mean"], last["sd"], last["max"]) == (0, None, None, None)
        assert json.dumps(contents, allow_nan=False)


def test_verify_reads_every_byte(three):
    bench, _ = three
    tensor = bench.ingest(shard_bins=64)
    verify(tensor, bench.engine)
    path = tensor.shard_path("chr1.0003")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with refused(TensorFormatError, f"{path} is missing or not as it was written", "ingest the tracks again"):
        verify(tensor, bench.engine)


class TestCoverage:
    def tensor(self, bench: Workbench, shares: list[float]) -> Tensor:
        """Tracks that cover so much of chr1 from its beginning."""
        for number, share in enumerate(shares):
            bases = np.tile(np.repeat(np.float32([1, 2]), 25), 200)
            bases[round(share * 10_000) :] = NAN
            bench.add(("C", f"A{number}"), {"chr1": bases})
        bench.genome.write_text("chr1\t10000\n")
        return bench.ingest()

    def test_enough(self, bench, caplog):
        tensor = self.tensor(bench, [1, 0.96])
        require_complete(tensor)
        assert (tensor.n_complete, tensor.n_bins) == (384, 400)
        assert caplog.messages == []

    def test_a_warning_names_the_worst_tracks(self, bench, caplog):
        tensor = self.tensor(bench, [0.98, 0.9, 1, 0.94, 0.6])
        expected = (
            f"only 240 of 400 bins (60.0%) of {tensor.path} have a value in every experiment; the least covered are "
            "C:A4 (60.0%), C:A1 (90.0%), C:A3 (94.0%): leave them out of the table, or ingest only "
            "regions that all cover; or, where no signal means zero, uncovered positions as zero"
        )
        assert caplog.messages == [expected]
        caplog.clear()
        require_complete(tensor)
        assert caplog.messages == [expected]

    def test_too_little_is_refused(self, bench):
        tensor = self.tensor(bench, [1, 0.49])
        with refused(DataError, "only 196 of 400 bins (49.0%)", "C:A1 (49.0%)", "at least 50% are needed"):
            require_complete(tensor)


class _Server(BaseHTTPRequestHandler):
    """Serves a folder in parts, as servers of tracks do."""

    asked: list[str] = []  # noqa: RUF012

    def __init__(self, folder: Path, asked: list[str], *args: Any) -> None:
        self.folder, self.asked = folder, asked
        super().__init__(*args)

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Range", ""))
        name, _, let_in = self.path.lstrip("/").partition("?")
        path = self.folder / name
        if let_in and not let_in.endswith("&X-Amz-Signature=5ecret"):
            self.send_error(403)
            return
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        first, last = (
            int(n) if n else len(data) for n in self.headers["Range"].removeprefix("bytes=").split("-")
        )
        part = data[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *args: object) -> None:
        """Nothing is said on stderr."""


class TestUrls:
    @pytest.fixture
    def served(self, bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
        """The address of the workbench's folder, and the ranges that were asked for."""
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "127.0.0.1")
        asked: list[str] = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server, bench.path, asked))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def test_tracks_behind_urls(self, three, served, single):
        bench, _ = three
        address, asked = served
        plain = bench.ingest("files")
        bench.rows[1] = bench.rows[1].replace("track1.bw", f"{address}/track1.bw")
        # Workers that were started before the server may know of proxies.
        tensor = bench.ingest("urls", single)
        assert tensor.manifest.checksum == plain.manifest.checksum
        assert asked and all(part.startswith("bytes=") for part in asked)
        (source,) = tensor.manifest.experiments[1].sources
        assert (source.path, source.bytes, source.sha256) == (f"{address}/track1.bw", None, None)

    @pytest.mark.parametrize("suffix", ["bw", "BigWig"])
    def test_secrets_of_presigned_addresses_stay_in_the_table(self, three, served, single, suffix):
        bench, _ = three
        address, _ = served
        plain = bench.ingest("files")
        (bench.path / "track1.bw").rename(bench.path / f"x.{suffix}")
        shown = f"{address}/x.{suffix}"
        asked = f"{shown}?X-Amz-Date=20261129&X-Amz-Signature=5ecret"
        bench.rows[1] = bench.rows[1].replace("track1.bw", asked)
        tensor = bench.ingest("urls", single)
        assert tensor.manifest.checksum == plain.manifest.checksum
        assert tensor.manifest.experiments[1].sources[0].path == shown
        bench.rows[1] = bench.rows[1].replace(f"/x.{suffix}", "/absent.bw")
        with refused(TrackError, f"{address}/absent.bw cannot be read as a bigWig"):
            bench.ingest("unfinished", single)
        for folder in ("urls", "unfinished"):
            written = [path for path in (bench.path / folder).rglob("*") if path.is_file()]
            assert written and not any(b"5ecret" in path.read_bytes() for path in written)

    def test_what_cannot_be_had(self, three, served, single):
        bench, _ = three
        address, _ = served
        good = bench.rows[1]
        for url, told in [
            (f"{address}/absent.bw", "cannot be read as a bigWig: it is not there"),
            (f"{address}/track1.bedGraph", "is a bedGraph behind a URL; download it"),
            (f"{address}/track1", "is neither bigWig nor bedGraph by its name"),
        ]:
            bench.rows[1] = good.replace("track1.bw", url)
            with refused(TrackError, url, told):
                bench.ingest("tensor", single)
        (bench.path / "text.bw").write_text("no bigWig " * 100)
        bench.rows[1] = good.replace("track1.bw", f"{address}/text.bw")
        with refused(
            TrackError,
            f"{address}/text.bw cannot be read as a bigWig",
            "correct the address, or download",
        ):
            bench.ingest("tensor", single)


def test_the_command_line(three):
    bench, _ = three
    expected = bench.ingest("expected", dtype="float16")
    done = call_predictd(
        "ingest", bench.table, "tensor", "--genome", bench.genome, "--workers", 2, "--quiet", cwd=bench.path
    )
    assert (done.returncode, done.stderr) == (0, "")
    share = expected.n_complete / expected.n_bins
    assert done.stdout == (
        f"tensor: 3 experiments, {expected.n_bins:,} bins ({share:.1%} complete), 3 shards\n"
    )
    made = read_manifest(bench.path / "tensor")
    assert made.checksum == expected.manifest.checksum
    done = call_predictd("info", "tensor", "--json", "--verify", "--workers", 1, cwd=bench.path)
    assert (done.returncode, done.stderr) == (0, "")
    contents = json.loads(done.stdout)
    assert contents == describe(expected) | {"path": "tensor"}
