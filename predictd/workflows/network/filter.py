"""`predictd network filter`: the strongest links of a network, or of a list longer than memory."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from predictd.constants import LINKS_TSV, MAX_LISTED_LINKS, NETWORK_H5, RUN_JSON
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError
from predictd.grn.links import Links
from predictd.io.files import make_directory
from predictd.io.network.link_lists import Link, is_list, write_links
from predictd.io.network.networks import find_network, write_link_list, write_network
from predictd.io.results import write_run_json
from predictd.provenance import RunRecord, software
from predictd.workflows.network.links import links_checksum, open_list, ranked, read_links, refuse_finished

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What links are kept; each limit is laid on what the one before has left.

    Attributes
    ----------
    minimum
        Importance from which on.
    top_per_target, top
        How many of each target, and in all, from the most important on.
    """

    minimum: float | None = None
    top_per_target: int | None = None
    top: int | None = None

    def check(self) -> None:
        """Raise ConfigError unless there is one."""
        if self == Limits():
            raise ConfigError("nothing to filter by: give `minimum`, `top_per_target` or `top`")


def filter_network(network: Path, output: Path, limits: Limits, engine: Engine) -> int:
    """Write the links of a network that are within the limits, and return how many there are.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    output
        A list where the name ends as one (.tsv, .txt, also with .gz), with `OUTPUT.run.json` next to it; else a
        directory of a network.
    limits
        At least one.
    engine
        What reads and sorts a list; Spark's executors do it together.

    Raises
    ------
    PredictdError
        If the network cannot be read, no link is left, or the output cannot be written.
    """
    limits.check()
    record = RunRecord.of("network filter", engine, settings=asdict(limits))
    file = find_network(network)
    if not is_list(output):
        refuse_finished(output, (NETWORK_H5, LINKS_TSV, RUN_JSON), or_else=", or a list that ends with .tsv")
    with record.stage("filter"):
        if file is None and is_list(output):
            count = write_links(output, _some(open_list(network, engine).chosen(**asdict(limits)), network))
        else:
            count = _filter_in_memory(network, output, limits, engine)
    record.inputs = {str(network): links_checksum(network)}
    record.results = {"links": count}
    write_run_json(record, output, sidecar=is_list(output))
    return count


def _filter_in_memory(network: Path, output: Path, limits: Limits, engine: Engine) -> int:
    info: dict[str, Any]
    if find_network(network) is None:
        # Chosen by the engine, so that only what is left has to fit.
        chosen = list(_some(open_list(network, engine).chosen(**asdict(limits)), network))
        regulators, targets, weights = zip(*chosen, strict=True)
        links = Links.of_list(regulators, targets, [float(weight) for weight in weights]).selected()
        info = {"method": network.name.split(".")[0] or network.name}
    else:
        links, info = read_links(network)
        whole = links
        links = whole.selected(**asdict(limits))
        if not len(links):
            largest = whole.importances.max(initial=0.0)
            raise DataError(_none_left(network, f" (the highest importance is {largest:.6g})"))
    columns = ranked(links)
    if is_list(output):
        rows = ((r, t, f"{w:.6g}") for r, t, w in zip(*(c.tolist() for c in columns), strict=True))
        return write_links(output, rows)
    make_directory(output)
    if len(links) <= MAX_LISTED_LINKS:
        write_link_list(output / LINKS_TSV, *columns)
    info = {**info, "filtered": [*info.get("filtered", []), asdict(limits)], "software": software()}
    write_network(output / NETWORK_H5, info, links.to_arrays())
    return len(links)


def _some(links: Any, network: Path) -> Any:
    """The same links, of which there has to be one."""
    first: Link | None = next(links, None)
    if first is None:
        raise DataError(_none_left(network, ""))
    yield first
    yield from links


def _none_left(network: Path, highest: str) -> str:
    return f"no link of {network} is left{highest}; lower `minimum`"
