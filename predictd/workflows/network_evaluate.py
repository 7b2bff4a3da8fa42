"""`predictd network evaluate`: a network, ours or another tool's, scored against a gold standard."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from predictd.errors import DataError, NetworkFormatError
from predictd.io.expression import some
from predictd.io.files import sha256_of, write_json, write_text
from predictd.io.networks import find_network, read_gold, read_link_list, read_network
from predictd.network.links import Links
from predictd.network.scores import Scores, score_links
from predictd.provenance import RunRecord

log = logging.getLogger(__name__)

COLUMNS = (
    "method",
    "auroc",
    "aupr",
    "aupr_low",
    "aupr_high",
    "early_precision",
    "n_gold",
    "n_candidates",
)


def load_links(path: Path) -> tuple[Links, str]:
    """Links and the method that made them: of a network's directory or file, or of a list of three columns.

    Raises
    ------
    NetworkFormatError, TableError
        If there is no network, or it cannot be read.
    """
    if find_network(path) is None:
        return Links.of_list(*read_link_list(path)), path.name.removesuffix(".gz").rpartition(".")[
            0
        ] or path.name
    links, info = read_links(path)
    return links, str(info["method"])


def read_links(path: Path) -> tuple[Links, dict[str, Any]]:
    """Links of a network's directory or file, and what it says of itself.

    Raises
    ------
    NetworkFormatError
        If there is no network, or it cannot be read.
    """
    file = find_network(path) or path
    info, arrays = read_network(file)
    try:
        return Links.from_arrays(arrays), {**info, "method": info["method"]}
    except (KeyError, ValueError) as err:
        raise NetworkFormatError(f"{file} is no whole network ({err}); infer it again") from err


def evaluate_network(
    network: Path, gold_path: Path, output: Path, record: RunRecord, *, name: str | None = None, seed: int = 0
) -> Scores:
    """Score a network and write one row of scores.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    gold_path
        Gold standard: a table with the columns `regulator` and `target`.
    output
        Table to write; `OUTPUT.run.json` is written beside.
    record
        Where the run is put on record.
    name
        What the method is called; None: as the network says, or the list's file name.
    seed
        Of the bootstrap.

    Raises
    ------
    PredictdError
        If a file cannot be read, or network and gold standard have no regulator or no target in common.
    """
    links, method = load_links(network)
    listed = read_gold(gold_path)
    gold = dict.fromkeys(pair for pair in listed if pair[0] != pair[1])
    if len(gold) < len(listed):
        log.warning(
            "%s: %d links to oneself or listed twice are left out", gold_path, len(listed) - len(gold)
        )
    if not gold:
        raise DataError(f"{gold_path} holds no links but of genes to themselves")
    for what, theirs, known in (
        ("regulator", sorted({regulator for regulator, _ in gold}), links.regulators),
        ("target", sorted({target for _, target in gold}), links.targets),
    ):
        if set(theirs).isdisjoint(known):
            raise DataError(
                f"no {what} of {gold_path} ({some(theirs)}) is a {what} of {network} ({some(known)}); use the same "
                "names"
            )
    with record.stage("score"):
        scores = score_links(links, list(gold), seed=seed)
    write_text(output, scores_tsv(name or method, scores))
    record.inputs = {
        str(gold_path): sha256_of(gold_path),
        str(network): sha256_of(find_network(network) or network),
    }
    write_json(output.with_name(f"{output.name}.run.json"), record.to_dict())
    return scores


def scores_tsv(method: str, scores: Scores) -> str:
    """A header and a row; numbers as %.6g."""
    values = [getattr(scores, column) for column in COLUMNS[1:]]
    numbers = [str(value) if isinstance(value, int) else f"{value:.6g}" for value in values]
    return "\t".join(COLUMNS) + "\n" + "\t".join([method, *numbers]) + "\n"
