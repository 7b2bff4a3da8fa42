"""The ranges of assays by the tracks of a tensor, and signal without what lies beyond them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from predictd.io.tensor.store import Tensor
from predictd.model.ranges import Ranges, Spans
from predictd.pairs import Experiment

Float32 = npt.NDArray[np.float32]


def ranges_of(tensor: Tensor, assays: Sequence[str], train: Sequence[Experiment]) -> Ranges:
    """The ranges of assays by some tracks of a tensor."""
    transforms = {entry.assay: entry.transform for entry in tensor.manifest.experiments}
    summary = tensor.summary()[tensor.columns(train)]
    return Ranges.of(assays, [transforms[assay] for assay in assays], train, summary)


def ends_of(tensor: Tensor) -> Float32 | None:
    """The highest value that counts as such in each track of a tensor, (n,); None where no track has an artefact.

    What is learned from a tensor is learned from `np.minimum` of its signal and these.
    """
    if not Spans.of(tensor.summary()).artefact.any():
        return None
    assays = sorted({e.assay for e in tensor.experiments})
    return ranges_of(tensor, assays, tensor.experiments).ends.astype(np.float32)
