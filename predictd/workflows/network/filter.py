"""`predictd network filter`: the strongest links of a network, or of a list longer than memory."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from predictd.constants import LINKS_TSV, MAX_LISTED_LINKS, NETWORK_H5, RUN_JSON
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError
from predictd.grn.graph import Edges
from predictd.grn.links import Links
from predictd.io.files import make_directory
from predictd.io.network.forms import Form, Link, form_of, write_links
from predictd.io.network.graphml import write_graphml
from predictd.io.network.networks import find_network, write_network
from predictd.io.results import write_run_json
from predictd.provenance import RunRecord, software
from predictd.workflows.network.links import (
    link_values,
    links_checksum,
    listed_links,
    open_list,
    read_links,
    refuse_finished,
    write_ranked,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What links are kept; each limit is laid on what the one before has left.

    Attributes
    ----------
    min_importance
        Importance from which on.
    top_per_target, top
        How many of each target, and in all, from the most important on.
    """

    min_importance: float | None = None
    top_per_target: int | None = None
    top: int | None = None

    def __post_init__(self) -> None:
        if self.min_importance is not None and math.isnan(self.min_importance):
            raise ConfigError("`min_importance` has to be a number, not nan")

    def check(self) -> None:
        """Raise ConfigError unless there is one."""
        if self == Limits():
            raise ConfigError("nothing to filter by: give `min_importance`, `top_per_target` or `top`")


def check_request(output: Path, limits: Limits, form: Form | None) -> Form | None:
    """The form of the output; raises ConfigError where there is nothing to do, or the form does not fit the name."""
    form, end = form_of(output, form), output.suffix
    if form is None and end[1:2].isalpha() and not output.is_dir():
        raise ConfigError(
            f"{output}: no links are written as {end}; let `output` end with .tsv, .txt, .csv, .sif or .graphml (all "
            "may have .gz), or name a network's directory, without such an end"
        )
    if form is None:
        limits.check()
    return form


def filter_network(
    network: Path, output: Path, limits: Limits, engine: Engine, *, form: Form | None = None
) -> int:
    """Write the links of a network that are within the limits, and return how many there are.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    output
        What to write, with `OUTPUT.run.json` next to it; or a directory of a network.
    limits
        At least one where a network's directory is written.
    engine
        What reads and sorts a list; Spark's executors do it together.
    form
        See `predictd.io.network.forms.write_links`, or `graphml`; None: as the name of the output ends.

    Raises
    ------
    PredictdError
        If the network cannot be read, no link is left, or the output cannot be written.
    """
    form = check_request(output, limits, form)
    listed = find_network(network) is None
    record = RunRecord.of("network filter", engine, settings={**asdict(limits), "form": form})
    if form is None:
        refuse_finished(output, (NETWORK_H5, LINKS_TSV, RUN_JSON), or_else=", or a list that ends with .tsv")
    with record.stage("filter"):
        if form in (None, "graphml") or not listed:
            links, info = _chosen(network, limits, engine)
            count = len(links)
            if form is None:
                _write_network(output, links, info, limits)
            elif form == "graphml":
                _write_graph(output, links)
            else:
                write_ranked(output, links, form)
        else:
            links_by_text = _some(open_list(network, engine).chosen(**asdict(limits)), network)
            count = write_links(output, links_by_text, form)
    record.inputs = {str(network): links_checksum(network)}
    record.results = {"links": count}
    write_run_json(record, output, sidecar=form is not None)
    return count


def _chosen(network: Path, limits: Limits, engine: Engine) -> tuple[Links, dict[str, Any]]:
    """Links within the limits, and what is known of the network."""
    if find_network(network) is None:
        # Chosen by the engine, so that only what is left has to fit.
        chosen = _some(open_list(network, engine).chosen(**asdict(limits)), network)
        regulators, targets, weights, *signs = zip(*chosen, strict=True)
        numbers = [float(weight) for weight in weights]
        links = listed_links(regulators, targets, numbers, signs[0] if signs else None).selected()
        return links, {"method": network.name.split(".")[0] or network.name}
    whole, info = read_links(network)
    links = whole.selected(**asdict(limits))
    if not len(links):
        largest = whole.importances.max(initial=0.0)
        raise DataError(_none_left(network, f" (the highest importance is {largest:.6g})"))
    return links, info


def _write_network(output: Path, links: Links, info: dict[str, Any], limits: Limits) -> None:
    make_directory(output)
    if len(links) <= MAX_LISTED_LINKS:
        write_ranked(output / LINKS_TSV, links)
    info = {**info, "filtered": [*info.get("filtered", []), asdict(limits)], "software": software()}
    write_network(output / NETWORK_H5, info, links.to_arrays())


def _write_graph(output: Path, links: Links) -> None:
    edges = Edges.of(links)
    linked = edges.in_degree() + edges.out_degree() > 0
    places = np.cumsum(linked) - 1
    genes = [edges.genes[gene] for gene in np.flatnonzero(linked).tolist()]
    ends = zip(places[edges.sources].tolist(), places[edges.targets].tolist(), strict=True)
    values = {name: column.tolist() for name, column in link_values(links).items()}
    write_graphml(output, {"name": genes}, ends, values)


def _some(links: Any, network: Path) -> Any:
    """The same links, of which there has to be one."""
    first: Link | None = next(links, None)
    if first is None:
        raise DataError(_none_left(network, ""))
    yield first
    yield from links


def _none_left(network: Path, highest: str) -> str:
    return f"no link of {network} is left{highest}; lower `min_importance`"
