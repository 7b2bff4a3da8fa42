"""The moments pass: one reduction over the shards, kept beside the tensor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.constants import MOMENTS, MOMENTS_FORMAT, MOMENTS_VERSION
from predictd.engine import Engine
from predictd.errors import DataError
from predictd.io.kept import kept
from predictd.io.tensor.store import Tensor
from predictd.model.imputer import AffineMap
from predictd.model.moments import MomentSums, shift_of, squared_errors
from predictd.model.stack.features import columns_of, with_features
from predictd.pairs import Experiment, positions
from predictd.workflows.tensor.ranges import ends_of
from predictd.workflows.tensor.sidecar import (
    Kind,
    ensure_sidecar,
    header_of,
    is_sidecar,
    of_another_tensor,
    read_sidecar,
)

_KIND = Kind(MOMENTS_FORMAT, MOMENTS_VERSION, "moments")


@dataclass(frozen=True)
class TensorMoments:
    """Second moments of a tensor.

    Attributes
    ----------
    s
        S = [Y 1]ᵀ[Y 1] over complete bins: float64 (n+1 × n+1).
    experiments
        The n experiments in the order of `s`.
    sampled
        Moments of the tracks and of their features at a sample of bins, where models read these
        (`predictd.model.stack.features.sampled_moments`).
    """

    s: npt.NDArray[np.float64]
    experiments: tuple[Experiment, ...]
    sampled: npt.NDArray[np.float64] | None = None

    def columns(self, experiments: tuple[Experiment, ...]) -> npt.NDArray[np.intp]:
        """Their places in `s`."""
        return positions(experiments, self.experiments)

    def errors(
        self, own: AffineMap, inputs: tuple[Experiment, ...], pairs: tuple[Experiment, ...]
    ) -> npt.NDArray[np.float64]:
        """Mean squared errors (m,) of a map of some tracks, or of these and their features, to pairs."""
        read, wanted = self.columns(inputs), self.columns(pairs)
        if self.sampled is None:
            return squared_errors(self.s, own.weights, own.intercept, read, wanted)
        columns = np.union1d(read, wanted)
        s = with_features(self.s, self.sampled, columns)
        places = columns_of(np.searchsorted(columns, read), len(columns))
        return squared_errors(s, own.weights, own.intercept, places, np.searchsorted(columns, wanted))


def compute_moments(tensor: Tensor, engine: Engine) -> npt.NDArray[np.float64]:
    """S = [Y 1]ᵀ[Y 1] over the complete bins of a tensor, artefacts cut off (`ends_of`): float64 (n+1 × n+1).

    Raises
    ------
    DataError
        If no bin is complete.
    """
    if tensor.n_complete == 0:
        raise DataError(
            f"{tensor.path} has no bin where every experiment has a value; leave out the least covered tracks "
            f"('predictd info {tensor.path}' lists their coverage)"
        )
    sizes = [entry.n_bins for entry in tensor.manifest.shards]
    shared = _Summing(tensor, ends_of(tensor))
    return engine.reduce(_shard_moments, tensor.shard_names, shared, label="moments", sizes=sizes)


def ensure_moments(tensor: Tensor, engine: Engine, path: Path | None = None) -> Path:
    """See that the tensor's moments are in a file, and return it.

    Parameters
    ----------
    tensor, engine
        What they are of, and what computes them.
    path
        The file; None: `moments.h5` beside the manifest. One of the same tensor and experiments is used as it is.

    Raises
    ------
    OutputError
        If the file has to be written and cannot be, or `path` names something that is not a moments file, or is one of
        another tensor.
    """
    return ensure_sidecar(
        path or tensor.path / MOMENTS,
        _KIND,
        header_of(tensor),
        lambda: {"S": compute_moments(tensor, engine)},
        tensor,
        engine,
        named=path is not None,
    )


def known_moments(tensor: Tensor, engine: Engine) -> TensorMoments:
    """Moments of a tensor: those in its directory; where it has none they are computed, and not kept in a file.

    Raises
    ------
    DataError
        If no bin is complete.
    """
    path = tensor.path / MOMENTS
    if is_sidecar(path, _KIND, header_of(tensor)):
        return read_moments(path)
    return TensorMoments(compute_moments(tensor, engine), tuple(tensor.experiments))


def read_moments(path: Path, tensor: Tensor | None = None) -> TensorMoments:
    """Moments that `ensure_moments` wrote: read once by all tasks of a worker.

    Parameters
    ----------
    path
        The file.
    tensor
        Whose moments they have to be; None: whoever calls has seen to it.

    Raises
    ------
    OutputError
        If the file is gone or damaged, or of another tensor.
    """
    checksum, moments = _read(path)
    if tensor is not None and checksum != tensor.manifest.checksum:
        raise of_another_tensor(path, tensor)
    return moments


@kept(lambda read: read[1].s.nbytes)
def _read(path: Path) -> tuple[str, TensorMoments]:
    """The checksum of a tensor, and its moments."""
    header, experiments, arrays = read_sidecar(path, _KIND)
    return str(header["tensor"]), TensorMoments(arrays["S"], tuple(experiments))


@dataclass(frozen=True)
class _Summing:
    """The tensor, and the highest value that counts of each track, float32 (n,)."""

    tensor: Tensor
    ends: npt.NDArray[np.float32] | None


def _shard_moments(name: str, shared: _Summing) -> npt.NDArray[np.float64]:
    with shared.tensor.open_shard(name) as shard:
        sums = MomentSums(shift_of(*shard.summary[:, :3].T))
        for _, block in shard.blocks(reuse=True):
            sums.add(block if shared.ends is None else np.minimum(block, shared.ends, out=block))
    return sums.total()
