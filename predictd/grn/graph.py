"""What a network's links say of its genes: degrees, centralities, communities (by python-igraph)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.errors import ConfigError
from predictd.grn.links import Links
from predictd.wording import install

# Of more genes, betweenness is estimated from as many sources.
EXACT_GENES = 5000
SOURCES = 1000
DAMPING = 0.85


@dataclass(frozen=True)
class Edges:
    """Links between genes of one list.

    Attributes
    ----------
    genes
        Names: targets in their order, then regulators that are none.
    sources, targets
        (n_links,) int64: positions of a link's regulator and target.
    weights
        (n_links,) float64: sizes of importances.
    """

    genes: tuple[str, ...]
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, links: Links) -> Edges:
        """Turn a network into edges; genes that have no link stay."""
        genes = links.genes
        places = {gene: i for i, gene in enumerate(genes)}
        regulators = np.array([places[gene] for gene in links.regulators], np.int64)
        return cls(genes, regulators[links.indices], links.rows(), np.abs(links.importances))

    def in_degree(self) -> NDArray[np.int64]:
        """Number of links into each gene: int64 (n_genes,)."""
        return np.bincount(self.targets, minlength=len(self.genes))

    def out_degree(self) -> NDArray[np.int64]:
        """Number of links out of each gene: int64 (n_genes,)."""
        return np.bincount(self.sources, minlength=len(self.genes))

    def in_strength(self) -> NDArray[np.float64]:
        """Sum of the weights of the links into each gene: float64 (n_genes,)."""
        return self._sums(self.targets)

    def out_strength(self) -> NDArray[np.float64]:
        """Sum of the weights of the links out of each gene: float64 (n_genes,)."""
        return self._sums(self.sources)

    def _sums(self, genes: NDArray[np.int64]) -> NDArray[np.float64]:
        # Without links it counts, in whole numbers.
        return np.bincount(genes, self.weights, minlength=len(self.genes)).astype(np.float64)


@dataclass(frozen=True)
class Centralities:
    """Centralities of genes, float64 (n_genes,) each.

    Attributes
    ----------
    pagerank
        PageRank (Brin & Page 1998) on the links turned round, by weight, damping 0.85: what regulates genes of
        significance is significant. They sum to 1.
    betweenness
        Shortest directed paths between other genes that lead through a gene, each link counting 1 (Freeman 1977;
        Brandes 2001).
    exact
        Whether betweenness is over all sources, or estimated from some.
    """

    pagerank: NDArray[np.float64]
    betweenness: NDArray[np.float64]
    exact: bool


def centralities(edges: Edges, *, seed: int) -> Centralities:
    """Centralities of all genes.

    Parameters
    ----------
    edges
        The network.
    seed
        Of the choice of sources, where there are more than `EXACT_GENES` genes.

    Raises
    ------
    ConfigError
        If python-igraph is not installed.
    """
    n_genes = len(edges.genes)
    turned = _graph(n_genes, edges.targets, edges.sources, directed=True)
    pagerank = turned.pagerank(damping=DAMPING, weights=_moderate(edges.weights).tolist())
    graph = _graph(n_genes, edges.sources, edges.targets, directed=True)
    exact = n_genes <= EXACT_GENES
    if exact:
        between = np.array(graph.betweenness())
    else:
        chosen = np.sort(np.random.default_rng(seed).choice(n_genes, SOURCES, replace=False))
        between = np.array(graph.betweenness(sources=chosen.tolist())) * (n_genes / SOURCES)
    return Centralities(np.array(pagerank), between, exact)


def communities(edges: Edges, *, seed: int) -> tuple[NDArray[np.int64], float]:
    """Communities of the network without directions, by weight: Leiden's for modularity (Traag et al. 2019).

    Returns
    -------
    community, modularity
        (n_genes,) int64, from 1, the largest first, equals by their first gene; 0 for genes without links; and how much
        more of the weight lies within communities than by chance, NaN where there is no weight.

    Raises
    ------
    ConfigError
        If python-igraph is not installed.
    """
    graph = _graph(len(edges.genes), edges.sources, edges.targets, directed=False)
    graph.es["weight"] = _moderate(edges.weights).tolist()
    graph.simplify(multiple=True, loops=True, combine_edges="sum")
    with _seeded(seed):
        found = graph.community_leiden(objective_function="modularity", weights="weight", n_iterations=-1)
    linked = edges.in_degree() + edges.out_degree() > 0
    return numbered(np.array(found.membership, np.int64), linked), float(found.modularity)


def components(edges: Edges) -> NDArray[np.int64]:
    """Connected components of the network without directions: (n_genes,) int64, numbered as communities.

    Equals come by their first gene by name.

    Raises
    ------
    ConfigError
        If python-igraph is not installed.
    """
    graph = _graph(len(edges.genes), edges.sources, edges.targets, directed=False)
    found = np.array(graph.connected_components().membership, np.int64)
    linked = edges.in_degree() + edges.out_degree() > 0
    by_name = np.array(sorted(range(len(edges.genes)), key=edges.genes.__getitem__), np.int64)
    numbers = np.empty(len(edges.genes), np.int64)
    numbers[by_name] = numbered(found[by_name], linked[by_name])
    return numbers


def _moderate(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights times a power of two, so that igraph's sums neither overflow nor vanish: measures keep their bits."""
    _, exponent = np.frexp(weights.max(initial=0.0))
    return np.ldexp(weights, -exponent)


def numbered(membership: NDArray[np.integer], counted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Groups by size: 1 for the largest, equals by their first member; 0 for those that are not counted."""
    numbers = np.zeros(membership.size, np.int64)
    names, first, sizes = np.unique(membership[counted], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    places = np.empty(names.size, np.int64)
    places[order] = np.arange(1, names.size + 1)
    numbers[counted] = places[np.searchsorted(names, membership[counted])]
    return numbers


def hubs(edges: Edges, count: int) -> NDArray[np.int64]:
    """Positions of the genes with the most targets; equals by the strength of their links, then by name."""
    out, strength = edges.out_degree(), edges.out_strength()
    order = sorted(np.flatnonzero(out).tolist(), key=lambda i: (-out[i], -strength[i], edges.genes[i]))
    return np.array(order[:count], np.int64)


def _graph(n_genes: int, sources: NDArray[np.int64], targets: NDArray[np.int64], *, directed: bool) -> Any:
    igraph = require_igraph()
    return igraph.Graph(n=n_genes, edges=np.column_stack([sources, targets]), directed=directed)


def require_igraph() -> Any:
    """The module; raises ConfigError where python-igraph is not installed."""
    try:
        import igraph
    except ImportError as err:
        raise ConfigError(f"measures of graphs need python-igraph ({err}): {install('network')}") from err
    return igraph


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Have igraph draw from a stream of its own meanwhile."""
    igraph = require_igraph()
    igraph.set_random_number_generator(random.Random(seed))
    try:
        yield
    finally:
        igraph.set_random_number_generator(random)
