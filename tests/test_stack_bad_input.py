"""The stack on tensors with something bad in them: what is told, and that other pairs are predicted as before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from made_folds import FEWEST_SWEEPS
from made_tensors import small_tensor, stored_signal
from made_tracks import read_track, write_bases
from predictd.config import TrainSettings
from predictd.errors import DataError, TrackError
from predictd.pairs import Experiment
from predictd.workflows.imputing.estimators import load_model
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.training.crossval import Crossval, crossval
from predictd.workflows.training.train import train
from refusals import refused

SETTINGS = TrainSettings(solver="stack", networks=1, als=FEWEST_SWEEPS)
BAD_PAIRS = [Experiment(f"C{c}", f"A{a}") for c in range(5) for a in range(4)]
N_BINS = 2000
TARGET = Experiment("C4", "A3")


def made_signal() -> np.ndarray:
    """Tracks that share peaks of their assay and of their cell type: float32 (N_BINS × 20)."""
    rng = np.random.default_rng(3)
    shared = {
        name: rng.gamma(0.3, 1.0, N_BINS)
        for name in (*(f"C{c}" for c in range(5)), *(f"A{a}" for a in range(4)))
    }
    tracks = [0.6 * shared[a] + 0.4 * shared[c] + rng.gamma(0.5, 0.1, N_BINS) for c, a in BAD_PAIRS]
    return np.stack(tracks, axis=1).astype(np.float32)


def spoil(signal: np.ndarray, how: str) -> tuple[np.ndarray, list[Experiment]]:
    """The signal of some pairs with something bad in it, which leaves the target's relatives as they are."""
    odd = BAD_PAIRS.index(Experiment("C0", "A0"))
    kept = [pair for pair in BAD_PAIRS if pair != TARGET]
    changed = signal.copy()
    if how == "constant":
        changed[:, odd] = 1.5
    elif how == "twice":
        changed[:, odd] = changed[:, BAD_PAIRS.index(Experiment("C1", "A1"))]
    elif how == "noise":
        changed[:, odd] = np.random.default_rng(4).gamma(1.0, 1.0, len(signal))
    elif how == "artefact":
        changed[17, odd] = 60_000.0
    elif how == "hardly varies":
        # Of the target's assay.
        changed[:, BAD_PAIRS.index(Experiment("C0", "A3"))] = np.random.default_rng(4).normal(
            3.0, 0.01, len(signal)
        )
    elif how == "offset":
        changed += 100.0
    elif how == "lone cell type":
        kept = [pair for pair in kept if pair.cell_type != "C0" or pair.assay == "A0"]
    elif how == "lone assay":
        kept = [pair for pair in kept if pair.assay != "A0" or pair.cell_type == "C0"]
    return changed[:, [BAD_PAIRS.index(pair) for pair in kept]], kept


@pytest.mark.parametrize(
    "how",
    [
        *("nothing", "constant", "twice", "noise", "artefact", "lone cell type", "lone assay"),
        *("hardly varies", "offset"),
    ],
)
def test_a_bad_track_does_not_ruin_other_pairs(how, single, tmp_path):
    signal = made_signal()
    own, kept = spoil(signal, how)
    tensor = small_tensor(tmp_path / "t", own, experiments=kept)
    train(tensor.path, tmp_path / "m.h5", TrainSettings(networks=2, als=FEWEST_SWEEPS), single)
    model = load_model(tmp_path / "m.h5")[0]
    imputer = model.imputer([TARGET])
    stored = stored_signal(tensor)[:, tensor.columns(imputer.inputs)]
    predicted = imputer(stored)[:, 0]
    y = signal[:, BAD_PAIRS.index(TARGET)] + (100.0 if how == "offset" else 0.0)
    rest = np.arange(len(y)) != 17
    error = np.mean((predicted - y)[rest] ** 2) / y[rest].var()
    # A donor less, and one more to be told from those that are some use.
    assert error < (0.4 if how == "hardly varies" else 0.1), error
    assert np.isfinite(predicted).all()
    assert (predicted <= model.ranges.high[-1]).all() and model.ranges.high[-1] < 5 * y.max()


def with_bigwigs(path: Path, signal: np.ndarray, transform: str) -> IngestOptions:
    """bigWigs of all pairs but the target, their table and their genome; how to ingest them."""
    (path / "made.chrom.sizes").write_text(f"chr1\t{25 * len(signal)}\n")
    rows = ["cell_type\tassay\tpath\ttransform"]
    for pair, values in zip(BAD_PAIRS, signal.T, strict=True):
        if pair != TARGET:
            write_bases(path / f"{pair.file_stem}.bw", {"chr1": np.repeat(values, 25)})
            rows.append("\t".join([*pair, f"{pair.file_stem}.bw", transform]))
    (path / "tracks.tsv").write_text("\n".join(rows) + "\n")
    return IngestOptions(
        str(path / "made.chrom.sizes"), dtype="float32" if transform == "none" else "float16"
    )


@pytest.mark.parametrize("transform", ["none", "arcsinh"])
def test_an_artefact_of_a_million_from_bigwig_to_bigwig(transform, single, tmp_path, caplog):
    """In a track of the target's assay: told, and not written into the target."""
    signal = made_signal()
    clean = signal.copy()
    signal[17, BAD_PAIRS.index(Experiment("C0", "A3"))] = 1e6
    options = with_bigwigs(tmp_path, signal, transform)
    if transform == "none":
        with refused(
            TrackError, "signal of C0:A3 on chr1 is too large for float16; ingest with `dtype` float32"
        ):
            ingest(tmp_path / "tracks.tsv", tmp_path / "half", replace(options, dtype="float16"), single)
    with caplog.at_level("WARNING"):
        tensor = ingest(tmp_path / "tracks.tsv", tmp_path / "t", options, single)
    assert tensor.summary()[:, 3].max() == pytest.approx(
        1e6 if transform == "none" else np.arcsinh(1e6), rel=1e-3
    )
    (message,) = [text for text in caplog.messages if "a single bin far beyond" in text]
    assert ("in C0:A3 (1e+06, " if transform == "none" else "in C0:A3 (14.5") in message
    train(tensor.path, tmp_path / "m.h5", TrainSettings(networks=2, als=FEWEST_SWEEPS), single)
    impute(tmp_path / "m.h5", tensor.path, tmp_path / "imputed", single)
    written = read_track(tmp_path / "imputed" / "C4-A3.bw", tensor)
    of_assay = clean[:, [pair.assay == "A3" for pair in BAD_PAIRS]]
    y = clean[:, BAD_PAIRS.index(TARGET)]
    rest = np.arange(len(y)) != 17
    assert np.isfinite(written).all() and written[17] < 1.5 * of_assay.max()
    assert np.mean((written - y)[rest] ** 2) / y[rest].var() < 0.1


def test_all_tracks_of_one_assay(single, tmp_path):
    """No cell type has two: they are held out, weighed, imputed and scored by their assay alone."""
    rng = np.random.default_rng(0)
    shared = rng.gamma(0.3, 1.0, (N_BINS, 1))
    signal = (shared * rng.uniform(0.5, 1.5, 7) + rng.gamma(0.5, 0.4, (N_BINS, 7))).astype(np.float32)
    tensor = small_tensor(tmp_path / "t", signal, experiments=[Experiment(f"C{i}", "A") for i in range(7)])
    report = train(tensor.path, tmp_path / "m.h5", SETTINGS, single)
    assert "; no em, since no experiment shares its cell type" in report.chosen
    assert load_model(tmp_path / "m.h5")[0].members == ("assay_mean", "donors", "kriging", "kriging_features")
    with refused(DataError, "`pairs` missing: ", "has every assay of every cell type", "`pairs` observed"):
        impute(tmp_path / "m.h5", tensor.path, tmp_path / "imputed", single)
    assert (
        len(impute(tmp_path / "m.h5", tensor.path, tmp_path / "imputed", single, pairs="observed").pairs) == 7
    )
    scores = {
        method: np.mean([row["GWcorrasinh"] for row in crossval_rows if row["method"] == method])
        for crossval_rows in [crossval(tensor.path, tmp_path / "cv", SETTINGS, single).rows]
        for method in ("model", "assay_mean")
    }
    assert scores["model"] > scores["assay_mean"] - 0.02 > 0.8
    for solver in ("em", "als", "sgd"):
        with refused(DataError, f"solver {solver} cannot predict C", "train with the solver auto"):
            train(tensor.path, tmp_path / "n.h5", TrainSettings(solver=solver), single)
        with refused(DataError, f"solver {solver} cannot predict C", "train with the solver auto"):
            Crossval(tensor.path, tmp_path / "other", TrainSettings(solver=solver))


def test_all_tracks_of_one_cell_type_predict_nothing(single, tmp_path):
    signal = made_signal()[:, :4]
    tensor = small_tensor(tmp_path / "t", signal, experiments=BAD_PAIRS[:4])
    told = "none of the 4 experiments can be held out: each is the only one of its assay"
    with refused(DataError, told, "add experiments of the same assays in other cell types"):
        train(tensor.path, tmp_path / "m.h5", SETTINGS, single)
    with refused(DataError, told):
        Crossval(tensor.path, tmp_path / "cv", SETTINGS)
