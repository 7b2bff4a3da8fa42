"""How well a ranking of links finds those of a gold standard.

Candidates are the pairs that the gold standard lists where it lists those that are not links, else all pairs of a gold
regulator and a gold target other than itself. Those that the network does not list share the last rank. Equal
importances share a rank, too: no order among them is assumed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from predictd.grn.links import Links


@dataclass(frozen=True)
class Scores:
    """Scores of a network; measures are nan where they are not defined.

    Attributes
    ----------
    auroc
        Area under the receiver operating characteristic.
    aupr
        Average precision: the precision at each rank, weighted by the gold links found there.
    aupr_low, aupr_high
        Its 95 % interval: 2.5th and 97.5th percentile over bootstrap samples of the gold targets.
    early_precision
        Precision among as many candidates as there are gold links (Pratapa et al. 2020).
    n_gold, n_candidates
        Gold links without self-links; candidates.
    candidates
        Which these are: `listed`, the pairs that the gold standard lists; or `all`, of its regulators and targets.
    """

    auroc: float
    aupr: float
    aupr_low: float
    aupr_high: float
    early_precision: float
    n_gold: int
    n_candidates: int
    candidates: Literal["all", "listed"]


class Candidates:
    """Candidates from the first rank to the last.

    Parameters
    ----------
    scores, truths, targets
        (n_listed,) importance, whether it is a gold link, and gold target of each candidate that the network lists.
    rest_true, rest_false
        (n_targets,) how many candidates of each gold target it does not list, that are gold links and that are none.
    """

    def __init__(
        self,
        scores: NDArray[np.float64],
        truths: NDArray[np.bool_],
        targets: NDArray[np.int64],
        rest_true: NDArray[np.int64],
        rest_false: NDArray[np.int64],
    ) -> None:
        order = np.argsort(-scores, kind="stable")
        self._truths, self._targets = truths[order], targets[order]
        ordered = scores[order]
        self._last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if scores.size else order
        self._rest_true, self._rest_false = rest_true, rest_false
        self.n_targets = rest_true.size

    def counts(self, weights: NDArray[np.float64] | None = None) -> tuple[NDArray, NDArray]:
        """Gold links found and candidates seen up to each rank: float64, the last entries all of them.

        Parameters
        ----------
        weights
            (n_targets,) weight of each target's candidates; None: 1.
        """
        weights = np.ones(self.n_targets) if weights is None else weights
        own = weights[self._targets]
        found = np.cumsum(own * self._truths)[self._last]
        seen = np.cumsum(own)[self._last]
        rest = weights @ self._rest_true, weights @ (self._rest_true + self._rest_false)
        before = (found[-1], seen[-1]) if found.size else (0.0, 0.0)
        return np.append(found, before[0] + rest[0]), np.append(seen, before[1] + rest[1])


def average_precision(found: NDArray[np.float64], seen: NDArray[np.float64]) -> float:
    """Σ (recall − recall of the rank before) · precision; nan without gold links."""
    if not found[-1] > 0:
        return float("nan")
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    return float(np.diff(found, prepend=0.0) @ precision / found[-1])


def roc_area(found: NDArray[np.float64], seen: NDArray[np.float64]) -> float:
    """Share of (gold, other) pairs of candidates in the right order, ties counting half; nan without such pairs."""
    others = seen - found
    if not (found[-1] > 0 and others[-1] > 0):
        return float("nan")
    middle = found - np.diff(found, prepend=0.0) / 2
    return float(np.diff(others, prepend=0.0) @ middle / (found[-1] * others[-1]))


def early_precision(found: NDArray[np.float64], seen: NDArray[np.float64]) -> float:
    """Precision among as many candidates as there are gold links; of a rank that is cut, its share."""
    if not found[-1] > 0:
        return float("nan")
    return float(np.interp(found[-1], np.append(0.0, seen), np.append(0.0, found)) / found[-1])


def candidates_of(
    links: Links, gold: Collection[tuple[str, str]], none: Collection[tuple[str, str]] = ()
) -> Candidates:
    """Candidates of a gold standard as a network ranks them; see `score_links`."""
    regulators = {name: i for i, name in enumerate(sorted({regulator for regulator, _ in (*gold, *none)}))}
    targets = {name: i for i, name in enumerate(sorted({target for _, target in (*gold, *none)}))}
    n_targets = len(targets)
    as_gold_regulator = np.array([regulators.get(name, -1) for name in links.regulators], np.int64)
    as_gold_target = np.array([targets.get(name, -1) for name in links.targets], np.int64)
    regulator, target = as_gold_regulator[links.indices], as_gold_target[links.rows()]
    # A gold target's own place among the gold regulators; −1: it is not among them.
    itself = np.array([regulators.get(name, -1) for name in targets], np.int64)
    kept = (regulator >= 0) & (target >= 0)
    kept[kept] = regulator[kept] != itself[target[kept]]
    keys, others = (
        np.array([regulators[r] * n_targets + targets[t] for r, t in pairs], np.int64)
        for pairs in (gold, none)
    )
    n_gold = np.bincount(keys % n_targets, minlength=n_targets)
    n_all = len(regulators) - (itself >= 0)
    if none:
        listed = regulator * n_targets + target
        kept &= np.isin(listed, keys) | np.isin(listed, others)
        n_all = n_gold + np.bincount(others % n_targets, minlength=n_targets)
    regulator, target = regulator[kept], target[kept]
    truths = np.isin(regulator * n_targets + target, keys)
    rest_true = n_gold - np.bincount(target[truths], minlength=n_targets)
    rest_all = n_all - np.bincount(target, minlength=n_targets)
    return Candidates(links.importances[kept], truths, target, rest_true, rest_all - rest_true)


def score_links(
    links: Links,
    gold: Collection[tuple[str, str]],
    none: Collection[tuple[str, str]] = (),
    *,
    n_bootstraps: int = 1000,
    seed: int = 0,
) -> Scores:
    """Score a network.

    Parameters
    ----------
    links
        The network; it has each pair at most once.
    gold
        Distinct (regulator, target) without self-links, at least one.
    none
        Distinct pairs that are known to be no links, without self-links: where there are some, they and the gold links
        are the candidates. Else all pairs of a gold regulator and a gold target other than itself.
    n_bootstraps, seed
        Bootstrap samples of the gold targets, and their seed.

    Returns
    -------
    Scores
        See there.
    """
    candidates = candidates_of(links, gold, none)
    found, seen = candidates.counts()
    rng = np.random.default_rng(seed)
    n = candidates.n_targets
    samples = []
    for _ in range(n_bootstraps):
        weights = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
        samples.append(average_precision(*candidates.counts(weights)))
    defined = np.array(samples)[~np.isnan(samples)]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined.size else (np.nan, np.nan)
    return Scores(
        auroc=roc_area(found, seen),
        aupr=average_precision(found, seen),
        aupr_low=float(low),
        aupr_high=float(high),
        early_precision=early_precision(found, seen),
        n_gold=round(found[-1]),
        n_candidates=round(seen[-1]),
        candidates="listed" if none else "all",
    )
