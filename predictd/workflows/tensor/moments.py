"""The moments pass: one reduction over the shards, kept beside the tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.constants import FEATURE_MOMENTS, MOMENTS, MOMENTS_FORMAT, MOMENTS_VERSION
from predictd.engine import Engine
from predictd.errors import DataError
from predictd.io.tensor.store import Tensor
from predictd.model.imputer import Regressor
from predictd.model.moments import MomentSums, moments, shift_of
from predictd.pairs import Experiment, positions
from predictd.workflows.tensor.sidecar import Kind, ensure_beside, header_of, read_beside
from predictd.workflows.tensor.windows import build_all, wide_blocks

_KIND = Kind(MOMENTS_FORMAT, MOMENTS_VERSION, "moments")
# What every solver of the CP model reads of an experiment.
VALUE = (Regressor(),)


@dataclass(frozen=True)
class TensorMoments:
    """Second moments of a tensor.

    Attributes
    ----------
    s
        S = [Y 1]ᵀ[Y 1] over complete bins: float64 (n+1 × n+1).
    experiments
        The n experiments in the order of `s`.
    features
        Moments of all that is read of them, float64 (k·n + 1 × k·n + 1): all experiments' first regressor, which is
        their own value, then all their second, …; `s` where nothing else is read.
    """

    s: npt.NDArray[np.float64]
    experiments: tuple[Experiment, ...]
    features: npt.NDArray[np.float64]

    @classmethod
    def of_values(cls, s: npt.NDArray[np.float64], experiments: Sequence[Experiment]) -> TensorMoments:
        """Where nothing but the experiments' own values is read."""
        return cls(s, tuple(experiments), s)

    def columns(self, experiments: tuple[Experiment, ...]) -> npt.NDArray[np.intp]:
        """Their places in `s`."""
        return positions(experiments, self.experiments)


def compute_moments(
    tensor: Tensor, engine: Engine, regressors: Sequence[Regressor] = VALUE
) -> npt.NDArray[np.float64]:
    """S = [Y 1]ᵀ[Y 1] over the complete bins of a tensor: float64 (n+1 × n+1).

    With k regressors Y is what they are of all experiments, the first of all, then the second, …: (kn+1 × kn+1).

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
    if tuple(regressors) == VALUE:
        return engine.reduce(_shard_moments, tensor.shard_names, tensor, label="moments", sizes=sizes)
    return engine.reduce(
        _shard_feature_moments, tensor.shard_names, (tensor, tuple(regressors)), label="moments", sizes=sizes
    )


def ensure_moments(
    tensor: Tensor, engine: Engine, path: Path | None = None, regressors: Sequence[Regressor] = VALUE
) -> Path:
    """See that the tensor's moments stand in a file, and return it.

    Parameters
    ----------
    tensor, engine
        What they are of, and what computes them.
    path
        The file; None: `moments.h5` beside the manifest. One of the same tensor and experiments is used as it is.
    regressors
        What is read of every experiment. What is more than its value goes into a file of its own, whose name ends in
        `.features.h5` instead of `.h5`.

    Raises
    ------
    OutputError
        If the file has to be written and cannot be, or `path` names something that is no moments file.
    """
    regressors = tuple(regressors)
    header = header_of(tensor)
    if regressors == VALUE:
        target = path or tensor.path / MOMENTS
    else:
        target = (
            tensor.path / FEATURE_MOMENTS
            if path is None
            else path.with_name(f"{path.name.removesuffix('.h5')}.features.h5")
        )
        header["regressors"] = [list(regressor) for regressor in regressors]
    return ensure_beside(
        target,
        _KIND,
        header,
        lambda: {"S": compute_moments(tensor, engine, regressors)},
        tensor,
        engine,
        named=path is not None,
    )


def read_moments(path: Path) -> TensorMoments:
    """Moments that `ensure_moments` wrote.

    Raises
    ------
    OutputError
        If the file is gone or damaged.
    """
    _, experiments, arrays = read_beside(path, _KIND)
    return split_moments(arrays["S"], experiments)


def split_moments(s: npt.NDArray[np.float64], experiments: Sequence[Experiment]) -> TensorMoments:
    """Moments of features, with those of the experiments' own values among them."""
    if len(s) == len(experiments) + 1:
        return TensorMoments.of_values(s, experiments)
    own = np.append(np.arange(len(experiments)), len(s) - 1)
    return TensorMoments(s[np.ix_(own, own)], tuple(experiments), s)


def _shard_moments(name: str, tensor: Tensor) -> npt.NDArray[np.float64]:
    with tensor.open_shard(name) as shard:
        sums = MomentSums(shift_of(*shard.summary[:, :3].T))
        for _, block in shard.blocks(reuse=True):
            sums.add(block)
    return sums.total()


def _shard_feature_moments(
    name: str, shared: tuple[Tensor, tuple[Regressor, ...]]
) -> npt.NDArray[np.float64]:
    """Moments of all regressors of all experiments, windows reaching over the borders of blocks."""
    tensor, regressors = shared
    width = len(regressors) * len(tensor.experiments) + 1
    total = np.zeros((width, width))
    with tensor.open_shard(name) as shard:
        for block in wide_blocks(shard, max(regressor.half_width for regressor in regressors)):
            built = build_all(block, tensor.experiments, regressors)
            incomplete = np.isnan(block.signal).any(axis=1)
            total += moments(built[~incomplete] if incomplete.any() else built)
    return total
