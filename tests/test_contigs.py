"""Genomes of many contigs: they share shards, and no result depends on which share one."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

from folders import contents
from made_tensors import stored_signal
from made_tracks import BIN, NAN, read_track, write_bases
from predictd.config import TrainSettings
from predictd.constants import MAX_LONE_CONTIGS
from predictd.engine import Engine
from predictd.errors import TensorFormatError, TrackError
from predictd.io.tables import Interval
from predictd.io.tensor import layout
from predictd.io.tensor.layout import Contig, Places, ShardPlan, plan_regions, plan_shards
from predictd.io.tensor.store import Tensor, describe_shard
from predictd.io.tracks.bigwig import BigWigReader
from predictd.io.tracks.genomes import Genome
from predictd.model.stack.inputs import HALF_WIDTHS
from predictd.pairs import Experiment
from predictd.workflows.evaluation.evaluate import EvaluateOptions, evaluate
from predictd.workflows.evaluation.factors import explain_factors
from predictd.workflows.evaluation.regions import Regions
from predictd.workflows.imputing.estimators import load_model
from predictd.workflows.imputing.impute import impute
from predictd.workflows.network.activity import Activity, region_activity
from predictd.workflows.tensor import sources
from predictd.workflows.tensor.context import ensure_window_sample, read_window_sample
from predictd.workflows.tensor.fetch import fetch, locate
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.moments import compute_moments
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate
from predictd.workflows.tensor.sources import SignalSource
from predictd.workflows.tracks.export import Selection, export
from predictd.workflows.training.train import train
from read_tables import fields_of
from refusals import refused

hypothesis = pytest.importorskip("hypothesis")
given = hypothesis.given
st = hypothesis.strategies

PAIRS = [Experiment(f"C{i // 2}", f"A{i % 2}") for i in range(5)]
SHARD_BINS = 3000
LONG = "long"


# Gap and length of each run of a contig.
RUNS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=3)


def made_genome() -> dict[str, int]:
    """60 contigs of 8 to 200 bins, most of which end within a bin; one of them of 9000 bins, more than three shards."""
    rng = np.random.default_rng(0)
    lengths = {f"ctg{i:02d}": int(8 * BIN * rng.integers(1, 25) - rng.integers(0, BIN)) for i in range(60)}
    names = list(lengths)
    return (
        {name: lengths[name] for name in names[:40]}
        | {LONG: 9000 * BIN}
        | {n: lengths[n] for n in names[40:]}
    )


def made_values(seed: int, length: int) -> np.ndarray:
    """A value for every bin: a whole number from 1 to 8 in one bin of every eight, else 0.

    Products and sums of such numbers are exact in float32, and their shift (`shift_of`) is 0 in any shard, so that
    moments have to be the same to the bit.
    """
    rng = np.random.default_rng(seed)
    values = np.zeros((-(-length // BIN) // 8, 8), dtype=np.float32)
    values[np.arange(len(values)), rng.integers(0, 8, len(values))] = rng.integers(1, 9, len(values))
    return values.reshape(-1)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks of all contigs, with their table; one has nothing in two bins of a contig."""
    path = tmp_path_factory.mktemp("tracks")
    genome = made_genome()
    rows = ["cell_type\tassay\tpath\ttransform"]
    for column, pair in enumerate(PAIRS):
        bases = {}
        for number, (chrom, length) in enumerate(genome.items()):
            values = made_values(100 * number + column, length)
            if (chrom, column) == ("ctg03", 1):
                values[2:4] = NAN
            bases[chrom] = np.repeat(values, BIN)[:length]
        write_bases(path / f"{column}.bw", bases)
        rows.append(f"{pair.cell_type}\t{pair.assay}\t{column}.bw\tnone")
    (path / "tracks.tsv").write_text("\n".join(rows) + "\n")
    (path / "g.chrom.sizes").write_text("".join(f"{chrom}\t{n}\n" for chrom, n in genome.items()))
    (path / "r.bed").write_text(
        "".join(f"{chrom}\t{n // 3}\t{n // 2}\t{chrom}\n" for chrom, n in genome.items())
    )
    return path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, tracks: Path, engine: Engine) -> dict[str, Tensor]:
    """The tensor with shared shards, and that with a shard or more a contig."""
    path = tmp_path_factory.mktemp("tensors")
    made = {}
    for name, most in (("shared", 20), ("lone", MAX_LONE_CONTIGS)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layout, "MAX_LONE_CONTIGS", most)
            options = IngestOptions(genome=str(tracks / "g.chrom.sizes"), shard_bins=SHARD_BINS)
            made[name] = ingest(tracks / "tracks.tsv", path / name, options, engine)
    return made


@pytest.fixture(scope="module")
def imputed(both: dict[str, Tensor], engine: Engine) -> dict[str, Path]:
    """For each tensor a directory with a model and its imputed tracks."""
    found = {}
    for name, tensor in both.items():
        found[name] = tensor.path.parent / f"from-{name}"
        settings = TrainSettings(solver="em", rank=2, regularisation=1.0)
        train(tensor.path, found[name] / "model.h5", settings, engine)
        impute(found[name] / "model.h5", tensor.path, found[name] / "imputed", engine, pairs="all")
    return found


class TestLayout:
    def test_many_short_contigs_share(self):
        lengths = {f"c{i}": 40 * BIN for i in range(MAX_LONE_CONTIGS + 1)}
        genome = Genome("g", lengths)
        arguments = {"bin_size": BIN, "max_bins": 4000, "chromosomes": set(lengths)}
        plans = plan_shards(genome, **arguments)
        assert [len(plan.places.contigs) for plan in plans] == [100] * 5 + [13]
        assert [plan.name for plan in plans] == [f"c{100 * i}.0000" for i in range(6)]
        # A genome of fewer has a shard each, as ever.
        arguments["chromosomes"] = set(lengths) - {"c0"}
        assert [plan.places.chroms for plan in plan_shards(genome, **arguments)] == [
            (f"c{i}",) for i in range(1, MAX_LONE_CONTIGS + 1)
        ]
        regions = [Interval(chrom, start, start + 9) for chrom in lengths for start in (10, 50)]
        plans = plan_regions(genome, regions, max_bins=400)
        assert [plan.places.n_bins for plan in plans] == [400, 400, 226]
        assert np.concatenate([plan.places.spans() for plan in plans]).tolist() == [
            [i.start, i.end] for i in regions
        ]

    def test_names_of_files(self):
        lengths = {"HLA-A*01:01": 50, "gi|1|": 50, "a/b\\c": 50}
        plans = plan_shards(Genome("g", lengths), bin_size=BIN, max_bins=9, chromosomes=set(lengths))
        assert [plan.name for plan in plans] == ["HLA-A*01:01.0000", "gi|1|.0000", "a%2Fb%5Cc.0000"]
        assert [plan.places.chrom for plan in plans] == list(lengths)

    @given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=30), max_bins=st.integers(1, 40))
    def test_shards_of_any_contigs(self, sizes, max_bins):
        lengths = {f"c{i}": size * BIN for i, size in enumerate(sizes)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layout, "MAX_LONE_CONTIGS", 0)
            plans = plan_shards(
                Genome("g", lengths), bin_size=BIN, max_bins=max_bins, chromosomes=set(lengths)
            )
        found: list[tuple[str, int]] = []
        for plan in plans:
            assert plan.places.n_bins <= max_bins
            if len(plan.places.contigs) > 1:
                # Only whole contigs share.
                assert [c.n_bins for c in plan.places.contigs] == [
                    sizes[int(c.chrom[1:])] for c in plan.places.contigs
                ]
            names, bins = plan.places.names().tolist(), plan.places.bins().tolist()
            found += list(zip(names, bins, strict=True))
        assert found == [(f"c{i}", b) for i, size in enumerate(sizes) for b in range(size)]
        assert len({plan.name for plan in plans}) == len(plans)
        # Neighbours that do not share would not fit in together.
        for one, other in pairwise(plans):
            if one.places.chroms[-1] != other.places.chroms[0] and one.name.endswith(".0000"):
                assert one.places.n_bins + sizes[int(other.places.chroms[0][1:])] > max_bins

    @given(
        runs=st.lists(
            st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=3),
            min_size=1,
            max_size=4,
        ),
        chosen=st.sets(st.integers(0, 40)),
        start=st.integers(0, 40),
        size=st.integers(0, 40),
    )
    def test_places_against_brute_force(self, runs, chosen, start, size):
        contigs, expected = [], []
        for number, gaps in enumerate(runs):
            own, first = [], 0
            for gap, length in gaps:
                own.append([first + gap, length])
                first += gap + length
            # The last bin is 3 bp short.
            contigs.append(Contig(f"c{number}", BIN * first - 3, np.array(own, dtype=np.int64)))
            for b, length in own:
                expected += [(f"c{number}", k, k == first - 1) for k in range(b, b + length)]
        places = Places(tuple(contigs), BIN)
        rows = np.array(sorted(row for row in chosen if row < len(expected)), dtype=np.int64)
        for own, wanted in (
            (places, expected),
            (places.take(rows), [expected[row] for row in rows.tolist()]),
        ):
            assert own.n_bins == len(wanted)
            if wanted:
                assert own.names().tolist() == [chrom for chrom, _, _ in wanted]
                assert own.bins().tolist() == [b for _, b, _ in wanted]
                assert own.spans().tolist() == [[BIN * b, BIN * (b + 1) - 3 * last] for _, b, last in wanted]
        stop = min(start + size, len(expected))
        found = [(own.chrom, rows) for rows, own in places.parts(start, stop)]
        assert [chrom for chrom, _ in found] == list(dict.fromkeys(c for c, _, _ in expected[start:stop]))
        for first, rows in places.stretches(start, stop):
            # A stretch never goes on from one contig into the next.
            part = expected[start + rows.start : start + rows.stop]
            assert part == [(part[0][0], first + i, last) for i, (_, _, last) in enumerate(part)]


class TestStored:
    def test_shards_and_versions(self, both):
        shared, lone = both["shared"].manifest, both["lone"].manifest
        assert (shared.version, lone.version) == (2, 1)
        chroms = list(made_genome())
        assert shared.chroms == lone.chroms == chroms
        sizes = [entry.n_bins for entry in shared.shards]
        assert len(sizes) == 6 and max(sizes) <= SHARD_BINS
        assert [entry.chrom for entry in shared.shards if len(entry.chroms) == 1] == [LONG] * 3
        assert all(isinstance(entry.chrom, str) for entry in lone.shards) and len(lone.shards) == 63
        lines = json.loads((both["shared"].path / "manifest.json").read_text())
        assert lines["shards"][0]["chrom"] == chroms[: len(lines["shards"][0]["chrom"])]
        # Shards of one contig are the same files in both.
        for name in (f"{LONG}.{i:04d}" for i in range(3)):
            assert both["shared"].shard_path(name).read_bytes() == both["lone"].shard_path(name).read_bytes()

    def test_signal(self, both):
        signal = stored_signal(both["shared"])
        np.testing.assert_array_equal(signal, stored_signal(both["lone"]))
        by_hand = [
            np.concatenate(
                [made_values(100 * number + column, n) for number, n in enumerate(made_genome().values())]
            )
            for column in range(len(PAIRS))
        ]
        assert np.isnan(signal).sum() == 2
        np.testing.assert_array_equal(
            signal[:, ~np.isnan(signal).any(axis=0)], np.delete(by_hand, 1, axis=0).T
        )

    def test_each_track_is_opened_once_a_shard(self, both, tracks, monkeypatch):
        opened = []

        class Counted(BigWigReader):
            def __init__(self, path: str) -> None:
                opened.append(path)
                super().__init__(path)

        monkeypatch.setattr(sources, "BigWigReader", Counted)
        path = str(tracks / "0.bw")
        with both["shared"].open_shard(both["shared"].shard_names[0]) as shard:
            assert len(shard.places.contigs) > 20
            values = SignalSource("C0:A0", (path,), "none").read(shard.places, uncovered="missing")
            np.testing.assert_array_equal(values, shard.read()[:, 0])
        assert opened == [path]

    def test_where_a_value_does_not_suit_is_told_with_its_contig(self, both, tracks):
        with both["shared"].open_shard(both["shared"].shard_names[0]) as shard:
            own = shard.places.contigs[5]
            first = next(i for i, v in enumerate(made_values(0, made_genome()["ctg00"])) if v > 1)
            source = SignalSource("C0:A0", (str(tracks / "0.bw"),), "logit")
            with refused(TrackError, f"at ctg00:{BIN * first}-{BIN * (first + 1)} does not suit"):
                source.read(shard.places, uncovered="missing")
            assert own.chrom == "ctg05"

    def test_a_shard_that_was_made_before(self, both):
        tensor = both["shared"]
        for entry in tensor.manifest.shards:
            places = tensor.places(entry.name)
            assert describe_shard(tensor.path, ShardPlan(entry.name, places), len(PAIRS)) == entry
            if len(places.contigs) > 1:
                one, *others = places.contigs
                other = Places((one._replace(chrom="other"), *others), BIN)
                with refused(TensorFormatError, f"{entry.name}.h5 is of another tensor"):
                    describe_shard(tensor.path, ShardPlan(entry.name, other), len(PAIRS))

    def test_a_shard_of_other_contigs(self, both, tmp_path):
        tensor = both["shared"]
        (tmp_path / "shards").mkdir()
        for name in tensor.shard_names:
            (tmp_path / "shards" / f"{name}.h5").write_bytes(tensor.shard_path(name).read_bytes())
        (tmp_path / "manifest.json").write_bytes((tensor.path / "manifest.json").read_bytes())
        name = tensor.shard_names[0]
        with h5py.File(tmp_path / "shards" / f"{name}.h5", "r+") as file:
            file["contigs"][0] = b"other"
        with (
            refused(
                TensorFormatError,
                f"{name}.h5 does not belong to this tensor",
                "of other, ctg01",
                "of ctg00, ctg01",
            ),
            Tensor(tmp_path).open_shard(name),
        ):
            pass


class TestResults:
    def test_moments_and_models_to_the_bit(self, both, imputed, engine):
        moments = [compute_moments(tensor, engine) for tensor in both.values()]
        assert np.array_equal(*moments)
        signal = stored_signal(both["lone"]).astype(np.float64)
        padded = np.column_stack([signal, np.ones(len(signal))])[~np.isnan(signal).any(axis=1)]
        assert np.array_equal(moments[0], padded.T @ padded)
        one, other = (load_model(path / "model.h5")[0] for path in imputed.values())
        for name in ("c", "a", "p", "q", "mu"):
            assert np.array_equal(getattr(one, name), getattr(other, name))

    def test_windows_end_with_their_contig(self, both, engine, tmp_path):
        found = [
            read_window_sample(
                ensure_window_sample(tensor, engine, tmp_path / f"{name}.h5", named=True)
            ).values
            for name, tensor in both.items()
        ]
        assert np.array_equal(*found)
        expected = []
        for name in both["lone"].shard_names:
            with both["lone"].open_shard(name) as shard:
                signal = shard.read().astype(np.float64)
            rows = np.arange(len(signal))[~np.isnan(signal).any(axis=1)]
            means = [
                [np.nanmean(signal[max(row - half, 0) : row + half + 1], axis=0) for row in rows.tolist()]
                for half in HALF_WIDTHS
            ]
            expected.append(np.array(means))
        np.testing.assert_allclose(found[0], np.concatenate(expected, axis=1), rtol=1e-6)

    def test_imputed_tracks(self, both, imputed):
        names = sorted(path.name for path in (imputed["lone"] / "imputed").glob("*.bw"))
        assert len(names) == 6
        for name in names:
            one, other = (
                read_track(imputed[which] / "imputed" / name, both["lone"]) for which in ("shared", "lone")
            )
            assert np.isfinite(one).all()
            # A product in float32 may round otherwise in blocks of other sizes.
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)

    def test_scores(self, imputed, both, tracks, engine, tmp_path):
        options = EvaluateOptions(regions=Regions(genes=tracks / "r.bed"))
        scores = []
        for name, path in imputed.items():
            output = tmp_path / f"{name}.tsv"
            evaluate(path / "imputed", tracks / "tracks.tsv", output, engine, options, tensor=both[name].path)
            scores.append(fields_of(output))
        assert len(scores[0]) == len(scores[1]) > len(PAIRS)
        for one, other in zip(*scores, strict=True):
            assert one[:4] == other[:4]
            if one[0] != "cell_type":
                np.testing.assert_allclose(
                    np.array(one[4:], float), np.array(other[4:], float), rtol=1e-4, atol=1e-6
                )

    def test_exports_and_windows_of_the_genome(self, both, tracks, tmp_path):
        for name in ("m.tsv", "some.tsv", "bigwigs"):
            selection = Selection(regions=tracks / "r.bed") if name == "some.tsv" else None
            for which, tensor in both.items():
                export(tensor.path, tmp_path / which / name, selection)
            one, other = tmp_path / "shared" / name, tmp_path / "lone" / name
            assert (
                contents(one) == contents(other) if one.is_dir() else one.read_bytes() == other.read_bytes()
            )
        for place in ("ctg02", "ctg50:100-1000", LONG, "ctg59"):
            one, other = (fetch(tensor, locate(tensor, place), PAIRS) for tensor in both.values())
            np.testing.assert_array_equal(one, other)
            assert np.isfinite(one).all()

    def test_a_matrix(self, both, tracks, engine, tmp_path, monkeypatch):
        genome = str(tracks / "g.chrom.sizes")
        export(both["lone"].path, tmp_path / "m.tsv")
        options = IngestOptions(
            genome=genome, transform=("none",), shard_bins=SHARD_BINS, regions=tracks / "r.bed"
        )
        lone = ingest(tmp_path / "m.tsv", tmp_path / "lone", options, engine)
        monkeypatch.setattr(layout, "MAX_LONE_CONTIGS", 20)
        shared = ingest(tmp_path / "m.tsv", tmp_path / "shared", options, engine)
        assert (lone.manifest.version, shared.manifest.version) == (1, 2)
        assert len(shared.shard_names) < 10 < len(lone.shard_names)
        np.testing.assert_array_equal(stored_signal(shared), stored_signal(lone))
        for tensor in (lone, shared):
            export(tensor.path, tmp_path / f"{tensor.path.name}.tsv")
        assert (tmp_path / "shared.tsv").read_bytes() == (tmp_path / "lone.tsv").read_bytes()

    def test_factors_and_activity(self, both, imputed, tracks, tmp_path, blank_figures):
        for name, tensor in both.items():
            model = imputed["lone"] / "model.h5"
            explain_factors(
                model, tmp_path / name, tensor=tensor.path, regions={"r": tracks / "r.bed"}, top=50
            )
        one, other = (contents(tmp_path / name) for name in both)
        assert one.keys() == other.keys()
        places = [
            [
                [line.split(b"\t")[:3] for line in found[file].splitlines()]
                for file in sorted(found)
                if file.endswith(".bed")
            ]
            for found in (one, other)
        ]
        assert places[0] == places[1]
        one, other = (
            region_activity(Activity(tensor.path, tracks / "r.bed", "A0")) for tensor in both.values()
        )
        assert one.genes == other.genes and len(one.genes) == 61
        np.testing.assert_array_equal(one.values, other.values)

    def test_simulated(self, simulation, engine, tmp_path, monkeypatch):
        genome = Genome("g", {chrom: length for chrom, length in made_genome().items() if chrom != LONG})
        found = []
        for most in (20, MAX_LONE_CONTIGS):
            monkeypatch.setattr(layout, "MAX_LONE_CONTIGS", most)
            simulate(
                tmp_path / str(most), simulation, SimulatedGenome(genome), engine, form="tensor", truth=False
            )
            found.append(Tensor(tmp_path / str(most) / "tensor"))
        assert [tensor.manifest.version for tensor in found] == [2, 1]
        assert [len(tensor.shard_names) for tensor in found] == [1, 60]
        np.testing.assert_array_equal(*map(stored_signal, found))
