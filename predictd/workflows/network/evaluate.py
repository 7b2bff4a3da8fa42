"""`predictd network evaluate`: a network, ours or another tool's, scored against a gold standard."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from predictd.errors import ConfigError, DataError
from predictd.grn.consensus import agreement
from predictd.grn.links import Links
from predictd.grn.scores import Scores, score_links
from predictd.io.files import sha256_of
from predictd.io.network.networks import read_judged
from predictd.io.results import write_rows, write_run_json
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.network.combine import RANK_DIGITS, combined
from predictd.workflows.network.links import links_checksum, load_links, write_ranked

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
    "candidates",
)
Pairs = dict[tuple[str, str], None]


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
        Gold standard: a table with the columns `regulator` and `target`; see
        `predictd.io.network.networks.read_judged` and, for what the candidates are, `score_links`.
    output
        Table to write; `OUTPUT.run.json` is written next to it, and with more networks `OUTPUT.agreement.tsv`.
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
        raise ConfigError("a consensus needs more than one network: name others with `beside`")
    record = RunRecord("network evaluate", seed=seed, settings={"name": name})
    paths = [network, *beside]
    networks, methods, gold, none = _load(paths, gold_path)
    labels = _labels(paths, methods, name)
    with record.stage("score"):
        if consensus is not None:
            together = combined(networks, paths)
        scores = [score_links(links, gold, none, seed=seed) for links in networks]
        if consensus is not None:
            scores.append(score_links(together, gold, none, seed=seed))
            labels.append("consensus")
            write_ranked(consensus, together, digits=RANK_DIGITS)
    by_label = dict(zip(labels, scores, strict=True))
    rows = ((label, *(getattr(own, column) for column in COLUMNS[1:])) for label, own in by_label.items())
    write_rows(output, COLUMNS, rows)
    if beside:
        _write_agreement(output.with_name(f"{output.name}.agreement.tsv"), labels, networks, len(gold))
    record.inputs = {str(gold_path): sha256_of(gold_path), **{str(p): links_checksum(p) for p in paths}}
    write_run_json(record, output, sidecar=True)
    return by_label


def _load(paths: Sequence[Path], gold_path: Path) -> tuple[list[Links], list[str], Pairs, Pairs]:
    """Networks, their methods, and links and other pairs of the gold standard that they have genes in common with."""
    loaded = [load_links(path) for path in paths]
    gold, none = judged_pairs(gold_path)
    for path, (links, _) in zip(paths, loaded, strict=True):
        _require_common(path, links, gold_path, gold | none)
    return [links for links, _ in loaded], [method for _, method in loaded], gold, none


def _write_agreement(path: Path, labels: Sequence[str], networks: Sequence[Links], n_first: int) -> None:
    """Write how far each pair of networks agrees, also in the first so many links."""
    pairs = agreement(networks, n_first)
    rows = ((labels[i], labels[j], rho, n_first, share) for i, j, rho, share in pairs)
    write_rows(path, ("one", "other", "spearman", "first", "in_common"), rows)


def _labels(paths: Sequence[Path], methods: Sequence[str], name: str | None) -> list[str]:
    """Distinct names of networks: their methods, or where some have one method, their file names or paths."""
    for own in (methods, [path.name for path in paths], [str(path) for path in paths]):
        labels = [name or own[0], *own[1:]]
        if len(set(labels)) == len(labels):
            return labels
    raise ConfigError(f"a network is given twice: {', '.join(map(str, paths))}")


def judged_pairs(path: Path) -> tuple[Pairs, Pairs]:
    """Distinct links of a gold standard, and pairs that it says are none, but those of genes to themselves.

    Both are in file order. Without pairs that are none it does not say which pairs it judges.

    Raises
    ------
    PredictdError
        If it cannot be read, or has no links.
    """
    read = read_judged(path)
    gold, none = (dict.fromkeys(pair for pair in own if pair[0] != pair[1]) for own in read)
    if left_out := sum(map(len, read)) - len(gold) - len(none):
        log.warning("%s: %d links to oneself or listed twice are left out", path, left_out)
    if not gold:
        raise DataError(f"{path} holds no links but of genes to themselves")
    return gold, none


def _require_common(network: Path, links: Links, gold_path: Path, gold: Pairs) -> None:
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
