"""How accurate networks are: `python bench/accuracy/networks.py` prints the tables of docs/network.md.

Expression with known links, of the shared folder beside the repository: the first three multifactorial networks of
DREAM4 (simulated), B. subtilis and E. coli. Candidates are all pairs of a gold regulator and a gold target other than
itself. Importances are of all regulators for the gold targets, on which alone scores depend (of DREAM4 for all genes);
ranks are among these. They are kept in `--work`, so that a run that was stopped goes on: use a new folder when a method
changes.

Intervals are percentiles over bootstrap samples of the gold targets, as those of `predictd network evaluate`, or of the
gold regulators. All networks of a data set share the samples, so that differences to `rf` are paired.

What is combined, and how, is chosen on some data sets and judged on others. The choices are up to three methods, of
values or of normal scores, by mean rank or by scaled importances (`predictd.grn.scaling`); the one with the largest
least gain over `rf` is chosen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.stats import rankdata

from predictd.engine.base import one_blas_thread
from predictd.grn.consensus import rank_average
from predictd.grn.links import Links, top_links
from predictd.grn.methods import DEFAULT_TREES, Problem, make_method
from predictd.grn.scaling import normal_scores, scaled_mean
from predictd.io.network.networks import read_gold
from predictd.workflows.network.inputs import read_inputs

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "grn"
# Folder of each data set, what its files begin with, and trees of a forest.
DATA = {f"DREAM4 {i}": ("dream4", f"net{i}.", 1000) for i in (1, 2, 3)} | {
    "B. subtilis": ("bsubtilis", "", 200),
    "E. coli": ("ecoli", "", 200),
}
BASE, AUTO = "rf", "auto"
METHODS = (BASE, "et", "grnboost", "ridge", "clr", "pearson")
SCORES = " of normal scores"
CHOICES = (*METHODS, *(f"{name}{SCORES}" for name in (BASE, "et", "ridge", "pearson")))
# Methods that are combined, at most; genes that are all inferred, at most.
MOST, FEW = 3, 100
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A data set.

    Attributes
    ----------
    name, kind
        What it is called, and its folder.
    problem, trees
        Expression and regulators; of a forest.
    inferred
        (n_inferred,) positions of the genes whose regulators are inferred: the gold targets, and of few genes all.
    columns
        (n_targets,) positions of the gold targets among these.
    places
        (n_gold_regulators,) positions of the gold regulators among the regulators.
    truth, candidates
        (n_gold_regulators, n_targets): gold links; pairs other than of a gene with itself.
    """

    name: str
    kind: str
    problem: Problem
    trees: int
    inferred: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    truth: npt.NDArray[np.bool_]
    candidates: npt.NDArray[np.bool_]

    @classmethod
    def read(cls, name: str, folder: Path, trees: int | None) -> Case:
        """A data set, with the gold links between genes that it has."""
        kind, prefix, usual = DATA[name]
        (matrix,) = (folder / kind).glob(f"{prefix}expression.tsv*")
        listed = folder / kind / "regulators.txt"
        problem = read_inputs(matrix, regulators=listed if listed.is_file() else None).problem
        genes = {gene: place for place, gene in enumerate(problem.genes)}
        able = {problem.genes[gene]: place for place, gene in enumerate(problem.regulators.tolist())}
        listed_links = read_gold(folder / kind / f"{prefix}gold.tsv")
        gold = {(r, t) for r, t in listed_links if r != t and r in able and t in genes}
        regulators, targets = sorted({r for r, _ in gold}), sorted({t for _, t in gold})
        wanted = np.array([genes[t] for t in targets])
        inferred = np.arange(len(genes)) if len(genes) <= FEW else wanted
        return cls(
            name,
            kind,
            problem,
            trees or usual,
            inferred,
            np.searchsorted(inferred, wanted) if len(genes) <= FEW else np.arange(wanted.size),
            np.array([able[r] for r in regulators]),
            np.array([[(r, t) in gold for t in targets] for r in regulators]),
            np.array([[r != t for t in targets] for r in regulators]),
        )

    def importances(self, choice: str, work: Path) -> Float64:
        """Importances of all regulators, (n_regulators, n_inferred), computed once."""
        method = choice.removesuffix(SCORES)
        trees = 0 if method not in DEFAULT_TREES else 5000 if method == "grnboost" else self.trees
        path = work / f"{self.name} {choice} {trees}.npy".replace(" ", "-")
        if not path.is_file():
            print(f"{self.name}: {choice}", file=sys.stderr, flush=True)
            problem = self.problem
            if choice != method:
                problem = replace(problem, expression=normal_scores(np.asarray(problem.expression)))
            with one_blas_thread():
                made = make_method(method, problem, n_trees=trees, seed=0)
                np.save(path, np.stack([made.importances(gene) for gene in self.inferred.tolist()], axis=1))
        return np.load(path)

    def consensus(self, matrices: Sequence[Float64]) -> Float64:
        """What `predictd network evaluate --consensus` makes of networks that list all regulators."""
        regulators = [str(place) for place in range(len(matrices[0]))]
        targets = [str(place) for place in range(self.inferred.size)]
        together = rank_average(
            [
                Links.of_rows(regulators, targets, [top_links(own, top=own.size) for own in matrix.T])
                for matrix in matrices
            ]
        )
        found = np.zeros_like(matrices[0])
        regulator = np.array(together.regulators).astype(int)[together.indices]
        found[regulator, np.array(together.targets).astype(int)[together.rows()]] = together.importances
        return found

    def precisions(self, matrix: Float64, weights: Float64, *, axis: int = 1) -> Float64:
        """Average precision where regulators (axis 0) or targets (1) count as often as drawn: (n_samples,).

        Weights are (n_samples, n_regulators or n_targets); candidates of one importance share a rank.
        """
        scores, truth = (
            matrix[np.ix_(self.places, self.columns)][self.candidates],
            self.truth[self.candidates],
        )
        order = np.argsort(-scores, kind="stable")
        scores, truth, owner = scores[order], truth[order], np.nonzero(self.candidates)[axis][order]
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
        # Only ranks with a gold link matter: to which the candidates up to it, after the one before, belong.
        ends = last[np.diff(np.cumsum(truth)[last], prepend=0) > 0]
        rank = np.searchsorted(ends, np.arange(scores.size))
        kept = rank < ends.size
        shape = (ends.size, weights.shape[1])
        seen, found = (
            np.cumsum(csr_array((own.astype(float), (rank[some], owner[some])), shape=shape) @ weights.T, 0)
            for own, some in ((np.ones(kept.sum()), kept), (np.ones(truth.sum()), truth))
        )
        precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
        with np.errstate(invalid="ignore"):
            return np.sum(np.diff(found, axis=0, prepend=0) * precision, axis=0) / found[-1]

    def aupr(self, matrix: Float64) -> float:
        return float(self.precisions(matrix, np.ones((1, self.columns.size)))[0])


def draws(n: int, samples: int) -> Float64:
    """How often each of n is drawn in bootstrap samples: (samples, n)."""
    rng = np.random.default_rng(0)
    return np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(samples)]).astype(float)


def interval(values: Float64) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def all_pairs(case: Case, matrix: Float64) -> float:
    """AUPR with all pairs of genes as candidates, as DREAM4 itself counts them."""
    truth = np.zeros(matrix.shape, np.bool_)
    truth[np.ix_(case.places, case.columns)] = case.truth
    others = case.problem.regulators[:, np.newaxis] != case.inferred
    whole = replace(
        case, columns=np.arange(len(truth[0])), places=np.arange(len(truth)), truth=truth, candidates=others
    )
    return whole.aupr(matrix)


def by_rank(case: Case, matrix: Float64) -> Float64:
    """Importances as ranks, the highest the best; equals share theirs."""
    own = case.problem.regulators[:, np.newaxis] == case.inferred
    return rankdata(np.where(own, -1, matrix)).reshape(own.shape)


def scaled(case: Case, matrix: Float64) -> Float64:
    """Importances of each target over their root mean square."""
    own = case.problem.regulators[:, np.newaxis] == case.inferred
    excluded = np.where(own.any(axis=0), own.argmax(axis=0), -1).tolist()
    columns = zip(matrix.T, excluded, strict=True)
    return np.stack([scaled_mean([column], excluded=place) for column, place in columns], axis=1)


def print_table(title: str, cases: Sequence[Case], rows: Mapping[str, Sequence[str]]) -> None:
    print(f"\n| {title} | {' | '.join(case.name for case in cases)} |\n|{' --- |' * (len(cases) + 1)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_scores(cases: Sequence[Case], networks: Mapping[str, Sequence[Float64]], samples: int) -> None:
    """A row a network: AUPR, and how much more than the base's, by samples of targets and of regulators."""
    rows = {"by chance": [f"{case.truth[case.candidates].mean():.4f}" for case in cases]}
    wide = {name: [] for name in networks}
    gains: tuple[dict[str, list[str]], ...] = ({}, {})
    drawn = [[draws(n, samples) for n in case.truth.shape] for case in cases]
    for name, matrices in networks.items():
        rows[name] = []
        for number, (case, matrix) in enumerate(zip(cases, matrices, strict=True)):
            aupr = case.aupr(matrix)
            low, high = interval(case.precisions(matrix, drawn[number][1]))
            rows[name].append(f"{aupr:.3f} ({low:.3f}–{high:.3f})")
            wide[name].append(
                f"{all_pairs(case, matrix):.3f}" if len(case.inferred) == len(case.problem.genes) else ""
            )
            for axis in (0, 1) if name != BASE else ():
                base = networks[BASE][number]
                more = [case.precisions(own, drawn[number][axis], axis=axis) for own in (matrix, base)]
                low, high = interval(more[0] - more[1])
                gains[axis].setdefault(name, []).append(
                    f"{aupr - case.aupr(base):+.3f} ({low:+.3f} to {high:+.3f})"
                )
    print_table("AUPR (95 %, targets)", cases, rows)
    print_table(f"less that of {BASE} (95 %, targets)", cases, gains[1])
    print_table(f"less that of {BASE} (95 %, regulators)", cases, gains[0])
    print_table("AUPR, all pairs of genes", cases, wide)


def print_choice(cases: Sequence[Case], work: Path) -> None:
    """What is chosen on some data sets, and what it gives on those left out."""
    found: dict[str, list[float]] = {}
    for case in cases:
        known = {choice: case.importances(choice, work) for choice in CHOICES}
        for way, made in (("scaled", scaled), ("mean rank", by_rank)):
            parts = {choice: made(case, matrix) for choice, matrix in known.items()}
            for n in range(1, MOST + 1):
                for names in combinations(CHOICES, n):
                    aupr = case.aupr(np.sum([parts[name] for name in names], axis=0))
                    found.setdefault(f"{' + '.join(names)}, {way}", []).append(aupr)
    base = np.array(found[f"{BASE}, mean rank"])
    gains = np.array(list(found.values())) - base
    left_out = [[number] for number in range(len(cases))]
    kinds = sorted({case.kind for case in cases})
    left_out += [[i for i, case in enumerate(cases) if case.kind == kind] for kind in kinds]
    print(
        f"\n{len(found)} choices\n\n| left out | chosen on the others | AUPR less that of {BASE} |\n| --- | --- | --- |"
    )
    for out in [[], *(own for i, own in enumerate(left_out) if own not in left_out[:i])]:
        kept = [number for number in range(len(cases)) if number not in out]
        if kept:
            best = int(np.argmax(gains[:, kept].min(axis=1)))
            judged = ", ".join(f"{gains[best, number]:+.3f}" for number in out or kept)
            print(
                f"| {', '.join(cases[i].name for i in out) or 'none'} | {list(found)[best]} | {judged} |",
                flush=True,
            )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with dream4, bsubtilis and ecoli")
    parser.add_argument("--only", default=",".join(DATA), help="data sets, separated by commas")
    parser.add_argument("--trees", type=int, help="of a forest; default: 1000 of DREAM4, else 200")
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples")
    parser.add_argument("--work", type=Path, help="where importances are kept; default: nowhere")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        cases = [Case.read(name, given.data, given.trees) for name in given.only.split(",")]
        networks = {name: [case.importances(name, work) for case in cases] for name in (*METHODS, AUTO)}
        every = zip(*(networks[name] for name in METHODS), strict=True)
        networks["consensus"] = [case.consensus(own) for case, own in zip(cases, every, strict=True)]
        networks[f"{BASE}, scaled"] = [
            scaled(case, own) for case, own in zip(cases, networks[BASE], strict=True)
        ]
        print_scores(cases, networks, given.samples)
        print_choice(cases, work)


if __name__ == "__main__":
    main()
