"""Directories of imputed tracks, ours or another tool's: their files, and what is known of how they were made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictd.constants import TRACKS_TSV
from predictd.errors import TableError, TensorFormatError
from predictd.io.results import read_run_json, run_json_of
from predictd.io.tables import Track, read_tracks, table_rows, unique_pairs
from predictd.io.tensor.store import Tensor
from predictd.pairs import Experiment
from predictd.wording import some
from predictd.workflows.imputing.status import NOT_HELD_OUT_FOLDS, TRAINED, VALIDATION
from predictd.workflows.tensor.origin import made_from

log = logging.getLogger(__name__)

# What is said of pairs, by how they were imputed, where their scores are not held-out errors.
_NOT_HELD_OUT = {
    TRAINED: "%d of the %d pairs in %s were trained on (%s): their scores show how well the model fits known tracks, "
    "not how well it predicts new ones",
    VALIDATION: "%d of the %d pairs in %s were validated on (%s): settings, or when to stop, may have been chosen on "
    "them, so that their scores are not held-out errors",
}


@dataclass(frozen=True)
class ImputedTracks:
    """A directory of imputed tracks.

    Attributes
    ----------
    name
        What the method is called in metrics.tsv.
    directory
        It has a tracks.tsv.
    tracks
        Its tracks.
    run
        What our own output says of itself in run.json; empty for another tool's.
    status, fold
        Columns of our own tracks.tsv by pair: how the pair was imputed, and the fold that held it out.
    """

    name: str
    directory: Path
    tracks: dict[Experiment, Track]
    run: dict[str, Any]
    status: dict[Experiment, str]
    fold: dict[Experiment, str]

    @classmethod
    def read(cls, directory: Path, name: str) -> ImputedTracks:
        """Read a directory's tables.

        Raises
        ------
        TableError
            If it has no tracks.tsv, or what it has cannot be read.
        """
        table = directory / TRACKS_TSV
        if directory.is_file():
            raise TableError(
                f"{directory} is a file: name directories of imputed tracks first, the table of observed tracks last"
            )
        if not table.is_file():
            raise TableError(
                f"{directory} has no {TRACKS_TSV}: list its tracks there (cell_type, assay, path)"
            )
        run = _run_json(directory)
        status, fold = {}, {}
        if run:
            for _, row in table_rows(table, required=("cell_type", "assay")):
                pair = Experiment(row["cell_type"], row["assay"])
                status[pair], fold[pair] = row.get("status", ""), row.get("fold", "")
        return cls(name, directory, unique_pairs(read_tracks(table), table), run, status, fold)

    def fold_of(self, pair: Experiment) -> str:
        """What metrics.tsv says of the fold of a pair."""
        if self.fold.get(pair):
            return self.fold[pair]
        fold = str(self.run.get("results", {}).get("fold", "."))
        return NOT_HELD_OUT_FOLDS.get(self.status_of(pair), fold)

    def training(self, tensor: Tensor, pair: Experiment) -> list[Experiment] | None:
        """Experiments that a pair's model learned from; None where nothing says so."""
        if not self.run.get("train"):
            return None
        train = [Experiment.parse(text) for text in self.run["train"]]
        tensor.columns(train)
        results = self.run.get("results", {})
        # Runs of earlier versions have only what a test fold held out.
        left_out = results.get("left_out", results.get("held_out", {})).get(self.fold.get(pair), ())
        return sorted(set(train) - {Experiment.parse(text) for text in left_out})

    def status_of(self, pair: Experiment) -> str:
        """How a pair was imputed; empty where that is not known.

        Tables of earlier versions do not say so. Of a single model the run says what it was trained on; of a
        cross-validation, whose models differ, nothing is known then.
        """
        single = self.run.get("results", {}).get("fold", ".") != "."
        trained = single and str(pair) in self.run.get("train", ())
        return self.status.get(pair) or (TRAINED if trained else "")


def warn_of_seen_pairs(methods: Sequence[ImputedTracks], pairs: Sequence[Experiment]) -> None:
    """Say which pairs a method's model was trained or validated on."""
    for method in methods:
        for status, told in _NOT_HELD_OUT.items():
            seen = [pair for pair in pairs if method.status_of(pair) == status]
            if seen:
                log.warning(told, len(seen), len(pairs), method.directory, some(seen))


def tensor_of(methods: Sequence[ImputedTracks], given: Path | None) -> Tensor:
    """The tensor whose bins are compared: the given one, or the first that a directory's run.json names.

    Raises
    ------
    TensorFormatError
        If none is named; see `made_from`, too.
    """
    if given is not None:
        return Tensor(given)
    named = next((method for method in methods if method.run.get("results", {}).get("tensor")), None)
    if named is None:
        raise TensorFormatError(
            f"{methods[0].directory} does not say which bins to compare: name one as `tensor` ('predictd ingest' makes "
            "one from observed tracks)"
        )
    return made_from(named.run, named.directory)


def _run_json(directory: Path) -> dict[str, Any]:
    """What our own output says of itself; empty for another tool's."""
    try:
        run = read_run_json(directory)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise TableError(
            f"{run_json_of(directory)} cannot be read: {err}; remove it if the tracks are not predictd's"
        ) from err
    return run if "results" in run and isinstance(run.get("train"), list) else {}
