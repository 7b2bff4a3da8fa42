"""Samples that do not all count alike: batches, whose means are taken out of every gene, and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictd.grn.linear import mean_and_sd, standardised


@dataclass(frozen=True)
class SampleDesign:
    """Batches and weights of samples.

    Each gene is centred within each batch, as where a linear model has a mean for each (limma's `removeBatchEffect`,
    Ritchie et al. 2015, Nucleic Acids Research 43:e47). It is not scaled: a gene that hardly varies in a batch would
    bring its noise in there.

    Attributes
    ----------
    batches
        (n_samples,) int64: number of each sample's batch, from 0; None: one batch.
    weights
        (n_samples,) float64: above 0, with a mean of 1; None: all samples count alike.
    """

    batches: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None

    def centred(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows, (…, n_samples), less their weighted mean in each batch; as they are where there is one batch.

        What is constant in a batch is exactly 0 there.
        """
        if self.batches is None:
            return values
        centred = np.empty_like(values)
        for own in self._members():
            some = np.ascontiguousarray(values[..., own])
            mean, sd = mean_and_sd(some, None if self.weights is None else self.weights[own])
            centred[..., own] = np.where(sd > 0, some - mean, 0.0)
        return centred

    def scaled(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Rows standardised by weight, times the roots of weights.

        Sums of their products are n_samples times the weighted correlations, and least squares of them are weighted
        least squares.
        """
        found = standardised(values, self.weights)
        return found if self.weights is None else found * np.sqrt(self.weights)

    def leverages(self, n_samples: int) -> NDArray[np.float64]:
        """What each sample adds to its own prediction by the means of batches: its share of its batch's weight."""
        weights = np.ones(n_samples) if self.weights is None else self.weights
        batches = np.zeros(n_samples, np.int64) if self.batches is None else self.batches
        return np.asarray(weights / np.bincount(batches, weights)[batches])

    @property
    def n_batches(self) -> int:
        """How many batches there are."""
        return 1 if self.batches is None else int(self.batches.max()) + 1

    def _members(self) -> list[NDArray[np.int64]]:
        assert self.batches is not None
        order = np.argsort(self.batches, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.batches))[:-1])


# All samples are of one batch and count alike.
ALIKE = SampleDesign()
