"""Why imputed and observed tracks may have no pair in common, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from predictd.errors import DataError
from predictd.pairs import Experiment
from predictd.wording import plain, some
from predictd.workflows.evaluation.imputed import ImputedTracks

_NAMED = 3


def nothing_in_common(
    methods: Sequence[ImputedTracks], observed: Collection[Experiment], table: Path, trained: set[Experiment]
) -> DataError:
    """The error for methods of which no pair that all imputed was observed.

    Parameters
    ----------
    methods
        Directories of imputed tracks.
    observed, table
        Pairs of the observed tracks, and the table that lists them.
    trained
        Experiments of the tensor.
    """
    apart = [method for method in methods if set(observed).isdisjoint(method.tracks)]
    if not apart:
        own = "; ".join(
            f"{method.directory}: {some(sorted(set(observed) & set(method.tracks)), _NAMED)}"
            for method in methods
        )
        return DataError(
            f"no pair of {table} is in all directories, and only such pairs are compared ({own}): "
            "impute the same pairs by every method, or evaluate the directories one by one"
        )
    method = apart[0]
    return DataError(
        f"{method.directory} and {table} have no pair in common: nothing can be scored; imputed are "
        f"{some(sorted(method.tracks), _NAMED)}, observed are {some(sorted(observed), _NAMED)}: "
        f"{_advice(set(method.tracks), set(observed), trained)}"
    )


def _advice(imputed: set[Experiment], observed: set[Experiment], trained: set[Experiment]) -> str:
    """The likeliest cause, and what to do."""
    swapped = sorted({Experiment(assay, cell) for cell, assay in imputed} & observed)
    if swapped:
        return f"cell types and assays are exchanged in one of the tables ({some(swapped, _NAMED)}); correct its header"
    alike = {_plain(pair): pair for pair in observed}
    for pair in sorted(imputed):
        if _plain(pair) in alike:
            return (
                f"{pair} and {alike[_plain(pair)]} differ only in the way they are written; write names of cell types "
                "and assays the same in both tables"
            )
    if imputed.isdisjoint(trained) and observed <= trained:
        return (
            "the imputed pairs are those that nobody has measured, the table lists the tracks that the model learned "
            "from; 'predictd cv' scores these by models that never saw them (metrics.tsv), and 'predictd impute' with "
            "its directory and `pairs` observed writes them; or list here tracks that were held back"
        )
    for what, place in (("cell type", 0), ("assay", 1)):
        ours, theirs = ({pair[place] for pair in pairs} for pairs in (imputed, observed))
        if ours.isdisjoint(theirs):
            return (
                f"they have no {what} in common (imputed {some(sorted(ours), _NAMED)}, observed "
                f"{some(sorted(theirs), _NAMED)}); impute {what}s that the table lists, or correct the names"
            )
    return "impute pairs that the table lists ('predictd impute' with `pairs`), or list tracks of the imputed pairs"


def _plain(pair: Experiment) -> tuple[str, ...]:
    """A pair without what is written in many ways: case, and signs between letters."""
    return tuple(map(plain, pair))
