"""Time series as dynGENIE3 takes them (Huynh-Thu & Geurts 2018, Scientific Reports 8:3384).

A gene's expression follows dx/dt = f(regulators) − αx, with a decay rate α. So f, what the regulators do to it, is
observed between two times of a series as (x(t₂) − x(t₁)) / (t₂ − t₁) + αx(t₁), with the regulators at t₁, and in a
steady state as αx. A regression of f on the regulators gives the links.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from predictd.matrix import Values, blocks

# What expression less its least value is at least, where its logarithm is taken: that of the authors' program.
_FLOOR = 1e-6
# Expression is known to single precision, as AnnData has it, and times to double precision. The greatest and the least
# of equal values may be so many roundings apart: two each, of what they are made of and of the operations.
_OF_VALUES, _OF_TIMES, _ROUNDINGS = np.finfo(np.float32).eps, np.finfo(np.float64).eps, 4


@dataclass(frozen=True)
class TimeSteps:
    """What the rows of the regression are: steps from a time to the next, and steady states, in order of the samples.

    Attributes
    ----------
    now, after
        (n_rows,) int64: positions of the samples at the beginning and the end of each step; the same in steady states.
    lengths
        (n_rows,) float64: times between them; infinite in steady states.
    precision
        (n_rows,) float64: how far the lengths may be rounded, as a share of them; 0 in steady states.
    """

    now: NDArray[np.int64]
    after: NDArray[np.int64]
    lengths: NDArray[np.float64]
    precision: NDArray[np.float64]

    @classmethod
    def of(cls, series: Sequence[NDArray[np.int64]], times: NDArray[np.float64]) -> TimeSteps:
        """Steps of time series.

        Parameters
        ----------
        series
            Positions of the samples of each, in the order of their times.
        times
            (n_samples,) times of all samples; NaN in steady states.
        """
        after = np.arange(times.size)
        last = np.array([own[-1] for own in series])
        for own in series:
            after[own[:-1]] = own[1:]
        now = np.setdiff1d(np.arange(times.size), last)
        lengths = times[after[now]] - times[now]
        lengths = np.where(np.isnan(lengths), np.inf, lengths)
        sizes = np.nan_to_num(np.abs(times[now]) + np.abs(times[after[now]]))
        return cls(now, after[now], lengths, _OF_TIMES * sizes / lengths)


def observed_production(
    values: Values,
    steps: TimeSteps,
    rates: NDArray[np.float64],
    batches: NDArray[np.int64] | None = None,
) -> Values:
    """What the regulators do to each gene, (n_genes, n_rows): its change in a step and what has decayed in it.

    Where this is the same in all rows of a batch but for rounding, as of a gene that grows linearly and does not decay,
    it is 0 there: nothing is left of it without the batch's mean.

    Parameters
    ----------
    values
        (n_genes, n_samples) expression.
    steps
        The rows.
    rates
        (n_genes,) decay rates α, in units of 1 / time.
    batches
        (n_rows,) numbers from 0; None: one batch.
    """
    batches = np.zeros(steps.now.size, np.int64) if batches is None else batches
    same = _same_in_batches(values, steps, rates, batches)
    now, after = values[:, steps.now], values[:, steps.after]
    if isinstance(values, csr_array):
        change = (after - now) @ diags_array(1.0 / steps.lengths)
        found = csr_array(change + diags_array(rates) @ now)
        genes = np.repeat(np.arange(len(same)), np.diff(found.indptr))
        found.data[same[genes, batches[found.indices]]] = 0.0
        return found
    production = (after - now) / steps.lengths + rates[:, np.newaxis] * now
    return np.asarray(np.where(same[:, batches], 0.0, production))


def _same_in_batches(
    values: Values, steps: TimeSteps, rates: NDArray[np.float64], batches: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether a gene's production differs in each batch by rounding at most, (n_genes, n_batches)."""
    same = np.empty((values.shape[0], int(batches.max()) + 1), np.bool_)
    for genes, some in blocks(values):
        now, after, own = some[:, steps.now], some[:, steps.after], rates[genes, np.newaxis]
        change = (after - now) / steps.lengths
        sizes = (np.abs(after) + np.abs(now)) / steps.lengths + own * np.abs(now)
        rounding = _OF_VALUES * sizes + steps.precision * np.abs(change)
        production = change + own * now
        for batch in range(same.shape[1]):
            inside = batches == batch
            spread = np.ptp(production[:, inside], axis=1)
            same[genes, batch] = spread <= _ROUNDINGS * rounding[:, inside].max(axis=1)
    return same


def decay_rates(
    values: Values,
    series: Sequence[NDArray[np.int64]],
    times: NDArray[np.float64],
    batches: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Decay rate of each gene, as the authors of dynGENIE3 estimate it from the time series.

    In a series the gene is taken to decay as A·exp(−αt) + c between the times of its highest and its lowest value,
    whichever comes first; c is the lowest value of all genes in all series (of the same batch). α is that of the series
    in which it is greatest.

    Parameters
    ----------
    values, batches
        (n_genes, n_samples) expression, and the batch of each sample.
    series, times
        See `TimeSteps.of`.

    Returns
    -------
    ndarray
        (n_genes,) float64, in units of 1 / time; 0 where a gene varies in no series.
    """
    batch_of = [0 if batches is None else int(batches[own[0]]) for own in series]
    lowest = np.full(max(batch_of) + 1, np.inf)
    for _, some in blocks(values):
        for own, batch in zip(series, batch_of, strict=True):
            lowest[batch] = min(lowest[batch], float(some[:, own].min()))
    rates = np.zeros(values.shape[0])
    for genes, some in blocks(values):
        for own, batch in zip(series, batch_of, strict=True):
            within = some[:, own]
            low, high = within.argmin(axis=1), within.argmax(axis=1)
            logs = np.log(np.maximum(within - lowest[batch], _FLOOR))
            every = np.arange(len(within))
            gap = np.abs(times[own[high]] - times[own[low]])
            found = np.divide(
                logs[every, high] - logs[every, low], gap, out=np.zeros(len(within)), where=gap > 0
            )
            rates[genes] = np.maximum(rates[genes], found)
    return rates
