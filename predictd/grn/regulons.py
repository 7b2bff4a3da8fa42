"""Regulons: a regulator's strongest targets, those that it raises apart from those that it lowers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictd.grn.enrichment import false_discovery_rates, overlap
from predictd.grn.links import Links

_SIGNS = {1: "+", -1: "-", 0: "."}


@dataclass(frozen=True)
class Regulon:
    """A regulator's targets of one sign.

    Attributes
    ----------
    regulator
        Its name.
    sign
        `+` where it raises them, `-` where it lowers them; `.` where the network has no signs.
    targets, importances
        Names, and (n_targets,) float64, the most important first.
    """

    regulator: str
    sign: str
    targets: tuple[str, ...]
    importances: NDArray[np.float64]

    @property
    def name(self) -> str:
        """As pySCENIC names them: `TF(+)`, `TF(-)`; without signs `TF`."""
        return self.regulator if self.sign == "." else f"{self.regulator}({self.sign})"


@dataclass(frozen=True)
class KnownTargets:
    """How many known targets of its regulator a regulon has, and how many are to be expected.

    Attributes
    ----------
    n_known, n_both, n_background
        Known targets of the regulator, those of them in the regulon, and genes that could be either.
    fold, p, q
        See `predictd.grn.enrichment.Enrichment`; q among all regulons that were tested.
    """

    n_known: int
    n_both: int
    n_background: int
    fold: float
    p: float
    q: float


def regulons_of(links: Links, *, top: int, least: int, min_importance: float = 0.0) -> list[Regulon]:
    """Regulons of a network.

    Parameters
    ----------
    links
        The network, of importances of 0 or more. Where it has signs, links of unknown sign are in no regulon; nor are
        links of a regulator to itself, and those of importance 0.
    top
        How many targets are kept of each regulator and sign, from the most important on.
    least
        Regulons of fewer targets are left out.
    min_importance
        Links of less are left out.

    Returns
    -------
    list of Regulon
        In the order of the regulators, what is raised before what is lowered.
    """
    places = links.rows()
    target_places = {name: place for place, name in enumerate(links.targets)}
    of_itself = np.array([target_places.get(name, -1) for name in links.regulators])
    taken = (
        (links.importances > 0) & (links.importances >= min_importance) & (of_itself[links.indices] != places)
    )
    order = links.ranked()
    order = order[taken[order]]
    signs = np.zeros(len(links), np.int8) if links.signs is None else links.signs
    if links.signs is not None:
        order = order[signs[order] != 0]
    found = []
    by_regulator = order[np.lexsort((-signs[order], links.indices[order]))]
    keys = 3 * links.indices[by_regulator].astype(np.int64) - signs[by_regulator]
    for own in np.split(by_regulator, np.flatnonzero(np.diff(keys)) + 1):
        kept = own[:top]
        if kept.size >= least:
            found.append(
                Regulon(
                    links.regulators[links.indices[own[0]]],
                    _SIGNS[int(signs[own[0]])],
                    tuple(links.targets[place] for place in places[kept].tolist()),
                    links.importances[kept],
                )
            )
    return found


def known_among(
    regulons: Sequence[Regulon],
    links: Links,
    gold: Iterable[tuple[str, str]],
    background: Collection[str] | None = None,
) -> list[KnownTargets | None]:
    """Whether regulons have more known targets of their own regulators than by chance.

    Genes that count are those of the background that are targets of the gold standard, other than the regulator: what
    the gold standard says nothing of is neither right nor wrong.

    Parameters
    ----------
    regulons, links
        See `regulons_of`.
    gold
        Known links: regulator and target.
    background
        Genes that could have been targets; None: the targets of the network.

    Returns
    -------
    list
        By regulon; None where it, or the gold standard for its regulator, has no gene that counts.
    """
    known: dict[str, set[str]] = defaultdict(set)
    for regulator, target in gold:
        known[regulator].add(target)
    every = set(links.targets if background is None else background) & set().union(*known.values())
    counts = []
    for regulon in regulons:
        background = every - {regulon.regulator}
        right, own = (
            known.get(regulon.regulator, set()) & background,
            background.intersection(regulon.targets),
        )
        counts.append((len(own), len(right), len(own & right), len(background)))
    tested = [place for place, (n_own, n_known, _, _) in enumerate(counts) if n_own and n_known]
    n_own, n_known, n_both, n_all = np.array([counts[place] for place in tested], np.int64).reshape(-1, 4).T
    fold, p = overlap(n_own, n_known, n_both, n_all)
    columns = zip(n_known, n_both, n_all, fold, p, false_discovery_rates(p), strict=True)
    found = {
        place: KnownTargets(*map(int, row[:3]), *map(float, row[3:]))
        for place, row in zip(tested, columns, strict=True)
    }
    return [found.get(place) for place in range(len(regulons))]
