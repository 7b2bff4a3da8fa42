"""`predictd extend`: rows of new cell types and assays, against least squares on the signal and against training."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands import call_predictd
from here import Between
from made_tensors import rewritten, stored_signal
from made_tracks import write_bases
from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import DataError, TrackError
from predictd.io.models import ModelFile, read_model, write_model
from predictd.io.tables import read_tracks, write_tracks
from predictd.io.tensor.store import Tensor
from predictd.model.cp.extend import RowPrior, extended, genome_moments
from predictd.model.cp.factors import CPModel
from predictd.model.cp.reference import closed_form_genome
from predictd.model.moments import moments
from predictd.pairs import Experiment
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.ranges import ends_of, ranges_of
from predictd.workflows.training.extend import extend
from predictd.workflows.training.train import train
from refusals import refused

NEW = "C3"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, data: Path, engine: Engine) -> Path:
    """A tensor without the cell type C3, a model of it, and a table of two of C3's tracks, and one of the others."""
    folder = tmp_path_factory.mktemp("parts")
    tracks = {t.experiment: t.path for t in read_tracks(data / "tracks.tsv")}
    own = sorted(e for e in tracks if e.cell_type == NEW)
    assert len(own) >= 3
    write_tracks(folder / "old.tsv", {e: p for e, p in tracks.items() if e.cell_type != NEW})
    write_tracks(folder / "new.tsv", {e: tracks[e] for e in own[:-1]})
    write_tracks(folder / "held-out.tsv", {own[-1]: tracks[own[-1]]})
    write_tracks(folder / "both.tsv", {e: p for e, p in tracks.items() if e != own[-1]})
    options = IngestOptions(genome=str(data / "genome.chrom.sizes"), shard_bins=4000)
    for name in ("old", "both"):
        ingest(folder / f"{name}.tsv", folder / name, options, engine)
    train(folder / "old", folder / "model.h5", TrainSettings(rank=3, regularisation=0.1), engine)
    return folder


def load(path: Path) -> CPModel:
    return CPModel.from_arrays(read_model(path).parameters)


@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_rows_are_least_squares_on_the_signal(parts, penalty):
    """Of ALS's objective: no posterior covariance, no mean row."""
    model, tensor = load(parts / "model.h5"), Tensor(parts / "both")
    signal = stored_signal(tensor).astype(np.float64)
    new = [e for e in tensor.experiments if e.cell_type == NEW]
    s = moments(stored_signal(tensor))
    larger = extended(
        model,
        genome_moments(model, s, tensor.columns(model.train), tensor.columns(new)),
        new,
        RowPrior(penalty, em=False),
        regressors=False,
    )
    z, o = model.design(model.train)
    genome = closed_form_genome(z, model.lambda_g, signal[:, tensor.columns(model.train)] - o)
    designs, targets = [], []
    for experiment in new:
        a = model.assays.index(experiment.assay)
        designs.append(np.column_stack([genome[:, :-1] * model.a[a], np.ones(len(genome))]))
        targets.append(signal[:, tensor.columns([experiment])[0]] - model.mu - model.q[a] - genome[:, -1])
    stacked, target = np.vstack(designs), np.concatenate(targets)
    ridge = penalty * len(genome) * np.diag([*np.ones(model.rank), 0.0])
    expected = np.linalg.solve(stacked.T @ stacked + ridge, stacked.T @ target)
    row = larger.cell_types.index(NEW)
    np.testing.assert_allclose(np.append(larger.c[row], larger.p[row]), expected, rtol=2e-3, atol=2e-4)
    assert larger.train == model.train and list(larger.cell_types) == sorted({*model.cell_types, NEW})
    for old, name in enumerate(model.cell_types):
        np.testing.assert_array_equal(larger.c[larger.cell_types.index(name)], model.c[old])
    np.testing.assert_array_equal(larger.a, model.a)


def test_new_assays_are_new_cell_types_the_other_way_round(parts):
    """Exchanging cell types and assays of model and tracks exchanges the rows."""
    model, tensor = load(parts / "model.h5"), Tensor(parts / "both")
    new = [e for e in tensor.experiments if e.cell_type == NEW]
    s = genome_moments(
        model, moments(stored_signal(tensor)), tensor.columns(model.train), tensor.columns(new)
    )

    def turned(pairs: list[Experiment]) -> tuple[Experiment, ...]:
        return tuple(Experiment(e.assay, e.cell_type) for e in pairs)

    other = CPModel(
        model.assays, model.cell_types, model.a, model.c, model.q, model.p, model.mu, model.lambda_g,
        turned(model.train),
    )  # fmt: skip
    prior = RowPrior(0.02, em=True)
    one = extended(model, s, new, prior, regressors=True)
    two = extended(other, s, turned(new), prior, regressors=True)
    np.testing.assert_allclose(two.a, one.c, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(two.q, one.p, rtol=1e-9, atol=1e-12)
    assert set(new) < set(one.train)


def test_a_new_cell_type_is_imputed_without_training(parts, engine, data, tmp_path):
    done = call_predictd(
        "extend", parts / "model.h5", parts / "old", parts / "new.tsv", "-o", "larger.h5", "--workers", 1,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"added {NEW}, by" in done.stdout
    run = json.loads((tmp_path / "larger.h5.run.json").read_text())
    assert run["inputs"].keys() == {str(parts / name) for name in ("model.h5", "old", "new.tsv")}
    assert run["results"]["cell_types"] == [NEW] and run["results"]["bins"] == Tensor(parts / "old").n_bins
    # By the tensor that holds the new tracks as well, the same rows, and more regressors.
    report = extend(parts / "model.h5", parts / "both", None, tmp_path / "reading.h5", engine)
    assert report.regressors and report.cell_types == (NEW,)
    by_tracks, by_tensor = load(tmp_path / "larger.h5"), load(tmp_path / "reading.h5")
    np.testing.assert_allclose(by_tracks.c, by_tensor.c, atol=2e-3)
    np.testing.assert_allclose(by_tracks.p, by_tensor.p, atol=2e-3)
    assert len(by_tensor.train) == len(by_tracks.train) + len(report.new)

    held_out = read_tracks(parts / "held-out.tsv")[0]
    tensors = {"larger": "old", "reading": "both"}
    truth = ingest(
        parts / "held-out.tsv",
        tmp_path / "truth",
        IngestOptions(genome=str(data / "genome.chrom.sizes"), shard_bins=4000),
        engine,
    )
    observed = stored_signal(truth)[:, 0]
    old = Tensor(parts / "old")
    same = [i for i, e in enumerate(old.experiments) if e.assay == held_out.experiment.assay]
    baseline = np.mean((stored_signal(old)[:, same].mean(axis=1) - observed) ** 2)
    for name, tensor in tensors.items():
        pairs = str(held_out.experiment)
        impute(tmp_path / f"{name}.h5", parts / tensor, tmp_path / name, engine, pairs=pairs)
        options = IngestOptions(genome=str(data / "genome.chrom.sizes"), shard_bins=4000)
        found = ingest(tmp_path / name / "tracks.tsv", tmp_path / f"{name}.T", options, engine)
        assert np.mean((stored_signal(found)[:, 0] - observed) ** 2) < baseline


def test_all_shards_are_of_one_model(parts, single, tmp_path):
    """The model's file may be replaced by then."""
    path = tmp_path / "model.h5"

    def extended_by(name: str, engine: Engine) -> Path:
        shutil.copy(parts / "model.h5", path)
        extend(path, parts / "old", parts / "new.tsv", tmp_path / name, engine)
        return tmp_path / name

    expected = extended_by("expected.h5", single).read_bytes()
    other = replace(load(parts / "model.h5"), lambda_g=7.0)
    engine = Between(lambda: write_model(path, ModelFile("cp", other.to_arrays(), {})))
    assert extended_by("larger.h5", engine).read_bytes() == expected
    assert load(path).lambda_g == 7.0


def test_an_artefact_in_a_known_track_leads_no_new_row(parts, engine, tmp_path):
    """It is cut off where new tracks come as a table, too."""

    def spoil(number: int, _chrom: str, signal: np.ndarray) -> None:
        if number == 0:
            signal[100, 1] = 6e4

    rewritten(parts / "old", tmp_path / "spoilt", spoil)
    assert ends_of(Tensor(parts / "old")) is None and ends_of(Tensor(tmp_path / "spoilt")) is not None
    for name, tensor in (("plain", parts / "old"), ("cut", tmp_path / "spoilt")):
        extend(parts / "model.h5", tensor, parts / "new.tsv", tmp_path / f"{name}.h5", engine)
    plain, cut = load(tmp_path / "plain.h5"), load(tmp_path / "cut.h5")
    np.testing.assert_allclose(cut.c, plain.c, atol=5e-3)
    np.testing.assert_allclose(cut.p, plain.p, atol=5e-3)


def test_an_artefact_in_a_new_track_is_cut_off(engine, tmp_path, caplog):
    """One bin of 1e6 where nothing is transformed would decide the new rows alone."""
    rng, n = np.random.default_rng(5), 2000
    genome, c, a = rng.gamma(0.5, size=(n, 2)), rng.gamma(9.0, size=(5, 2)), rng.gamma(9.0, size=(3, 2))
    old, new = {}, {}
    for pair in np.ndindex(5, 3):
        signal = (genome @ (c[pair[0]] * a[pair[1]]) + rng.gamma(1.0, size=n)).astype(np.float32)
        tracks, name = (old if pair[0] < 4 else new), Experiment(*("CA"[i] + str(pair[i]) for i in (0, 1)))
        tracks[name] = write_bases(
            tmp_path / f"{name.cell_type}-{name.assay}.bw", {"chr1": np.repeat(signal, 25)}
        )
    # The last, and what has no value has none.
    signal[7], signal[100] = np.nan, 1e6
    spoilt = write_bases(tmp_path / "spoilt.bw", {"chr1": np.repeat(signal, 25)})
    (tmp_path / "sizes").write_text(f"chr1\t{25 * n}\n")
    for label, tracks in (("old", old), ("clean", new), ("spoilt", new | {name: spoilt})):
        table = {pair: str(path) for pair, path in tracks.items()}
        write_tracks(tmp_path / f"{label}.tsv", table, {"transform": dict.fromkeys(table, "none")})
    options = IngestOptions(genome=str(tmp_path / "sizes"), dtype="float32")
    tensor = ingest(tmp_path / "old.tsv", tmp_path / "old", options, engine)
    train(tensor.path, tmp_path / "m.h5", TrainSettings(solver="em", rank=2), engine)
    caplog.clear()
    clean, cut = (
        extend(
            tmp_path / "m.h5", tensor.path, tmp_path / f"{label}.tsv", tmp_path / f"{label}.h5", engine
        ).bins
        for label in ("clean", "spoilt")
    )
    assert (clean, cut) == (n, n - 1)
    high = ranges_of(tensor, ["A0", "A1", "A2"], tensor.experiments).high[2]
    assert [record.getMessage() for record in caplog.records] == [
        f"new tracks go far beyond the range that their assay has in the tensor: C4:A2 (bins above {high:g}: 1); they "
        "are cut off there: see whether these bins are artefacts, and correct or leave out such tracks"
    ]
    clean, cut = load(tmp_path / "clean.h5"), load(tmp_path / "spoilt.h5")
    np.testing.assert_allclose(cut.c[4], clean.c[4], rtol=0.02)


def test_models_of_sgd_and_models_that_were_extended(parts, engine, tmp_path):
    train(parts / "old", tmp_path / "sgd.h5", TrainSettings(solver="sgd", rank=2), engine)
    extend(tmp_path / "sgd.h5", parts / "old", parts / "new.tsv", tmp_path / "1.h5", engine)
    names = [Experiment("C9", e.experiment.assay) for e in read_tracks(parts / "new.tsv")]
    paths = [t.path for t in read_tracks(parts / "new.tsv")]
    write_tracks(tmp_path / "again.tsv", dict(zip(names, paths, strict=True)))
    extend(tmp_path / "1.h5", parts / "old", tmp_path / "again.tsv", tmp_path / "2.h5", engine)
    model = load(tmp_path / "2.h5")
    one, two = (model.cell_types.index(name) for name in (NEW, "C9"))
    np.testing.assert_allclose(model.c[one], model.c[two], rtol=1e-9)
    info = read_model(tmp_path / "2.h5").info
    assert info["extended"]["cell_types"] == ["C9"] and info["genome"] == "genome"


def test_what_a_tensor_cannot_store_is_refused_as_by_ingest(parts, data, engine, tmp_path):
    old, sizes = read_tracks(parts / "old.tsv"), data / "genome.chrom.sizes"
    lengths = {chrom: int(n) for chrom, n in (line.split() for line in sizes.read_text().splitlines())}
    bases = {chrom: np.arange(n, dtype=np.float32) % 60_000 for chrom, n in lengths.items()}
    new = Experiment("X", old[0].experiment.assay)
    files = {t.experiment: t.path for t in old}
    write_bases(tmp_path / "new.bw", bases)
    write_tracks(tmp_path / "old.tsv", files, {"transform": dict.fromkeys(files, "none")})
    write_tracks(tmp_path / "new.tsv", {new: "new.bw"}, {"transform": {new: "none"}})
    options = IngestOptions(genome=str(sizes), dtype="float16")
    tensor = ingest(tmp_path / "old.tsv", tmp_path / "old", options, engine)
    assert tensor.manifest.dtype == "float16"
    train(tensor.path, tmp_path / "m.h5", TrainSettings(solver="als", rank=2), engine)

    def extended_by_table() -> None:
        extend(tmp_path / "m.h5", tensor.path, tmp_path / "new.tsv", tmp_path / "x.h5", engine)

    extended_by_table()
    assert np.isfinite(load(tmp_path / "x.h5").c).all()
    (tmp_path / "x.h5").unlink()
    bases["chr2"][1000:1025] = -70_000
    write_bases(tmp_path / "new.bw", bases)
    told = (
        f"{tmp_path / 'new.bw'}: signal of {new} on chr2 is too large for float16; ingest with `dtype` float32, or "
        "give the assay a transform"
    )
    with refused(TrackError, told):
        ingest(tmp_path / "new.tsv", tmp_path / "new", options, engine)
    with refused(TrackError, told):
        extended_by_table()
    assert not (tmp_path / "x.h5").exists()


def test_chromosomes_that_a_new_track_lacks(parts, engine, tmp_path, caplog):
    """They are told where they count as 0."""
    path = Path(shutil.copytree(parts / "old", tmp_path / "zero"))
    Tensor(path).manifest.model_copy(update={"uncovered": "zero"}).write(path)
    lengths = dict(Tensor(path).manifest.genome.chromosomes)
    bases = {"chr1": np.ones(lengths["chr1"], dtype=np.float32)}
    bases["chr1"][::700] = 5
    new = Experiment("X", load(parts / "model.h5").assays[0])
    write_tracks(tmp_path / "new.tsv", {new: str(write_bases(tmp_path / "new.bw", bases))})
    extend(parts / "model.h5", path, tmp_path / "new.tsv", tmp_path / "x.h5", engine)
    (told,) = [message for message in caplog.messages if "lack chromosomes" in message]
    assert told.startswith("the files of 1 of 1 tracks lack chromosomes, where their signal counts as zero")
    assert f"{new} (chr2); if a file is only a part" in told


def test_bad_input_is_one_line(parts, data, engine, tmp_path):
    tracks = [t.path for t in read_tracks(parts / "new.tsv")]

    def refused(message: str, table: dict[Experiment, str] | None, tensor: Path = parts / "old") -> None:
        if table is not None:
            write_tracks(tmp_path / "t.tsv", table)
        with pytest.raises(Exception, match=message) as caught:
            extend(
                parts / "model.h5",
                tensor,
                tmp_path / "t.tsv" if table else None,
                tmp_path / "x.h5",
                engine,
            )
        assert hasattr(caught.value, "exit_code") and len(str(caught.value).splitlines()) == 1
        assert not (tmp_path / "x.h5").exists()

    assay = load(parts / "model.h5").assays[0]
    refused("has the cell type C1 and the assay .* already", {Experiment("C1", assay): tracks[0]})
    refused("neither the cell type X nor the assay NEW", {Experiment("X", "NEW"): tracks[0]})
    refused("never saw the assay NEW", {Experiment("C1", "NEW"): tracks[0]})
    refused("has no experiment of a cell type or assay that", None)
    refused("does not exist", {Experiment("X", assay): "/nowhere.bw"})
    # Another genome, another bin size.
    other = tmp_path / "other.sizes"
    other.write_text("chr1\t1000000\nchr2\t500000\n")
    table = {t.experiment: t.path for t in read_tracks(parts / "old.tsv")}
    write_tracks(tmp_path / "old.tsv", table)
    options = IngestOptions(genome=str(data / "genome.chrom.sizes"), bin_size=50)
    ingest(tmp_path / "old.tsv", tmp_path / "coarse", options, engine)
    refused(
        "has the bin size 50, .* was trained on 25", {Experiment("X", assay): tracks[0]}, tmp_path / "coarse"
    )
    import pyBigWig

    with pyBigWig.open(str(tmp_path / "foreign.bw"), "w") as file:
        file.addHeader([("chr1", 777_777)])
        file.addEntries(["chr1"], [0], ends=[1000], values=[1.0])
    refused("of another genome", {Experiment("X", assay): str(tmp_path / "foreign.bw")})
    with pytest.raises(DataError, match="a new cell type another name"):
        extended(
            load(parts / "model.h5"),
            np.eye(9),
            [Experiment("C1", assay)],
            RowPrior(0.1, True),
            regressors=False,
        )
