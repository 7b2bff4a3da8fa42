"""The ranges of assays by the tracks of a tensor, and signal without what lies beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from predictd.io.tensor.store import Tensor
from predictd.model.ranges import Ranges
from predictd.pairs import Experiment

Float32 = npt.NDArray[np.float32]


def ranges_of(tensor: Tensor, assays: Sequence[str], train: Sequence[Experiment]) -> Ranges:
    """The ranges of assays by some tracks of a tensor.

    What is an artefact, and where it is cut off, all tracks say, as in what models learn from (`ends_of`): they read
    the same. Of a track without one nothing is cut off.
    """
    columns, summary = tensor.columns(train), tensor.summary()
    ranges = _ranges(tensor, assays, train, summary)
    ends, artefacts = (values[columns] for values in _ends_and_artefacts(tensor))
    return replace(ranges, ends=np.where(artefacts, ends, np.fmax(ranges.ends, summary[columns, 3])))


def artefacts_of(tensor: Tensor) -> npt.NDArray[np.bool_]:
    """Which tracks of a tensor have an artefact in a single bin, (n,)."""
    return _ends_and_artefacts(tensor)[1]


def ends_of(tensor: Tensor) -> Float32 | None:
    """The highest value that counts as such in each track of a tensor, (n,); None where no track has an artefact.

    What is learned from a tensor is learned from `np.minimum` of its signal and these.
    """
    ends, artefacts = _ends_and_artefacts(tensor)
    return ends.astype(np.float32) if artefacts.any() else None


def _ends_and_artefacts(tensor: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The highest value that counts in each track, and whether the track has a higher one, (n,) each."""
    # Of every shard something is read for it.
    summary = tensor.summary()
    ends = _ranges(tensor, sorted({e.assay for e in tensor.experiments}), tensor.experiments, summary).ends
    return ends, np.asarray(summary[:, 3] > ends)


def _ranges(
    tensor: Tensor, assays: Sequence[str], train: Sequence[Experiment], summary: npt.NDArray[np.float64]
) -> Ranges:
    transforms = tensor.manifest.transforms
    return Ranges.of(assays, [transforms[assay] for assay in assays], train, summary[tensor.columns(train)])
