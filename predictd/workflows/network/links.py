"""How the commands on networks come by their links: as a whole, or as a table that need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from predictd.constants import RUN_JSON
from predictd.engine import Engine
from predictd.errors import DataError, NetworkFormatError, OutputError
from predictd.grn.links import Links
from predictd.io.files import sha256_of, standing
from predictd.io.network.forms import Form, Link, write_links
from predictd.io.network.link_lists import StreamedLinks, Units, read_link_list
from predictd.io.network.networks import find_network, read_network

_LINES = 100_000
# Of 0, 1 and −1.
_SIGNS = np.array([".", "+", "-"])


class LinkTable(Protocol):
    """A list of links that need not fit in memory; all of its answers depend on the links alone, not on their order."""

    def chosen(
        self, *, min_importance: float | None, top_per_target: int | None, top: int | None
    ) -> Iterator[Link]:
        """Regulator, target, weight and, where the list has it, sign of the links within these limits.

        They come from the highest weight on.

        Equals come by the names of target and regulator. Of what is left by one limit, the next takes its share.

        Raises
        ------
        TableError
            If a line is not a link, or a link of at least `min_importance` occurs twice.
        """
        ...

    def extent(self) -> tuple[int, float]:
        """How many links there are, and the largest magnitude of a weight; raises TableError as `chosen`."""
        ...

    def degrees(self, units: Units) -> Iterator[tuple[str, int, int, int, int]]:
        """Gene, links into it and out of it, and the sums of their weights' sizes in whole units, by name.

        Each weight is rounded to whole units, half to even, so that sums are exact.
        """
        ...


class GraphTable(LinkTable, Protocol):
    """A list whose graph can be measured, too."""

    def graph(self, units: Units, *, damping: float) -> Iterator[tuple[Any, ...]]:
        """What `degrees` gives of each gene, its PageRank and the number of its connected component.

        See `predictd.grn.graph.Centralities` and `predictd.grn.graph.components`. From the highest PageRank on, equals
        to six digits by name.

        Raises
        ------
        TableError
            If a link occurs twice.
        """
        ...


def load_links(path: Path) -> tuple[Links, str]:
    """Links and the method that made them: of a network's directory or file, or of a list of three columns.

    Raises
    ------
    NetworkFormatError, TableError, DataError
        If there is no network, it cannot be read, or it has no links.
    """
    if find_network(path) is None:
        name = path.name.removesuffix(".gz").rpartition(".")[0]
        return listed_links(*read_link_list(path)), name or path.name
    links, info = read_links(path)
    if not len(links):
        raise DataError(f"{path} has no links: infer it again with a lower limit of importance")
    return links, str(info["method"])


def is_whole(path: Path) -> bool:
    """Whether it is a network with all genes that it was inferred for, also those without links, and not a list.

    Raises
    ------
    NetworkFormatError
        If there is no network.
    """
    return find_network(path) is not None


def listed_links(
    regulators: Sequence[str], targets: Sequence[str], weights: Sequence[float], signs: Sequence[str] | None
) -> Links:
    """Links of the columns of a list; signs as `predictd.constants.LINK_SIGNS` writes them."""
    numbers = None if signs is None else [int(f"{sign}1") if sign != "." else 0 for sign in signs]
    return Links.of_list(regulators, targets, weights, numbers)


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
        raise NetworkFormatError(f"{file} is not a whole network ({err}); infer it again") from err


def links_checksum(path: Path) -> str:
    """SHA-256 of what links are read from, for run.json."""
    return sha256_of(find_network(path) or path)


def open_list(path: Path, engine: Engine) -> LinkTable:
    """A list as an engine with tables holds it, or else as a stream."""
    if engine.has_tables:
        return open_graph(path, engine, kept=False)
    engine.check_shared_paths(path)
    return StreamedLinks(path)


def open_graph(path: Path, engine: Engine, *, kept: bool = True) -> GraphTable:
    """A list as the workers of an engine with tables hold it together; `kept`: so that they read it once."""
    engine.check_shared_paths(path)
    from predictd.engine.spark import SparkEngine
    from predictd.workflows.network.spark_links import SparkLinks

    assert isinstance(engine, SparkEngine)
    return SparkLinks(engine, path, kept=kept)


def ranked(links: Links) -> dict[str, NDArray[Any]]:
    """Columns of links by name, see `predictd.io.network.forms.COLUMNS`, from the most important on.

    Without signs there is no such column.
    """
    order = links.ranked()
    return {
        "regulator": np.array(links.regulators, dtype=str)[links.indices[order]],
        "target": np.array(links.targets, dtype=str)[links.rows()[order]],
        **{name: values[order] for name, values in link_values(links).items()},
    }


def link_values(links: Links) -> dict[str, NDArray[Any]]:
    """What links have besides their genes, in their own order: `importance` and, where there are signs, `sign`."""
    signs = {} if links.signs is None else {"sign": _SIGNS[links.signs]}
    return {"importance": links.importances, **signs}


def write_ranked(path: Path, links: Links, form: Form = "list", *, digits: int = 6) -> int:
    """Write links as a list, from the most important on, importances with so many digits; see `write_links`."""
    columns = list(ranked(links).values())

    def lines() -> Iterator[Link]:
        for start in range(0, len(links), _LINES):
            some = (column[start : start + _LINES].tolist() for column in columns)
            for regulator, target, importance, *sign in zip(*some, strict=True):
                yield (regulator, target, f"{importance:.{digits}g}", *sign)

    return write_links(path, lines(), form)


def refuse_finished(output: Path, names: Sequence[str] = (RUN_JSON,), *, or_else: str = "") -> None:
    """Raise OutputError if the directory `output` has a file of these names; `or_else` ends the message."""
    if found := standing(output, names):
        raise OutputError(f"{output} holds {found[0]} already; remove it, or name another directory{or_else}")
