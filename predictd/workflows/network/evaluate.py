"""`predictd network evaluate`: a network, ours or another tool's, scored against a gold standard."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from predictd.errors import ConfigError, DataError, NetworkFormatError
from predictd.io.files import sha256_of, write_text
from predictd.io.network.link_lists import read_link_list
from predictd.io.network.networks import find_network, read_gold, read_network, write_link_list
from predictd.io.results import told, write_rows, write_run_json
from predictd.network.consensus import agreement, rank_average
from predictd.network.links import Links
from predictd.network.scores import Scores, score_links
from predictd.provenance import RunRecord
from predictd.wording import some

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
    NetworkFormatError, TableError, DataError
        If there is no network, it cannot be read, or it has no links.
    """
    if find_network(path) is None:
        name = path.name.removesuffix(".gz").rpartition(".")[0]
        return Links.of_list(*read_link_list(path)), name or path.name
    links, info = read_links(path)
    if not len(links):
        raise DataError(f"{path} has no links: infer it again with a lower --min-importance")
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
    network: Path,
    gold_path: Path,
    output: Path,
    *,
    name: str | None = None,
    seed: int = 0,
    beside: Sequence[Path] = (),
    consensus: Path | None = None,
) -> dict[str, Scores]:
    """Score a network and write one row of scores; with others beside it a row for each, and how far they agree.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    gold_path
        Gold standard: a table with the columns `regulator` and `target`.
    output
        Table to write; `OUTPUT.run.json` is written beside. With more networks, `OUTPUT.agreement.tsv`, too.
    name
        What the method is called; None: as the network says, or the list's file name.
    seed
        Of the bootstrap.
    beside
        More networks: of other seeds, or by other methods.
    consensus
        List to write of all networks' links by their mean rank, which is scored, too; None: none.

    Returns
    -------
    dict
        Scores by the name of the method, in the order of the rows.

    Raises
    ------
    PredictdError
        If a file cannot be read, or a network and the gold standard have no regulator or no target in common.
    """
    if consensus is not None and not beside:
        raise ConfigError("a consensus needs more than one network: name others with --beside")
    record = RunRecord("network evaluate", seed=seed, settings={"name": name})
    paths = [network, *beside]
    loaded = [load_links(path) for path in paths]
    gold = _known_links(gold_path)
    for path, (links, _) in zip(paths, loaded, strict=True):
        _require_common(path, links, gold_path, gold)
    networks = [links for links, _ in loaded]
    labels = _labels(paths, [method for _, method in loaded], name)
    with record.stage("score"):
        scores = [score_links(links, list(gold), seed=seed) for links in networks]
        if consensus is not None:
            together = rank_average(networks)
            scores.append(score_links(together, list(gold), seed=seed))
            labels.append("consensus")
            write_ranked(consensus, together)
    write_text(output, scores_tsv(labels, scores))
    if beside:
        pairs = agreement(networks, len(gold))
        columns = ("one", "other", "spearman", "first", "in_common")
        rows = ((labels[i], labels[j], r, len(gold), share) for i, j, r, share in pairs)
        write_rows(output.with_name(f"{output.name}.agreement.tsv"), columns, rows)
    record.inputs = {
        str(gold_path): sha256_of(gold_path),
        **{str(path): sha256_of(find_network(path) or path) for path in paths},
    }
    write_run_json(record, output, sidecar=True)
    return dict(zip(labels, scores, strict=True))


def _labels(paths: Sequence[Path], methods: Sequence[str], name: str | None) -> list[str]:
    """Distinct names of networks: their methods, or where some have one method, their file names or paths."""
    for own in (methods, [path.name for path in paths], [str(path) for path in paths]):
        labels = [name or own[0], *own[1:]]
        if len(set(labels)) == len(labels):
            return labels
    raise ConfigError(f"a network is given twice: {', '.join(map(str, paths))}")


def _known_links(path: Path) -> dict[tuple[str, str], None]:
    """Distinct links of a gold standard but those of genes to themselves, in file order."""
    listed = read_gold(path)
    gold = dict.fromkeys(pair for pair in listed if pair[0] != pair[1])
    if len(gold) < len(listed):
        log.warning("%s: %d links to oneself or listed twice are left out", path, len(listed) - len(gold))
    if not gold:
        raise DataError(f"{path} holds no links but of genes to themselves")
    return gold


def _require_common(network: Path, links: Links, gold_path: Path, gold: dict[tuple[str, str], None]) -> None:
    """Raise DataError unless they have a regulator and a target in common; say how many are not."""
    absent = []
    for what, theirs, known in (
        ("regulator", sorted({regulator for regulator, _ in gold}), links.regulators),
        ("target", sorted({target for _, target in gold}), links.targets),
    ):
        missing = sorted(set(theirs) - set(known))
        if len(missing) == len(theirs):
            raise DataError(
                f"no {what} of {gold_path} ({some(theirs)}) is a {what} of {network} ({some(known)}); use the same "
                "names"
            )
        if missing:
            absent.append(f"{len(missing)} of the {len(theirs)} {what}s ({some(missing)})")
    if absent:
        log.warning(
            "%s of %s are not in %s: their links are candidates all the same, and share the last rank",
            " and ".join(absent),
            gold_path,
            network,
        )


def write_ranked(path: Path, links: Links) -> None:
    """Write links as a list, from the most important on."""
    order = links.ranked()
    write_link_list(
        path,
        np.array(links.regulators, dtype=str)[links.indices[order]],
        np.array(links.targets, dtype=str)[links.rows()[order]],
        links.importances[order],
    )


def scores_tsv(methods: Sequence[str], scores: Sequence[Scores]) -> str:
    """A header and a row for each method; numbers as %.6g."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for method, own in zip(methods, scores, strict=True):
        rows.append((method, *(told(getattr(own, column)) for column in COLUMNS[1:])))
    return "".join("\t".join(row) + "\n" for row in rows)
