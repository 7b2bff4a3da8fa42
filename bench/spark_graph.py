"""The graph of a link list larger than Spark's memory: `python bench/spark_graph.py FOLDER`.

It writes a list of random links, each gene with as many regulators as the others, lets `predictd network stats` measure
it with two local workers of Spark and little memory, and compares genes.tsv with igraph, which holds the list in
memory. The list is kept in FOLDER for the next run.

Needs the extra `spark`, and Java.
"""

from __future__ import annotations

import argparse
import math
import resource
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import igraph
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.measuring import run
from predictd.grn.graph import DAMPING
from predictd.io.files import replacing
from predictd.io.results import as_text
from predictd.io.tables import table_rows

N_GENES, N_REGULATORS = 40_000, 1_600
# One in the sixth digit, which rounding may turn.
ALLOWED = 1e-5


def name(gene: int) -> str:
    """As long as Ensembl's, with a version."""
    return f"ENSG{gene:011}.1"


def write_links(path: Path, each: int) -> None:
    """So many regulators of every gene, with weights of which few are large; the same ones every time."""
    rng = np.random.default_rng(0)
    with replacing(path) as partial, partial.open("w") as file:
        file.write("regulator\ttarget\timportance\n")
        for target in range(N_GENES):
            drawn = rng.choice(N_REGULATORS, each + 1, replace=False)
            regulators, weights = drawn[drawn != target][:each], rng.gamma(0.5, 0.01, each)
            rows = zip(regulators.tolist(), weights.tolist(), strict=True)
            file.writelines(f"{name(own)}\t{name(target)}\t{weight:.6g}\n" for own, weight in rows)


def by_igraph(path: Path) -> dict[str, tuple[str, str]]:
    """In-degree and PageRank of each gene, as tables show them."""
    numbers: dict[str, int] = {}
    sources, targets, weights = [], [], []
    with path.open() as file:
        next(file)
        for line in file:
            regulator, target, weight = line.split("\t")
            sources.append(numbers.setdefault(regulator, len(numbers)))
            targets.append(numbers.setdefault(target, len(numbers)))
            weights.append(float(weight))
    graph = igraph.Graph(len(numbers), zip(targets, sources, strict=True), directed=True)
    ranks = graph.pagerank(damping=DAMPING, weights=weights)
    return dict(zip(numbers, zip(map(str, graph.outdegree()), map(as_text, ranks), strict=True), strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--each", type=int, default=300, help=f"regulators of each of {N_GENES:,} genes [300]"
    )
    parser.add_argument("--memory", default="1g", help="heap of Spark's Java [1g]")
    given = parser.parse_args(arguments)
    if not 1 <= given.each < N_REGULATORS:
        parser.error(f"1 <= --each < {N_REGULATORS} is needed")
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    links, output = folder / f"links-{given.each}.tsv", folder / "spark"
    if not links.exists():
        write_links(links, given.each)
    shutil.rmtree(output, ignore_errors=True)
    options = ("network", "stats", links.name, "-o", output.name, "--engine", "spark", "--workers", "2")
    usage, status, _ = run(
        [sys.executable, "-m", "predictd", *options],
        folder / "spark.log",
        cwd=folder,
        env={"SPARK_DRIVER_MEMORY": given.memory, "PYTHONSAFEPATH": "1"},
    )
    if status:
        sys.exit(f"predictd {' '.join(options)} failed: see {folder / 'spark.log'}")
    largest = max(usage.worker_bytes)
    found = {
        row["gene"]: (row["in_degree"], row["pagerank"])
        for _, row in table_rows(output / "genes.tsv", ("gene",))
    }
    print(
        f"{N_GENES * given.each:,} links, {links.stat().st_size / 1e6:,.0f} MB: {usage.seconds:.0f} s, "
        f"{usage.cpu_seconds:.0f} CPU s, Java {largest / 1e6:,.0f} MB resident of {given.memory} for its heap"
    )
    others = by_igraph(links)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    off = [gene for gene, own in others.items() if found.get(gene) != own]
    worst = max((apart(found.get(gene), others[gene]) for gene in off), default=0.0)
    print(
        f"igraph: {memory / 1e9:.1f} GB; {len(off)} of {len(others):,} genes have another value, "
        f"by at most {worst:.1g} of it"
    )
    if worst > ALLOWED or len(found) != len(others):
        sys.exit("the two differ")


def apart(own: tuple[str, str] | None, other: tuple[str, str]) -> float:
    """By how much of it a PageRank differs; infinite where the in-degree does, too."""
    if own is None or own[0] != other[0]:
        return math.inf
    return abs(float(own[1]) / float(other[1]) - 1)


if __name__ == "__main__":
    main()
