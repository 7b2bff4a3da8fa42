"""How accurate the stack and its members are: `python bench/accuracy/compare.py` prints the tables of docs/accuracy.md.

Real tracks, three data sets of the shared folder beside the repository: 20 pilot tracks, 326 tracks of ENCODE peaks (6
cell types × 202 assays, most in one cell type alone), and 63 tracks of mouse regions. Of each, fifths of the pairs are
held out at random, of which every cell type and assay keeps two tracks or more; whatever a solver chooses, it chooses
on the rest. All methods are scored on the same bins, clipped at 0 where signal cannot be negative:

- error: mean squared error over the variance of the track;
- r: Pearson correlation, on transformed signal;
- of the mean: mean squared error, averaged over tracks, divided by that of the same-assay mean.

Intervals are of the mean difference of the stack's error to each method's, over tracks, robust to clusters of cell
types and of assays (Cameron, Gelbach & Miller 2011, Journal of Business & Economic Statistics 29:238), with Student's t
of as many degrees of freedom as the fewer of the two has clusters, less one.

Simulated tracks follow the CP model, so that the error of the true factors is known: what nothing can beat by much.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.config import TrainSettings
from predictd.constants import MANIFEST
from predictd.engine import Engine, LocalEngine
from predictd.io.tables import read_pairs
from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel
from predictd.model.ensemble import Committee
from predictd.model.folds import Fold
from predictd.model.measures.baselines import amplitude
from predictd.model.measures.comparison import clustered_half_width
from predictd.model.moments import squared_errors
from predictd.model.simulate import Simulation
from predictd.model.stack.stack import StackModel
from predictd.model.stack.weights import Weights
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.workflows.imputing.apply import Application
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate
from predictd.workflows.training.folds import selection_folds
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.solver import FitData

SHARED = Path(__file__).resolve().parents[3] / "shared"
PAIRS = SHARED / "data" / "roadmap" / "experiments.tsv"
DATA = ("pilot", "encode-peaks", "mouse-regions")
MEAN, SCALED, LINEAR, STACK = "same-assay mean", "scaled same-assay mean", "stack without networks", "stack"
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A held-out pair by a method."""

    pair: Experiment
    method: str
    mse: float
    variance: float
    r: float

    @property
    def error(self) -> float:
        return self.mse / self.variance


def tensor_of(name: str, work: Path, engine: Engine) -> Tensor:
    """A data set, ingested where it is not yet."""
    path = work / name
    if not (path / MANIFEST).is_file():
        tracks, tools = work / f"{name}-tracks", SHARED / "tools"
        if name == "pilot":
            command = [sys.executable, str(tools / "pilot_bigwigs.py"), str(tracks)]
            options = IngestOptions(genome="hg19", regions=SHARED / "data/genomes/encode-pilot.hg19.bed")
        else:
            command = [
                sys.executable,
                str(tools / "matrix_bigwigs.py"),
                str(SHARED / "data" / name),
                str(tracks),
            ]
            options = IngestOptions(genome=str(tracks / "chrom.sizes"), bin_size=200)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        table = tracks / "tracks.tsv"
        if name == "mouse-regions":
            # Log ratios and shares of methylation: both as they are.
            lines = table.read_text().splitlines()
            header, *rows = lines
            table.write_text("\n".join([f"{header}\ttransform", *(f"{row}\tnone" for row in rows)]) + "\n")
        ingest(table, path, options, engine)
    return Tensor(path)


def random_fifths(
    experiments: Sequence[Experiment], seed: int, *, parts: int = 5, keep: int = 2
) -> list[tuple[Experiment, ...]]:
    """Random parts of the pairs that can be spared: each cell type and assay keeps some."""
    rng = np.random.default_rng([seed, 99])
    counts = Counter(name for e in experiments for name in (("cell", e.cell_type), ("assay", e.assay)))
    spared = [e for e in experiments if counts["assay", e.assay] > keep]
    held: list[Counter[tuple[str, str]]] = [Counter() for _ in range(parts)]
    found: list[list[Experiment]] = [[] for _ in range(parts)]
    for index in rng.permutation(len(spared)).tolist():
        names = (("cell", spared[index].cell_type), ("assay", spared[index].assay))
        for part in sorted(range(parts), key=lambda p: (len(found[p]), rng.random())):
            if all(counts[name] - held[part][name] > keep for name in names):
                found[part].append(spared[index])
                held[part].update(names)
                break
    return [tuple(sorted(part)) for part in found if part]


def methods_of(model: StackModel) -> dict[str, StackModel]:
    """The stack, the same without networks, and each member by itself."""
    k = len(model.members)
    plain = replace(model, networks=None)
    alone = {
        name: replace(
            plain, weights=Weights(np.tile(np.eye(k)[index], (len(model.weights.errors), 1)), np.ones(4))
        )
        for index, name in enumerate(model.members)
    }
    return alone | {LINEAR: plain, STACK: model}


def held_out(data: FitData, test: tuple[Experiment, ...], model: StackModel, every: int) -> list[Score]:
    """Scores of all methods on held-out pairs, over every so many blocks of the genome."""
    tensor = data.tensor
    assert data.moments is not None
    s = read_moments(data.moments).s
    factors = np.float32([amplitude(tensor.experiments, model.train, pair, moments=s) for pair in test])
    applications = {
        name: Application(Committee((one,)), test, tensor) for name, one in methods_of(model).items()
    }
    clipped = {e.assay: TRANSFORMS[e.transform].clipped for e in tensor.manifest.experiments}
    columns = tensor.columns(test)
    same = [tensor.columns([e for e in model.train if e.assay == pair.assay]) for pair in test]
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in (MEAN, SCALED, *applications)}
    observed = []
    for shard_name in tensor.shard_names:
        with tensor.open_shard(shard_name) as shard:
            size = shard.block_rows()
            for start in range(0, shard.n_bins, size * every):
                for name, application in applications.items():
                    signal, predicted = application.rows(shard, start, min(start + size, shard.n_bins))
                    parts[name].append(predicted)
                observed.append(signal[:, columns])
                parts[MEAN].append(np.stack([signal[:, own].mean(axis=1) for own in same], axis=1))
                parts[SCALED].append(parts[MEAN][-1] * factors)
    truth = np.concatenate(observed).astype(np.float64)
    scores = []
    for name, pieces in parts.items():
        predicted = np.concatenate(pieces).astype(np.float64)
        for column, pair in enumerate(test):
            own = np.maximum(predicted[:, column], 0) if clipped[pair.assay] else predicted[:, column]
            y = truth[:, column]
            r = float(np.corrcoef(y, own)[0, 1]) if own.std() > 0 else 0.0
            scores.append(Score(pair, name, float(np.mean((y - own) ** 2)), float(y.var()), r))
    return scores


def real(name: str, work: Path, engine: Engine, repeats: Sequence[int], every: int) -> list[Score]:
    """Scores of a data set, a random fifth after the other."""
    tensor = tensor_of(name, work, engine)
    data = FitData(tensor, ensure_moments(tensor, engine))
    solver = SOLVERS["stack"]
    scores = []
    for repeat in repeats:
        for part, test in enumerate(random_fifths(tensor.experiments, repeat)):
            rest = tuple(e for e in tensor.experiments if e not in set(test))
            choice = solver.choose(
                data, selection_folds(rest, repeat), TrainSettings(solver="stack"), engine, seed=repeat
            )
            model = solver.fit(data, Fold("held", test, (), rest), choice, seed=repeat).model
            assert isinstance(model, StackModel)
            scores += held_out(data, test, model, every)
            print(f"{name}, repeat {repeat}, part {part}: {choice.why}", file=sys.stderr, flush=True)
    return scores


def print_scores(name: str, scores: Sequence[Score]) -> None:
    """A row a method."""
    by_method: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        by_method[score.method].append(score)
    means = by_method[MEAN]
    print(f"\n{name}: {len(means)} predictions of {len({s.pair for s in means})} tracks\n")
    columns = (
        "mean error",
        "median",
        "r",
        "of the mean",
        "better than mean",
        "worst ratio",
        "stack − method",
    )
    print(f"| method | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    pairs = [score.pair for score in means]
    stack = np.array([score.error for score in by_method[STACK]])
    for method, own in by_method.items():
        errors = np.array([score.error for score in own])
        ratios = np.array([a.mse / b.mse for a, b in zip(own, means, strict=True)])
        # Where the mean itself is worse than nothing, how much worse it is says little.
        fair = np.array([score.error < 1 for score in means])
        of_mean = sum(s.mse for s in own) / sum(s.mse for s in means)
        difference = stack - errors
        told = (
            ""
            if method == STACK
            else f"{difference.mean():+.3f} ± {clustered_half_width(difference, pairs):.3f}"
        )
        print(
            f"| {method} | {errors.mean():.3f} | {np.median(errors):.3f} | {np.mean([s.r for s in own]):.3f} | "
            f"{of_mean:.3f} | {np.mean(ratios < 1):.0%} | {ratios[fair].max():.2f} | {told} |",
            flush=True,
        )


def shapes() -> Iterator[tuple[str, Simulation, int]]:
    """What is simulated: its name, the simulation, and how many parts are held out in turn."""
    for cells, assays, share, rank in ((10, 6, 0.6, 5), (16, 10, 0.4, 8)):
        yield f"{cells} × {assays}", Simulation.for_shape(cells, assays, share=share, rank=rank, seed=0), 5
    if PAIRS.is_file():
        yield "Roadmap", Simulation(tuple(read_pairs(PAIRS)), rank=30, seed=1), 1


def true_factors(simulation: Simulation, train: tuple[Experiment, ...]) -> CPModel:
    truth = simulation.parameters
    return CPModel(
        tuple(simulation.cell_types),
        tuple(simulation.assays),
        truth.C,
        truth.A,
        truth.p,
        truth.q,
        truth.mu,
        simulation.noise_sd**2,
        train,
    )


def print_simulated(work: Path, engine: Engine, bins: int) -> None:
    """A row a shape: errors of held-out tracks by the true factors, each member and the stack, without networks."""
    columns: tuple[str, ...] = ("true factors", *SOLVERS["stack"].members, LINEAR)  # type: ignore[attr-defined]
    print(f"\n| simulated | experiments | {' | '.join(columns)} |\n|" + " --- |" * (len(columns) + 2))
    solver, settings = SOLVERS["stack"], TrainSettings(solver="stack", networks=0)
    for name, simulation, n_parts in shapes():
        simulate(work / name, simulation, SimulatedGenome.of_bins(bins), engine, form="tensor", truth=False)
        tensor = Tensor(work / name / "tensor")
        data = FitData(tensor, ensure_moments(tensor, engine))
        assert data.moments is not None
        moments = read_moments(data.moments)
        errors: dict[str, list[float]] = defaultdict(list)
        for test in random_fifths(tensor.experiments, 0)[:n_parts]:
            rest = tuple(e for e in tensor.experiments if e not in set(test))
            choice = solver.choose(data, selection_folds(rest, 0), settings, engine, seed=0)
            model = solver.fit(data, Fold("held", test, (), rest), choice, seed=0).model
            assert isinstance(model, StackModel)
            every = {"true factors": true_factors(simulation, rest)} | methods_of(model)
            for method, one in every.items():
                imputer = one.imputer(test)
                own = squared_errors(
                    moments.s,
                    imputer.affine.weights,
                    imputer.affine.intercept,
                    moments.columns(imputer.inputs),
                    moments.columns(test),
                )
                # Moments tell nothing of what features add.
                errors[method].append(float(own.mean()) if imputer.refiner is None else np.nan)
        means = (float(np.mean(errors.get(column, np.nan))) for column in columns)
        cells = " | ".join("" if np.isnan(mean) else f"{mean:.5f}" for mean in means)
        print(f"| {name}, rank {simulation.rank} | {len(tensor.experiments)} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=",".join(DATA), help="data sets, separated by commas; '': none")
    parser.add_argument("--repeats", default="0", help="seeds of the random fifths, separated by commas")
    parser.add_argument("--every", type=int, default=4, help="score every so many blocks of bins")
    parser.add_argument("--bins", type=int, default=50_000, help="simulated bins; 0: simulate nothing")
    parser.add_argument("--work", type=Path, help="where tensors are kept; default: nowhere")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalEngine(arguments.workers) as engine:
        work = arguments.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        repeats = [int(text) for text in arguments.repeats.split(",")]
        for name in filter(None, arguments.data.split(",")) if SHARED.is_dir() else ():
            print_scores(name, real(name, work, engine, repeats, arguments.every))
        if arguments.bins:
            print_simulated(Path(folder), engine, arguments.bins)


if __name__ == "__main__":
    main()
