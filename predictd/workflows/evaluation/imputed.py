"""Directories of imputed tracks, ours or another tool's: their files, and what is known of how they were made."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictd.constants import RUN_JSON, TRACKS_TSV
from predictd.errors import TableError, TensorFormatError
from predictd.io.remote import as_path
from predictd.io.tables import Track, read_tracks, table_rows, unique_pairs
from predictd.io.tensor.store import Tensor
from predictd.pairs import Experiment
from predictd.wording import some
from predictd.workflows.imputing.status import TRAINED, TRAINED_FOLD

log = logging.getLogger(__name__)


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
        return TRAINED_FOLD if self.trained_on([pair]) else str(self.run.get("results", {}).get("fold", "."))

    def training(self, tensor: Tensor, pair: Experiment) -> list[Experiment] | None:
        """Experiments that a pair's model learned from; None where nothing says so."""
        if not self.run.get("train"):
            return None
        train = [Experiment.parse(text) for text in self.run["train"]]
        tensor.columns(train)
        together = self.run.get("results", {}).get("held_out", {}).get(self.fold.get(pair), ())
        return sorted(set(train) - {Experiment.parse(text) for text in together})

    def trained_on(self, pairs: Sequence[Experiment]) -> list[Experiment]:
        """Pairs among these that their model was trained on.

        Tables of earlier versions do not say so. Of a single model the run does; of a cross-validation, whose models
        differ, nothing is known then.
        """
        single = self.run.get("results", {}).get("fold", ".") != "."
        train = set(self.run.get("train", ())) if single else set()
        return [
            pair
            for pair in pairs
            if (self.status.get(pair) or (TRAINED if str(pair) in train else "")) == TRAINED
        ]


def warn_of_trained_pairs(methods: Sequence[ImputedTracks], pairs: Sequence[Experiment]) -> None:
    """Say which pairs a method's model was trained on."""
    for method in methods:
        seen = method.trained_on(pairs)
        if seen:
            log.warning(
                "%d of the %d pairs in %s were trained on (%s): their scores show how well the model fits known "
                "tracks, not how well it predicts new ones",
                len(seen),
                len(pairs),
                method.directory,
                some(seen),
            )


def tensor_of(methods: Sequence[ImputedTracks], given: Path | None) -> Tensor:
    """The tensor whose bins are compared: the given one, or the first that a directory's run.json names.

    Raises
    ------
    TensorFormatError
        If none is named, or it does not exist any more.
    """
    if given is not None:
        return Tensor(given)
    named = [
        (m.directory, m.run["results"]["tensor"]) for m in methods if m.run.get("results", {}).get("tensor")
    ]
    if not named:
        raise TensorFormatError(
            f"{methods[0].directory} does not say which bins to compare: name one as `tensor` ('predictd ingest' makes "
            "one from observed tracks)"
        )
    directory, path = named[0]
    if not as_path(path).is_dir():
        raise TensorFormatError(
            f"{directory} was made from the tensor {path}, which does not exist any more: name it as `tensor`"
        )
    return Tensor(as_path(path))


def _run_json(directory: Path) -> dict[str, Any]:
    """What our own output says of itself; empty for another tool's."""
    try:
        value = json.loads((directory / RUN_JSON).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise TableError(
            f"{directory / RUN_JSON} cannot be read: {err}; remove it if the tracks are not predictd's"
        ) from err
    ours = isinstance(value, dict) and isinstance(value.get("results"), dict)
    return value if ours and isinstance(value.get("train"), list) else {}
