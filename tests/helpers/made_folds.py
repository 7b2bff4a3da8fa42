"""Few folds, and what fits them fast."""

from __future__ import annotations

from pathlib import Path

from predictd.config import AlsSettings, SgdSettings, TrainSettings
from predictd.io.files import write_json
from predictd.io.tensor.store import Tensor
from predictd.model.folds import Fold, folds_to_json, make_folds, validation_split

SHORT_SGD = TrainSettings(
    solver="sgd",
    rank=2,
    sgd=SgdSettings(min_bins=500, burn_in_bins=100, updates_per_round=500, max_rounds=12),
)

# Of em and als, where it is not tested how well they fit.
FEW_SWEEPS = AlsSettings(starts=2, start_sweeps=3, max_sweeps=30)
# Where they need not fit at all.
FEWEST_SWEEPS = AlsSettings(starts=1, start_sweeps=2, max_sweeps=8)
FEWEST_SWEEPS_TOML = "[train.als]\nstarts = 1\nstart_sweeps = 2\nmax_sweeps = 8\n"
FEW_SWEEPS_TOML = "[train.als]\nstarts = 2\nstart_sweeps = 3\nmax_sweeps = 30\n"


def few_folds(tensor: Tensor, path: Path, *, tests: int = 3) -> list[Fold]:
    """A file of 3 × 2 folds, or of so many × 2."""
    folds = make_folds(tensor.experiments, tests=tests, valids=2)
    write_json(path, folds_to_json(folds))
    return folds


def write_fold(tensor: Tensor, path: Path, seed: int = 0) -> Fold:
    """A file of one fold that tests and validates three experiments each."""
    first = validation_split(tensor.experiments, seed=seed)
    second = validation_split(first.train, seed=seed)
    fold = Fold("0.0", first.valid, second.valid, second.train)
    write_json(path, folds_to_json([fold]))
    return fold


def models_of(path: Path, folds: list[Fold]) -> list[Path]:
    return [path / "models" / f"fold-{fold.name}.h5" for fold in folds]
