"""The training tracks of a stack, standardised: names, means, standard deviations, correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from predictd.errors import DataError
from predictd.model.moments import CONSTANT
from predictd.model.stack.features import Features, with_features
from predictd.pairs import Experiment, positions, rows_of

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]
Places = tuple[Index, Index]


@dataclass(frozen=True)
class Tracks:
    """n training tracks that vary, in the order of their names.

    Attributes
    ----------
    names
        Their cell types and assays.
    places
        Rows of their cell types and of their assays, intp (n,) each.
    shape
        Numbers of cell types and of assays that are known.
    means, sds
        Of their signal: float64 (n,).
    correlations
        Between them: float64 (n × n).
    flat
        Training tracks that do not vary, with their values.
    features
        What else is read of the tracks, or None.
    """

    names: tuple[Experiment, ...]
    places: Places
    shape: tuple[int, int]
    means: Array
    sds: Array
    correlations: Array
    flat: Mapping[Experiment, float] = field(default_factory=dict)
    features: Features | None = None

    @classmethod
    def of(
        cls,
        s: Array,
        experiments: Sequence[Experiment],
        train: Sequence[Experiment],
        cell_types: Sequence[str],
        assays: Sequence[str],
        *,
        sampled: Array | None = None,
    ) -> Tracks:
        """Of training experiments, from the moments (N+1 × N+1) of all N experiments; constant ones are left out.

        With `sampled`, what `features.sampled_moments` makes of a sample, their features are read as well.

        Raises
        ------
        DataError
            If there is no complete bin, or every training experiment is constant.
        """
        n_bins = s[-1, -1]
        if n_bins < 1:
            raise DataError("there is no complete bin to learn from")
        columns = positions(train, experiments)
        means = s[-1, columns] / n_bins
        squares = s[columns, columns] / n_bins
        variances = squares - means**2
        varies = np.flatnonzero(variances > CONSTANT * squares)
        if not varies.size:
            raise DataError(
                f"every training experiment is constant over the {n_bins:.0f} complete bins: there is nothing to learn"
            )
        names = tuple(train[index] for index in varies.tolist())
        flat = {train[index]: float(means[index]) for index in np.setdiff1d(np.arange(len(train)), varies)}
        columns, means, sds = columns[varies], means[varies], np.sqrt(variances[varies])
        covariance = s[np.ix_(columns, columns)] / n_bins - np.outer(means, means)
        correlations = covariance / np.outer(sds, sds)
        np.fill_diagonal(correlations, 1.0)
        places = rows_of(names, cell_types, assays)
        features = None if sampled is None else Features.of(with_features(s, sampled, columns))
        return cls(names, places, (len(cell_types), len(assays)), means, sds, correlations, flat, features)

    @property
    def every_mean(self) -> Array:
        """Of the tracks and of their features, if any, kind by kind: (n,) or (4n,)."""
        return self.means if self.features is None else self.features.means

    @property
    def every_sd(self) -> Array:
        """As `every_mean`; 1 where features do not vary."""
        if self.features is None:
            return self.sds
        return np.where(self.features.sds > 0, self.features.sds, 1.0)

    @property
    def every_correlation(self) -> Array:
        """As `every_mean`: (n × n) or (4n × 4n)."""
        return self.correlations if self.features is None else self.features.correlations

    def standardised(self, signal: Float32) -> Float32:
        """Signal of the tracks, (n × bins), in their standard deviations above their means."""
        shift, factor = self.means.astype(np.float32), (1 / self.sds).astype(np.float32)
        return (signal - shift[:, np.newaxis]) * factor[:, np.newaxis]

    def donors(self, cell: int, assay: int) -> Index:
        """Tracks of an assay in other cell types than one."""
        return np.flatnonzero((self.places[1] == assay) & (self.places[0] != cell))

    def context(self, cell: int, assay: int) -> Index:
        """Tracks of other assays in a cell type."""
        return np.flatnonzero((self.places[0] == cell) & (self.places[1] != assay))
