"""Gene regulatory networks: links inferred from expression, filtered, and measured.

`predictd.network.infer(frame, regulators=…)` takes a DataFrame or an AnnData object and gives a DataFrame of links.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from predictd.api import frames
from predictd.api.inputs import Source, number, path_of, using, whole
from predictd.api.network_genes import GeneClasses, aucell, classify, enrich, regulons, stats
from predictd.api.networks import (
    by_name,
    frame_of,
    genes_of,
    gold_of,
    links_of,
    names_of,
    networks_of,
    samples_of,
)
from predictd.config import NetworkMethod, NetworkSettings, load_settings
from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.grn.scores import score_links
from predictd.io.network.expression import MatrixChoice, Orientation
from predictd.io.network.frames import expression_of
from predictd.io.temporary import temporary_folder
from predictd.workflows.network.combine import combined
from predictd.workflows.network.evaluate import COLUMNS, require_common, score_rows
from predictd.workflows.network.filter import Limits
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.links import load_links, read_links

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "GeneClasses",
    "aucell",
    "classify",
    "combine",
    "enrich",
    "evaluate",
    "filter",
    "infer",
    "regulons",
    "stats",
]


def infer(
    expression: Any,
    *,
    regulators: Source | Iterable[str] | None = None,
    targets: Source | Iterable[str] | None = None,
    method: NetworkMethod = "rf",
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
        Where genes are; None: as the header of a file says, or the index of a DataFrame by its name; in columns of a
        DataFrame whose index has no name.
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
            regulators=names_of(regulators, "regulators"),
            targets=names_of(targets, "targets"),
            choice=choice,
            samples=samples_of(samples, decay),
            seed=whole(seed, "seed"),
        )
        plan.ensure(own)
        links = read_links(directory)[0]
        return frame_of(links, links.genes)


def combine(
    networks: Iterable[pd.DataFrame | Source] | Mapping[str, pd.DataFrame | Source],
) -> pd.DataFrame:
    """Several networks, of several data sets, methods or seeds, as one: the mean rank of each link.

    Parameters
    ----------
    networks
        Two or more, see `filter`; or by name, such as `{"rf": one, "auto": other}`.

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
    named = networks_of(networks)
    return frame_of(combined(list(named.values()), list(named)))


def filter(
    links: pd.DataFrame | Source,
    *,
    min_importance: float | None = None,
    top_per_target: int | None = None,
    top: int | None = None,
) -> pd.DataFrame:
    """The strongest links of a network; each limit is laid on what the one before has left.

    Parameters
    ----------
    links
        A DataFrame of regulators, targets, importances and, if they are known, signs (see `infer`), whose columns may
        have the names of other tools, such as TF, target and importance; or the path of what `predictd network infer`
        wrote, or of a list.
    min_importance
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
        If no limit is given, or one is not a number or below 1.
    """
    if min_importance is not None:
        number(min_importance, "min_importance")
    for name, value in (("top_per_target", top_per_target), ("top", top)):
        if value is not None:
            whole(value, name, least=1)
    limits = Limits(min_importance, top_per_target, top)
    limits.check()
    own = links_of(links)
    kept = own.selected(min_importance=min_importance, top_per_target=top_per_target, top=top)
    return frame_of(kept, genes_of(links, own))


def evaluate(
    links: pd.DataFrame | Source | Mapping[str, pd.DataFrame | Source],
    gold: pd.DataFrame | Source,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """How well networks find known links.

    Parameters
    ----------
    links
        A network, see `filter`; or several by name, such as `{"rf": one, "auto": other}`.
    gold
        A DataFrame of known links with the columns `regulator` and `target` (or TF, Gene1, source; Gene2) and, if pairs
        are listed that are not links, a column that is 0 there, called `weight` or the only one of 0 and 1; or the path
        of such a table, or of one of the DREAM challenges. Where there are zeros, the pairs that are listed are the
        candidates; else all pairs of its regulators and targets.
    seed
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        A row for each network: `method`, `auroc`, `aupr` with its 95 % interval `aupr_low` and `aupr_high`,
        `early_precision`, `n_gold`, `n_candidates`, and `candidates`, which is `listed` or `all`. Compare an average
        precision with that of chance, n_gold / n_candidates.

    Raises
    ------
    DataError
        If a network and the known links have no regulator or no target in common.
    """
    whole(seed, "seed")
    if isinstance(links, Mapping):
        networks = {name: links_of(own) for name, own in by_name(links, "links").items()}
    elif hasattr(links, "columns"):
        networks = {"links": links_of(links)}
    else:
        own, method = load_links(path_of(links))
        networks = {method: own}
    if not networks:
        raise ConfigError("`links` has no network")
    known, named = gold_of(gold)
    for name, own in networks.items():
        require_common(own, known, source=f"the network {name}", gold_source=named)
    scores = {name: score_links(own, *known, seed=seed) for name, own in networks.items()}
    return frames.frame(score_rows(scores), COLUMNS)


def __dir__() -> list[str]:
    return __all__
