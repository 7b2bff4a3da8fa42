"""Links of a network: for each target some regulators, with an importance each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = tuple[NDArray[np.int32], NDArray[np.float64]]
SignedRow = tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int8]]


def top_links(importances: NDArray[np.float64], *, top: int, min_importance: float = 0.0) -> Row:
    """The most important regulators of a target: at most `top`, none under `min_importance`, none of importance 0.

    Parameters
    ----------
    importances
        (n_regulators,) float64.
    top, min_importance
        How many are kept; from which importance on.

    Returns
    -------
    indices, importances
        int32 and float64, from the most important on; the earlier of equals first.
    """
    order = np.argsort(-importances, kind="stable")[:top]
    kept = order[(importances[order] > 0) & (importances[order] >= min_importance)]
    return kept.astype(np.int32), importances[kept]


@dataclass(frozen=True)
class Links:
    """A network by target, in compressed sparse rows.

    Attributes
    ----------
    regulators, targets
        Names.
    indptr
        (n_targets + 1,) int64: the links of target t are those from indptr[t] to indptr[t + 1].
    indices
        (n_links,) int32: positions among the regulators.
    importances
        (n_links,) float64.
    signs
        (n_links,) int8: 1 where the regulator raises the target, −1 where it lowers it, 0 where that is not known;
        None: it is known of no link.
    """

    regulators: tuple[str, ...]
    targets: tuple[str, ...]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    importances: NDArray[np.float64]
    signs: NDArray[np.int8] | None = None

    @property
    def genes(self) -> tuple[str, ...]:
        """Names of all genes, also of those without links: targets in their order, then regulators that are none."""
        return tuple(dict.fromkeys([*self.targets, *self.regulators]))

    @classmethod
    def of_rows(
        cls, regulators: Sequence[str], targets: Sequence[str], rows: Iterable[Row] | Iterable[SignedRow]
    ) -> Links:
        """Of each target's regulators, importances and, where they are known, signs, in the order of the targets."""
        indices, importances, *signs = zip(*rows, strict=True)
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in indices])])
        return cls(
            tuple(regulators),
            tuple(targets),
            indptr.astype(np.int64),
            np.concatenate(indices).astype(np.int32),
            np.concatenate(importances).astype(np.float64),
            np.concatenate(signs[0]).astype(np.int8) if signs else None,
        )

    @classmethod
    def of_list(
        cls,
        regulators: Sequence[str],
        targets: Sequence[str],
        weights: Sequence[float],
        signs: Sequence[int] | None = None,
    ) -> Links:
        """Of columns in any order."""
        regulator_names, indices = np.unique(np.array(regulators, dtype=str), return_inverse=True)
        target_names, rows = np.unique(np.array(targets, dtype=str), return_inverse=True)
        order = np.argsort(rows, kind="stable")
        indptr = np.searchsorted(rows[order], np.arange(len(target_names) + 1))
        return cls(
            tuple(regulator_names.tolist()),
            tuple(target_names.tolist()),
            indptr.astype(np.int64),
            indices[order].astype(np.int32),
            np.asarray(weights, np.float64)[order],
            None if signs is None else np.asarray(signs, np.int8)[order],
        )

    @classmethod
    def joined(cls, blocks: Sequence[Links]) -> Links:
        """Of blocks of targets with the same regulators, one after the other; with signs where all have them."""
        signs = [block.signs for block in blocks if block.signs is not None]
        counts = np.concatenate([np.diff(block.indptr) for block in blocks])
        return cls(
            blocks[0].regulators,
            tuple(target for block in blocks for target in block.targets),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.concatenate([block.indices for block in blocks]),
            np.concatenate([block.importances for block in blocks]),
            np.concatenate(signs) if len(signs) == len(blocks) else None,
        )

    def by_target(self, order: NDArray[np.int64]) -> Links:
        """The same links with targets in another order: (n_targets,) positions."""
        counts = np.diff(self.indptr)[order]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        taken = np.repeat(self.indptr[order] - indptr[:-1], counts) + np.arange(len(self))
        targets = tuple(self.targets[target] for target in order.tolist())
        return self._of(targets, indptr, taken)

    def _of(self, targets: tuple[str, ...], indptr: NDArray[np.integer], taken: NDArray[np.int64]) -> Links:
        """Links at these positions, for these targets."""
        return Links(
            self.regulators,
            targets,
            indptr.astype(np.int64),
            self.indices[taken],
            self.importances[taken],
            None if self.signs is None else self.signs[taken],
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Links:
        """What `to_arrays` made.

        Raises
        ------
        KeyError, ValueError
            If an array is missing, or they do not fit together.
        """
        links = cls(
            tuple(arrays["regulators"].tolist()),
            tuple(arrays["targets"].tolist()),
            arrays["indptr"].astype(np.int64),
            arrays["indices"].astype(np.int32),
            arrays["importances"].astype(np.float64),
            arrays["signs"].astype(np.int8) if "signs" in arrays else None,
        )
        whole = links.indptr.size == len(links.targets) + 1 and links.indptr[0] == 0
        whole = whole and links.indptr[-1] == links.indices.size == links.importances.size
        whole = whole and (links.signs is None or links.signs.size == links.indices.size)
        if not (whole and (np.diff(links.indptr) >= 0).all()):
            raise ValueError("the numbers of its links and targets do not match")
        if links.indices.size and not (
            0 <= links.indices.min() <= links.indices.max() < len(links.regulators)
        ):
            raise ValueError("it has links of regulators that it does not name")
        return links

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All as arrays, by name; `signs` where they are known."""
        arrays: dict[str, NDArray[Any]] = {
            "regulators": np.array(self.regulators, dtype=str),
            "targets": np.array(self.targets, dtype=str),
            "indptr": self.indptr,
            "indices": self.indices,
            "importances": self.importances,
        }
        return arrays if self.signs is None else {**arrays, "signs": self.signs}

    def __len__(self) -> int:
        return self.indices.size

    def rows(self) -> NDArray[np.int64]:
        """Position of each link's target: (n_links,) int64."""
        return np.repeat(np.arange(len(self.targets)), np.diff(self.indptr))

    def ranked(self) -> NDArray[np.int64]:
        """Positions of the links from the most important on; equals in the order of targets, then of regulators."""
        return np.lexsort((self.indices, self.rows(), -self.importances))

    def selected(
        self,
        *,
        min_importance: float | None = None,
        top_per_target: int | None = None,
        top: int | None = None,
    ) -> Links:
        """The links that are left when these limits are laid on them, one after the other.

        Parameters
        ----------
        min_importance
            Importance from which on a link is kept.
        top_per_target, top
            How many are kept of each target and in all, in the order of `ranked`.

        Returns
        -------
        Links
            Of the same regulators and targets; each target's from the most important on.
        """
        kept = self.ranked()
        if min_importance is not None:
            kept = kept[self.importances[kept] >= min_importance]
        rows = self.rows()
        if top_per_target is not None:
            by_target = kept[np.argsort(rows[kept], kind="stable")]
            starts = np.searchsorted(rows[by_target], np.arange(len(self.targets)))
            places = np.arange(by_target.size) - starts[rows[by_target]]
            chosen = np.zeros(len(self), np.bool_)
            chosen[by_target[places < top_per_target]] = True
            kept = kept[chosen[kept]]
        kept = kept[:top]
        kept = kept[np.argsort(rows[kept], kind="stable")]
        indptr = np.searchsorted(rows[kept], np.arange(len(self.targets) + 1))
        return self._of(self.targets, indptr, kept)
