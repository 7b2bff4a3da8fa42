"""`predictd network combine`: one network of several, by the mean rank of each link."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from predictd.errors import ConfigError
from predictd.grn.consensus import rank_average, same_links
from predictd.grn.links import Links
from predictd.io.network.forms import form_of
from predictd.io.results import write_run_json
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.network.links import links_checksum, load_links, write_ranked

# Of mean ranks: those of a million links differ in the seventh.
RANK_DIGITS = 10


def check_combination(networks: Sequence[Path], output: Path) -> None:
    """Raise ConfigError unless there are several networks, each once, and the output is a list."""
    twice = sorted({str(path) for path in networks if list(networks).count(path) > 1})
    if twice:
        raise ConfigError(f"a network is given twice: {some(twice)}")
    if len(networks) < 2:
        raise ConfigError("to combine networks takes two or more")
    if output in networks:
        raise ConfigError(f"{output} is one of the networks; write to another file")
    if form_of(output, None) != "list":
        raise ConfigError(f"{output} has to be a list: let its name end with .tsv, .txt or .csv")


def combined(networks: Sequence[Links], names: Sequence[object]) -> Links:
    """Networks as one, see `rank_average`; ConfigError where two of them are the same and would count twice."""
    if same := same_links(networks):
        raise ConfigError(
            f"these networks have the same links: {some(str(names[i]) for i in same)}; give each once"
        )
    return rank_average(networks)


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
