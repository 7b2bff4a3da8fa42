"""A made-up tensor that follows the model exactly, of any shape, generated piece by piece.

    η[c,a,g] = μ + p_c + q_a + r_g + Σ_l C[c,l] A[a,l] G[g,l],    y = max(0, η + noise)

is a CP tensor of rank L plus biases, in arcsinh space. What makes it look like signal tracks:

- G: each component is a stationary Gaussian AR(1) process z along the bins, of its own correlation length, of which
  only what rises above a threshold t is seen: (max(z − t, 0) − mean) / sd. Most bins are flat background, the rest are
  peaks; a higher threshold gives rarer, steeper ones. r is such a process without threshold.
- A ≥ 0: an assay loads on few components; its squared loadings are Dirichlet distributed.
- C ≥ 0: the square of a uniform variable, as most components are active in few cell types, times the amplitude of the
  cell type, which is log-normal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from predictd.errors import ConfigError, DataError
from predictd.pairs import Experiment, axes, check_name, rows_of

# Bins that are made from one random stream. Fixed: other numbers would make another signal.
SEGMENT: Final = 4096
# About so many components make up the signal of an assay, however large the rank.
_ACTIVE_COMPONENTS = 5.0
# Resolution of C, A and the biases, and of G and r. Products and sums of such numbers are exact in float64
# (as long as the components of a bin sum to less than 2^11), so that neither the BLAS library, its threads
# nor the columns that are asked for can change the last bit of the signal.
_FACTOR_STEP = 2.0**-13
_GENOME_STEP = 2.0**-16
# What a random stream is for; the first word after the seed in its key.
_FACTORS, _KNOTS, _BRIDGES, _NOISE, _PAIRS = range(5)


@dataclass(frozen=True)
class Parameters:
    """The truth behind a simulation, apart from G and r, which `Simulation.genome` gives.

    Parameters
    ----------
    C, A
        (n_cells, L) and (n_assays, L) float64, rows in the order of `cell_types` and `assays`.
    p, q
        (n_cells,) and (n_assays,) float64.
    mu
        μ.
    """

    C: NDArray[np.float64]
    A: NDArray[np.float64]
    p: NDArray[np.float64]
    q: NDArray[np.float64]
    mu: float


@dataclass(frozen=True)
class Simulation:
    """What defines a simulated tensor; equal settings, equal numbers.

    The defaults give tracks like those of 20 Roadmap experiments, −log10 p in arcsinh space.

    Parameters
    ----------
    experiments
        The observed pairs; kept sorted. Their cell types and assays are the axes of the tensor.
    rank
        L.
    seed
        Of everything; at least 0.
    mean
        μ.
    signal_sd
        Root of the mean variance that the components give a track; most tracks have less.
    noise_sd
        Standard deviation of the Gaussian noise, independent in every bin and experiment.
    bin_sd, bias_sd
        Standard deviations of r, and of p and q.
    amplitude_spread
        Standard deviation of the logarithm of the cell types' amplitudes.
    peak_threshold
        t, in standard deviations: −3 is close to Gaussian, 1 has skewness 4.1, 1.5 has 6.9.
    shortest, longest
        Correlation lengths of the first and the last component in bins, those between spaced evenly on a
        logarithmic scale; r has their geometric mean. At a distance of τ bins z has correlation 1/e.
    decimals
        Digits after the point in the unit of the track, sinh(y); None: all. With 3, bigWigs are as large as real ones.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    DataError
        If there is no experiment, or one is named twice.
    """

    experiments: tuple[Experiment, ...]
    rank: int = 30
    seed: int = 0
    mean: float = 0.34
    signal_sd: float = 0.5
    noise_sd: float = 0.08
    bin_sd: float = 0.05
    bias_sd: float = 0.03
    amplitude_spread: float = 0.3
    peak_threshold: float = 1.5
    shortest: float = 15.0
    longest: float = 3000.0
    decimals: int | None = None

    def __post_init__(self) -> None:
        experiments = tuple(sorted(self.experiments))
        if not experiments:
            raise DataError("a simulation needs at least one experiment")
        if len(set(experiments)) < len(experiments):
            raise DataError("a simulation cannot have the same experiment twice")
        for e in experiments:
            check_name(e.cell_type, what="cell type", where="simulation")
            check_name(e.assay, what="assay", where="simulation")
        object.__setattr__(self, "experiments", experiments)
        if self.rank < 1 or self.seed < 0:
            raise ConfigError("simulation: rank must be 1 or more, and seed 0 or more")
        for name in ("signal_sd", "noise_sd", "bin_sd", "bias_sd", "amplitude_spread"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"simulation: {name} must be 0 or more, not {getattr(self, name)}")
        if not math.isfinite(self.mean) or not -10 <= self.peak_threshold <= 5:
            raise ConfigError("simulation: mean must be finite and peak_threshold between -10 and 5")
        if not 0 < self.shortest <= self.longest < math.inf:
            raise ConfigError("simulation: 0 < shortest <= longest is needed of the correlation lengths")
        if self.decimals is not None and not 0 <= self.decimals <= 5:
            raise ConfigError(f"simulation: decimals must be between 0 and 5, not {self.decimals}")

    @classmethod
    def for_shape(
        cls, n_cells: int, n_assays: int, *, share: float = 0.33, seed: int = 0, **settings: Any
    ) -> Simulation:
        """Return a simulation with cell types C1, C2, … and assays A1, A2, … (padded with zeros).

        A seeded random `share` of the pairs is observed, such that every cell type and every assay is
        observed at least twice, or once where the share does not allow more.

        Raises
        ------
        ConfigError
            If the share is not within (0, 1] or leaves a cell type or assay unobserved, or as in the class.
        """
        if n_cells < 1 or n_assays < 1 or not 0 < share <= 1:
            raise ConfigError("simulation: cell types and assays are 1 or more, and 0 < share <= 1")
        n_observed = round(share * n_cells * n_assays)
        if n_observed < max(n_cells, n_assays):
            raise ConfigError(
                f"simulation: a share of {share:g} is {n_observed} pairs, too few to observe each of "
                f"{n_cells} cell types and {n_assays} assays; take at least {1 / min(n_cells, n_assays):.3g}"
            )
        cells = [f"C{i + 1:0{len(str(n_cells))}}" for i in range(n_cells)]
        assays = [f"A{i + 1:0{len(str(n_assays))}}" for i in range(n_assays)]
        chosen = _choose_pairs(n_cells, n_assays, n_observed, _stream(seed, _PAIRS))
        return cls(tuple(Experiment(cells[c], assays[a]) for c, a in chosen), seed=seed, **settings)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Simulation:
        """Read what `to_dict` returns; settings that are left out have their defaults.

        Raises
        ------
        ConfigError
            If there are unknown settings or no experiments.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values).difference(known))
        if unknown or "experiments" not in values:
            wrong = f"unknown setting '{unknown[0]}'" if unknown else "experiments are missing"
            raise ConfigError(f"simulation: {wrong}")
        experiments = tuple(Experiment.parse(text) for text in values["experiments"])
        return cls(**{**values, "experiments": experiments})

    def to_dict(self) -> dict[str, Any]:
        """Return all settings for JSON, experiments as `CELL:ASSAY`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "experiments": [str(e) for e in self.experiments]}

    @property
    def cell_types(self) -> list[str]:
        """The cell types, sorted."""
        return axes(self.experiments)[0]

    @property
    def assays(self) -> list[str]:
        """The assays, sorted."""
        return axes(self.experiments)[1]

    @property
    def correlation_lengths(self) -> NDArray[np.float64]:
        """(L+1,) float64: correlation lengths in bins of the L components and of r."""
        lengths = np.geomspace(self.shortest, self.longest, self.rank) if self.rank > 1 else [self.shortest]
        return np.append(lengths, math.sqrt(self.shortest * self.longest))

    @cached_property
    def parameters(self) -> Parameters:
        """C, A, p, q and μ."""
        rng = _stream(self.seed, _FACTORS)
        n_cells, n_assays, rank = len(self.cell_types), len(self.assays), self.rank
        # Amplitudes and activities both have mean square 1.
        amplitudes = np.exp(self.amplitude_spread * rng.standard_normal(n_cells) - self.amplitude_spread**2)
        activities = math.sqrt(5) * rng.random((n_cells, rank)) ** 2
        loadings = np.sqrt(rng.dirichlet(np.full(rank, _ACTIVE_COMPONENTS / rank), n_assays))
        return Parameters(
            C=_rounded(amplitudes[:, None] * activities, _FACTOR_STEP),
            A=_rounded(self.signal_sd * loadings, _FACTOR_STEP),
            p=_rounded(self.bias_sd * rng.standard_normal(n_cells), _FACTOR_STEP),
            q=_rounded(self.bias_sd * rng.standard_normal(n_assays), _FACTOR_STEP),
            mu=float(_rounded(np.array(self.mean), _FACTOR_STEP)),
        )

    def genome(self, run: int, first: int, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return G and r of bins [first, first + n) of a run.

        The cost is that of n + 2·SEGMENT bins at most, and a little for each segment before `first`.

        Parameters
        ----------
        run
            Any number from 0: runs are independent. With the number of a chromosome as run and bins
            counted from its start, overlapping regions have the same signal.
        first, n
            Bins of the run, 0-based.

        Returns
        -------
        G
            (n, L) float64, of mean 0 and standard deviation 1.
        r
            (n,) float64.
        """
        _check_bins(run, first, n)
        out = np.empty((n, self.rank + 1))
        knots = self._knots(run, (first + n) // SEGMENT + 2)
        for start, size in aligned_blocks(first, n):
            segment, offset = divmod(start, SEGMENT)
            drawn = self._segment(run, segment, knots)
            out[start - first : start - first + size] = drawn[offset : offset + size]
        return out[:, :-1], out[:, -1]

    def signal(
        self,
        pairs: Sequence[Experiment],
        *,
        run: int,
        first: int,
        n: int,
        noise: bool = True,
        clip: bool = True,
    ) -> NDArray[np.float32]:
        """Return the signal of some pairs in bins [first, first + n) of a run, in arcsinh space.

        Each value depends only on the settings, the pair, the run and the bin, to the last bit. Noise is drawn for a
        whole segment of SEGMENT bins, so blocks as `aligned_blocks` cuts them waste nothing.

        Parameters
        ----------
        pairs
            Any pairs of the simulation's cell types and assays, observed or not.
        run, first, n
            As for `genome`.
        noise, clip
            Without noise the signal is η, rounded to float32, and to `decimals`; without clip it may be negative.

        Returns
        -------
        ndarray
            (n, len(pairs)) float32.

        Raises
        ------
        DataError
            If the cell type or assay of a pair is not one of the simulation's.
        ConfigError
            If a number is negative.
        """
        _check_bins(run, first, n)
        rows = rows_of(pairs, self.cell_types, self.assays, owner="the simulation")
        cell_index, assay_index = (own.tolist() for own in rows)
        truth = self.parameters
        weights = (truth.C[cell_index] * truth.A[assay_index]).T
        offsets = truth.mu + truth.p[cell_index] + truth.q[assay_index]
        out = np.empty((n, len(pairs)), dtype=np.float32)
        for start, size in aligned_blocks(first, n):
            block = out[start - first : start - first + size]
            G, r = self.genome(run, start, size)
            eta = G @ weights
            eta += offsets
            eta += r[:, None]
            block[:] = eta
            if noise and self.noise_sd:
                block += self._noise(run, cell_index, assay_index, start, size)
            if clip:
                np.maximum(block, 0, out=block)
            if self.decimals is not None:
                block[:] = np.arcsinh(np.round(np.sinh(block), self.decimals))
        return out

    def _noise(
        self, run: int, cell_index: list[int], assay_index: list[int], first: int, n: int
    ) -> NDArray[np.float32]:
        """Return the noise (n, n_pairs) of bins within one segment."""
        segment, offset = divmod(first, SEGMENT)
        drawn = np.empty((len(cell_index), offset + n), dtype=np.float32)
        for row, c, a in zip(drawn, cell_index, assay_index, strict=True):
            _stream(self.seed, _NOISE, run, c, a, segment).standard_normal(dtype=np.float32, out=row)
        drawn *= np.float32(self.noise_sd)
        return drawn[:, offset:].T

    def _knots(self, run: int, n: int) -> NDArray[np.float64]:
        """Return z (n, L+1) at the first bins of segments 0 … n−1."""
        drawn = _stream(self.seed, _KNOTS, run).standard_normal((n, self.rank + 1))
        for column, length in zip(drawn.T, self.correlation_lengths, strict=True):
            column[1:] *= math.sqrt(-math.expm1(-2 * SEGMENT / length))
            column[:] = _decaying(math.exp(-SEGMENT / length), column)
        return drawn

    def _segment(self, run: int, segment: int, knots: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return [G r] (SEGMENT, L+1) of one segment.

        An AR(1) process that starts at the segment's knot is bent towards the next one. This conditions it on both ends
        exactly, since for a Gaussian process the correction is linear in where it would have ended: with ρ = exp(−1/τ),
        z_i ← z_i + ρ^(m−i) (1 − ρ^2i) / (1 − ρ^2m) (knot − z_m).
        """
        drawn = _stream(self.seed, _BRIDGES, run, segment).standard_normal((SEGMENT, self.rank + 1))
        out = np.empty((SEGMENT, self.rank + 1))
        steps = np.arange(SEGMENT)
        for j, length in enumerate(self.correlation_lengths):
            start, end = knots[segment, j], knots[segment + 1, j]
            # One value more than the segment has bins: the last one is where the process would have ended.
            innovations = np.append(start, math.sqrt(-math.expm1(-2 / length)) * drawn[:, j])
            z = _decaying(math.exp(-1 / length), innovations)
            pull = np.exp((steps - SEGMENT) / length) * np.expm1(-2 * steps / length)
            out[:, j] = z[:-1] + pull / math.expm1(-2 * SEGMENT / length) * (end - z[-1])
        out[:, :-1] = _peaks(out[:, :-1], self.peak_threshold)
        out[:, -1] *= self.bin_sd
        return _rounded(out, _GENOME_STEP)


def aligned_blocks(first: int, n: int) -> Iterator[tuple[int, int]]:
    """Cut bins [first, first + n) at multiples of SEGMENT; yield the first bin and length of each piece."""
    stop = first + n
    while first < stop:
        end = min((first // SEGMENT + 1) * SEGMENT, stop)
        yield first, end - first
        first = end


def _stream(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


def _decaying(kept: float, innovations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the innovations so far, of which this share is kept from each to the next: an AR(1) process."""
    # Most that import this module simulate nothing, and SciPy takes half a second.
    from scipy.signal import lfilter

    return lfilter([1.0], [1.0, -kept], innovations)


def _rounded(values: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    return np.rint(values / step) * step


def _peaks(z: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Standardise what of a standard normal variable rises above the threshold."""
    from scipy.special import ndtr

    above, density = float(ndtr(-threshold)), math.exp(-threshold * threshold / 2) / math.sqrt(2 * math.pi)
    mean = density - threshold * above
    mean_square = (1 + threshold**2) * above - threshold * density
    return (np.maximum(z - threshold, 0) - mean) / math.sqrt(mean_square - mean**2)


def _check_bins(run: int, first: int, n: int) -> None:
    if run < 0 or first < 0 or n < 0:
        raise ConfigError(f"simulation: run {run}, first bin {first} and {n} bins must all be 0 or more")


def _choose_pairs(n_cells: int, n_assays: int, n: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Choose n of the pairs such that each row and each column is met twice, or once if n is too small."""
    # Two "diagonals" around the table meet every row and column twice.
    longer, shorter = max(n_cells, n_assays), min(n_cells, n_assays)
    core = [(i, (i + shift) % shorter) for shift in range(min(2, shorter)) for i in range(longer)]
    rows, columns = rng.permutation(longer), rng.permutation(shorter)
    chosen = [(int(rows[i]), int(columns[j])) for i, j in core[:n]]
    rest = sorted({(i, j) for i in range(longer) for j in range(shorter)}.difference(chosen))
    chosen += [rest[k] for k in rng.permutation(len(rest))[: n - len(chosen)]]
    return sorted(chosen if n_cells >= n_assays else [(j, i) for i, j in chosen])
