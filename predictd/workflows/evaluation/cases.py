"""What is scored: pairs, methods that imputed them, and how their tracks are compared."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from predictd.errors import DataError
from predictd.io.tables import Interval
from predictd.io.tensor.store import Tensor
from predictd.model.measures.baselines import amplitude, baseline_weights
from predictd.pairs import Experiment
from predictd.workflows.imputing.residuals import Counting
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.tensor.sources import SignalSource

log = logging.getLogger(__name__)

# What becomes of bins with an observed value in which a method has none: they do not count for any method of the pair,
# or the method says 0 there.
Absent = Literal["skip", "zero"]


@dataclass(frozen=True)
class Baseline:
    """The mean of the same assay as columns of the tensor, and the factor of the rescaled one."""

    columns: tuple[int, ...]
    factor: float


@dataclass(frozen=True)
class Case:
    """One pair to score.

    Attributes
    ----------
    pair
        Cell type and assay.
    folds
        What metrics.tsv says of the fold, for each method.
    observed
        Signal files; None: the tensor's own column.
    imputed
        Signal files of each method; None: what the estimator predicts.
    peaks
        BED file of the experiment's peaks, or None.
    baseline
        None where no other cell type has the assay.
    """

    pair: Experiment
    folds: tuple[str, ...]
    observed: SignalSource | None
    imputed: tuple[SignalSource | None, ...]
    peaks: str | None
    baseline: Baseline | None


@dataclass(frozen=True)
class Scoring:
    """What all cases have in common.

    Attributes
    ----------
    tensor
        Whose bins are compared.
    estimator
        Model or cross-validation that imputes, where cases do not name files.
    intervals
        Regions with measures of their own, by the name of the weights in `TrackComparison`.
    names
        Methods of the imputed signal in metrics.tsv.
    absent
        What becomes of bins in which a method has no value.
    challenge
        Whether the measures are those of the ENCODE Imputation Challenge, of signal in the unit of the track.
    quantiles
        Whether each method is scored once more after its values were mapped to the distribution of the observed track.
    n_blocks
        Blocks of the genome whose sums are given back with the measures.
    room
        Local directory with room for what is needed twice and takes long to read or predict; None: it is made twice.
    counting
        How residuals of predicted pairs are counted during scoring; None: they are not counted.
    """

    tensor: Tensor
    estimator: Path | None
    intervals: dict[str, list[Interval]]
    names: tuple[str, ...] = ("model",)
    absent: Absent = "skip"
    challenge: bool = False
    quantiles: bool = False
    n_blocks: int = 1
    room: Path | None = None
    counting: Counting | None = None


def make_baseline(data: TensorMoments, train: Sequence[Experiment], pair: Experiment) -> Baseline | None:
    """Baseline of a pair from training experiments; None, with a warning, where no other cell type has the assay."""
    try:
        columns, _ = baseline_weights(data.experiments, train, pair)
    except DataError as err:
        log.warning("%s", err)
        return None
    return Baseline(tuple(columns.tolist()), amplitude(data.experiments, train, pair, moments=data.s))
