"""Networks as GraphML, which Cytoscape, Gephi, igraph and NetworkX read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from predictd.io.files import replacing
from predictd.io.results import told

_TYPES = {str: "string", int: "long", float: "double"}
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
"""


def write_graphml(
    path: Path,
    genes: Mapping[str, Sequence[str | int | float]],
    links: Iterable[tuple[int, int, float]],
) -> None:
    """Write a directed graph, whole or not at all.

    Parameters
    ----------
    path
        The file.
    genes
        Attributes of the genes by name, in their order; `name` must be among them.
    links
        Positions of regulator and target among the genes, and importance.
    """
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_HEAD)
        for name, values in genes.items():
            kind = _TYPES[type(values[0])] if values else "string"
            file.write(f'<key id="{name}" for="node" attr.name="{name}" attr.type="{kind}"/>\n')
        file.write('<key id="importance" for="edge" attr.name="importance" attr.type="double"/>\n')
        file.write('<graph edgedefault="directed">\n')
        for number, values in enumerate(zip(*genes.values(), strict=True)):
            data = "".join(
                f"<data key={quoteattr(name)}>{escape(told(value))}</data>"
                for name, value in zip(genes, values, strict=True)
            )
            file.write(f'<node id="n{number}">{data}</node>\n')
        for source, target, importance in links:
            file.write(
                f'<edge source="n{source}" target="n{target}"><data key="importance">{told(importance)}</data></edge>\n'
            )
        file.write("</graph>\n</graphml>\n")
