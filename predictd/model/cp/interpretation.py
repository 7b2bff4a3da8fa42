"""What a model's factors show: which cell types and assays are alike, and where in the genome a factor is strong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage

from predictd.errors import DataError
from predictd.model.cp.factors import CPModel, solve_genome

Array = npt.NDArray[np.float64]
# A cluster is what joins below this share of the height of the tree.
_CUT = 0.7


@dataclass(frozen=True)
class Arrangement:
    """Rows, similar ones next to each other.

    Attributes
    ----------
    tree
        Hierarchical clustering of the rows as of `scipy.cluster.hierarchy.linkage`: average linkage of Euclidean
        distances, leaves in the order that brings like rows together; (0 × 4) for a single row.
    order
        Rows in the order of the leaves.
    clusters
        Number of each row's cluster, from 1 in the order of the leaves.
    coordinates
        Principal components: float64 (rows × 2), 0 where there is no second one.
    explained
        Share of the rows' variance that each of the two explains.
    """

    tree: Array
    order: npt.NDArray[np.intp]
    clusters: npt.NDArray[np.intp]
    coordinates: Array
    explained: tuple[float, float]


@dataclass(frozen=True)
class InSignal:
    """C or A in the unit of transformed signal.

    Attributes
    ----------
    parts
        What each factor adds to the signal of each cell type (assay): the root mean square over the bins and over all
        assays (cell types), with the sign of the entry of C (A); float64 (rows × L).
    points
        Coordinates of the rows, float64 (rows × L). The squared distance of two points is the mean squared difference
        of what all factors together add to the signal of the two, over the bins and over all assays (cell types):
        that of their imputed tracks, before clipping and without the biases.
    """

    parts: Array
    points: Array


def in_signal(model: CPModel) -> tuple[InSignal, InSignal]:
    """Cell types and assays in the unit of transformed signal; see `InSignal`.

    How signal is shared out between C, A and the genome's factors G differs from solver to solver, and the columns of
    A and of G may be correlated. With M = E[g gᵀ] over the bins, the mean square over bins and n_a assays of
    Σ_l x_l A[a,l] G[g,l] is xᵀ (M ∘ AᵀA / n_a) x, for any difference x of two rows of C.

    Raises
    ------
    DataError
        If the model has no components, or does not have `g_moments`.
    """
    g_moments = require_g_moments(model)
    return _in_signal(model.c, model.a, g_moments), _in_signal(model.a, model.c, g_moments)


def sizes(model: CPModel) -> Array:
    """What each factor adds to signal: the root mean square over bins, cell types and assays, (L,).

    Raises
    ------
    DataError
        As `in_signal`.
    """
    squares = (model.c**2).mean(axis=0) * (model.a**2).mean(axis=0) * np.diag(require_g_moments(model))
    return np.sqrt(np.maximum(squares, 0.0))


def require_g_moments(model: CPModel) -> Array:
    """`CPModel.g_moments`; DataError if the model has no components, or does not know them."""
    if not model.rank:
        raise DataError("the model has no components left: train one with a smaller penalty (lambda)")
    if model.g_moments is None:
        raise DataError(
            "the model is of an earlier version and does not hold how large the genome's factors are (G_moments); "
            "train it again, or name the tensor that it was trained on, too"
        )
    return model.g_moments


def _in_signal(rows: Array, others: Array, g_moments: Array) -> InSignal:
    weights = g_moments * (others.T @ others) / len(others)
    values, vectors = np.linalg.eigh((weights + weights.T) / 2)
    # The matrix is positive semidefinite, as the elementwise product of two such; what is below 0 is rounding.
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return InSignal(rows * np.sqrt(np.maximum(np.diag(weights), 0.0)), rows @ root)


def arrange(rows: Array) -> Arrangement:
    """Cluster and embed rows, (n × L), by their Euclidean distances."""
    n = len(rows)
    centred = rows - rows.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    coordinates = np.zeros((n, 2))
    kept = min(2, values.size)
    # The sign of a component is free: its largest coordinate is positive.
    signs = np.sign(left[np.abs(left[:, :kept]).argmax(axis=0), np.arange(kept)])
    coordinates[:, :kept] = left[:, :kept] * values[:kept] * signs
    squares = np.zeros(2)
    squares[:kept] = values[:kept] ** 2
    total = float((values**2).sum())
    first, second = (squares / total if total > 0 else squares).tolist()
    if n < 2:
        one = np.ones(n, dtype=np.intp)
        return Arrangement(np.empty((0, 4)), one - 1, one, coordinates, (first, second))
    tree = linkage(rows, method="average", optimal_ordering=True)
    order = np.asarray(leaves_list(tree), dtype=np.intp)
    found = fcluster(tree, _CUT * tree[-1, 2], criterion="distance")
    names = {number: rank for rank, number in enumerate(dict.fromkeys(found[order].tolist()), start=1)}
    clusters = np.array([names[number] for number in found.tolist()], dtype=np.intp)
    return Arrangement(np.asarray(tree), order, clusters, coordinates, (first, second))


class GenomeFactors:
    """The genome's factors of a model, in closed form from the training experiments' signal.

    Parameters
    ----------
    model
        Whose they are.
    """

    def __init__(self, model: CPModel) -> None:
        z, o = model.design(model.train)
        solution = solve_genome(z, model.lambda_g)[:-1]
        self._solution, self._offset = solution, solution @ o
        self._imputer = model.imputer([])

    def __call__(self, signal: npt.NDArray[np.float32]) -> Array:
        """G of bins: float64 (bins × L) from float32 (bins × n_train); NaN where under half is observed."""
        genome: Array = self._imputer.completed(signal).astype(np.float64) @ self._solution.T - self._offset
        return genome


class TopBins:
    """The bins where each factor is largest, of any number that come in blocks.

    Attributes
    ----------
    values
        float64 (L × kept), descending.
    places
        int64 (L × kept): number of the bin in the order of coming.

    Parameters
    ----------
    n_factors
        L.
    most
        How many are kept.
    """

    def __init__(self, n_factors: int, most: int) -> None:
        self._most, self._seen = most, 0
        self.values: Array = np.empty((n_factors, 0))
        self.places: npt.NDArray[np.int64] = np.empty((n_factors, 0), dtype=np.int64)

    def add(self, genome: Array) -> None:
        """Take the next bins (bins × L); NaN is never largest."""
        places = self._seen + np.flatnonzero(~np.isnan(genome).any(axis=1))
        values = genome[places - self._seen].T
        self._seen += len(genome)
        values = np.concatenate([self.values, values], axis=1)
        places = np.concatenate([self.places, np.broadcast_to(places, (len(values), places.size))], axis=1)
        if values.shape[1] > self._most:
            some = np.sort(np.argpartition(-values, self._most - 1, axis=1)[:, : self._most], axis=1)
            values, places = (np.take_along_axis(array, some, axis=1) for array in (values, places))
        order = np.argsort(-values, axis=1, kind="stable")
        self.values = np.take_along_axis(values, order, axis=1)
        self.places = np.take_along_axis(places, order, axis=1)


@dataclass(frozen=True)
class Enrichment:
    """A factor inside and outside of some regions.

    Attributes
    ----------
    inside, outside
        Bins.
    mean_inside, mean_outside
        Of the factor.
    effect
        Their difference in units of the factor's standard deviation over all bins.
    top_inside, top_outside
        Of the bins where the factor is largest.
    odds_ratio
        Of being inside, of these against all others; ½ is added to each count, so that it is finite.
    """

    inside: int
    outside: int
    mean_inside: float
    mean_outside: float
    effect: float
    top_inside: int
    top_outside: int
    odds_ratio: float


class RegionSums:
    """Sums of the factors and of their products over all bins, and sums over those in regions, from blocks."""

    def __init__(self, n_factors: int, n_regions: int) -> None:
        self._bins = 0
        self._inside = np.zeros(n_regions, dtype=np.int64)
        self._sums, self._products = np.zeros(n_factors), np.zeros((n_factors, n_factors))
        self._sums_inside = np.zeros((n_regions, n_factors))

    def add(self, genome: Array, masks: Sequence[npt.NDArray[np.bool_]]) -> None:
        """Take bins (bins × L), and which of them are in each of the regions."""
        known = ~np.isnan(genome).any(axis=1)
        self._bins += int(known.sum())
        self._sums += genome[known].sum(axis=0)
        self._products += genome[known].T @ genome[known]
        for index, mask in enumerate(masks):
            both = known & mask
            self._inside[index] += int(both.sum())
            self._sums_inside[index] += genome[both].sum(axis=0)

    def inside(self, region: int) -> int:
        """Bins in a region."""
        return int(self._inside[region])

    @property
    def g_moments(self) -> Array:
        """See `CPModel.g_moments`: over all bins that were taken."""
        return self._products / max(self._bins, 1)

    def enrichment(self, factor: int, region: int, top_inside: int, n_top: int) -> Enrichment:
        """Of a factor in a region, of whose `n_top` largest bins `top_inside` are in it."""
        inside = int(self._inside[region])
        outside = self._bins - inside
        total, within = float(self._sums[factor]), float(self._sums_inside[region, factor])
        mean_inside = within / inside if inside else np.nan
        mean_outside = (total - within) / outside if outside else np.nan
        variance = float(self._products[factor, factor]) / self._bins - (total / self._bins) ** 2
        sd = np.sqrt(variance) if variance > 0 else np.nan
        top_outside = n_top - top_inside
        odds = ((top_inside + 0.5) * (outside - top_outside + 0.5)) / (
            (top_outside + 0.5) * (inside - top_inside + 0.5)
        )
        return Enrichment(
            inside,
            outside,
            mean_inside,
            mean_outside,
            (mean_inside - mean_outside) / sd,
            top_inside,
            top_outside,
            odds,
        )
