"""`predictd cv`, and imputing from its directory: every number against NumPy on the model files and the signal."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import call_predictd
from folders import contents, names
from given_up import put_once_begun
from here import Here
from made_folds import FEWEST_SWEEPS, SHORT_SGD, few_folds, models_of
from made_tensors import read_signal, rewritten
from predictd.config import TrainSettings, load_config
from predictd.constants import MIN_OBSERVED
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError, ModelFormatError, OutputError
from predictd.io.files import sha256_of, write_json
from predictd.io.models import read_model
from predictd.io.partition import Job
from predictd.io.tensor.layout import ShardPlan
from predictd.io.tensor.store import Tensor, write_shard
from predictd.io.tracks.bigwig import BigWigReader
from predictd.model.cp.reference import closed_form_genome
from predictd.model.folds import Fold, folds_to_json, make_folds
from predictd.model.measures.metrics import MEASURES, evaluate_track
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.workflows.evaluation.signal import TRACKS_A_ROW
from predictd.workflows.imputing.estimators import model_folds
from predictd.workflows.imputing.impute import impute, track_name
from predictd.workflows.tensor.folds import load_folds
from predictd.workflows.tensor.moments import ensure_moments
from predictd.workflows.training.crossval import Crossval, CrossvalReport, crossval
from predictd.workflows.training.solvers import SOLVERS as REGISTRY
from predictd.workflows.training.solvers.solver import Choice, FitData
from refusals import refused

SETTINGS = TrainSettings(rank=3, regularisation=0.1, als=FEWEST_SWEEPS)


@pytest.fixture(scope="module")
def tensor_path(short_path: Path) -> Path:
    return short_path


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path
) -> tuple[Path, CrossvalReport]:
    """A cross-validation of 40 models, and its report. Read only."""
    path = tmp_path_factory.mktemp("cv") / "cv"
    return path, crossval(tensor_path, path, SETTINGS, engine)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path) -> Path:
    """A cross-validation of 6 models, with the file of its folds beside it. Read only."""
    path = tmp_path_factory.mktemp("small")
    few_folds(Tensor(tensor_path), path / "folds.json")
    crossval(tensor_path, path / "cv", SETTINGS, engine, folds=path / "folds.json")
    return path / "cv"


@pytest.fixture
def cv_path(finished: tuple[Path, CrossvalReport]) -> Path:
    return finished[0]


def rows_of(path: Path) -> dict[tuple[str, str, str, str], dict[str, str]]:
    with (path / "metrics.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {(row["cell_type"], row["assay"], row["fold"], row["method"]): row for row in rows}


def predict(path: Path, pairs: list[Experiment], known: dict[Experiment, np.ndarray]) -> np.ndarray:
    """Predictions (bins × pairs) of a model file: each bin solved on what it has, in float64; NaN under half."""
    part = read_model(path).parameters
    cells, assays = list(part["cell_types"]), list(part["assays"])

    def design(some: list[Experiment]) -> tuple[np.ndarray, np.ndarray]:
        c = [cells.index(e.cell_type) for e in some]
        a = [assays.index(e.assay) for e in some]
        z = np.vstack([(part["C"][c] * part["A"][a]).T, np.ones(len(some))])
        return z, part["mu"] + part["p"][c] + part["q"][a]

    inputs = [Experiment.parse(str(text)) for text in part["train"]]
    (z, o), (z_pairs, o_pairs) = design(inputs), design(pairs)
    values = np.stack([known[e] for e in inputs], axis=1)
    predicted = np.full((len(values), len(pairs)), np.nan)
    # Which inputs are missing, as a number for each bin.
    patterns = np.isnan(values) @ (1 << np.arange(len(inputs)))
    for pattern in np.unique(patterns):
        rows = patterns == pattern
        missing = np.isnan(values[rows][0])
        if (~missing).mean() >= MIN_OBSERVED:
            residuals = values[rows][:, ~missing] - o[~missing]
            genome = closed_form_genome(z[:, ~missing], float(part["lambda_G"]), residuals)
            predicted[rows] = o_pairs + genome @ z_pairs
    return predicted


def highest(path: Path, pair: Experiment) -> float:
    """The end of the range of a pair's assay in a model file."""
    part = read_model(path).parameters
    return float(part["ranges"][1, list(part["assays"]).index(pair.assay)])


def amplitude_by_hand(train: set[Experiment], pair: Experiment, known: dict[Experiment, np.ndarray]) -> float:
    """Least squares of the cell type's other tracks on the means of their assays in other cell types."""
    above = below = 0.0
    for own in train:
        others = [known[e] for e in train if e.assay == own.assay and e.cell_type != own.cell_type]
        if own.cell_type == pair.cell_type and own.assay != pair.assay and others:
            mean = np.mean(others, axis=0)
            above += mean @ known[own]
            below += mean @ mean
    return above / below if below else 1.0


def unfinished(path: Path, tensor: Tensor, settings: TrainSettings, *, keep: int) -> None:
    """Bring a finished directory back to where `keep` of its models stood."""
    folds = load_folds(path / "folds.json")
    kept, gone = models_of(path, folds)[:keep], models_of(path, folds)[keep:]
    for file in (*gone, path / "metrics.tsv", path / "run.json"):
        file.unlink()
    job = Job(
        path,
        {
            "command": "cv",
            "tensor": tensor.manifest.checksum,
            "settings": settings.model_dump(mode="json", by_alias=True),
            "folds": folds_to_json(folds),
            "seed": 0,
            "regions": {},
        },
    )
    job.begin()
    for file in kept:
        with job.making(file):
            pass


# Models and scores


def test_each_experiment_is_scored_by_the_models_of_its_test_fold(cv_path, tensor):
    folds = make_folds(tensor.experiments)
    assert load_folds(cv_path / "folds.json") == folds and len(folds) == 40
    known = dict(zip(tensor.experiments, read_signal(tensor).T, strict=True))
    rows = rows_of(cv_path)
    tests = {fold.name[0]: fold.test for fold in folds}
    assert sorted(pair for test in tests.values() for pair in test) == sorted(tensor.experiments)
    methods = ("model", "assay_mean", "assay_mean_scaled")
    assert set(rows) == {(*pair, test, m) for test, pairs in tests.items() for pair in pairs for m in methods}
    for test, pairs in tests.items():
        own = [fold for fold in folds if fold.name[0] == test]
        members = np.mean([predict(path, list(pairs), known) for path in models_of(cv_path, own)], axis=0)
        train = set(tensor.experiments) - set(pairs)
        for pair, predicted in zip(pairs, members.T, strict=True):
            same = [known[e] for e in train if e.assay == pair.assay and e.cell_type != pair.cell_type]
            mean = np.mean(same, axis=0)
            scaled = mean * amplitude_by_hand(train, pair, known)
            for method, imputed in zip(methods, (predicted, mean, scaled), strict=True):
                # One track has no variance: there is nothing to weigh by.
                weights = {"variance": np.var(same, axis=0)} if len(same) > 1 else {}
                wanted = evaluate_track(
                    known[pair], imputed, transform=TRANSFORMS["arcsinh"], weights=weights
                )
                for measure in MEASURES:
                    # Ranks of nearly equal values may be those of float32: one bin of the top 1 % is 1/200.
                    counted = measure.startswith(("Match", "Catch"))
                    np.testing.assert_allclose(
                        float(rows[(*pair, test, method)][measure]),
                        wanted[measure],
                        rtol=2e-5,
                        atol=0.0051 if counted else 2e-6,
                        err_msg=f"{pair} {method} {measure}",
                    )


def test_baselines_know_what_any_fold_of_the_test_fold_knows(tensor, engine, tmp_path):
    """Where two folds of one test fold leave out other experiments, its models together know all."""
    pair = make_folds(tensor.experiments)[0].test[0]
    others = [e for e in tensor.experiments if e != pair]
    alike = [e for e in others if e.assay == pair.assay]
    group = []
    for number, left_out in enumerate(alike[:2]):
        valid = next(e for e in others if e.assay != pair.assay and e.cell_type != pair.cell_type)
        train = tuple(e for e in others if e not in (left_out, valid))
        group.append(Fold(f"0.{number}", (pair,), (valid,), train))
    write_json(tmp_path / "folds.json", folds_to_json(group))
    crossval(tensor.path, tmp_path / "cv", SETTINGS, engine, folds=tmp_path / "folds.json")
    known = dict(zip(tensor.experiments, read_signal(tensor).T, strict=True))
    wanted = np.nanmean((known[pair] - np.mean([known[e] for e in alike], axis=0)) ** 2)
    found = rows_of(tmp_path / "cv")[(*pair, "0", "assay_mean")]["MSEglobal"]
    assert float(found) == pytest.approx(wanted, rel=1e-4)


def test_the_model_of_a_test_fold_knows_what_any_of_its_folds_knows(tmp_path):
    a, b, v, t = (Experiment("C", name) for name in "abvt")
    group = [Fold("0.0", (t,), (v,), (b,)), Fold("0.1", (t,), (v,), (a,))]
    (tmp_path / "models").mkdir()
    assert model_folds(tmp_path, group) == group
    (tmp_path / "models" / "fold-0.h5").touch()
    assert model_folds(tmp_path, group) == [Fold("0", (t,), (), (a, b, v))]


def test_no_model_sees_its_test_experiments(cv_path, tensor):
    for fold in make_folds(tensor.experiments):
        model = read_model(cv_path / "models" / f"fold-{fold.name}.h5")
        trained = [Experiment.parse(str(text)) for text in model.parameters["train"]]
        assert trained == list(fold.train)
        assert not set(trained) & {*fold.test, *fold.valid}
        assert model.info["fold"] == {
            "name": fold.name,
            "test": [str(e) for e in fold.test],
            "valid": [str(e) for e in fold.valid],
        }


def test_test_experiments_change_nothing_in_their_models(tensor_path, single, tmp_path):
    """Rank and penalty are chosen, too."""
    tensor = Tensor(tensor_path)
    fold = few_folds(tensor, tmp_path / "all.json")[0]
    write_json(tmp_path / "folds.json", folds_to_json([fold]))
    hidden = [tensor.experiments.index(e) for e in fold.test]

    def change(_number: int, _chrom: str, signal: np.ndarray) -> None:
        signal[:, hidden] = signal[::-1, hidden] + 1

    paths = [tensor_path, rewritten(tensor_path, tmp_path / "other", change)]
    for path in paths:
        crossval(
            path,
            tmp_path / f"cv-{path.name}",
            TrainSettings(networks=1, als=FEWEST_SWEEPS),
            single,
            folds=tmp_path / "folds.json",
        )
    test = fold.name.partition(".")[0]
    one, two = ((tmp_path / f"cv-{path.name}" / "models" / f"fold-{test}.h5").read_bytes() for path in paths)
    assert one == two


def test_the_ensemble_beats_the_assay_mean(finished):
    rows = finished[1].rows
    mse = {
        method: np.mean([float(row["MSEglobal"]) for row in rows if row["method"] == method])
        for method in ("model", "assay_mean", "assay_mean_scaled")
    }
    assert mse["model"] < 0.5 * mse["assay_mean"]
    assert mse["model"] < 0.6 * mse["assay_mean_scaled"]


def test_what_stands_in_the_directory(finished, small, tensor):
    path, report = finished
    assert report.n_models == 40
    assert [name for name in names(path) if "/" not in name] == [
        "coverage.tsv",
        "coverage_by_signal.tsv",
        "density.h5",
        "folds.json",
        "metrics.tsv",
        "models",
        "run.json",
        "uncertainty.json",
    ]
    assert report.choices == dict.fromkeys("01234", "rank 3, prior strength 0.1 (given)")
    run = json.loads((path / "run.json").read_text())
    assert run["results"]["models"] == 40 and run["results"]["choices"] == report.choices
    assert [stage["name"] for stage in run["stages"]] == ["moments", "choose", "train", "score"]
    assert list(run["inputs"].values()) == [tensor.manifest.checksum]
    asked = SETTINGS.model_dump(mode="json", by_alias=True)
    assert run["settings"] == asked and run["seed"] == 0
    folds, run = small.parent / "folds.json", json.loads((small / "run.json").read_text())
    assert run["settings"] == asked | {"folds": str(folds)}
    assert run["inputs"] == {str(tensor.path): tensor.manifest.checksum, str(folds): sha256_of(folds)}


@pytest.mark.parametrize("tracks_a_row", [TRACKS_A_ROW, 0], ids=["read twice", "kept on disk"])
def test_residuals_are_counted_once_however_often_signal_is_read(
    small, tensor_path, tmp_path, monkeypatch, tracks_a_row
):
    monkeypatch.setattr("predictd.workflows.evaluation.score.KEPT_BYTES", 0)
    monkeypatch.setattr("predictd.workflows.evaluation.signal.TRACKS_A_ROW", tracks_a_row)
    crossval(tensor_path, tmp_path / "cv", SETTINGS, Here(1), folds=small.parent / "folds.json")
    for name in ("metrics.tsv", "uncertainty.json", "coverage.tsv", "density.h5"):
        assert (tmp_path / "cv" / name).read_bytes() == (small / name).read_bytes()


@pytest.mark.numeric
def test_the_same_bytes_whatever_the_number_of_workers(small, tensor_path, tmp_path, single):
    crossval(tensor_path, tmp_path / "one", SETTINGS, single, folds=small.parent / "folds.json")
    assert contents(tmp_path / "one") == contents(small)


@pytest.mark.parametrize("solver", ["em", "als"])
def test_rank_and_penalty_are_chosen_for_each_test_fold_on_its_own_validation_folds(
    solver, tensor, engine, tmp_path
):
    folds = few_folds(tensor, tmp_path / "folds.json")
    settings = TrainSettings(solver=solver, regularisation=0.1, als=FEWEST_SWEEPS)
    report = crossval(tensor.path, tmp_path / "cv", settings, engine, folds=tmp_path / "folds.json")
    moments = ensure_moments(tensor, engine)
    for test in "012":
        group = [fold for fold in folds if fold.name[0] == test]
        choice = REGISTRY[solver].search(FitData(tensor, moments), group, settings, engine, seed=0)
        assert report.choices[test].startswith(f"rank {choice.rank}, ")
        assert f"{choice.score:.4f}, of {len(choice.tried)} settings tried" in report.choices[test]
        for path in models_of(tmp_path / "cv", group):
            assert read_model(path).info["settings"]["rank"] == choice.rank


def test_sgd(tensor, engine, tmp_path):
    folds = few_folds(tensor, tmp_path / "folds.json")
    for name in ("one", "two"):
        report = crossval(tensor.path, tmp_path / name, SHORT_SGD, engine, folds=tmp_path / "folds.json")
    assert report.choices["0"] == "rank 2, lambda 0.001"
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert names(tmp_path / "one" / "models") == sorted(f"fold-{fold.name}.h5" for fold in folds)
    known = dict(zip(tensor.experiments, read_signal(tensor).T, strict=True))
    rows = rows_of(tmp_path / "one")
    own = [fold for fold in folds if fold.name[0] == "1"]
    pair = own[0].test[0]
    paths = models_of(tmp_path / "one", own)
    predicted = np.mean([predict(path, [pair], known)[:, 0] for path in paths], axis=0)
    wanted = evaluate_track(known[pair], predicted, transform=TRANSFORMS["arcsinh"])["MSEglobal"]
    assert float(rows[(*pair, "1", "model")]["MSEglobal"]) == pytest.approx(wanted, rel=1e-5)
    # The error that SGD kept is over its sample of the bins.
    info = read_model(paths[0]).info
    assert info["validation_mse"] == min(info["history"])


def test_regions(tensor, engine, data, tmp_path):
    few_folds(tensor, tmp_path / "folds.json")
    (tmp_path / "genes.bed").write_text("chr1\t1000\t41000\nchr2\t0\t25\n")
    done = call_predictd(
        "cv", tensor.path, "-o", "cv", "--rank", 2, "--lambda", 0.1, "--workers", 1,
        "--folds", "folds.json", "--genes", "genes.bed", "--seed", 7, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "cv" / "run.json").read_text())["seed"] == 7
    assert "test fold 0: rank 2, prior strength 0.1 (given)\n" in done.stdout
    assert "cv: 6 models" in done.stdout
    values = read_signal(tensor)
    inside = np.r_[40:1640, 2000]
    for key, row in rows_of(tmp_path / "cv").items():
        assert row["MSEprom"] == row["MSEenh"] == "nan"
        if key[3] == "assay_mean":
            pair, test = Experiment(*key[:2]), key[2]
            held = {
                e
                for fold in load_folds(tmp_path / "cv/folds.json")
                if fold.name[0] == test
                for e in fold.test
            }
            others = [
                i
                for i, e in enumerate(tensor.experiments)
                if e not in held and e.assay == pair.assay and e.cell_type != pair.cell_type
            ]
            error = values[inside, tensor.experiments.index(pair)] - values[inside][:, others].mean(axis=1)
            assert float(row["MSEgene"]) == pytest.approx(np.square(error).mean(), rel=1e-5)


# Folds


def test_few_experiments_make_fewer_folds_with_a_warning(tensor_path, engine, tmp_path, caplog):
    tensor = Tensor(tensor_path)
    keep = [e for e in tensor.experiments if e.cell_type in ("C1", "C3", "C5")]
    small = subset(tensor, tmp_path / "small", keep)
    report = crossval(
        small, tmp_path / "cv", TrainSettings(rank=1, regularisation=0.1, als=FEWEST_SWEEPS), engine
    )
    folds = load_folds(tmp_path / "cv" / "folds.json")
    assert report.n_models == len(folds) < 40
    assert folds == make_folds(keep)
    assert any("instead of 8" in r.getMessage() for r in caplog.records)
    assert {(key[0], key[1]) for key in rows_of(tmp_path / "cv")} == {e for fold in folds for e in fold.test}


def subset(tensor: Tensor, path: Path, keep: list[Experiment]) -> Path:
    """A tensor of some of the experiments."""
    columns = tensor.columns(keep)
    entries = []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            signal = np.ascontiguousarray(shard.read()[:, columns]).astype(np.float16)
            entries.append(write_shard(path, ShardPlan(name, shard.places), signal))
    experiments = tuple(tensor.manifest.experiments[i] for i in columns)
    tensor.manifest.model_copy(update={"shards": tuple(entries), "experiments": experiments}).write(path)
    return path


def fold_like(fold: Fold, **changes: Any) -> Fold:
    return Fold(**{"name": fold.name, "test": fold.test, "valid": fold.valid, "train": fold.train} | changes)


def test_what_folds_leave_out_remains_unseen(tensor, engine, tmp_path):
    """Files are the same as of a tensor without these experiments."""
    blind, *others = tensor.experiments
    write_json(tmp_path / "folds.json", folds_to_json(make_folds(others, tests=2, valids=2)))
    settings = TrainSettings(solver="donors")
    for name, path in (("whole", tensor.path), ("part", subset(tensor, tmp_path / "t", others))):
        crossval(path, tmp_path / name, settings, engine, folds=tmp_path / "folds.json")
    assert contents(tmp_path / "whole" / "models") == contents(tmp_path / "part" / "models")
    calibrations = [(tmp_path / name / "uncertainty.json").read_bytes() for name in ("whole", "part")]
    assert calibrations[0] == calibrations[1]
    assert json.loads((tmp_path / "whole" / "run.json").read_text())["train"] == [str(e) for e in others]
    impute(tmp_path / "whole", tensor.path, tmp_path / "imputed", engine, pairs=[blind])
    assert "\theld out\t" in (tmp_path / "imputed" / "tracks.tsv").read_text()


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda f: [fold_like(f[0], valid=())], ["fold 0.0", "no validation experiments"]),
        (lambda f: [f[0], fold_like(f[2], name="0.1")], ["0.0 and 0.1", "name them differently"]),
        (lambda f: [f[0], fold_like(f[1], name="9.1")], ["test folds '0' and '9'", "once"]),
        (lambda f: [fold_like(f[0], test=())], ["nothing to score"]),
        (lambda f: [fold_like(f[0], name="0"), f[1]], ["fold 0 is named as", "2 folds", "name it 0.N"]),
    ],
    ids=["no validation", "two tests of one name", "tested twice", "no test", "a name for two"],
)
def test_folds_that_make_no_sense_are_refused(change, parts, tensor, engine, tmp_path):
    folds = few_folds(tensor, tmp_path / "good.json")
    write_json(tmp_path / "folds.json", folds_to_json(change(folds)))
    with refused(DataError, *parts):
        crossval(tensor.path, tmp_path / "cv", SETTINGS, engine, folds=tmp_path / "folds.json")
    assert not (tmp_path / "cv").exists()


# Stopping and going on


@pytest.mark.parametrize("keep", [0, 3, 6])
def test_what_was_interrupted_goes_on_to_the_same_bytes(keep, small, tensor, engine, tmp_path):
    path = Path(shutil.copytree(small, tmp_path / "cv"))
    unfinished(path, tensor, SETTINGS, keep=keep)
    before = {file.name: file.stat().st_mtime_ns for file in (path / "models").iterdir()}
    assert len(before) == keep
    crossval(tensor.path, path, SETTINGS, engine, folds=small.parent / "folds.json")
    assert contents(path) == contents(small)
    after = {file.name: file.stat().st_mtime_ns for file in (path / "models").iterdir()}
    assert {name: after[name] for name in before} == before


@pytest.mark.processes
def test_a_signal_stops_between_models_and_the_command_goes_on(tensor, engine, tmp_path):
    folds = few_folds(tensor, tmp_path / "folds.json")
    # Sweeps without an end, so that there is time for the signal.
    (tmp_path / "slow.toml").write_text(
        "[train]\nrank = 4\nlambda = 0.1\n[train.als]\nstarts = 1\nmax_sweeps = 100\npatience = 100\ntolerance = 0\n"
    )

    command = f"cv {tensor.path} -o cv --folds folds.json --config slow.toml --workers 1 --quiet".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "predictd", *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        models = tmp_path / "cv" / "models"
        while process.poll() is None and not list(models.glob("fold-*.h5")):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 75, err
    assert "SIGTERM" in err and "run the same command again" in err
    made = names(models)
    assert 1 <= len(made) < len(folds)
    missing = [fold.name for fold in folds if f"fold-{fold.name}.h5" not in made]
    with refused(ModelFormatError, f"is unfinished: {len(missing)} of 6 folds have no model ({missing[0]}"):
        impute(tmp_path / "cv", tensor.path, tmp_path / "imputed", engine)
    config = load_config(tmp_path / "slow.toml")
    for output in ("cv", "whole"):
        crossval(
            tensor.path,
            tmp_path / output,
            config.train,
            engine,
            folds=tmp_path / "folds.json",
        )
    assert contents(tmp_path / "cv") == contents(tmp_path / "whole")


def test_an_unfinished_directory_takes_no_other_settings(cv_path, tensor, engine, tmp_path):
    path = Path(shutil.copytree(cv_path, tmp_path / "cv"))
    unfinished(path, tensor, SETTINGS, keep=5)
    few_folds(tensor, tmp_path / "folds.json")
    before = contents(path)
    for settings, options, parts in (
        (SETTINGS.model_copy(update={"rank": 4}), {}, ["settings.rank: 3, now 4"]),
        (SETTINGS.model_copy(update={"solver": "als"}), {}, ["settings.solver: em, now als"]),
        (SETTINGS, {"seed": 1}, ["folds"]),
        (SETTINGS, {"folds": tmp_path / "folds.json"}, ["folds[0].test[0]: C2:A3, now C1:A2"]),
    ):
        with refused(OutputError, str(path), "begun differently", *parts):
            crossval(tensor.path, path, settings, engine, **options)
    assert contents(path) == before


def test_a_mistake_at_the_beginning_can_be_corrected(tensor, engine, tmp_path):
    few_folds(tensor, tmp_path / "folds.json")
    options = {"folds": tmp_path / "folds.json"}
    path = tmp_path / "cv"
    with refused(ConfigError, "rank 300 is too high"):
        crossval(tensor.path, path, TrainSettings(rank=300, regularisation=0.1), engine, **options)
    crossval(tensor.path, path, SETTINGS, engine, **options)
    assert (path / "metrics.tsv").is_file()


def test_a_job_that_is_given_up_while_it_runs_adds_no_model(small, tensor, tmp_path):
    folds, path = small.parent / "folds.json", tmp_path / "cv"
    own = Crossval(tensor.path, path, SETTINGS, folds=folds)
    other = Crossval(tensor.path, path, SETTINGS.model_copy(update={"rank": 2}), folds=folds)
    # Before it has made any.
    with (
        pytest.MonkeyPatch.context() as patch,
        refused(OutputError, f"{path} holds an unfinished job", "(settings.rank: 3, now 2)"),
    ):
        patch.setattr(other, "_choose", lambda *_: (own._begin(), Choice(other._settings, ""))[1])
        other.make_all(Here(1))
    assert not (path / "models").exists()
    own.make_all(Here(1))
    assert contents(path) == contents(small)


def test_a_model_that_another_job_puts_there_is_made_anew(small, tensor, tmp_path, monkeypatch):
    path = tmp_path / "cv"
    put_once_begun(monkeypatch, small / "models" / "fold-0.0.h5", path / "models" / "fold-0.1.h5")
    Crossval(tensor.path, path, SETTINGS, folds=small.parent / "folds.json").make_all(Here(1))
    assert contents(path) == contents(small)


def test_a_finished_directory_is_not_overwritten(cv_path, tensor, engine):
    before = contents(cv_path)
    with refused(
        OutputError, f"{cv_path} holds metrics.tsv already, made differently (settings.als.max_sweeps: 8,"
    ):
        crossval(tensor.path, cv_path, TrainSettings(rank=2, regularisation=0.1), engine)
    assert contents(cv_path) == before


def test_models_of_unknown_origin_are_not_taken_for_its_own(cv_path, tensor, engine, tmp_path):
    path = Path(shutil.copytree(cv_path, tmp_path / "cv"))
    (path / "metrics.tsv").unlink()
    with refused(OutputError, str(path / "models"), "no record of how they were made"):
        crossval(tensor.path, path, TrainSettings(rank=2, regularisation=0.1), engine)


# Imputing from the directory


def imputed_signal(path: Path, pair: Experiment, tensor: Tensor) -> np.ndarray:
    """An imputed track in transformed space over the tensor's bins."""
    reader = BigWigReader(str(path / track_name(pair)))
    parts = []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            parts += [
                reader.binned_means(
                    shard.places.chrom, first, length, bin_size=tensor.manifest.bin_size, uncovered="missing"
                )
                for first, length in shard.places.runs.tolist()
            ]
    reader.close()
    return np.arcsinh(np.concatenate(parts))


def made_gaps(rng: np.random.Generator, shard: int, signal: np.ndarray) -> None:
    """The first shard stays complete."""
    if shard == 1:
        holes = rng.random(signal.shape) < 0.03
        # Now and then too little is left to impute from.
        holes[rng.random(len(signal)) < 0.01] = rng.random(signal.shape[1]) < 0.7
        signal[holes] = np.nan
    elif shard == 2:
        for start in range(0, len(signal), 500):
            columns = rng.choice(signal.shape[1], rng.integers(1, 6), replace=False)
            signal[start : start + 125, columns] = np.nan
    elif shard == 3:
        # As where a cell type has no Y chromosome.
        signal[:, 3:7] = np.nan


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_observed_pairs_by_models_that_never_saw_them_and_missing_ones_by_all(
    gaps, tensor_path, engine, tmp_path
):
    rng, path = np.random.default_rng(3), tensor_path
    if gaps:
        path = rewritten(
            tensor_path, tmp_path / "tensor", lambda shard, _c, signal: made_gaps(rng, shard, signal)
        )
    tensor = Tensor(path)
    folds = few_folds(tensor, tmp_path / "folds.json")
    cv = tmp_path / "cv"
    crossval(path, cv, SETTINGS, engine, folds=tmp_path / "folds.json")
    report = impute(cv, path, tmp_path / "imputed", engine, pairs="all")
    every = [Experiment(f"C{c}", f"A{a}") for c in range(1, 7) for a in range(1, 5)]
    assert sorted(report.pairs) == every
    known = dict(zip(tensor.experiments, read_signal(tensor).T, strict=True))
    predictions = np.stack([predict(model, every, known) for model in models_of(cv, folds)])
    empty = np.zeros(tensor.n_bins, dtype=np.bool_)
    for column, pair in enumerate(every):
        judges = [i for i, fold in enumerate(folds) if pair in fold.test] or list(range(len(folds)))
        assert len(judges) == (2 if pair in known else 6)
        assert not any(pair in folds[i].train for i in judges)
        end = max(highest(models_of(cv, folds)[i], pair) for i in judges)
        wanted = np.clip(np.mean(predictions[judges, :, column], axis=0), 0.0, end)
        found = imputed_signal(tmp_path / "imputed", pair, tensor)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)
        empty |= np.isnan(wanted)
    assert empty.any() == gaps and set(np.flatnonzero(empty) // 1000) <= {1}


def test_pairs_of_a_finished_directory_are_those_of_metrics(cv_path, tensor, engine, tmp_path):
    pair = tensor.experiments[4]
    impute(cv_path, tensor.path, tmp_path / "imputed", engine, pairs=str(pair))
    known = read_signal(tensor)[:, 4]
    found = imputed_signal(tmp_path / "imputed", pair, tensor)
    (row,) = (row for key, row in rows_of(cv_path).items() if key[:2] == pair and key[3] == "model")
    assert float(row["MSEglobal"]) == pytest.approx(np.square(found - known).mean(), rel=1e-4)


def test_directories_that_are_no_whole_cross_validation(cv_path, tensor, engine, tmp_path):
    path = Path(shutil.copytree(cv_path, tmp_path / "cv"))
    for name in ("1.2", "3.0"):
        (path / "models" / f"fold-{name}.h5").unlink()
    with refused(ModelFormatError, f"{path} is unfinished: 2 of 40 folds", "1.2", "predictd cv"):
        impute(path, tensor.path, tmp_path / "imputed", engine)
    with refused(ModelFormatError, str(tensor.path), "neither a model nor a cross-validation"):
        impute(tensor.path, tensor.path, tmp_path / "imputed", engine)
    assert not (tmp_path / "imputed").exists()
