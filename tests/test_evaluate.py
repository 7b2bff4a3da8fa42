"""Scores against measures of signal that is read independently, for our own and for other tools' tracks."""

from __future__ import annotations

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from sklearn.metrics import roc_auc_score

from commands import call_predictd
from made_folds import FEW_SWEEPS
from made_tensors import small_tensor, stored_signal, with_signal
from made_tracks import write_bases
from predictd.config import TrainSettings
from predictd.constants import MEASURES, METRIC_COUNTS, METRIC_KEYS
from predictd.engine import Engine
from predictd.errors import DataError, OutputError, TableError, TensorFormatError, TrackError
from predictd.io.files import sha256_of, write_json
from predictd.io.tables import read_tracks
from predictd.io.tensor.store import Tensor
from predictd.model.folds import folds_to_json, make_folds
from predictd.model.measures.metrics import evaluate_track
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.workflows.evaluation.evaluate import EvaluateOptions, evaluate, mean_measures
from predictd.workflows.evaluation.regions import Regions
from predictd.workflows.evaluation.report import report
from predictd.workflows.imputing.impute import impute
from predictd.workflows.training.crossval import crossval
from predictd.workflows.training.train import train
from refusals import refused

ARCSINH = TRANSFORMS["arcsinh"]
GENOME = {"chr1": 250_000, "chr2": 250_000}


@pytest.fixture(scope="module")
def imputed(
    tmp_path_factory: pytest.TempPathFactory, model_path: Path, tensor_path: Path, engine: Engine
) -> Path:
    """The missing pairs' tracks. Read only."""
    path = tmp_path_factory.mktemp("imputed") / "imputed"
    impute(model_path, tensor_path, path, engine)
    return path


def binned(path: Path) -> np.ndarray:
    """Value in the middle of every bin of the simulated genome, in arcsinh space."""
    with pyBigWig.open(str(path)) as file:
        whole = [np.array(file.values(chrom, 0, length))[12::25] for chrom, length in GENOME.items()]
    return np.arcsinh(np.concatenate(whole).astype(np.float32))


def table_of(path: Path) -> dict[Experiment, dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {Experiment(row["cell_type"], row["assay"]): row for row in rows}


def write_table(path: Path, rows: list[dict[str, object]]) -> Path:
    header = list(rows[0])
    lines = ["\t".join(header), *("\t".join(str(row[name]) for name in header) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def read_metrics(path: Path) -> dict[tuple[str, str, str], dict[str, float]]:
    """Numbers by cell type, assay and method."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {
        (row["cell_type"], row["assay"], row["method"]): {name: float(row[name]) for name in MEASURES}
        for row in rows
    }


def assert_measures(got: dict[str, float], expected: dict[str, float]) -> None:
    for name in MEASURES:
        assert got[name] == pytest.approx(expected[name], rel=2e-5, abs=1e-7, nan_ok=True), name


def plain_baselines(
    signal: np.ndarray, experiments: list[Experiment], train: list[Experiment], target: Experiment
) -> tuple[np.ndarray, np.ndarray]:
    """The same-assay mean and that mean at the cell type's amplitude, straight from their definitions."""
    column = {e: signal[:, i].astype(np.float64) for i, e in enumerate(experiments)}

    def mean_of(assay: str, without: str) -> np.ndarray | None:
        found = [column[e] for e in train if e.assay == assay and e.cell_type != without]
        return np.mean(found, axis=0) if found else None

    products = []
    for own in train:
        if own.cell_type == target.cell_type and own.assay != target.assay:
            others = mean_of(own.assay, own.cell_type)
            if others is not None:
                products.append((others @ column[own], others @ others))
    factor = sum(a for a, _ in products) / sum(b for _, b in products)
    mean = mean_of(target.assay, target.cell_type)
    assert mean is not None
    return mean, factor * mean


def variance_of(
    signal: np.ndarray, experiments: list[Experiment], train: list[Experiment], target: Experiment
) -> np.ndarray:
    """Variance of each bin over the training tracks of the same assay."""
    own = [i for i, e in enumerate(experiments) if e in train and e.assay == target.assay and e != target]
    return signal[:, own].astype(np.float64).var(axis=1)


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_scores_are_the_measures_of_the_tracks(imputed, data, tensor, engine, tmp_path):
    rows = evaluate(imputed, data / "truth.tsv", tmp_path / "metrics.tsv", engine).rows
    metrics = read_metrics(tmp_path / "metrics.tsv")
    truth, ours = table_of(data / "truth.tsv"), table_of(imputed / "tracks.tsv")
    assert len(rows) == len(metrics) == 3 * len(truth) == 18
    signal = stored_signal(tensor)
    for pair in truth:
        observed = binned(data / truth[pair]["path"])
        weights = {"variance": variance_of(signal, tensor.experiments, tensor.experiments, pair)}
        model = evaluate_track(
            observed, binned(imputed / ours[pair]["path"]), transform=ARCSINH, weights=weights
        )
        assert model["MSEvar"] > 0
        assert_measures(metrics[(*pair, "model")], model)
        mean, scaled = plain_baselines(signal, tensor.experiments, tensor.experiments, pair)
        for method, values in (("assay_mean", mean), ("assay_mean_scaled", scaled)):
            expected = evaluate_track(observed, values.astype(np.float32), transform=ARCSINH, weights=weights)
            assert_measures(metrics[(*pair, method)], expected)


def test_baselines_are_made_of_training_experiments_only(data, tensor, engine, tmp_path):
    tracks = table_of(data / "tracks.tsv")
    train = [e for e in tensor.experiments if e.cell_type not in ("C2", "C5") or e.assay in ("A1", "A2")]
    held_out = [e for e in tensor.experiments if e not in train]
    assert held_out
    folder = tmp_path / "ours"
    folder.mkdir()
    write_table(
        folder / "tracks.tsv",
        [{"cell_type": e.cell_type, "assay": e.assay, "path": data / tracks[e]["path"]} for e in held_out],
    )
    kept = {"train": [str(e) for e in train], "results": {"tensor": str(tensor.path), "fold": "0.3"}}
    (folder / "run.json").write_text(json.dumps(kept))
    evaluate(folder, data / "tracks.tsv", tmp_path / "m.tsv", engine)
    metrics = read_metrics(tmp_path / "m.tsv")
    signal = stored_signal(tensor)
    for pair in held_out:
        observed = binned(data / tracks[pair]["path"])
        mean, scaled = plain_baselines(signal, tensor.experiments, train, pair)
        for method, values in (("assay_mean", mean), ("assay_mean_scaled", scaled)):
            weights = {"variance": variance_of(signal, tensor.experiments, train, pair)}
            expected = evaluate_track(observed, values.astype(np.float32), transform=ARCSINH, weights=weights)
            assert_measures(metrics[(*pair, method)], expected)
        # Here the tracks were compared with themselves.
        assert metrics[(*pair, "model")]["MSEglobal"] == 0 and metrics[(*pair, "model")]["GWcorr"] == 1
    assert {row["fold"] for row in csv.DictReader((tmp_path / "m.tsv").open(), delimiter="\t")} == {"0.3"}


def overlaps(intervals: list[tuple[str, int, int]]) -> np.ndarray:
    """Which bins of the simulated genome share a base with an interval."""
    masks = {chrom: np.zeros(length, bool) for chrom, length in GENOME.items()}
    for chrom, start, end in intervals:
        masks[chrom][start:end] = True
    return np.concatenate([mask.reshape(-1, 25).any(axis=1) for mask in masks.values()])


def write_bed(path: Path, intervals: list[tuple[str, int, int]]) -> Path:
    path.write_text("".join(f"{chrom}\t{start}\t{end}\textra\n" for chrom, start, end in intervals))
    return path


def test_regions_and_peaks_have_measures_of_their_own(imputed, data, engine, tmp_path):
    rng = np.random.default_rng(0)

    def some(n: int, longest: int) -> list[tuple[str, int, int]]:
        starts = rng.integers(0, 250_000 - longest, n).tolist()
        return [
            (f"chr{1 + i % 2}", start, start + int(rng.integers(1, longest)))
            for i, start in enumerate(starts)
        ]

    intervals = {"promoters": some(40, 300), "genes": some(10, 9000), "enhancers": some(30, 60)}
    peaks = [("chr1", 10, 11), *some(60, 700), ("chr2", 249_999, 250_000)]
    beds = {kind: write_bed(tmp_path / f"{kind}.bed", found) for kind, found in intervals.items()}
    truth = table_of(data / "truth.tsv")
    first, second = list(truth)[:2]
    write_bed(tmp_path / "peaks.narrowPeak", peaks)
    table = write_table(
        tmp_path / "truth.tsv",
        [
            {**truth[first], "path": data / truth[first]["path"], "peaks": "peaks.narrowPeak"},
            {**truth[second], "path": data / truth[second]["path"], "peaks": ""},
        ],
    )
    evaluate(imputed, table, tmp_path / "m.tsv", engine, EvaluateOptions(regions=Regions(**beds)))
    kept = json.loads((tmp_path / "m.tsv.run.json").read_text())
    for kind, bed in beds.items():
        assert kept["settings"][kind] == str(bed)
        assert kept["inputs"][str(bed)] == sha256_of(bed)
    metrics = read_metrics(tmp_path / "m.tsv")
    assert len(metrics) == 6
    for pair in (first, second):
        y = binned(data / truth[pair]["path"]).astype(np.float64)
        x = binned(imputed / table_of(imputed / "tracks.tsv")[pair]["path"]).astype(np.float64)
        own = metrics[(*pair, "model")]
        for measure, kind in (("MSEprom", "promoters"), ("MSEgene", "genes"), ("MSEenh", "enhancers")):
            mask = overlaps(intervals[kind])
            assert own[measure] == pytest.approx(((y - x)[mask] ** 2).mean(), rel=2e-5)
        if pair == first:
            assert own["CatchPeakObs"] == pytest.approx(roc_auc_score(overlaps(peaks), x), rel=1e-5)
        else:
            assert math.isnan(own["CatchPeakObs"])


@pytest.fixture
def gapped(tmp_path: Path) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """A tensor, an observed track from bin 100 on, and one imputed up to bin 349, as files; and both tracks' signal."""
    rng = np.random.default_rng(1)
    signal = rng.gamma(1, 0.5, (400, 4))
    signal[50:80, 1] = np.nan
    values = rng.gamma(1, 1.0, (2, 400))
    for name, track, rows in (("observed", values[0], range(100, 400)), ("imputed", values[1], range(350))):
        (tmp_path / name).mkdir()
        with pyBigWig.open(str(tmp_path / name / "track.bw"), "w") as file:
            file.addHeader([("chr1", 10_000)])
            first = rows[0] * 25
            file.addEntries("chr1", first, values=track[rows[0] : rows[-1] + 1], span=25, step=25)
        write_table(tmp_path / name / "tracks.tsv", [{"cell_type": "C0", "assay": "A1", "path": "track.bw"}])
    y, x = np.arcsinh(values)
    return small_tensor(tmp_path / "t", signal), y, x


@pytest.mark.parametrize(("absent", "end"), [("skip", 350), ("zero", 400)])
def test_gaps_of_imputed_tracks_are_told(absent, end, gapped, engine, tmp_path):
    """Where tracks were ingested as if what they leave out were 0, that goes for observed ones."""
    tensor, y, x = gapped
    tensor.manifest.model_copy(update={"uncovered": "zero"}).write(tensor.path)
    table = tmp_path / "observed" / "tracks.tsv"
    options = EvaluateOptions(absent=absent)
    rows = evaluate(tmp_path / "imputed", table, tmp_path / "m.tsv", engine, options, tensor=tensor.path).rows
    assert (rows[0]["method"], rows[0]["bins"], rows[0]["absent"]) == ("model", end, 50)
    y[:100], x[350:] = 0, 0
    wanted = evaluate_track(y[:end], x[:end], transform=ARCSINH)
    assert_measures(read_metrics(tmp_path / "m.tsv")["C0", "A1", "model"], wanted)


def test_observed_and_imputed_files_are_binned_alike(engine, tmp_path):
    """A file of signal has the errors 0 against itself, though it leaves out zeros within bins."""
    tensor = small_tensor(tmp_path / "t", np.zeros((400, 4)))
    tensor.manifest.model_copy(update={"uncovered": "zero"}).write(tensor.path)
    starts = np.arange(10, 9000, 75)
    with pyBigWig.open(str(tmp_path / "track.bw"), "w") as file:
        file.addHeader([("chr1", 10_000)])
        values = np.random.default_rng(3).uniform(1, 9, len(starts))
        file.addEntries(["chr1"] * len(starts), starts, ends=starts + 10, values=values)
    row = {"cell_type": "C0", "assay": "A1", "path": "track.bw"}
    write_table(tmp_path / "tracks.tsv", [row])
    report = evaluate(tmp_path, tmp_path / "tracks.tsv", tmp_path / "m.tsv", engine, tensor=tensor.path)
    found = report.rows[0]
    assert (found["method"], found["bins"], found["absent"]) == ("model", 400, 400 - len(starts))
    assert found["MSEglobal"] == 0 and found["GWcorrasinh"] == pytest.approx(1)


def test_chromosomes_that_an_observed_track_lacks(imputed, tensor_path, data, engine, tmp_path, caplog):
    """They are told where they count as 0; those that an imputed track lacks are absent."""
    path = Path(shutil.copytree(tensor_path, tmp_path / "zero"))
    tensor = Tensor(path)
    tensor.manifest.model_copy(update={"uncovered": "zero"}).write(path)
    pair = read_tracks(imputed / "tracks.tsv")[0].experiment
    lengths = dict(tensor.manifest.genome.chromosomes)
    write_bases(
        tmp_path / "part.bw",
        {"chr2": np.arange(lengths["chr2"], dtype=np.float32) // 50},
        lengths={"chr2": lengths["chr2"]},
    )
    row = {"cell_type": pair.cell_type, "assay": pair.assay, "path": "part.bw"}
    write_table(tmp_path / "tracks.tsv", [row])
    evaluate(imputed, tmp_path / "tracks.tsv", tmp_path / "m.tsv", engine, tensor=path)
    (told,) = [message for message in caplog.messages if "lack chromosomes" in message]
    assert told.startswith("the files of 1 of 1 tracks lack chromosomes") and f": {pair} (chr1);" in told


@pytest.mark.parametrize(
    ("absent", "message"), [("zero", "they count as 0"), ("skip", "no method of these pairs")]
)
def test_all_methods_of_a_pair_are_scored_on_the_same_bins(gapped, absent, message, engine, tmp_path, caplog):
    tensor, y, x = gapped
    options = EvaluateOptions(absent=absent)
    table = tmp_path / "observed" / "tracks.tsv"
    rows = evaluate(tmp_path / "imputed", table, tmp_path / "m.tsv", engine, options, tensor=tensor.path).rows
    compared = slice(100, 400) if absent == "zero" else slice(100, 350)
    assert [(row["method"], row["bins"], row["absent"]) for row in rows] == [
        ("model", compared.stop - 100, 50),
        ("assay_mean", compared.stop - 100, 0),
        ("assay_mean_scaled", compared.stop - 100, 0),
    ]
    # The assay has one other track, so that MSEvar has no weights.
    x[350:] = 0
    metrics = read_metrics(tmp_path / "m.tsv")
    assert_measures(metrics["C0", "A1", "model"], evaluate_track(y[compared], x[compared], transform=ARCSINH))
    mean = evaluate_track(y[compared], stored_signal(tensor)[compared, 3], transform=ARCSINH)
    assert_measures(metrics["C0", "A1", "assay_mean"], mean)
    assert (
        "model has no value in some bins of 1 pairs, most of C0:A1 (50 of 300 bins): " + message
        in caplog.text
    )


def test_a_track_that_covers_few_bins_is_not_perfect(engine, tmp_path):
    # Few bins imputed perfectly: the rest counts, too.
    rng = np.random.default_rng(2)
    signal = rng.gamma(1, 1, (2000, 4))
    tensor = small_tensor(tmp_path / "t", signal)
    values = np.sinh(stored_signal(tensor)[:, 1])
    for name, rows in (("observed", range(2000)), ("imputed", range(100))):
        (tmp_path / name).mkdir()
        with pyBigWig.open(str(tmp_path / name / "track.bw"), "w") as file:
            file.addHeader([("chr1", 50_000)])
            file.addEntries("chr1", 0, values=values[: len(rows)].tolist(), span=25, step=25)
        write_table(tmp_path / name / "tracks.tsv", [{"cell_type": "C0", "assay": "A1", "path": "track.bw"}])
    table = tmp_path / "observed" / "tracks.tsv"
    evaluate(tmp_path / "imputed", table, tmp_path / "m.tsv", engine, tensor=tensor.path)
    own = read_metrics(tmp_path / "m.tsv")["C0", "A1", "model"]
    y = stored_signal(tensor)[:, 1].astype(np.float64)
    assert own["MSEglobal"] == pytest.approx((y[100:] ** 2).sum() / 2000, rel=1e-3)
    assert own["AucObs1"] < 0.6


@pytest.mark.parametrize("kind", ["none", "logit"])
def test_signal_that_can_be_negative_is_not_cut(kind, engine, tmp_path):
    rng = np.random.default_rng(3)
    raw = rng.beta(0.3, 3, (2, 900)) if kind == "logit" else rng.normal(-0.5, 1, (2, 900))
    tensor = small_tensor(tmp_path / "t", rng.normal(0, 1, (900, 4)))
    for name, track in zip(("observed", "imputed"), raw, strict=True):
        (tmp_path / name).mkdir()
        with pyBigWig.open(str(tmp_path / name / "track.bw"), "w") as file:
            file.addHeader([("chr1", 22_500)])
            file.addEntries("chr1", 0, values=track.tolist(), span=25, step=25)
        row = {"cell_type": "C0", "assay": "methylation", "path": "track.bw", "transform": kind}
        write_table(tmp_path / name / "tracks.tsv", [row])
    table = tmp_path / "observed" / "tracks.tsv"
    evaluate(tmp_path / "imputed", table, tmp_path / "m.tsv", engine, tensor=tensor.path)
    own = read_metrics(tmp_path / "m.tsv")["C0", "methylation", "model"]
    y, x = (TRANSFORMS[kind].forward(track.astype(np.float32)) for track in raw)
    assert (y < 0).mean() > 0.5
    assert own["MSEglobal"] == pytest.approx(np.square(y - x).mean(dtype=float), rel=1e-4)
    assert own["GWcorrasinh"] == pytest.approx(np.corrcoef(y, x)[0, 1], abs=1e-5)
    assert own["GWcorr"] == pytest.approx(np.corrcoef(raw)[0, 1], abs=1e-5)
    options = EvaluateOptions(challenge=True)
    rows = evaluate(tmp_path / "imputed", table, tmp_path / "c.tsv", engine, options, tensor=tensor.path).rows
    assert rows[0]["mse"] == pytest.approx(np.square(raw[0] - raw[1]).mean(), rel=1e-4)


# -- the file ---------------------------------------------------------------------------------------------------------


def test_metrics_are_sorted_and_the_same_bytes(imputed, data, engine, tmp_path, single):
    evaluate(imputed, data / "truth.tsv", tmp_path / "a.tsv", engine, EvaluateOptions(names=("sgd",)))
    lines = (tmp_path / "a.tsv").read_text().splitlines()
    assert lines[0].split("\t") == [*METRIC_KEYS, *METRIC_COUNTS, *MEASURES]
    keys = [tuple(line.split("\t")[:4]) for line in lines[1:]]
    assert keys == sorted(keys) and {key[3] for key in keys} == {"sgd", "assay_mean", "assay_mean_scaled"}
    evaluate(imputed, data / "truth.tsv", tmp_path / "b.tsv", single, EvaluateOptions(names=("sgd",)))
    assert (tmp_path / "b.tsv").read_bytes() == (tmp_path / "a.tsv").read_bytes()


def test_what_is_recorded(imputed, data, tensor, engine, tmp_path):
    evaluate(imputed, data / "truth.tsv", tmp_path / "m.tsv", engine)
    kept = json.loads((tmp_path / "m.tsv.run.json").read_text())
    tables = data / "truth.tsv", imputed / "tracks.tsv"
    compared = [Path(track.path) for table in tables for track in read_tracks(table)]
    assert len(compared) == 12
    assert kept["inputs"] == {
        str(data / "truth.tsv"): sha256_of(data / "truth.tsv"),
        str(tensor.path): tensor.manifest.checksum,
        str(imputed): sha256_of(imputed / "tracks.tsv"),
        str(imputed / "run.json"): sha256_of(imputed / "run.json"),
        **{
            str(path): f"bytes {path.stat().st_size}, modified {path.stat().st_mtime_ns}" for path in compared
        },
    }
    assert kept["train"] == [str(e) for e in tensor.experiments]
    assert [stage["name"] for stage in kept["stages"]] == ["moments", "read headers", "evaluate"]


def test_means_over_experiments():
    rows = [
        {"method": "model", "GWcorr": 0.5, "MSEglobal": 1.0},
        {"method": "mean", "GWcorr": 0.25, "MSEglobal": 3.0},
        {"method": "model", "GWcorr": 0.75, "MSEglobal": 2.0},
    ]
    assert mean_measures(rows, ("GWcorr", "MSEglobal")) == {
        "model": {"GWcorr": 0.625, "MSEglobal": 1.5},
        "mean": {"GWcorr": 0.25, "MSEglobal": 3.0},
    }


# -- other tools' tracks ----------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(imputed: Path, tmp_path: Path) -> Path:
    """Tracks of another tool: a table and files of any name."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    rows = []
    for number, (pair, row) in enumerate(table_of(imputed / "tracks.tsv").items()):
        shutil.copy(imputed / row["path"], folder / f"track {number}.bigWig")
        rows.append({"assay": pair.assay, "path": f"track {number}.bigWig", "cell_type": pair.cell_type})
    write_table(folder / "tracks.tsv", rows)
    return folder


def test_another_tools_tracks_are_scored_alike(foreign, imputed, data, tensor, engine, tmp_path):
    evaluate(
        foreign,
        data / "truth.tsv",
        tmp_path / "m.tsv",
        engine,
        EvaluateOptions(names=("other",)),
        tensor=tensor.path,
    )
    evaluate(imputed, data / "truth.tsv", tmp_path / "ours.tsv", engine, EvaluateOptions(names=("other",)))
    # They say nothing of a fold.
    ours = (tmp_path / "ours.tsv").read_text()
    assert "\tholdout\t" in ours
    assert sorted(ours.replace("\tholdout\t", "\t.\t").splitlines()) == sorted(
        (tmp_path / "m.tsv").read_text().splitlines()
    )


@pytest.mark.parametrize(
    "run_json", [None, "[1, 2]", '{"results": [3]}', '{"results": {"tensor": "t"}, "train": 5}']
)
def test_bins_must_be_known(foreign, data, engine, tmp_path, run_json):
    if run_json:
        (foreign / "run.json").write_text(run_json)
    with pytest.raises(
        TensorFormatError, match="foreign does not say which bins to compare: name one as `tensor`"
    ):
        evaluate(foreign, data / "truth.tsv", tmp_path / "m.tsv", engine)


def test_a_tensor_that_was_made_again_is_not_the_one_it_was_made_from(
    imputed, data, tensor, engine, tmp_path
):
    folder, copied = (Path(shutil.copytree(path, tmp_path / path.name)) for path in (imputed, tensor.path))
    kept = json.loads((folder / "run.json").read_text())
    kept["results"]["tensor"] = str(copied)
    write_json(folder / "run.json", kept)
    rows = evaluate(folder, data / "truth.tsv", None, engine).rows
    assert len(rows) == 18
    with_signal(tensor, copied, stored_signal(tensor)[:, ::-1])
    with refused(
        TensorFormatError, f"{copied} is not the tensor that {folder} was made from: it was made again"
    ):
        evaluate(folder, data / "truth.tsv", None, engine)
    assert len(evaluate(folder, data / "truth.tsv", None, engine, tensor=copied).rows) == 18


def test_a_tensor_that_has_moved_is_asked_for(imputed, data, engine, tmp_path):
    folder = Path(shutil.copytree(imputed, tmp_path / "imputed"))
    kept = json.loads((folder / "run.json").read_text())
    kept["results"]["tensor"] = str(tmp_path / "gone")
    (folder / "run.json").write_text(json.dumps(kept))
    with pytest.raises(
        TensorFormatError, match=r"was made from the tensor .*gone, which does not exist any more: name it"
    ):
        evaluate(folder, data / "truth.tsv", tmp_path / "m.tsv", engine)
    (folder / "run.json").write_text("{")
    with pytest.raises(
        TableError, match=r"run.json cannot be read: .*; remove it if the tracks are not predictd's"
    ):
        evaluate(folder, data / "truth.tsv", tmp_path / "m.tsv", engine)


def test_bedgraphs_are_scored_too(imputed, data, engine, tmp_path):
    truth = table_of(data / "truth.tsv")
    pair = next(iter(truth))
    with pyBigWig.open(str(data / truth[pair]["path"])) as file:
        lines = [f"{chrom}\t{a}\t{b}\t{v!r}\n" for chrom in GENOME for a, b, v in file.intervals(chrom)]
    (tmp_path / "t.bedGraph").write_text("".join(lines))
    table = write_table(tmp_path / "t.tsv", [{**truth[pair], "path": "t.bedGraph"}])
    scratch = tmp_path / "new" / "scratch"
    evaluate(imputed, table, tmp_path / "m.tsv", engine, EvaluateOptions(scratch=scratch))
    evaluate(imputed, data / "truth.tsv", tmp_path / "all.tsv", engine)
    ours = read_metrics(tmp_path / "m.tsv")[(*pair, "model")]
    assert_measures(ours, read_metrics(tmp_path / "all.tsv")[(*pair, "model")])
    assert scratch.is_dir() and not list(scratch.iterdir())


# -- told -------------------------------------------------------------------------------------------------------------


def test_scores_of_training_experiments_are_warned_of(
    model_path, tensor_path, data, engine, tmp_path, caplog
):
    impute(model_path, tensor_path, tmp_path / "i", engine, pairs="C1:A1,C1:A3")
    assert (
        "1 of the 2 pairs were trained on (C1:A1): their tracks show how well the model fits" in caplog.text
    )
    caplog.clear()
    tracks, truth = table_of(data / "tracks.tsv"), table_of(data / "truth.tsv")
    both = [
        {**row, "path": data / row["path"]}
        for row in (tracks[Experiment("C1", "A1")], truth[Experiment("C1", "A3")])
    ]
    rows = evaluate(tmp_path / "i", write_table(tmp_path / "t.tsv", both), tmp_path / "m.tsv", engine).rows
    assert "1 of the 2 pairs in " in caplog.text and "were trained on (C1:A1): their scores" in caplog.text
    folds = {row["assay"]: row["fold"] for row in rows}
    assert folds == {"A1": "trained", "A3": "holdout"}
    caplog.clear()
    only = write_table(tmp_path / "t.tsv", both[1:])
    evaluate(tmp_path / "i", only, tmp_path / "m.tsv", engine)
    assert not caplog.text


def test_tables_of_earlier_versions_do_not_say_what_was_trained_on(
    model_path, tensor_path, data, engine, tmp_path, caplog
):
    impute(model_path, tensor_path, tmp_path / "i", engine, pairs="C1:A1,C1:A3")
    lines = (tmp_path / "i" / "tracks.tsv").read_text().splitlines()
    (tmp_path / "i" / "tracks.tsv").write_text(
        "".join("\t".join(line.split("\t")[:3]) + "\n" for line in lines)
    )
    tracks, truth = table_of(data / "tracks.tsv"), table_of(data / "truth.tsv")
    both = [
        {**row, "path": data / row["path"]}
        for row in (tracks[Experiment("C1", "A1")], truth[Experiment("C1", "A3")])
    ]
    caplog.clear()
    rows = evaluate(tmp_path / "i", write_table(tmp_path / "t.tsv", both), tmp_path / "m.tsv", engine).rows
    assert "were trained on (C1:A1): their scores" in caplog.text
    assert {row["assay"]: row["fold"] for row in rows} == {"A1": "trained", "A3": "holdout"}


def test_pairs_that_a_single_model_held_out(tensor, tensor_path, data, engine, tmp_path, caplog):
    pairs = tensor.experiments
    fold = make_folds(pairs, tests=3, valids=4)[3]
    write_json(tmp_path / "folds.json", folds_to_json([fold]))
    settings = TrainSettings(solver="em", rank=1)
    train(
        tensor_path, tmp_path / "m.h5", settings, engine, folds=tmp_path / "folds.json", fold_name=fold.name
    )
    impute(tmp_path / "m.h5", tensor_path, tmp_path / "i", engine, pairs="observed")
    how = {"trained on": fold.train, "validation": fold.valid, "held out": fold.test}
    assert all(how.values())
    assert f"{len(fold.train)} of the {len(pairs)} pairs were trained on" in caplog.text
    status = {pair: row["status"] for pair, row in table_of(tmp_path / "i" / "tracks.tsv").items()}
    assert status == {pair: name for name, own in how.items() for pair in own}
    caplog.clear()
    rows = evaluate(tmp_path / "i", data / "tracks.tsv", tmp_path / "m.tsv", engine).rows
    assert f"{len(fold.train)} of the {len(pairs)} pairs in {tmp_path / 'i'} were trained on" in caplog.text
    told = (
        f"{len(fold.valid)} of the {len(pairs)} pairs in {tmp_path / 'i'} were validated on ({fold.valid[0]}"
    )
    assert told in caplog.text and "their scores are not held-out errors" in caplog.text
    named = {"trained on": "trained", "validation": "validation", "held out": fold.name}
    for row in rows:
        own = Experiment(str(row["cell_type"]), str(row["assay"]))
        assert row["fold"] == named[status[own]]
    # In a report, the experiments that the model was trained on are counted for both kinds.
    report(tmp_path / "i", tmp_path / "r.html", metrics=tmp_path / "m.tsv")
    for own in table_of(tmp_path / "r_files" / "experiments.tsv").values():
        same = sum(pair.assay == own["assay"] for pair in fold.train)
        assert own["training_assay"] == (str(same) if own["fold"] != "trained" else "nan"), own


def test_pairs_that_a_cross_validation_held_out(tensor, tensor_path, data, engine, tmp_path, caplog):
    folds = make_folds(tensor.experiments, tests=3, valids=2)
    # What the first test fold, now of one fold, leaves out altogether, and others train on.
    tested = {pair.assay for pair in folds[0].test}
    blind = next(pair for pair in folds[0].valid if pair.assay in tested)
    folds[:2] = [replace(folds[0], valid=tuple(set(folds[0].valid) - {blind}))]
    assert folds[0].valid
    write_json(tmp_path / "folds.json", folds_to_json(folds))
    crossval(
        tensor_path,
        tmp_path / "cv",
        TrainSettings(solver="em", rank=1, als=FEW_SWEEPS),
        engine,
        folds=tmp_path / "folds.json",
    )
    impute(tmp_path / "cv", tensor_path, tmp_path / "i", engine, pairs="all")
    caplog.clear()
    table = table_of(tmp_path / "i" / "tracks.tsv")
    tests = {pair: fold.owner for fold in folds for pair in fold.test}
    assert {pair: row["status"] for pair, row in table.items()} == {
        pair: "held out" if pair in tests else "never observed" for pair in table
    }
    assert {pair: row["fold"] for pair, row in table.items()} == {
        pair: tests.get(pair, ".") for pair in table
    }
    rows = evaluate(tmp_path / "i", data / "tracks.tsv", tmp_path / "m.tsv", engine).rows
    assert "trained on" not in caplog.text
    # The same as what the cross-validation says of itself: the same folds, baselines of the same tracks, and tracks
    # that differ only by the rounding of bigWigs and of the tensor.
    own, theirs = read_metrics(tmp_path / "m.tsv"), read_metrics(tmp_path / "cv" / "metrics.tsv")
    assert own.keys() == theirs.keys() and {row["fold"] for row in rows} == set(tests.values())
    for key, measures in own.items():
        for name in ("MSEglobal", "GWcorrasinh", "MSEvar"):
            assert measures[name] == pytest.approx(theirs[key][name], rel=5e-3, nan_ok=True), (key, name)
    # Runs of earlier versions say only what a test fold held out.
    kept = json.loads((tmp_path / "i" / "run.json").read_text())
    assert str(blind) in kept["results"].pop("left_out")["0"]
    write_json(tmp_path / "i" / "run.json", kept)
    rows = evaluate(tmp_path / "i", data / "tracks.tsv", None, engine).rows
    assert {row["fold"] for row in rows} == set(tests.values())


def test_an_assay_of_one_cell_type_has_no_baseline(engine, tmp_path, caplog):
    pairs = [Experiment("x", "a"), Experiment("x", "b"), Experiment("y", "a")]
    rng = np.random.default_rng(0)
    tensor = small_tensor(tmp_path / "t", rng.gamma(1, 1, (200, 3)), experiments=pairs)
    with pyBigWig.open(str(tmp_path / "track.bw"), "w") as file:
        file.addHeader([("chr1", 5000)])
        file.addEntries("chr1", 0, values=rng.gamma(1, 1, 200), span=25, step=25)
    table = write_table(
        tmp_path / "tracks.tsv", [{"cell_type": e[0], "assay": e[1], "path": "track.bw"} for e in pairs[:2]]
    )
    rows = evaluate(tmp_path, table, tmp_path / "out" / "m.tsv", engine, tensor=tensor.path).rows
    methods = {
        pair: [r["method"] for r in rows if (r["cell_type"], r["assay"]) == pair] for pair in pairs[:2]
    }
    assert methods == {pairs[0]: ["model", "assay_mean", "assay_mean_scaled"], pairs[1]: ["model"]}
    assert "no baseline for x:b: no other cell type has a training experiment of b" in caplog.text


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        (
            [("C9", "A1", "x.bw")],
            DataError,
            r"have no pair in common: nothing can be scored; imputed are .*, observed are C9:A1: they have no cell "
            r"type "
            r"in common \(imputed .*, observed C9\); impute cell types that the table lists, or correct the names",
        ),
        (
            [("C1", "A9", "x.bw")],
            DataError,
            r"no assay in common \(imputed A.*, observed A9\); impute assays",
        ),
        ([("A3", "C1", "x.bw")], DataError, r"exchanged in one of the tables \(A3:C1\); correct its header"),
        (
            [("c1", "A-3", "x.bw")],
            DataError,
            r": C1:A3 and c1:A-3 differ only in the way they are written; write",
        ),
        ([("C1", "A3", "no.bw")], TrackError, r"t.tsv, line 2: .*no.bw does not exist"),
        ([("C1", "A3", "x.bw"), ("C1", "A3", "y.bw")], TableError, r"line 3: C1:A3 is in .*t.tsv twice"),
    ],
)
def test_tables_that_do_not_fit(imputed, engine, tmp_path, rows, kind, message):
    table = write_table(
        tmp_path / "t.tsv", [dict(zip(("cell_type", "assay", "path"), row, strict=True)) for row in rows]
    )
    with pytest.raises(kind, match=message) as caught:
        evaluate(imputed, table, tmp_path / "m.tsv", engine)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m.tsv").exists()


def test_the_table_that_the_model_learned_from_has_no_missing_pairs(imputed, data, engine, tmp_path):
    with refused(
        DataError,
        "the imputed pairs are those that nobody has measured, the table lists the tracks that the model learned from",
        "'predictd impute' with its directory and `pairs` observed writes them; or list here tracks that were held",
    ):
        evaluate(imputed, data / "tracks.tsv", tmp_path / "m.tsv", engine)


def test_directories_that_have_no_pair_in_common(imputed, data, engine, tmp_path):
    tracks = read_tracks(imputed / "tracks.tsv")
    for name, own in (("one", tracks[:2]), ("two", tracks[2:4])):
        (tmp_path / name).mkdir()
        rows = [{"cell_type": t.experiment[0], "assay": t.experiment[1], "path": str(t.path)} for t in own]
        write_table(tmp_path / name / "tracks.tsv", rows)
        shutil.copy(imputed / "run.json", tmp_path / name)
    with refused(DataError, "no pair of", "one: ", "two: ", "impute the same pairs by every method"):
        evaluate([tmp_path / "one", tmp_path / "two"], data / "truth.tsv", tmp_path / "m.tsv", engine)


def test_a_directory_without_a_table(data, engine, tmp_path):
    with pytest.raises(
        TableError, match=r"has no tracks.tsv: list its tracks there \(cell_type, assay, path\)"
    ):
        evaluate(tmp_path, data / "truth.tsv", tmp_path / "m.tsv", engine)


def test_regions_of_another_genome(imputed, data, engine, tmp_path):
    bed = write_bed(tmp_path / "g.bed", [("chr1", 0, 250_001)])
    with pytest.raises(
        TableError, match=r"`genes`: chr1:0-250001 does not fit genome, which gives it 250,000 bp"
    ):
        evaluate(
            imputed,
            data / "truth.tsv",
            tmp_path / "m.tsv",
            engine,
            EvaluateOptions(regions=Regions(genes=bed)),
        )
    with pytest.raises(TableError, match=r"cannot read .*gone.bed"):
        evaluate(
            imputed,
            data / "truth.tsv",
            tmp_path / "m.tsv",
            engine,
            EvaluateOptions(regions=Regions(enhancers=tmp_path / "gone.bed")),
        )


def test_peaks_that_cannot_be_read(imputed, data, engine, tmp_path):
    truth = table_of(data / "truth.tsv")
    pair = next(iter(truth))
    row = {**truth[pair], "path": data / truth[pair]["path"], "peaks": "gone.narrowPeak"}
    table = write_table(tmp_path / "t.tsv", [row])
    with pytest.raises(TableError, match=r"cannot read .*gone.narrowPeak"):
        evaluate(imputed, table, tmp_path / "m.tsv", engine)


def test_peaks_of_another_genome(imputed, data, engine, tmp_path):
    truth = table_of(data / "truth.tsv")
    pair = next(iter(truth))
    write_bed(tmp_path / "p.narrowPeak", [("1", 100, 900), ("chr1", 250_000, 260_000)])
    row = {**truth[pair], "path": data / truth[pair]["path"], "peaks": "p.narrowPeak"}
    table = write_table(tmp_path / "t.tsv", [row])
    with pytest.raises(
        TableError, match=r"none of its 2 peaks lies on genome, the first is at 1:100-900; is it of"
    ):
        evaluate(imputed, table, tmp_path / "m.tsv", engine)
    # Some on contigs that the genome does not have do no harm.
    write_bed(tmp_path / "p.narrowPeak", [("chrUn_1", 100, 900), ("chr1", 2_000, 6_000)])
    rows = evaluate(imputed, table, tmp_path / "m.tsv", engine).rows
    assert 0 < float(rows[0]["AuprPeakObs"]) <= 1


def test_no_bin_that_all_methods_have(gapped, engine, tmp_path):
    tensor, _, x = gapped
    shutil.copytree(tmp_path / "imputed", tmp_path / "other")
    (tmp_path / "other" / "track.bw").unlink()
    with pyBigWig.open(str(tmp_path / "other" / "track.bw"), "w") as file:
        file.addHeader([("chr1", 10_000)])
        file.addEntries("chr1", 375 * 25, values=x[375:].tolist(), span=25, step=25)
    folders, table = [tmp_path / "imputed", tmp_path / "other"], tmp_path / "observed" / "tracks.tsv"
    report = evaluate(
        folders, table, tmp_path / "m.tsv", engine, EvaluateOptions(absent="skip"), tensor=tensor.path
    )
    assert all(row["bins"] == 0 and math.isnan(float(row["MSEglobal"])) for row in report.rows)
    assert np.isnan(report.comparison.ranks).all()


def test_an_output_that_cannot_be_written(imputed, data, engine, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        evaluate(imputed, data / "truth.tsv", tmp_path / "file" / "m.tsv", engine)
    with pytest.raises(OutputError, match="cannot write"):
        evaluate(
            imputed,
            data / "truth.tsv",
            tmp_path / "m.tsv",
            engine,
            EvaluateOptions(scratch=tmp_path / "file" / "s"),
        )


def test_the_command_line(imputed, data, tmp_path):
    done = call_predictd(
        "evaluate", imputed, data / "truth.tsv", "-o", "m.tsv", "--name", "sgd", cwd=tmp_path
    )
    assert done.returncode == 0 and not done.stderr
    table, comparison, last = done.stdout.rstrip("\n").split("\n\n")
    assert comparison.split()[:2] == ["method", "mean"]
    header, *lines = table.splitlines()
    assert header.split() == ["method", "tracks", "MSEglobal", "MSE1obs", "GWcorrasinh", "GWspear", "AucObs1"]
    metrics = read_metrics(tmp_path / "m.tsv")
    for line in lines:
        method, tracks, *numbers = line.split()
        assert tracks == "6"
        own = [row for key, row in metrics.items() if key[2] == method]
        for name, number in zip(header.split()[2:], numbers, strict=True):
            assert float(number) == pytest.approx(np.mean([row[name] for row in own]), abs=6e-5)
    assert {line.split()[0] for line in lines} == {"sgd", "assay_mean", "assay_mean_scaled"}
    assert last.splitlines() == [
        "m.comparison.tsv: all differences between the methods",
        "m.tsv: all measures of 6 experiments",
    ]
    assert Tensor(Path(json.loads((imputed / "run.json").read_text())["results"]["tensor"]))
