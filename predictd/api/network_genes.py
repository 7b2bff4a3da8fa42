"""What a network says of its genes: measures, regulons, enriched sets, classes; and the activity of sets in cells."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from predictd.api import frames
from predictd.api.inputs import Source, number, path_of, whole
from predictd.api.networks import LINKS, background_of, groups_of, labels_of, links_of, sets_of
from predictd.io.network.expression import MatrixChoice, Orientation
from predictd.io.network.frames import expression_of
from predictd.io.network.matrices import read_matrix
from predictd.workflows.network.aucell import THRESHOLD, score_cells
from predictd.workflows.network.classify import find_classes
from predictd.workflows.network.enrich import COLUMNS as ENRICHED
from predictd.workflows.network.enrich import enriched_rows, find_enriched
from predictd.workflows.network.regulons import LEAST, TOP, find_regulons
from predictd.workflows.network.stats import GENES, gene_rows, measure

if TYPE_CHECKING:
    import pandas as pd


def stats(
    links: pd.DataFrame | Source, *, n_hubs: int = 20, n_clusters: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Degrees, PageRank, betweenness, hubs, components, communities and clusters of the genes of a network.

    Parameters
    ----------
    links
        See `predictd.network.filter`.
    n_hubs, n_clusters
        How many hubs are marked; how many clusters of targets are made, None: by their number.
    seed
        Of communities and clusters.

    Returns
    -------
    pandas.DataFrame
        A row for each gene, the one of the highest PageRank first.

    Raises
    ------
    ConfigError
        If python-igraph is not installed.
    """
    whole(n_hubs, "n_hubs", least=1)
    if n_clusters is not None:
        whole(n_clusters, "n_clusters", least=1)
    whole(seed, "seed")
    return frames.frame(gene_rows(measure(links_of(links), n_clusters=n_clusters, seed=seed), n_hubs), GENES)


def regulons(
    links: pd.DataFrame | Source,
    *,
    top_per_regulator: int = TOP,
    min_size: int = LEAST,
    min_importance: float = 0.0,
) -> pd.DataFrame:
    """The strongest targets of each regulator, those that it raises apart from those that it lowers.

    Parameters
    ----------
    links
        See `predictd.network.filter`.
    top_per_regulator
        How many targets are kept of each regulator and sign, from the most important on.
    min_size
        Regulons of fewer targets are left out.
    min_importance
        Links of less are left out.

    Returns
    -------
    pandas.DataFrame
        `regulon` (`TF(+)` of what TF raises, `TF(-)` of what it lowers, `TF` where links have no signs), `regulator`,
        `target`, `importance`; by regulon the most important first.

    Raises
    ------
    DataError
        If there is no regulon.
    """
    whole(top_per_regulator, "top_per_regulator", least=1)
    whole(min_size, "min_size", least=1)
    found = find_regulons(
        links_of(links),
        "`links`",
        top_per_regulator=top_per_regulator,
        min_size=min_size,
        min_importance=number(min_importance, "min_importance"),
    )
    rows = (
        (one.name, one.regulator, target, importance)
        for one in found
        for target, importance in zip(one.targets, one.importances.tolist(), strict=True)
    )
    return frames.frame(rows, ("regulon", *LINKS))


def aucell(
    expression: Any,
    regulons: pd.DataFrame | Mapping[str, Iterable[str]] | Source,
    *,
    auc_threshold: float = THRESHOLD,
    orientation: Orientation | None = None,
    layer: str | None = None,
    raw: bool = False,
    gene_column: str | None = None,
) -> pd.DataFrame:
    """How active regulons, or other sets of genes, are in each cell, by AUCell's statistic (Aibar et al. 2017).

    Parameters
    ----------
    expression, orientation, layer, raw, gene_column
        See `predictd.network.infer`.
    regulons
        What `regulons` gives; or genes by name of the set; or the path of gene sets (GMT). Genes that the matrix lacks
        do not count; sets with fewer than 20 % of their genes in the matrix are left out.
    auc_threshold
        Share of the genes, from a cell's highest on, that counts.

    Returns
    -------
    pandas.DataFrame
        Cells × sets, from 0 to 1: the area under the recovery curve over the first ranks, divided by the largest that
        the set can have, as Bioconductor's AUCell gives it.

    Raises
    ------
    PredictdError
        If matrix and sets do not fit together.
    """
    number(auc_threshold, "auc_threshold")
    choice = MatrixChoice(orientation, layer, raw, gene_column)
    in_file = isinstance(expression, (str, os.PathLike))
    source = path_of(expression) if in_file else "the matrix"
    matrix = read_matrix(path_of(expression), choice) if in_file else expression_of(expression, choice)
    found = score_cells(matrix, sets_of(regulons), auc_threshold=auc_threshold, source=source)
    return frames.require("pandas").DataFrame(found.values, index=list(found.cells), columns=list(found.sets))


def enrich(
    links: pd.DataFrame | Source,
    sets: pd.DataFrame | Mapping[str, Iterable[str]] | Source,
    *,
    by: str | pd.DataFrame | Mapping[str, Iterable[str]] | Source = "targets",
    n_hubs: int = 20,
    min_size: int = 5,
    max_size: int = 500,
    background: Source | Iterable[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Which gene sets groups of a network's genes hold more of than by chance.

    Parameters
    ----------
    links
        See `predictd.network.filter`.
    sets
        Genes by name of the set, or the path of gene sets (GMT).
    by
        What groups are: the `targets` of each hub, the `communities`, or the `clusters` of targets; or the groups, in
        any form that `sets` may have, and as `predictd.network.regulons` gives them.
    n_hubs
        How many hubs.
    min_size, max_size
        Sizes of the sets that are tested, counted in genes of the background.
    background
        Names of the genes that could have been in a group, as all that were measured, or the path of a list with one a
        line; None: all genes of the network. A DataFrame of `predictd.network.infer` or `filter` keeps them, other
        DataFrames and lists have only the genes of their links, which is warned of.
    seed
        Of communities and clusters.

    Returns
    -------
    pandas.DataFrame
        A row for each group and set that have genes in common, the least `p` first: `group`, `gene_set`, `n_group`,
        `n_set`, `n_both`, `n_background`, `fold`, `p` (hypergeometric), `q` (false discovery rate among all pairs, also
        those without a common gene; Benjamini & Hochberg 1995) and `genes`.

    Raises
    ------
    PredictdError
        If no set has enough genes in the network, no group has any, or python-igraph is needed and not installed.
    """
    for name, value in (("n_hubs", n_hubs), ("min_size", min_size), ("max_size", max_size)):
        whole(value, name, least=1)
    own = links_of(links)
    found, _ = find_enriched(
        own,
        sets_of(sets, "sets"),
        groups_of(by),
        n_hubs=n_hubs,
        sizes=(min_size, max_size),
        seed=whole(seed, "seed"),
        called=("`links`", "`sets`", "`by`"),
        background=background_of(background, links, own),
    )
    return frames.frame(enriched_rows(found), ENRICHED)


class GeneClasses(NamedTuple):
    """Classes of a network's genes, as `predictd network classify` writes them.

    Attributes
    ----------
    predictions
        `gene`, `label` (empty where it was not known), `predicted`, and the probability of each class, `p_CLASS`: of a
        labelled gene by forests that did not see it.
    scores
        `label`, `n_genes`, `auroc`, `aupr`, `precision` and `recall` on unseen genes.
    features
        `feature` and `importance`, the most important first.
    """

    predictions: pd.DataFrame
    scores: pd.DataFrame
    features: pd.DataFrame


def classify(
    links: pd.DataFrame | Source,
    labels: pd.DataFrame | Mapping[str, str] | Source,
    *,
    n_folds: int = 5,
    seed: int = 0,
) -> GeneClasses:
    """Learn classes of genes from their place in a network, by random forests.

    Parameters
    ----------
    links
        See `predictd.network.filter`.
    labels
        Labels of some genes by name (a dict or a Series, where a missing one is not known); or a DataFrame, or the path
        of a table, with the columns `gene` and `label`.
    n_folds
        Of the cross-validation.
    seed
        Of folds and forests.

    Returns
    -------
    GeneClasses
        Three DataFrames: predictions, scores and importances of features.

    Raises
    ------
    PredictdError
        If the labels do not suffice, or python-igraph is not installed.
    """
    known, named = labels_of(labels)
    found = find_classes(
        links_of(links),
        known,
        n_folds=whole(n_folds, "n_folds", least=2),
        seed=whole(seed, "seed"),
        called=("`links`", named),
    )
    tables = (frames.frame(rows, columns) for columns, rows in found.tables().values())
    return GeneClasses(*tables)
