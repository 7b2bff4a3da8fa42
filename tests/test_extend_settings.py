"""`predictd extend`: by which prior new rows are placed, which ranges are stored, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from here import Here
from made_folds import FEWEST_SWEEPS
from made_tensors import small_tensor, stored_signal
from made_tracks import write_bases
from predictd.config import TrainSettings
from predictd.errors import DataError, ModelFormatError, TableError
from predictd.io.models import read_model, write_model
from predictd.io.tables import write_tracks
from predictd.io.tensor.store import Tensor
from predictd.model.cp.extend import RowPrior, extended, genome_moments
from predictd.model.cp.factors import CPModel
from predictd.pairs import Experiment
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.training.extend import extend
from predictd.workflows.training.train import train
from refusals import refused

N_CELLS, N_ASSAYS, N_BINS = 5, 4, 400
LAMBDA = 0.1
EVERY = [Experiment(f"C{c}", f"A{a}") for c in range(N_CELLS) for a in range(N_ASSAYS)]
# C4 and A3 are new; what is of both tells nothing.
NEW = [e for e in EVERY if (e.cell_type == "C4") != (e.assay == "A3")]
OLD = [e for e in EVERY if e.cell_type != "C4" and e.assay != "A3"]


@dataclass(frozen=True)
class Case:
    """A tensor of the old experiments, one of the new as well, and a model file of the old for each solver."""

    old: Tensor
    both: Tensor
    folder: Path

    def model(self, solver: str) -> Path:
        return self.folder / f"{solver}.h5"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    rng = np.random.default_rng(3)
    genome = rng.gamma(2.0, size=(N_BINS, 2))
    c, a = rng.gamma(9.0, 0.1, size=(N_CELLS, 2)), rng.gamma(9.0, 0.1, size=(N_ASSAYS, 2))
    signal = np.einsum("bl,cl,al->bca", genome, c, a).reshape(N_BINS, -1)
    signal += rng.normal(0.0, 0.2, size=signal.shape)
    tensors = {
        name: small_tensor(folder / name, signal[:, [EVERY.index(e) for e in pairs]], experiments=pairs)
        for name, pairs in (("old", OLD), ("both", sorted(OLD + NEW)))
    }
    case = Case(tensors["old"], tensors["both"], folder)
    for solver in ("em", "als"):
        settings = TrainSettings(solver=solver, rank=2, regularisation=LAMBDA, als=FEWEST_SWEEPS)
        train(case.old.path, case.model(solver), settings, Here(1))
    return case


def load(path: Path) -> CPModel:
    return CPModel.from_arrays(read_model(path).parameters)


def track_table(path: Path, signal: np.ndarray, transform: str = "arcsinh") -> Path:
    """A table of one track of this signal, of the new cell type C4 and the assay A0."""
    bases = {"chr1": np.repeat(signal.astype(np.float32), 25)}
    write_bases(path.with_suffix(".bw"), bases)
    pair = Experiment("C4", "A0")
    write_tracks(path, {pair: str(path.with_suffix(".bw"))}, {"transform": {pair: transform}})
    return path


@pytest.mark.parametrize("given", [None, 0.7])
@pytest.mark.parametrize("solver", ["em", "als"])
def test_new_rows_are_held_as_the_solver_held_those_it_fitted(solver, given, case, tmp_path):
    """By λ σ² around the mean row for em, by λ around 0 for als; by the λ of the training where none is given."""
    model, new = load(case.model(solver)), sorted(NEW)
    penalty = LAMBDA if given is None else given
    prior = {
        "em": RowPrior(penalty * model.lambda_g, em=True),
        "als": RowPrior(penalty, em=False),
    }[solver]
    data = read_moments(ensure_moments(case.both, Here(1)))
    s = genome_moments(model, data.s, case.both.columns(model.train), data.columns(new))
    expected = extended(model, s, new, prior, regressors=True)
    extend(case.model(solver), case.both.path, None, tmp_path / "x.h5", Here(1), penalty=given)
    found = load(tmp_path / "x.h5")
    assert found.cell_types[-1] == "C4" and found.assays[-1] == "A3"
    for name in ("c", "p", "a", "q"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, err_msg=name)
    assert read_model(tmp_path / "x.h5").info["extended"]["penalty"] == pytest.approx(prior.penalty)


def test_the_ranges_of_all_assays_are_stored(case, tmp_path):
    """From the mean of an assay five times as far as its tracks go, and one and a half times as far as any does."""
    extend(case.model("em"), case.both.path, None, tmp_path / "x.h5", Here(1))
    parts = read_model(tmp_path / "x.h5").parameters
    signal = dict(zip(case.both.experiments, stored_signal(case.both).astype(np.float64).T, strict=True))
    centre, above = {}, {}
    for assay in parts["assays"]:
        own = [track for e, track in signal.items() if e.assay == assay]
        centre[assay] = np.median([track.mean() for track in own])
        above[assay] = max(track.max() for track in own) - centre[assay]
    high = {a: centre[a] + min(5 * above[a], 1.5 * max(above.values())) for a in centre}
    assert list(high) == ["A0", "A1", "A2", "A3"]
    assert (parts["ranges"][0] == -np.inf).all()
    np.testing.assert_allclose(parts["ranges"][1], list(high.values()), rtol=1e-6)
    train = [Experiment.parse(str(text)) for text in parts["train"]]
    assert train == sorted(OLD + NEW)
    np.testing.assert_allclose(parts["ends"], [high[e.assay] for e in train], rtol=1e-6)


@pytest.mark.parametrize("solver", ["newton", "stack", "auto", None])
def test_a_model_of_an_unknown_solver_is_refused(solver, case, tmp_path):
    """A default would hold the rows by another prior than the training."""
    file = read_model(case.model("em"))
    info = {name: value for name, value in file.info.items() if name != "solver"}
    info |= {} if solver is None else {"solver": solver}
    write_model(tmp_path / "m.h5", replace(file, info=info))
    told = (
        f"{tmp_path / 'm.h5'} was fitted by the solver '{solver or 'unknown'}', none of em, als, sgd: ",
        "train it again",
    )
    for given in (None, 0.1):
        with refused(ModelFormatError, *told):
            extend(tmp_path / "m.h5", case.both.path, None, tmp_path / "x.h5", Here(1), penalty=given)
    assert not (tmp_path / "x.h5").exists()


def extended_by(table: Path, case: Case, output: Path) -> Any:
    return extend(case.model("em"), case.old.path, table, output, Here(1))


def test_a_new_track_of_another_transform_is_refused(case, tmp_path):
    table = track_table(tmp_path / "t.tsv", np.arange(N_BINS) % 7, transform="none")
    with refused(
        TableError,
        f"{table}, line 2: transform none, but {case.old.path} has A0 with arcsinh",
        "give it in a column 'transform'",
    ):
        extended_by(table, case, tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()


def test_a_new_track_with_many_gaps_is_refused(case, tmp_path):
    """Half of the bins have to have a value in every track."""
    signal = np.arange(N_BINS, dtype=np.float32) % 7
    signal[N_BINS // 2 :] = np.nan
    assert extended_by(track_table(tmp_path / "half.tsv", signal), case, tmp_path / "half.h5").bins == 200
    signal[0] = np.nan
    table = track_table(tmp_path / "less.tsv", signal)
    with refused(
        DataError,
        f"only 199 of 400 bins have a value in every track of {table} and of {case.old.path}",
        "at least 50% are needed; leave out tracks with gaps",
    ):
        extended_by(table, case, tmp_path / "less.h5")
    assert not (tmp_path / "less.h5").exists()
