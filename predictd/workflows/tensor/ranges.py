"""The ranges of assays by the tracks of a tensor, and signal without what lies beyond them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from predictd.io.tensor.store import Tensor
from predictd.model.ranges import Ranges
from predictd.pairs import Experiment

Float32 = npt.NDArray[np.float32]


def ranges_of(tensor: Tensor, assays: Sequence[str], train: Sequence[Experiment]) -> Ranges:
    """The ranges of assays by some tracks of a tensor."""
    transforms = {entry.assay: entry.transform for entry in tensor.manifest.experiments}
    summary = tensor.summary()[tensor.columns(train)]
    return Ranges.of(assays, [transforms[assay] for assay in assays], train, summary)


def artefacts_of(tensor: Tensor) -> npt.NDArray[np.bool_]:
    """Which tracks of a tensor have an artefact in a single bin, (n,)."""
    return np.asarray(tensor.summary()[:, 3] > _of_all(tensor).ends)


def ends_of(tensor: Tensor) -> Float32 | None:
    """The highest value that counts as such in each track of a tensor, (n,); None where no track has an artefact.

    What is learned from a tensor is learned from `np.minimum` of its signal and these.
    """
    return _of_all(tensor).ends.astype(np.float32) if artefacts_of(tensor).any() else None


def _of_all(tensor: Tensor) -> Ranges:
    return ranges_of(tensor, sorted({e.assay for e in tensor.experiments}), tensor.experiments)
