"""PageRank and connected components of links that need not fit in memory, as Spark DataFrames.

Sums are of whole numbers, so that the same links give the same bits in any order, on any number of executors. Frames
are cut from their history in each round (`localCheckpoint`): their plans stay short, but an executor that is lost takes
its share with it, and the command has to be run again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

Run = Callable[[Callable[[], Any]], Any]

# What the last step may still change of any gene's rank, as a share of it; about 6 times that may be missing.
TOLERANCE = 1e-7
# The first steps are each followed by a balance of all ranks; others make up 0.85 of what is missing for sure.
_BALANCED, _MOST_STEPS = 20, 200
# Whole units of a gene's weights, and of all ranks: their sums stay in 64 bits.
_WEIGHT_BITS, _RANK_BITS = 61, 59


def pagerank(links: DataFrame, n_genes: int, *, damping: float, run: Run) -> tuple[DataFrame, int]:
    """PageRank on the links turned round, by weight: a regulator takes a share of the rank of its targets.

    Ranks y solve y = 1 + damping · A y, where A divides a target's rank among its regulators. Scaled to a sum of 1 they
    are the ranks where the rank of genes without regulators goes to all genes alike: Σ y is the only thing that those
    change. A gene that regulates none has y = 1, so that steps need the links between regulators only.

    Parameters
    ----------
    links
        `regulator`, `target` and `size`, a weight of at least 0.
    n_genes
        How many genes there are.
    damping
        Share of the rank that follows the links.
    run
        Gives the result of an action.

    Returns
    -------
    ranks, unit
        `gene` and `rank`, in whole units, of the regulators; the rank of every other gene.
    """
    unit = 2 ** (_RANK_BITS - n_genes.bit_length())
    regulators = links.select(F.col("regulator").alias("gene")).distinct()
    passed = _shares(links).join(
        regulators.select(F.col("gene").alias("target"), F.lit(1).alias("regulates")), "target", "left"
    )
    passed = run(passed.localCheckpoint)
    fixed = passed.filter(F.col("regulates").isNull()).groupBy(F.col("regulator").alias("gene"))
    base = regulators.join(fixed.agg(_sent(F.lit(unit), damping).alias("fixed")), "gene", "left")
    between = passed.filter("regulates = 1").select("target", "regulator", "share")
    base = base.select("gene", _plus(F.lit(unit), "fixed").alias("base"))
    state = run(base.withColumns({"rank": F.col("base"), "moved": F.lit(0)}).localCheckpoint)
    ((all_base, before),) = run(state.agg(F.sum("base"), F.sum("rank")).collect)
    for step in range(_MOST_STEPS):
        state = run(_stepped(state, between, damping).localCheckpoint)
        ((moved_by, total),) = run(state.agg(F.max(F.col("moved") / F.col("rank")), F.sum("rank")).collect)
        if moved_by <= TOLERANCE:
            break
        factor = all_base / (all_base + before - total) if step < _BALANCED else 1.0
        # As if the step had been from ranks so many times as high, from which it changes no total.
        balanced = F.rint((1 - factor) * F.col("base") + factor * F.col("rank")).cast("long")
        state = state.withColumn("rank", balanced)
        before = round((1 - factor) * all_base + factor * total)
    return state.select("gene", "rank"), unit


def components(links: DataFrame, *, run: Run) -> DataFrame:
    """Weakly connected components: `gene` and `root`, the component's first gene by name, of all other genes.

    By large-star and small-star in turn (Kiveris et al. 2014), which take about log² of the number of genes of rounds
    whatever the shape of the graph. A gene that has links to itself only is left out.
    """
    pairs = links.select(
        F.greatest("regulator", "target").alias("gene"), F.least("regulator", "target").alias("root")
    )
    pairs = run(pairs.filter("gene != root").distinct().localCheckpoint)
    while not _are_stars(pairs, run):
        pairs = run(_small_star(_large_star(pairs)).localCheckpoint)
    return pairs


def _shares(links: DataFrame) -> DataFrame:
    """Which share of a target's rank each regulator takes: by weight, in units of the target's largest."""
    own = Window.partitionBy("target")
    units = F.rint(F.col("size") / F.max("size").over(own) * (2.0**_WEIGHT_BITS / F.count("*").over(own)))
    weighed = links.filter("size > 0").select("regulator", "target", units.cast("long").alias("units"))
    return weighed.select("regulator", "target", (F.col("units") / F.sum("units").over(own)).alias("share"))


def _stepped(state: DataFrame, between: DataFrame, damping: float) -> DataFrame:
    """The ranks of regulators after a step, with their `base`, and by how much each has `moved`."""
    at_target = between.join(state.select(F.col("gene").alias("target"), "rank"), "target")
    sent = at_target.groupBy(F.col("regulator").alias("gene")).agg(
        _sent(F.col("rank"), damping).alias("sent")
    )
    stepped = state.join(sent, "gene", "left").withColumn("next", _plus(F.col("base"), "sent"))
    moved = F.abs(F.col("next") - F.col("rank")).alias("moved")
    return stepped.select("gene", "base", F.col("next").alias("rank"), moved)


def _sent(rank: Column, damping: float) -> Column:
    return F.sum(F.rint(F.lit(damping) * F.col("share") * rank).cast("long"))


def _plus(base: Column, name: str) -> Column:
    return base + F.coalesce(name, F.lit(0))


def _large_star(pairs: DataFrame) -> DataFrame:
    """Tie the later neighbours of each gene to the first of its neighbours and itself."""
    both = pairs.unionByName(pairs.select(F.col("root").alias("gene"), F.col("gene").alias("root")))
    first = both.groupBy("gene").agg(F.least(F.min("root"), "gene").alias("first"))
    tied = both.join(first, "gene").filter("root > gene")
    return tied.select(F.col("root").alias("gene"), F.col("first").alias("root")).distinct()


def _small_star(pairs: DataFrame) -> DataFrame:
    """Tie each gene and its earlier neighbours to the first of those."""
    first = pairs.groupBy("gene").agg(F.min("root").alias("first"))
    tied = pairs.join(first, "gene").select(F.col("root").alias("gene"), F.col("first").alias("root"))
    return tied.filter("gene != root").unionByName(first.withColumnRenamed("first", "root")).distinct()


def _are_stars(pairs: DataFrame, run: Run) -> bool:
    """Whether every gene has one root, which has none itself."""
    roots = pairs.select("root").distinct()
    ((count, n_genes),) = run(pairs.agg(F.count("*"), F.countDistinct("gene")).collect)
    tied = pairs.join(roots.withColumnRenamed("root", "gene"), "gene", "left_semi").limit(1)
    return count == n_genes and not run(tied.collect)
