"""`predictd network evaluate`: a network, ours or another tool's, scored against a gold standard."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from predictd.errors import ConfigError, DataError
from predictd.grn.consensus import agreement
from predictd.grn.links import Links
from predictd.grn.scores import Scores, score_links
from predictd.io.files import check_file, refuse_overwriting, sha256_of
from predictd.io.network.networks import read_gold_pairs
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
Pair = tuple[str, str]


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
    """Score a network and write one row of scores; with others to compare, a row for each, and how far they agree.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    gold_path
        Gold standard: a table with the columns `regulator` and `target`; see
        `predictd.io.network.networks.read_gold_pairs`.
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
    agreement_path = output.with_name(f"{output.name}.agreement.tsv")
    outputs = [output, *([agreement_path] if beside else []), *([consensus] if consensus else [])]
    refuse_overwriting(outputs, [gold_path, *paths])
    for path in outputs:
        check_file(path)
    loaded = [load_links(path) for path in paths]
    networks = [links for links, _ in loaded]
    gold = distinct_pairs(*read_gold_pairs(gold_path), source=gold_path)
    lacking: dict[str, list[Path]] = {}
    for path, links in zip(paths, networks, strict=True):
        lacking.setdefault(_lacking(links, gold, source=path, gold_source=gold_path), []).append(path)
    for absent, those in lacking.items():
        _warn_of_lacking(absent, some(those, 3), gold_path)
    labels = _labels(paths, [method for _, method in loaded], name, ["consensus"] if consensus else [])
    with record.stage("score"):
        scored = networks if consensus is None else [*networks, combined(networks, paths)]
        scores = [score_links(links, *gold, seed=seed) for links in scored]
    by_label = dict(zip(labels, scores, strict=True))
    if consensus is not None:
        write_ranked(consensus, scored[-1], digits=RANK_DIGITS)
    write_rows(output, COLUMNS, score_rows(by_label))
    if beside:
        _write_agreement(agreement_path, labels, networks, len(gold[0]))
    record.inputs = {str(gold_path): sha256_of(gold_path), **{str(p): links_checksum(p) for p in paths}}
    write_run_json(record, output, sidecar=True)
    return by_label


def score_rows(scores: Mapping[str, Scores]) -> Iterator[tuple[str | int | float, ...]]:
    """A row of `COLUMNS` for each network, by its name."""
    for name, own in scores.items():
        yield name, *(getattr(own, column) for column in COLUMNS[1:])


def _write_agreement(path: Path, labels: Sequence[str], networks: Sequence[Links], n_first: int) -> None:
    """Write how far each pair of networks agrees, also in the first so many links."""
    pairs = agreement(networks, n_first)
    rows = ((labels[i], labels[j], rho, n_first, share) for i, j, rho, share in pairs)
    write_rows(path, ("one", "other", "spearman", "first", "in_common"), rows)


def _labels(
    paths: Sequence[Path], methods: Sequence[str], name: str | None, more: Sequence[str]
) -> list[str]:
    """Distinct names of networks, and `more`: their methods, or where some are alike, their file names or paths."""
    for own in (methods, [path.name for path in paths], [str(path) for path in paths]):
        labels = [name or own[0], *own[1:], *more]
        if len(set(labels)) == len(labels):
            return labels
    if len(set(paths)) < len(paths):
        raise ConfigError(f"a network is given twice: {some(paths)}")
    twice = next(label for label in labels if labels.count(label) > 1)
    raise ConfigError(
        f"two rows would be called {twice}: "
        + ("give another `name`" if twice == name else "give that network by another path")
    )


def distinct_pairs(
    gold: Sequence[Pair], none: Sequence[Pair], *, source: Path | str
) -> tuple[list[Pair], list[Pair]]:
    """Distinct links of a gold standard, and pairs that it says are none, but those of genes to themselves.

    Raises
    ------
    DataError
        If there are no links.
    """
    links, others = (list(dict.fromkeys(pair for pair in own if pair[0] != pair[1])) for own in (gold, none))
    if left_out := len(gold) + len(none) - len(links) - len(others):
        log.warning(
            "%s: %d links that are of a gene to itself, or listed twice, are left out", source, left_out
        )
    if not links:
        raise DataError(f"{source} holds only links of genes to themselves; give links between genes")
    return links, others


def require_common(
    links: Links, gold: tuple[list[Pair], list[Pair]], *, source: Path | str, gold_source: Path | str
) -> None:
    """Warn of genes of the gold standard that a network lacks.

    Raises
    ------
    DataError
        If they have no regulator or no target in common.
    """
    _warn_of_lacking(_lacking(links, gold, source=source, gold_source=gold_source), source, gold_source)


def _lacking(
    links: Links, gold: tuple[list[Pair], list[Pair]], *, source: Path | str, gold_source: Path | str
) -> str:
    """Genes of the gold standard that a network lacks, in words; see `require_common`."""
    pairs = gold[0] + gold[1]
    absent = []
    for what, theirs, known in (
        ("regulator", sorted({regulator for regulator, _ in pairs}), links.regulators),
        ("target", sorted({target for _, target in pairs}), links.targets),
    ):
        missing = sorted(set(theirs) - set(known))
        if len(missing) == len(theirs):
            raise DataError(
                f"no {what} of {gold_source} ({some(theirs)}) is a {what} of {source} ({some(known)}); use the same "
                "names"
            )
        if missing:
            absent.append(f"{len(missing)} of the {len(theirs)} {what}s ({some(missing)})")
    return " and ".join(absent)


def _warn_of_lacking(absent: str, source: Path | str, gold_source: Path | str) -> None:
    if absent:
        log.warning(
            "%s of %s are not in %s: their links are still candidates, and share the last rank",
            absent,
            gold_source,
            source,
        )
