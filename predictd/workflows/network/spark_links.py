"""Link lists as Spark DataFrames: the executors sort and count what one machine need not hold.

The rules of reading are those of `predictd.io.network.link_lists`, so that the same links come from both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from predictd.constants import LINK_SIGNS, LINK_WEIGHT, WHITE_SPACE
from predictd.engine.spark import SparkEngine
from predictd.errors import TableError
from predictd.io.network.lines import FIELDS, QUOTED_FIELD, surplus
from predictd.io.network.link_lists import Units, columns_of, not_a_sign
from predictd.workflows.network.spark_graphs import components, pagerank

_NAME = "the link list"
# What an executor sorts at once.
_PIECE_BYTES = 16 * 2**20


class SparkLinks:
    """A link list that executors hold; see `predictd.workflows.network.links.LinkTable`.

    Parameters
    ----------
    engine
        Whose executors hold it.
    path
        The list, at the same place for all executors, or in a store that Spark itself is set up for.
    kept
        Whether executors keep what they have read, in memory or on their disks, until `graph` has been answered.
    """

    def __init__(self, engine: SparkEngine, path: Path, *, kept: bool = False) -> None:
        self._path, self._engine = path, engine
        columns = columns_of(path)
        every = columns.regulator, columns.target, columns.weight, columns.sign
        places = [place for place in every if place is not None]
        self._columns, header, self._most = _COLUMNS[: len(places)], columns.header, columns.most
        session = engine.sql_session(max(2 * engine.workers, path.stat().st_size // _PIECE_BYTES))
        place = str(path) if "://" in str(path) else path.absolute().as_uri()
        line = F.regexp_replace("value", "^\ufeff", "")
        lines = session.read.text(place).select(line.alias("line"))
        kept_lines = lines.filter(~F.col("line").startswith("#") & F.col("line").rlike(f"[^{WHITE_SPACE}]"))
        fields = kept_lines.select(_fields(F.col("line")).alias("fields"))
        named = [
            _field(F.col("fields"), place).alias(name)
            for name, place in zip(self._columns, places, strict=True)
        ]
        links = fields.select(*named, _count_of_surplus(F.col("fields"), self._most).alias("surplus"))
        if header is not None:
            same = [
                F.col(name).eqNullSafe(header[place] if place < len(header) else None)
                for name, place in zip(self._columns, places, strict=True)
            ]
            links = links.filter(~(same[0] & same[1] & same[2]))
        number = F.when(F.col("weight").rlike(f"^({LINK_WEIGHT})$"), F.col("weight").cast("double"))
        if "sign" in self._columns:
            # A line that ends before it has none.
            links = links.withColumn("written", F.coalesce("sign", F.lit("")))
            known = F.create_map(*(F.lit(text) for pair in LINK_SIGNS.items() for text in pair))
            links = links.withColumn("sign", known[F.col("written")])
        links = links.withColumn("value", number)
        self._all = links.persist() if kept else links

    def chosen(
        self, *, min_importance: float | None, top_per_target: int | None, top: int | None
    ) -> Iterator[tuple[str, str, str]]:
        """See `LinkTable.chosen`; executors rank the links."""
        self._refuse_bad()
        links = self._all if min_importance is None else self._all.filter(F.col("value") >= min_importance)
        self._refuse_twice(links)
        order = [F.col("value").desc(), F.col("target"), F.col("regulator")]
        if top_per_target is not None:
            place = F.row_number().over(Window.partitionBy("target").orderBy(*order))
            links = links.withColumn("place", place).filter(F.col("place") <= top_per_target)
        links = links.orderBy(*order)
        if top is not None:
            links = links.limit(top)
        return self._rows(links.select(*self._columns))

    def extent(self) -> tuple[int, float]:
        """See `LinkTable.extent`."""
        self._refuse_bad()
        ((count, largest),) = self._collected(self._all.agg(F.count("*"), F.max(F.abs("value"))))
        return count, largest or 0.0

    def degrees(self, units: Units) -> Iterator[tuple[str, int, int, int, int]]:
        """See `LinkTable.degrees`; weights are summed as whole numbers, exactly."""
        for gene, *counts in self._rows(self._degrees(units).orderBy("gene")):
            yield gene, *_whole(counts, units.low)

    def graph(self, units: Units, *, damping: float) -> Iterator[tuple[Any, ...]]:
        """See `predictd.workflows.network.links.GraphTable.graph`; only the sizes of components come to the driver."""

        def run(action: Callable[[], Any]) -> Any:
            return self._engine.result_of(action, _NAME)

        links = self._all.select("regulator", "target", F.abs("value").alias("size"))
        try:
            self._refuse_twice(self._all)
            genes = run(self._degrees(units).localCheckpoint)
            ranks, unit = pagerank(links, run(genes.count), damping=damping, run=run)
            roots = components(links, run=run)
            joined = genes.join(ranks, "gene", "left").join(roots, "gene", "left")
            rank, root = F.coalesce("rank", F.lit(unit)), F.coalesce("root", "gene")
            joined = run(joined.withColumns({"rank": rank, "root": root}).localCheckpoint)
        finally:
            self._all.unpersist()
        ((total,),) = run(joined.agg(F.sum("rank")).collect)
        sizes = sorted(
            map(tuple, run(joined.groupBy("root").count().collect)), key=lambda own: (-own[1], own[0])
        )
        numbers = {root: number for number, (root, _) in enumerate(sizes, 1)}
        shares = joined.withColumn("rank", F.col("rank") / F.lit(total))
        # By what tables show of it.
        order = F.format_string("%.5e", "rank").cast("double").desc()
        for gene, *counts, rank, root in self._rows(shares.orderBy(order, "gene")):
            yield gene, *_whole(counts, units.low), rank, numbers[root]

    def _degrees(self, units: Units) -> DataFrame:
        """Of each gene the links into it and out of it, and of their weights in whole units the sums of both parts."""
        upper = F.abs("value") * F.lit(2.0 ** (units.exponent - units.low))
        high = F.floor(upper)
        parts = {"n": F.lit(1), "high": high, "low": F.rint((upper - high) * F.lit(2.0**units.low))}

        def ends(gene: str, own: str, other: str) -> DataFrame:
            named = {f"{name}_{own}": value.cast("long") for name, value in parts.items()}
            zeros = {f"{name}_{other}": F.lit(0).cast("long") for name in parts}
            return self._all.select(
                F.col(gene).alias("gene"), *(v.alias(k) for k, v in (named | zeros).items())
            )

        both = ends("target", "in", "out").unionByName(ends("regulator", "out", "in"))
        return both.groupBy("gene").agg(*(F.sum(name).alias(name) for name in _SUMS))

    def _refuse_twice(self, links: DataFrame) -> None:
        pairs = links.groupBy("regulator", "target").count().filter(F.col("count") > 1)
        for regulator, target, _ in self._collected(pairs.orderBy("target", "regulator").limit(1)):
            raise TableError(f"{self._path} has the link {regulator} to {target} twice; keep one of them")

    def _refuse_bad(self) -> None:
        named = F.coalesce(F.length("regulator") > 0, F.lit(False)) & F.coalesce(
            F.length("target") > 0, F.lit(False)
        )
        finite = F.coalesce(F.abs(F.col("value")) < float("inf"), F.lit(False))
        bad = self._all.filter(F.col("surplus").isNotNull() | ~(named & finite)).select(
            *_COLUMNS[:3], "surplus"
        )
        for regulator, target, weight, found in self._collected(bad.limit(1)):
            if found is not None:
                raise surplus(f"{self._path}, link {regulator} to {target}", found, self._most)
            if not (regulator and target and weight):
                line = " ".join(field for field in (regulator, target, weight) if field)
                raise TableError(f"{self._path}, line '{line}': expected regulator, target and weight")
            raise TableError(
                f"{self._path}, link {regulator} to {target}: the weight '{weight}' is not a finite number"
            )
        if "sign" in self._columns:
            bad = self._all.filter(F.col("sign").isNull()).select("regulator", "target", "written")
            for regulator, target, sign in self._collected(bad.limit(1)):
                raise not_a_sign(f"{self._path}, link {regulator} to {target}", sign)

    def _collected(self, frame: DataFrame) -> list[Any]:
        return self._engine.result_of(frame.collect, _NAME)

    def _rows(self, frame: DataFrame) -> Iterator[Any]:
        return self._engine.rows_of(frame, _NAME)


_COLUMNS = ("regulator", "target", "weight", "sign")
_SUMS = ("n_in", "n_out", "high_in", "low_in", "high_out", "low_out")
# More fields than a line has.
_ALL = 2**30


def _whole(sums: Sequence[int], low: int) -> tuple[int, int, int, int]:
    """Of `_SUMS` the links, and the weights in units, in Python's numbers of any size."""
    n_in, n_out, high_in, low_in, high_out, low_out = sums
    return n_in, n_out, (high_in << low) + low_in, (high_out << low) + low_out


def _fields(line: Column) -> Column:
    """Parts of a line, as `predictd.io.network.lines.split_line` divides it: an array of text."""

    def between(mark: str) -> Column:
        return F.regexp_extract_all(F.concat(F.lit(mark), line), F.lit(FIELDS[mark]), 1)

    outside = F.regexp_replace(line, QUOTED_FIELD, "")
    quoted = F.when(outside.contains(","), between(",")).otherwise(between(" "))
    blanks = F.split(_trimmed(line), f"[{WHITE_SPACE}]+")
    return (
        F.when(line.contains("\t"), F.split(line, "\t"))
        .when(line.contains('"'), quoted)
        .when(line.contains(","), F.split(line, ","))
        .otherwise(blanks)
    )


def _field(fields: Column, place: int) -> Column:
    """One of the parts, without blanks and quotation marks around it; null where the line ends before."""
    own = _trimmed(F.get(fields, place))
    # To Java, a dot is no line separator of Unicode, and such a one may follow `$`.
    inside = F.regexp_replace(F.regexp_extract(own, '(?s)^"(.*)"$', 1), '""', '"')
    return _trimmed(F.regexp_replace(F.when(own.rlike('(?s)^".*"$'), inside).otherwise(own), r'^"+|"+\z', ""))


def _trimmed(text: Column) -> Column:
    return F.regexp_replace(text, f"^[{WHITE_SPACE}]+|[{WHITE_SPACE}]+$", "")


def _count_of_surplus(fields: Column, most: int) -> Column:
    """How many parts there are where one after the first `most` holds something; else null."""
    return F.when(
        F.exists(F.slice(fields, most + 1, _ALL), lambda part: part.rlike(f'[^{WHITE_SPACE}"]')),
        F.size(fields),
    )
