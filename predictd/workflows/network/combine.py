"""`predictd network combine`: one network of several, by the mean rank of each link."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from predictd.errors import ConfigError, DataError
from predictd.grn.consensus import rank_average, same_links
from predictd.grn.links import Links
from predictd.io.network.forms import form_of
from predictd.io.results import write_run_json
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.network.links import links_checksum, load_links, write_ranked

log = logging.getLogger(__name__)

# Of mean ranks: those of a million links differ in the seventh.
RANK_DIGITS = 10
# Share of the smaller network's genes below which those that two have in common are few.
_FEW = 0.5


def check_combination(networks: Sequence[Path], output: Path) -> None:
    """Raise ConfigError unless there are several networks, each once, and the output is a list."""
    twice = sorted({str(path) for path in networks if list(networks).count(path) > 1})
    if twice:
        raise ConfigError(f"a network is given twice: {some(twice)}")
    if len(networks) < 2:
        raise ConfigError("to combine networks takes two or more")
    if form_of(output, None) != "list":
        raise ConfigError(f"{output} has to be a list: let its name end with .tsv, .txt or .csv")


def combined(networks: Sequence[Links], names: Sequence[object]) -> Links:
    """Networks as one, see `rank_average`.

    Raises
    ------
    ConfigError
        If two of them are the same and would count twice.
    DataError
        If two of them have no gene in common.
    """
    if same := same_links(networks):
        raise ConfigError(
            f"these networks have the same links: {some(str(names[i]) for i in same)}; give each once"
        )
    _require_common(networks, names)
    return rank_average(networks)


def _require_common(networks: Sequence[Links], names: Sequence[object]) -> None:
    """Refuse networks without a common gene; warn where two have few."""
    genes = [{*links.regulators, *links.targets} for links in networks]
    few = []
    for i, j in combinations(range(len(genes)), 2):
        common, least = len(genes[i] & genes[j]), min(len(genes[i]), len(genes[j]))
        if not common:
            raise DataError(
                f"{names[i]} ({some(sorted(genes[i]), 3)}) and {names[j]} ({some(sorted(genes[j]), 3)}) have no gene "
                "in common; use the same names"
            )
        if common < _FEW * least:
            few.append(f"{common} of {least} genes of {names[i]} and {names[j]}")
    if few:
        log.warning("few genes are in both of two networks: %s; do they use the same names?", some(few, 3))


def combine_networks(networks: Sequence[Path], output: Path) -> int:
    """Write the links of several networks by their mean rank, and return how many there are.

    Parameters
    ----------
    networks
        Directories or files of `predictd network infer`, or lists of regulator, target and weight: of several data
        sets, methods or seeds.
    output
        List to write; see `predictd.grn.consensus.rank_average`. `OUTPUT.run.json` is written next to it.

    Raises
    ------
    PredictdError
        If a network cannot be read, or see `check_combination` and `combined`.
    """
    check_combination(networks, output)
    record = RunRecord("network combine")
    record.inputs = {str(path): links_checksum(path) for path in networks}
    with record.stage("combine"):
        links = combined([load_links(path)[0] for path in networks], networks)
        count = write_ranked(output, links, digits=RANK_DIGITS)
    record.results = {"links": count}
    write_run_json(record, output, sidecar=True)
    return count
