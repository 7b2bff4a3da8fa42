"""`predictd qc`: what is caught, what is flagged in vain, on simulated and on real tracks."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from commands import call_predictd
from made_moments import corrupted_pilot, of_columns, simulated_moments
from made_tensors import small_tensor, stored_signal, with_signal
from predictd.errors import DataError
from predictd.io.tensor.store import Tensor
from predictd.model.labels.labels import fit_effects, fit_similarity, standardise
from predictd.model.labels.quality import Findings, Tracks, examine
from predictd.model.moments import moments
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment, axes
from predictd.workflows.tensor.qc import qc
from read_tables import fields_of


def tracks_of(experiments: list[Experiment], s: np.ndarray, at_highest: np.ndarray | None = None) -> Tracks:
    cell_types, assays = axes(experiments)
    return Tracks(
        s,
        np.array([cell_types.index(e.cell_type) for e in experiments]),
        np.array([assays.index(e.assay) for e in experiments]),
        len(cell_types),
        len(assays),
        np.zeros(len(experiments)) if at_highest is None else at_highest,
        np.ones(len(experiments), dtype=bool),
        np.zeros(len(experiments), dtype=bool),
    )


def flagged(findings: Findings, *flags: str) -> set[int]:
    return {i for i, own in enumerate(findings.flags) if set(own) & set(flags) or (own and not flags)}


@pytest.fixture(scope="module")
def many() -> tuple[list[Experiment], np.ndarray]:
    """200 simulated tracks of 50 cell types and 12 assays, and their moments."""
    simulation = Simulation.for_shape(50, 12, share=1 / 3, rank=20, seed=1)
    return list(simulation.experiments), simulated_moments(simulation)


def test_error_and_correlation_are_those_of_predictions_by_the_others(many):
    experiments, _ = many
    rng = np.random.default_rng(0)
    few = experiments[:12]
    tracks = tracks_of(few, np.eye(13))
    shared, own = rng.gamma(1.0, size=(2000, 1)), rng.gamma(0.5, size=(2000, 12))
    signal = (shared * rng.uniform(0.5, 1.5, 12) + own).astype(np.float32)
    s = moments(signal)
    findings = examine(tracks_of(few, s))
    assert not flagged(findings, "swapped", "dead")
    sizes = (tracks.cells, tracks.assays, tracks.n_cells, tracks.n_assays)
    standard = standardise(s)
    k = fit_similarity(standard.correlations, *sizes).covariance(*sizes[:2])
    means = fit_effects(standard.means, *sizes).expected
    scales = np.exp(fit_effects(np.log(standard.deviations), *sizes).expected)
    x = (signal - standard.means) / standard.deviations
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        predicted = means[i] + scales[i] * x[:, rest] @ np.linalg.solve(k[np.ix_(rest, rest)], k[rest, i])
        assert findings.mse[i] == pytest.approx(np.mean((signal[:, i] - predicted) ** 2), rel=1e-4)
        assert findings.r[i] == pytest.approx(np.corrcoef(signal[:, i], predicted)[0, 1], abs=1e-4)


def test_many_sound_tracks_are_not_flagged_and_swaps_among_them_are_found(many):
    experiments, s = many
    clean = examine(tracks_of(experiments, s))
    assert len(flagged(clean)) <= 2
    assert np.abs(clean.r - clean.expected_r).mean() < 0.1
    rng = np.random.default_rng(0)
    swaps = rng.choice(len(experiments), (4, 2), replace=False)
    order = np.arange(len(experiments))
    for one, two in swaps:
        order[[one, two]] = two, one
    findings = examine(tracks_of(experiments, of_columns(s, order)))
    caught = flagged(findings, "swapped")
    assert len(caught & set(swaps.ravel())) >= 7 and len(caught - set(swaps.ravel())) <= 1
    assert set(findings.order()[: len(caught)]) <= flagged(findings)
    _, assays = axes(experiments)
    tracks = tracks_of(experiments, s)
    for one, two in swaps:
        if {one, two} <= caught:
            assert findings.best[one] == tracks.cells[two] * len(assays) + tracks.assays[two]
            assert findings.best[two] == tracks.cells[one] * len(assays) + tracks.assays[one]


def test_real_tracks(pilot):
    """Every one of the 190 swaps, and every track damaged in every way, on every eighth bin."""
    experiments, kinds, s = corrupted_pilot(pilot, every=8)

    def look(order: np.ndarray, at_highest: np.ndarray | None = None) -> Findings:
        return examine(tracks_of(experiments, of_columns(s, order), at_highest))

    every = np.arange(20)
    assert len(flagged(look(every))) <= 2
    caught = false = 0
    for one, two in combinations(range(20), 2):
        order = every.copy()
        order[[one, two]] = two, one
        found = flagged(look(order), "swapped")
        caught += len(found & {one, two})
        false += len(found - {one, two})
    assert caught >= 0.85 * 380 and false <= 0.1 * 190
    for kind, flag, least in (
        ("3 times", "amplitude", 18),
        ("a third", "amplitude", 18),
        ("zero", "dead", 20),
        ("capped", "saturated", 20),
    ):
        hits = others = 0
        for i in range(20):
            order = every.copy()
            order[i] += 20 * kinds.index(kind)
            found = look(order, np.where(every == i, 0.01, 0.0) if kind == "capped" else None)
            hits += flag in found.flags[i]
            others += len(flagged(found) - {i})
        assert hits >= least and others <= 6, kind


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """Simulated signal of 20 tracks of 5 cell types and 5 assays, 12,000 bins in three shards."""
    simulation = Simulation.for_shape(5, 5, share=0.8, rank=5, seed=4)
    signal = simulation.signal(simulation.experiments, run=0, first=0, n=12_000)
    return small_tensor(tmp_path_factory.mktemp("sound") / "T", signal, experiments=simulation.experiments)


def test_a_tensor_with_one_of_each(sound, engine, tmp_path):
    signal = stored_signal(sound)
    signal[:, 3] = 0.0
    signal[:, 8] = np.minimum(signal[:, 8], np.quantile(signal[:, 8], 0.98))
    damaged = with_signal(sound, tmp_path / "T", signal)
    done = call_predictd(
        "qc", damaged.path, "-o", "qc.tsv", "--moments", "m.h5", "--workers", 1, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    lines = fields_of(tmp_path / "qc.tsv")
    assert lines[0] == ["cell_type", "assay", "mse", "r", "expected_r", "flags", "best_match"]
    assert len(lines) == 21 and {(line[0], line[1]) for line in lines[1:]} == set(sound.experiments)
    by_pair = {Experiment(line[0], line[1]): line for line in lines[1:]}
    dead = by_pair[sound.experiments[3]]
    assert dead[5:] == ["dead", "."] and dead[3] == "nan"
    assert "saturated" in by_pair[sound.experiments[8]][5].split(",")
    marks = [line[5] != "." for line in lines[1:]]
    assert marks == sorted(marks, reverse=True)
    assert f"{sound.experiments[3]}: dead" in done.stdout
    run = json.loads((tmp_path / "qc.tsv.run.json").read_text())
    assert (
        run["settings"] == {"moments": "m.h5"}
        and run["results"]["tracks"] == 20
        and run["results"]["flagged"] == sum(marks)
    )
    # The same bytes again, by the moments that stand.
    qc(damaged.path, tmp_path / "again.tsv", engine, moments=tmp_path / "m.h5")
    assert (tmp_path / "again.tsv").read_bytes() == (tmp_path / "qc.tsv").read_bytes()


def test_one_track_under_two_labels_and_an_artefact(sound, engine, tmp_path):
    """The two are flagged and name each other; nothing else is flagged that was not before."""
    before = {row.experiment for row in qc(sound.path, tmp_path / "a.tsv", engine) if row.flags}
    pairs, signal = sound.experiments, stored_signal(sound)
    one, two = 2, next(i for i, e in enumerate(pairs) if not {*e} & {*pairs[2]})
    signal[:, two] = signal[:, one]
    signal[5, 7] = 6e4
    found = {
        row.experiment: row
        for row in qc(with_signal(sound, tmp_path / "T", signal).path, tmp_path / "b.tsv", engine)
    }
    assert {e for e, row in found.items() if "duplicate" in row.flags} == {pairs[one], pairs[two]}
    assert found[pairs[one]].best_match == pairs[two] and found[pairs[two]].best_match == pairs[one]
    assert "artefact" in found[pairs[7]].flags
    assert {e for e, row in found.items() if row.flags} <= before | {pairs[i] for i in (one, two, 7)}


def test_tracks_of_which_nothing_can_be_said(sound, engine, tmp_path):
    """All dead; one cell type; one assay."""
    signal = stored_signal(sound)
    rows = qc(with_signal(sound, tmp_path / "T", 0 * signal).path, tmp_path / "qc.tsv", engine)
    assert all(row.flags == ("dead",) and row.best_match is None for row in rows)
    for index, names in enumerate(([("C", f"A{i}") for i in range(6)], [(f"C{i}", "A") for i in range(6)])):
        pairs = [Experiment(*pair) for pair in names]
        tensor = small_tensor(tmp_path / f"{index}", signal[:600, :6], experiments=pairs)
        rows = qc(tensor.path, tmp_path / f"{index}.tsv", engine)
        assert len(rows) == 6 and all(np.isfinite([row.mse, row.r, row.expected_r]).all() for row in rows)


def test_too_few_tracks(engine, tmp_path):
    tensor = small_tensor(tmp_path / "T", np.random.default_rng(0).random((60, 3)).astype(np.float32))
    with pytest.raises(DataError, match="has 3 tracks; at least 4 are needed"):
        qc(tensor.path, tmp_path / "qc.tsv", engine)
    assert not Path(tmp_path / "qc.tsv").exists()
