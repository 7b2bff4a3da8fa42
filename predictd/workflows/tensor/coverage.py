"""How much of a tensor is complete, and what to say when it is too little."""

from __future__ import annotations

import logging

import numpy as np

from predictd.constants import REFUSE_COMPLETE, WARN_COMPLETE
from predictd.errors import DataError
from predictd.io.tensor.store import Tensor
from predictd.model.moments import CONSTANT
from predictd.wording import some

log = logging.getLogger(__name__)


def warn_incomplete(tensor: Tensor) -> None:
    """Log a warning that names the worst tracks when under 95 % of the bins are complete."""
    if tensor.n_complete < WARN_COMPLETE * tensor.n_bins:
        log.warning("%s", _incomplete(tensor))


def _warn_constant(tensor: Tensor) -> None:
    """Log a warning that names tracks with the same signal everywhere."""
    summary = tensor.summary()
    observed = np.maximum(summary[:, 0], 1)
    squares = summary[:, 2] / observed
    constant = np.flatnonzero(squares - (summary[:, 1] / observed) ** 2 <= CONSTANT * squares)
    if constant.size:
        log.warning(
            "the same signal in every bin of %s: such a track says nothing; look at the file, or leave it out",
            some((tensor.experiments[i] for i in constant), 3),
        )


def require_complete(tensor: Tensor) -> None:
    """Warn under 95 % complete bins, and of constant tracks.

    Raises
    ------
    DataError
        Under 50 %: what would be learned is about a small part of the genome.
    """
    if tensor.n_complete < REFUSE_COMPLETE * tensor.n_bins:
        raise DataError(f"{_incomplete(tensor)}; at least {REFUSE_COMPLETE:.0%} are needed")
    warn_incomplete(tensor)
    _warn_constant(tensor)


def _incomplete(tensor: Tensor) -> str:
    share = tensor.n_complete / tensor.n_bins
    observed = tensor.summary()[:, 0] / tensor.n_bins
    worst = [
        f"{tensor.experiments[i]} ({observed[i]:.1%})" for i in np.argsort(observed)[:3] if observed[i] < 1
    ]
    return (
        f"only {tensor.n_complete:,} of {tensor.n_bins:,} bins ({share:.1%}) of "
        f"{tensor.path} have a value in every experiment; the least covered are {', '.join(worst)}: leave them out of "
        "the table, restrict `regions`, or ingest with `uncovered` zero where no signal means zero"
    )
