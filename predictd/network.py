"""Gene regulatory networks: links inferred from expression, filtered, and measured.

`predictd.network.infer(frame, regulators=…)` takes a DataFrame or an AnnData object and gives a DataFrame of links.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from predictd.api import frames
from predictd.api.inputs import Source, path_of, path_or_none, using, whole
from predictd.config import NetworkSettings, load_settings
from predictd.constants import LINK_SIGNS
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError, TableError
from predictd.grn.links import Links
from predictd.io.network.expression import MatrixChoice, Orientation
from predictd.io.network.frames import expression_of
from predictd.io.network.genesets import read_gmt
from predictd.io.network.link_lists import twice
from predictd.io.network.matrices import read_matrix
from predictd.io.network.samples import samples_of_frame
from predictd.io.temporary import temporary_folder
from predictd.workflows.network.aucell import THRESHOLD, score_cells
from predictd.workflows.network.combine import combined
from predictd.workflows.network.filter import Limits
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.links import listed_links, load_links, ranked, read_links
from predictd.workflows.network.regulons import LEAST, TOP, find_regulons
from predictd.workflows.network.samples import SampleChoice, choose_samples
from predictd.workflows.network.stats import GENES, gene_rows, measure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["aucell", "combine", "filter", "infer", "regulons", "stats"]

Method = Literal["rf", "et", "multi", "grnboost", "ridge", "clr", "pearson", "auto"]
_LINKS = ("regulator", "target", "importance")
_SIGN = "sign"


def infer(
    expression: Any,
    *,
    regulators: Source | Iterable[str] | None = None,
    targets: Source | Iterable[str] | None = None,
    method: Method = "rf",
    trees: int | None = None,
    top: int = 100,
    orientation: Orientation | None = None,
    layer: str | None = None,
    raw: bool = False,
    gene_column: str | None = None,
    samples: pd.DataFrame | Source | None = None,
    decay: float | Mapping[str, float] | Source | None = None,
    output: Source | None = None,
    seed: int = 0,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """Infer which genes regulate which from expression.

    Parameters
    ----------
    expression
        A pandas DataFrame (samples × genes), an AnnData object (sparse and backed ones, too), or the path of a matrix
        (a table, Parquet, .h5ad, .loom, 10x's .h5 or folder).
    regulators
        Names of the genes that may regulate, or the path of a list with one a line; None: all genes, which takes long.
    targets
        Names of the genes whose regulators are inferred, or the path of a list with one a line; None: all genes. The
        links are those that all genes give, but for `multi`, where the targets decide which of them share a forest.
    method
        `rf` is GENIE3 (Huynh-Thu et al. 2010); `et` extra trees, `multi` trees of several targets, `grnboost`
        GRNBoost2, `ridge`, `clr`, `pearson`; `auto` combines extra trees and ridge.
    trees
        How many a target; None: 1000, and at most 5000 of `grnboost`.
    top
        Links kept of each target.
    orientation
        Where genes are; None: as the header of a file says; in columns of a DataFrame, unless its index is named
        `gene`.
    layer, raw
        A layer of AnnData or loom, or AnnData's `raw`, instead of the main matrix.
    gene_column
        Column that names genes: of AnnData's `var`, loom's row attributes, or 10x's features (`name`, `id`).
    samples
        A table of the samples, or its path: `series` and `time` of time series (dynGENIE3, Huynh-Thu & Geurts 2018; a
        steady state has neither), `batch`, whose mean is taken out of each gene, or `weight`. The index of a DataFrame
        names the samples, as that of AnnData's `obs` does, or the column `sample`.
    decay
        With times: decay rates of genes in units of 1 / time, one for all or by name, or the path of a table with the
        columns `gene` and `rate`; None: as dynGENIE3 estimates them from the series.
    output
        Directory to write as well, as `predictd network infer` does.
    seed
        Of everything random.
    engine
        What runs it; None: all CPUs of this machine.

    Returns
    -------
    pandas.DataFrame
        `regulator`, `target`, `importance` and `sign`, the most important first. The sign is `+` where the regulator
        raises the target, `-` where it lowers it, and `.` where neither is known.

    Raises
    ------
    PredictdError
        If matrix, regulators and settings do not fit together.
    """
    frames.require("pandas")
    given = {"method": method, "trees": trees, "top": top}
    settings = load_settings(NetworkSettings, {name: own for name, own in given.items() if own is not None})
    choice = MatrixChoice(orientation, layer, raw, gene_column)
    in_file = isinstance(expression, (str, os.PathLike))
    with temporary_folder() as temporary, using(engine) as own:
        directory = temporary / "network" if output is None else path_of(output)
        plan = Inference(
            path_of(expression) if in_file else expression_of(expression, choice),
            directory,
            settings,
            regulators_path=_names(regulators),
            targets=_names(targets),
            choice=choice,
            samples=_samples(samples, decay),
            seed=whole(seed, "seed"),
        )
        plan.ensure(own)
        return _frame(read_links(directory)[0])


def combine(networks: Sequence[pd.DataFrame | Source]) -> pd.DataFrame:
    """Several networks, of several data sets, methods or seeds, as one: the mean rank of each link.

    Parameters
    ----------
    networks
        Two or more; see `filter`.

    Returns
    -------
    pandas.DataFrame
        As of `infer`: all links of any of them, with importances from 1 down towards 0; those that a network does not
        list share its last rank (Marbach et al. 2012). The sign is the one that most networks give a link.

    Raises
    ------
    ConfigError
        If it is a single network, or two of them are the same.
    """
    if hasattr(networks, "columns") or isinstance(networks, (str, os.PathLike)):
        raise ConfigError("`networks` is one network; give a list of two or more")
    if len(networks) < 2:
        raise ConfigError("to combine networks takes two or more")
    return _frame(
        combined([_links(links) for links in networks], [f"number {i + 1}" for i in range(len(networks))])
    )


def filter(
    links: pd.DataFrame | Source,
    *,
    minimum: float | None = None,
    top_per_target: int | None = None,
    top: int | None = None,
) -> pd.DataFrame:
    """The strongest links of a network; each limit is laid on what the one before has left.

    Parameters
    ----------
    links
        A DataFrame of regulators, targets, importances and, if they are known, signs (see `infer`); or the path of what
        `predictd network infer` wrote, or of a list.
    minimum
        Importance from which on a link is kept.
    top_per_target, top
        How many are kept of each target, and in all, from the most important on.

    Returns
    -------
    pandas.DataFrame
        As of `infer`; without `sign` where `links` has none.

    Raises
    ------
    ConfigError
        If no limit is given.
    """
    limits = Limits(minimum, top_per_target, top)
    limits.check()
    kept = _links(links).selected(minimum=minimum, top_per_target=top_per_target, top=top)
    return _frame(kept)


def stats(
    links: pd.DataFrame | Source, *, n_hubs: int = 20, n_clusters: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Degrees, PageRank, betweenness, hubs, components, communities and clusters of the genes of a network.

    Parameters
    ----------
    links
        See `filter`.
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
    return frames.frame(gene_rows(measure(_links(links), n_clusters=n_clusters, seed=seed), n_hubs), GENES)


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
        See `filter`.
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
        _links(links),
        "`links`",
        top_per_regulator=top_per_regulator,
        min_size=min_size,
        min_importance=min_importance,
    )
    rows = (
        (one.name, one.regulator, target, importance)
        for one in found
        for target, importance in zip(one.targets, one.importances.tolist(), strict=True)
    )
    return frames.frame(rows, ("regulon", *_LINKS))


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
        See `infer`.
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
    choice = MatrixChoice(orientation, layer, raw, gene_column)
    in_file = isinstance(expression, (str, os.PathLike))
    source = path_of(expression) if in_file else "the matrix"
    matrix = read_matrix(path_of(expression), choice) if in_file else expression_of(expression, choice)
    found = score_cells(matrix, _sets(regulons), auc_threshold=auc_threshold, source=source)
    return frames.require("pandas").DataFrame(found.values, index=list(found.cells), columns=list(found.sets))


def _sets(regulons: Any) -> Mapping[str, Collection[str]]:
    if isinstance(regulons, (str, os.PathLike)):
        return read_gmt(path_of(regulons))
    if hasattr(regulons, "columns"):
        if absent := [name for name in ("regulon", "target") if name not in regulons.columns]:
            raise TableError(f"`regulons` has no column {', '.join(absent)}")
        return {
            str(name): list(map(str, own)) for name, own in regulons.groupby("regulon", sort=False)["target"]
        }
    if not hasattr(regulons, "items") or any(isinstance(genes, str) for genes in regulons.values()):
        raise ConfigError(
            "`regulons` is what `regulons` gives, lists of genes by name, or the path of a GMT file"
        )
    return {str(name): list(map(str, genes)) for name, genes in regulons.items()}


def _samples(samples: Any, decay: Any) -> SampleChoice | None:
    table = samples_of_frame(samples, "`samples`") if hasattr(samples, "columns") else path_or_none(samples)
    if decay is None or isinstance(decay, (str, os.PathLike)):
        return choose_samples(table, path_or_none(decay))
    try:
        own = (
            {str(gene): float(rate) for gene, rate in decay.items()}
            if hasattr(decay, "items")
            else float(decay)
        )
    except (TypeError, ValueError) as err:
        raise ConfigError(f"`decay` is a number, numbers by gene, or a path ({err})") from err
    return choose_samples(table, own)


def _names(genes: Source | Iterable[str] | None) -> Path | list[str] | None:
    if genes is None:
        return None
    return path_of(genes) if isinstance(genes, (str, os.PathLike)) else list(map(str, genes))


def _links(links: Any) -> Links:
    if not hasattr(links, "columns"):
        return load_links(path_of(links))[0]
    absent = [name for name in _LINKS if name not in links.columns]
    if absent:
        raise TableError(
            f"`links` has no column {', '.join(absent)}; its columns have to be {', '.join(_LINKS)}"
        )
    if not len(links):
        raise DataError("`links` has no links")
    regulators, targets = (list(map(str, links[name])) for name in _LINKS[:2])
    try:
        importances = [float(value) for value in links["importance"]]
    except (TypeError, ValueError) as err:
        raise TableError(f"`links`: an importance is not a number ({err})") from err
    if infinite := [value for value in importances if not math.isfinite(value)]:
        raise TableError(f"`links`: the importance {infinite[0]} is no finite number")
    if len(set(zip(regulators, targets, strict=True))) < len(importances):
        (link, _), *_ = Counter(zip(regulators, targets, strict=True)).most_common(1)
        raise twice("`links`", *link)
    if _SIGN not in links.columns:
        return listed_links(regulators, targets, importances, None)
    absent_signs = links[_SIGN].isna()
    signs = [
        "" if is_absent else str(sign) for sign, is_absent in zip(links[_SIGN], absent_signs, strict=True)
    ]
    if bad := [sign for sign in signs if sign not in LINK_SIGNS]:
        raise TableError(f"`links`: the sign '{bad[0]}' is none of +, - and . (or 1, -1 and 0)")
    return listed_links(regulators, targets, importances, [LINK_SIGNS[sign] for sign in signs])


def _frame(links: Links) -> pd.DataFrame:
    columns = {name: values.tolist() for name, values in ranked(links).items()}
    return frames.require("pandas").DataFrame(columns)


def __dir__() -> list[str]:
    return __all__
