"""Several networks of the same genes: how far they agree, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

from predictd.grn.links import Links

# How far importances of one network may be apart that were written with six digits.
_DIGITS = 1e-5


def rank_average(networks: Sequence[Links]) -> Links:
    """The links of all networks by their mean rank (Marbach et al. 2012).

    Links are all that a network lists; in each, equals share their mean rank, and those that it does not list share the
    mean of the ranks that are left.

    Returns
    -------
    Links
        Of all regulators and targets by name; importances from 1 down towards 0: 1 − (mean rank − 1) / number of links.
        The sign of a link is the one that most networks give it; there are none where no network has signs.
    """
    regulators, targets, keys, ranks, _, signs = _ranked(networks)
    scores = 1 - (ranks.mean(axis=0) - 1) / keys.size
    target, regulator = np.divmod(keys, len(regulators))
    indptr = np.searchsorted(target, np.arange(len(targets) + 1))
    links = Links(regulators, targets, indptr.astype(np.int64), regulator.astype(np.int32), scores, signs)
    return links.selected()


def same_links(networks: Sequence[Links]) -> list[int]:
    """Positions of networks that have the links of another one of them, with its importances to five digits.

    So a network and its list, which has six digits, count as one; signs do not count.
    """
    *_, keys = _keyed(networks)
    orders = [np.argsort(own, kind="stable") for own in keys]
    sorted_keys = [own[order] for own, order in zip(keys, orders, strict=True)]
    importances = [links.importances[order] for links, order in zip(networks, orders, strict=True)]
    same = [
        (one, other)
        for one, other in combinations(range(len(networks)), 2)
        if np.array_equal(sorted_keys[one], sorted_keys[other])
        and np.allclose(importances[one], importances[other], rtol=_DIGITS, atol=0)
    ]
    return sorted(set(chain.from_iterable(same)))


def agreement(networks: Sequence[Links], top: int) -> list[tuple[int, int, float, float]]:
    """How far each two networks agree.

    Parameters
    ----------
    networks
        Two or more.
    top
        How many of the first links are held against each other.

    Returns
    -------
    list of tuple
        The two networks' positions, Spearman's correlation over the links that both list, and the share of the first
        links that both have; of equals the first by the names of target and regulator count. Where a network lists
        fewer, all of its links are compared, and the share is of the longer list. The correlation is NaN
        where they have fewer than two links in common, or one has the same importance for all of them.
    """
    from scipy.stats import rankdata

    _, _, _, ranks, listed, _ = _ranked(networks)
    # What a network does not list ranks behind all that it lists.
    counts = np.minimum(listed.sum(axis=1), top).tolist()
    first = [set(np.argsort(own, kind="stable")[:n].tolist()) for own, n in zip(ranks, counts, strict=True)]
    found = []
    for one, other in combinations(range(len(networks)), 2):
        both = [rankdata(ranks[i, listed[one] & listed[other]]) for i in (one, other)]
        constant = any(own.size < 2 or np.ptp(own) == 0 for own in both)
        r = float("nan") if constant else float(np.corrcoef(both)[0, 1])
        longer = max(counts[one], counts[other])
        found.append((one, other, r, len(first[one] & first[other]) / longer))
    return found


def _ranked(
    networks: Sequence[Links],
) -> tuple[
    tuple[str, ...],
    tuple[str, ...],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.int8] | None,
]:
    """All regulators and targets, links of any network, their ranks in each, whether it lists them, and their signs.

    Links are (n_links,) as target · n_regulators + regulator; ranks and what is listed are (n_networks, n_links); signs
    (n_links,) are those of most networks.
    """
    from scipy.stats import rankdata

    regulators, targets, own_keys = _keyed(networks)
    keys = np.unique(np.concatenate(own_keys))
    ranks, listed = np.empty((len(networks), keys.size)), np.zeros((len(networks), keys.size), np.bool_)
    votes = np.zeros(keys.size, np.int64)
    for number, (links, own) in enumerate(zip(networks, own_keys, strict=True)):
        places = np.searchsorted(keys, own)
        ranks[number] = (own.size + 1 + keys.size) / 2
        ranks[number, places] = rankdata(-links.importances)
        listed[number, places] = True
        if links.signs is not None:
            votes[places] += links.signs
    signed = any(links.signs is not None for links in networks)
    signs = np.sign(votes).astype(np.int8) if signed else None
    return regulators, targets, keys, ranks, listed, signs


def _keyed(
    networks: Sequence[Links],
) -> tuple[tuple[str, ...], tuple[str, ...], list[NDArray[np.int64]]]:
    """All regulators and targets by name, and each network's links as target · n_regulators + regulator."""
    regulators = tuple(sorted({name for links in networks for name in links.regulators}))
    targets = tuple(sorted({name for links in networks for name in links.targets}))
    regulator_places = {name: i for i, name in enumerate(regulators)}
    target_places = {name: i for i, name in enumerate(targets)}
    keys = []
    for links in networks:
        regulator = np.array([regulator_places[name] for name in links.regulators], np.int64)
        target = np.array([target_places[name] for name in links.targets], np.int64)
        keys.append(target[links.rows()] * len(regulators) + regulator[links.indices])
    return regulators, targets, keys
