"""Rank and penalty: what is taken where nothing is given, what is refused, and how model files record them."""

from __future__ import annotations

from typing import Any

from predictd.config import TrainSettings
from predictd.errors import ConfigError
from predictd.io.tensor.store import Tensor
from predictd.model.folds import Fold
from predictd.provenance import software
from predictd.workflows.tensor.origin import origin_of

DEFAULT_RANK = 100


# What is said beside errors of validation experiments, also in run.json.
NOT_HELD_OUT = "no held-out error: settings, or when to stop, may have been chosen on these experiments"


def model_info(tensor: Tensor, settings: TrainSettings, fold: Fold, seed: int) -> dict[str, Any]:
    """What a model file says of how it was fitted, whichever workflow did it."""
    dumped = settings.model_dump(mode="json", by_alias=True)
    return {
        "solver": settings.solver,
        "settings": dumped | {"rank": None if settings.rank == "auto" else settings.rank},
        "seed": seed,
        "fold": {
            "name": fold.name,
            "test": [str(e) for e in fold.test],
            "valid": [str(e) for e in fold.valid],
        },
        "software": software(),
        **origin_of(tensor),
    }


def default_rank(n_train: int) -> int:
    """Rank that the paper uses, lowered to a third of the training experiments.

    Each bin's L + 1 numbers are estimated from its n values. On the 20 real pilot tracks a third served best.
    """
    return max(1, min(DEFAULT_RANK, n_train // 3))


def check_rank(rank: int, n_train: int) -> None:
    """Raise ConfigError for a rank that the training experiments cannot determine."""
    if rank >= n_train:
        raise ConfigError(
            f"rank {rank} is too high for {n_train} training experiments, which are too few to determine them; "
            f"use a `rank` of {default_rank(n_train)} or so"
        )


def check_constants(settings: TrainSettings) -> None:
    """Raise ConfigError where the paper's own penalties are asked for, by a solver that has none."""
    if settings.predictd_constants:
        raise ConfigError("`predictd_constants` are penalties of the `solver` sgd; name it, too")
