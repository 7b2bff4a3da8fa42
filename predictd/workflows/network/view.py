"""`predictd network view`: a network to look at: a page that needs nothing else, GraphML, a figure of degrees."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.errors import ConfigError
from predictd.grn.graph import Edges, centralities, communities, hubs
from predictd.io.files import make_directory, replacing, write_text
from predictd.io.network.forms import check_names
from predictd.io.network.graphml import write_graphml
from predictd.io.results import write_run_json
from predictd.provenance import RunRecord
from predictd.report.drawing import rendered
from predictd.report.network_figures import degrees_figure
from predictd.workflows.network.links import link_values, links_checksum, load_links, refuse_finished

log = logging.getLogger(__name__)

NETWORK_HTML, NETWORK_GRAPHML, DEGREES_SVG = "network.html", "network.graphml", "degrees.svg"
# Links of each hub that the page begins with.
_SHOWN = 12


@dataclass(frozen=True)
class ViewReport:
    """Genes and links on the page, and whether the figure was drawn."""

    n_genes: int
    n_links: int
    figure: bool


def view_network(
    network: Path,
    output: Path,
    *,
    n_hubs: int = 20,
    n_links: int = 5000,
    seed: int = 0,
) -> ViewReport:
    """Write what shows a network.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    output
        Directory for `network.html`, `network.graphml` (all links), `degrees.svg` where Matplotlib is installed, and
        `run.json`.
    n_hubs, n_links
        Hubs that the page begins with; how many of the strongest links it holds, besides those it begins with.
    seed
        Of the communities.

    Raises
    ------
    PredictdError
        If the network cannot be read, python-igraph is missing, or the output cannot be written.
    """
    refuse_finished(output)
    record = RunRecord("network view", seed=seed, settings={"hubs": n_hubs, "links": n_links})
    links, method = load_links(network)
    check_names(network, (*links.regulators, *links.targets))
    edges = Edges.of(links)
    with record.stage("measure"):
        community, _ = communities(edges, seed=seed)
        pagerank = centralities(edges, seed=seed).pagerank
    make_directory(output)
    title = f"{network.resolve().name} ({method})" if network.is_dir() else network.name
    page = _page_data(edges, links.signs, community, pagerank, title=title, n_hubs=n_hubs, n_links=n_links)
    write_text(output / NETWORK_HTML, page_html(page))
    attributes: dict[str, list[Any]] = {
        "name": list(edges.genes),
        "in_degree": edges.in_degree().tolist(),
        "out_degree": edges.out_degree().tolist(),
        "pagerank": pagerank.tolist(),
        "community": community.tolist(),
    }
    ends = zip(edges.sources.tolist(), edges.targets.tolist(), strict=True)
    values = {name: column.tolist() for name, column in link_values(links).items()}
    write_graphml(output / NETWORK_GRAPHML, attributes, ends, values)
    figure = _draw_degrees(output / DEGREES_SVG, edges)
    record.inputs = {str(network): links_checksum(network)}
    record.results = {"genes": len(edges.genes), "links": len(links), "figure": figure}
    write_run_json(record, output)
    return ViewReport(len(page["genes"]), len(page["links"]), figure)


def page_html(page: dict[str, Any]) -> str:
    """The page with its data and its library inside."""
    data = files("predictd") / "data"
    # A name must not end the script that it is part of.
    text = json.dumps(page, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    html = (data / "network.html").read_text(encoding="utf-8")
    licence = (data / "cytoscape.LICENSE").read_text(encoding="utf-8")
    library = f"/*!\n{licence}*/\n" + (data / "cytoscape.min.js").read_text(encoding="utf-8")
    before, between_and_after = html.split("@DATA@")
    between, after = between_and_after.split("@CYTOSCAPE@")
    return before + text + between + library + after


def _page_data(
    edges: Edges,
    signs: NDArray[np.int8] | None,
    community: NDArray[np.int64],
    pagerank: NDArray[np.float64],
    *,
    title: str,
    n_hubs: int,
    n_links: int,
) -> dict[str, Any]:
    """What the page shows: links from the most important on, with signs where they are known, and genes by number."""
    order = np.argsort(-edges.weights, kind="stable")
    leading = hubs(edges, n_hubs)
    first = np.zeros(edges.weights.size, np.bool_)
    for hub in leading.tolist():
        first[order[edges.sources[order] == hub][:_SHOWN]] = True
    kept = np.zeros_like(first)
    kept[order[:n_links]] = True
    order = order[(kept | first)[order]]
    used = np.unique(np.concatenate([edges.sources[order], edges.targets[order], leading]))
    numbers = np.full(len(edges.genes), -1)
    numbers[used] = np.arange(used.size)
    rank = np.empty(len(edges.genes), np.int64)
    rank[np.argsort(-pagerank, kind="stable")] = np.arange(1, len(edges.genes) + 1)
    into, out = edges.in_degree(), edges.out_degree()
    return {
        "title": title,
        "n_genes": len(edges.genes),
        "n_links": edges.weights.size,
        "genes": [
            {
                "name": edges.genes[gene],
                "in": int(into[gene]),
                "out": int(out[gene]),
                "community": int(community[gene]),
                "rank": int(rank[gene]),
            }
            for gene in used.tolist()
        ],
        "hubs": numbers[leading].tolist(),
        "links": [
            [int(numbers[edges.sources[i]]), int(numbers[edges.targets[i]]), float(f"{edges.weights[i]:.6g}")]
            + ([] if signs is None else [int(signs[i])])
            for i in order.tolist()
        ],
        "shown": first[order].astype(int).tolist(),
    }


def _draw_degrees(path: Path, edges: Edges) -> bool:
    """Draw which share of genes has so many links or more; False where matplotlib is not installed."""
    degrees = {"regulators of a gene": edges.in_degree(), "targets of a gene": edges.out_degree()}
    try:
        drawn = rendered(partial(degrees_figure, degrees))
    except ConfigError as err:
        log.warning("no figure of degrees: %s", err)
        return False
    with replacing(path) as partial_file:
        partial_file.write_bytes(drawn["svg"])
    return True
