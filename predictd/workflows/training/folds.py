"""Folds of a training: the one to fit, and those that choose settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from predictd.errors import ConfigError, DataError
from predictd.io.tensor.store import Tensor
from predictd.model.folds import Fold, by_test_fold, make_folds, validation_split
from predictd.pairs import Experiment
from predictd.wording import some
from predictd.workflows.tensor.folds import read_folds

if TYPE_CHECKING:
    from predictd.workflows.training.solvers.solver import Solver

# Many experiments make a validation fold precise and a fit slow: fewer folds then decide.
MANY_EXPERIMENTS = 300
FOLDS_WITH_MANY = 2


def choose_fold(tensor: Tensor, folds: Path | None, name: str | None, seed: int) -> Fold:
    """The named fold of a file, or a seeded eighth of the experiments for validation.

    Raises
    ------
    ConfigError
        If only one of file and name is given, or the file has no such fold.
    """
    if folds is None:
        if name is not None:
            raise ConfigError(f"`fold_name` {name} needs `folds`: name the file that 'predictd folds' wrote")
        return validation_split(tensor.experiments, seed=seed)
    known = read_folds(folds, tensor)
    if name not in known:
        wanted = f"has no fold '{name}'" if name else "needs `fold_name`: choose one of its folds"
        raise ConfigError(f"{folds} {wanted}; they are {some(known)}")
    return known[name]


def selection_folds(experiments: Sequence[Experiment], seed: int) -> list[Fold]:
    """Folds that choose settings: every experiment that can be held out validates in one of them."""
    try:
        folds = make_folds(experiments, tests=8, valids=2, seed=seed)
    except DataError:
        # So few that no nested folds can be made of them; one split may do, or says what is wrong.
        return [validation_split(experiments, seed=seed)]
    by_test = {fold.test: fold for fold in folds}
    return [
        Fold(
            name=f"choice.{index}",
            test=(),
            valid=fold.test,
            train=tuple(e for e in sorted(experiments) if e not in set(fold.test)),
        )
        for index, fold in enumerate(by_test.values())
    ]


def deciding_folds(folds: Sequence[Fold]) -> Sequence[Fold]:
    """Those whose validation experiments choose: fewer where there are many experiments."""
    return folds[: n_deciding(len(folds), min(len(fold.train) for fold in folds))]


def n_deciding(n_folds: int, n_train: int) -> int:
    """How many of some folds decide, where each trains on so many experiments."""
    return min(n_folds, FOLDS_WITH_MANY) if n_train > MANY_EXPERIMENTS else n_folds


def check_folds(folds: Sequence[Fold], solver: Solver) -> None:
    """Raise DataError for a fold without validation experiments, or with some that the solver cannot predict."""
    for fold in folds:
        if not fold.valid:
            raise DataError(
                f"fold {fold.name} has no validation experiments; training needs them to know when to stop"
            )
        trained = {e.cell_type for e in fold.train}
        alone = [e for e in (*fold.test, *fold.valid) if e.cell_type not in trained]
        if alone and solver.needs_cell_types:
            raise DataError(
                f"solver {solver.name} cannot predict {some(alone)}: no training experiment has the same cell type; "
                "add some, or train with the solver auto, which needs only the same assay"
            )


def check_tests(folds: Sequence[Fold]) -> None:
    """Raise DataError for folds of which a test fold's ensemble cannot be made."""
    tested: dict[Experiment, str] = {}
    for test, group in by_test_fold(folds).items():
        for fold in group:
            if fold.name == test and len(group) > 1:
                raise DataError(
                    f"fold {test} is named as a test fold that has {len(group)} folds; name it {test}.N as the others"
                )
            if fold.test != group[0].test:
                raise DataError(
                    f"folds {group[0].name} and {fold.name} belong to test fold '{test}' (the name before the dot), "
                    "but have different test experiments; name them differently"
                )
        for pair in group[0].test:
            if pair in tested:
                raise DataError(
                    f"{pair} is tested in the test folds '{tested[pair]}' and '{test}'; test each experiment once"
                )
            tested[pair] = test
    if not tested:
        raise DataError("the folds have no test experiments: there would be nothing to score")
