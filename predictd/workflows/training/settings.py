"""Rank and penalty of a fit: what was given, the defaults of SGD, and what is recorded of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from predictd.config import TrainSettings
from predictd.errors import ConfigError
from predictd.model.folds import Fold
from predictd.provenance import software

log = logging.getLogger(__name__)

DEFAULT_RANK = 100
SGD_PENALTY = 1e-3


@dataclass(frozen=True)
class Setting:
    """What was given or chosen.

    Attributes
    ----------
    rank, regularisation
        Rank and penalty; for kriging 0 and the nugget.
    solver
        Where the settings leave it open; None: theirs.
    """

    rank: int
    regularisation: float
    solver: str | None = None


def model_info(settings: TrainSettings, setting: Setting, fold: Fold, seed: int) -> dict[str, Any]:
    """What a model file says of how it was fitted, whichever workflow did it."""
    return {
        "solver": settings.solver,
        "settings": settings.model_dump(mode="json", by_alias=True)
        | {"rank": setting.rank or None, "lambda": setting.regularisation},
        "seed": seed,
        "fold": {
            "name": fold.name,
            "test": [str(e) for e in fold.test],
            "valid": [str(e) for e in fold.valid],
        },
        "software": software(),
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
            f"rank {rank} is too high for {n_train} training experiments, which determine fewer factors a bin; "
            f"use --rank {default_rank(n_train)} or so"
        )


def sgd_setting(settings: TrainSettings, n_train: int) -> tuple[Setting, str]:
    """Rank and penalty of a descent, and where they come from; a lowered rank is warned of.

    Raises
    ------
    ConfigError
        If the given rank is too high.
    """
    rank, penalty = settings.rank, settings.regularisation
    if rank != "auto":
        check_rank(rank, n_train)
    else:
        rank = default_rank(n_train)
        if rank < DEFAULT_RANK:
            log.warning(
                "%d training experiments carry no rank of %d: using --rank %d", n_train, DEFAULT_RANK, rank
            )
    setting = Setting(rank, SGD_PENALTY if penalty == "auto" else penalty)
    if settings.predictd_constants:
        return setting, f"rank {rank}, the paper's own penalties"
    return setting, f"rank {rank}, lambda {setting.regularisation:g}"
