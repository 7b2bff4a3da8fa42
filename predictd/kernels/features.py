"""What trees see of their features: all values, and where most of a feature's values are one, what differs from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import compiled
from predictd.kernels.checks import check_array

# Values that differ from their feature's common one, by this share of all, are few.
_FEW_DIFFER = 0.25
# Features whose bits are in one line of the cache.
_LINE: int = compiled.trees.LINE
# Names among the arrays of a file.
_VALUES, _SPARSE = "features", "sparse_"


@dataclass(frozen=True)
class TreeFeatures:
    """Features of trees, made once for all targets.

    Attributes
    ----------
    values
        (n_features, n_samples) uint8 or float32, C-contiguous: see `predictd.kernels.forest_importances`.
    sparse
        What `sparse_form` makes of them; None where all values are looked at. Trees are the same to the bit either way.
    """

    values: NDArray[np.uint8] | NDArray[np.float32]
    sparse: Mapping[str, NDArray[Any]] | None = None

    @classmethod
    def of(cls, features: TreeFeatures | NDArray[np.uint8] | NDArray[np.float32]) -> TreeFeatures:
        """Features of an array; what is made already stays as it is."""
        if isinstance(features, TreeFeatures):
            return features
        extra = getattr(features, "dtype", None) == np.float32
        check_array("features", features, np.float32 if extra else np.uint8, (None, None))
        return cls(features, sparse_form(features))

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TreeFeatures:
        """What `arrays` returned, among whatever else."""
        sparse = {
            name.removeprefix(_SPARSE): array for name, array in arrays.items() if name.startswith(_SPARSE)
        }
        return cls(arrays[_VALUES], sparse or None)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as named arrays, to be kept in a file."""
        sparse = {f"{_SPARSE}{name}": array for name, array in (self.sparse or {}).items()}
        return {_VALUES: self.values, **sparse}

    def compiled(self) -> Any:
        """All of it as the kernel takes it."""
        extra = self.values.dtype == np.float32
        return compiled.trees.Features(
            None if extra else self.values, self.values if extra else None, self.sparse
        )


def sparse_form(features: NDArray[np.uint8] | NDArray[np.float32]) -> dict[str, NDArray[Any]] | None:
    """What differs from the common value of each feature, by feature and by sample; ext/trees_core.h says how.

    Parameters
    ----------
    features
        (n_features, n_samples) uint8 or float32.

    Returns
    -------
    dict or None
        Named arrays; None where more than a quarter of all values differ, or none does.
    """
    n_features, n_samples = features.shape
    common = np.zeros(n_features, features.dtype)
    samples, distinct, ends, n_below = [], [], [], np.zeros(n_features, np.int32)
    number = np.uint16 if n_samples <= 2**16 else np.int32
    left = int(_FEW_DIFFER * n_features * n_samples)
    for feature, row in enumerate(features):
        # A value that more than half of the samples have is the median.
        common[feature] = np.partition(row, n_samples // 2)[n_samples // 2]
        others = np.flatnonzero(row != common[feature])
        left -= others.size
        if left < 0:
            return None
        values = row[others]
        order = np.argsort(values, kind="stable")
        values = values[order]
        stops = np.append(np.flatnonzero(values[1:] != values[:-1]) + 1, values.size)[: values.size]
        samples.append(others[order].astype(number))
        distinct.append(values[stops - 1])
        ends.append(stops.astype(np.int32))
        n_below[feature] = np.count_nonzero(distinct[-1] < common[feature])
    by_feature, by_value = (np.cumsum([0, *map(len, parts)], dtype=np.int64) for parts in (samples, distinct))
    if not by_feature[-1]:
        return None
    by_sample = np.argsort(np.concatenate(samples), kind="stable")
    counts = np.concatenate([np.diff(own, prepend=0) for own in ends])
    return {
        "common": common.astype(np.float32),
        "by_feature": by_feature,
        "samples": np.concatenate(samples),
        "by_value": by_value,
        "distinct": np.concatenate(distinct).astype(np.float32),
        "ends": np.concatenate(ends),
        "n_below": n_below,
        "bits": _bits(features != common[:, np.newaxis]),
        "by_sample": np.repeat(np.concatenate(distinct), counts)[by_sample],
    }


def _bits(differs: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """The words of each sample, (n_samples, n_words)."""
    n_features, n_samples = differs.shape
    n_lines = -(-n_features // _LINE)
    own = np.zeros((n_samples, n_lines * _LINE // 8), np.uint8)
    own[:, : -(-n_features // 8)] = np.packbits(differs.T, axis=1, bitorder="little")
    set_in_byte = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1).sum(
        axis=1, dtype=np.uint8
    )
    counts = set_in_byte[own].reshape(n_samples, n_lines, 6, 8).sum(axis=3, dtype=np.uint64)
    before = np.cumsum(counts, axis=2) - counts
    totals = counts.sum(axis=2, dtype=np.uint64)
    words = np.empty((n_samples, n_lines, 8), np.uint64)
    words[:, :, :6] = own.view("<u8").reshape(n_samples, n_lines, 6)
    words[:, :, 6] = (np.cumsum(totals) - totals.ravel()).reshape(totals.shape)
    words[:, :, 7] = np.bitwise_or.reduce(before << (10 * np.arange(6, dtype=np.uint64)), axis=2)
    return words.reshape(n_samples, -1)
