"""How accurate each solver is: `python bench/accuracy/compare.py` prints the tables of docs/accuracy.md.

Real tracks: the 20 pilot tracks, cross-validated by every solver by `predictd cv`, on the same folds, with other folds
in each repeat: five test folds of four random tracks, of which every cell type and assay keeps two or more, or
(`--folds balanced`) those that `predictd cv` makes itself, which take from all cell types and assays alike. Every track
is held out once in a repeat. Rank, penalty and when to stop are chosen on a test fold's own validation experiments; no
test experiment is seen. Measures of a track are means over repeats; solvers are compared on the same tracks, with
intervals of the mean difference over tracks (Student's t, 95 %), which are as narrow as 20 tracks of 5 cell types
allow: tracks of a cell type are not independent.

With `--work` a run that was cut off is taken up where it was.

Simulated tracks follow the CP model, so that the error of the true factors is known: what no solver can beat by much.
One of the shapes is Roadmap's 1014 observed pairs.

The real tracks need the shared folder beside the repository; without it only the simulated rows are printed.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from predictd.config import TrainSettings
from predictd.constants import MANIFEST, MEASURES, METRICS_TSV, RUN_JSON
from predictd.engine import Engine, LocalEngine
from predictd.io.files import write_json
from predictd.io.tables import read_pairs
from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel
from predictd.model.ensemble import Ensemble
from predictd.model.folds import Fold, folds_to_json, make_folds
from predictd.model.imputer import Imputer
from predictd.model.moments import squared_errors
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.moments import TensorMoments, ensure_moments, read_moments
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate
from predictd.workflows.training.crossval import crossval
from predictd.workflows.training.folds import selection_folds
from predictd.workflows.training.solvers import SOLVERS as REGISTRY
from predictd.workflows.training.solvers.kriging import feature_columns
from predictd.workflows.training.solvers.solver import FitData

SHARED = Path(__file__).resolve().parents[3] / "shared"
PAIRS = SHARED / "data" / "roadmap" / "experiments.tsv"
SOLVERS = ("sgd", "als", "em", "kriging", "auto")
BASELINE = "assay_mean"
Values = dict[str, dict[str, list[dict[str, float]]]]


def random_folds(
    experiments: Sequence[Experiment], seed: int, *, tests: int = 5, keep: int = 2
) -> list[Fold]:
    """Test folds of random experiments, of which each cell type and assay keeps some; validation folds are balanced."""
    rng = np.random.default_rng(seed)
    names = [{e[axis] for e in experiments} for axis in (0, 1)]
    while True:
        order = [experiments[index] for index in rng.permutation(len(experiments)).tolist()]
        folds = [(order[t::tests], [e for k, e in enumerate(order) if k % tests != t]) for t in range(tests)]
        kept = [Counter(e[axis] for e in rest) for _, rest in folds for axis in (0, 1)]
        if min(counts[name] for k, counts in enumerate(kept) for name in names[k % 2]) >= keep:
            break
    return [
        Fold(f"{t}.{v}", tuple(test), inner.valid, inner.train)
        for t, (test, rest) in enumerate(folds)
        for v, inner in enumerate(selection_folds(rest, seed))
    ]


def real(work: Path, engine: Engine, solvers: list[str], repeats: int, *, balanced: bool) -> Values:
    """Measures by method and track, one entry a repeat."""
    tensor = work / "pilot"
    if not (tensor / MANIFEST).is_file():
        tracks = work / "bigwigs"
        command = [sys.executable, str(SHARED / "tools" / "pilot_bigwigs.py"), str(tracks)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        options = IngestOptions(genome="hg19", regions=SHARED / "data" / "genomes" / "encode-pilot.hg19.bed")
        ingest(tracks / "tracks.tsv", tensor, options, engine)
    experiments = Tensor(tensor).experiments
    found: Values = defaultdict(lambda: defaultdict(list))
    for repeat in range(repeats):
        kind = "balanced" if balanced else "random"
        folds = make_folds(experiments, seed=repeat) if balanced else random_folds(experiments, repeat)
        folds_path = work / f"folds-{kind}-{repeat}.json"
        write_json(folds_path, folds_to_json(folds))
        for solver in solvers:
            output = work / f"{solver}-{kind}-{repeat}"
            if not (output / METRICS_TSV).is_file():
                settings = TrainSettings(solver=solver)
                crossval(tensor, output, settings, engine, seed=repeat, folds=folds_path)
            if solver == "auto":
                choices = json.loads((output / RUN_JSON).read_text())["results"]["choices"]
                print("\n".join(f"auto, test fold {name}: {why}" for name, why in choices.items()))
            with (output / METRICS_TSV).open(newline="") as file:
                for row in csv.DictReader(file, delimiter="\t"):
                    if row["method"] == "model" or solver == solvers[0]:
                        method = solver if row["method"] == "model" else row["method"]
                        track = f"{row['cell_type']}:{row['assay']}"
                        found[method][track].append({name: float(row[name]) for name in MEASURES})
    return found


def print_means(found: Values) -> None:
    """A row a method: means over tracks of all measures that are defined."""
    first = next(iter(found.values()))
    tracks = sorted(first)
    names = [name for name in MEASURES if np.isfinite(first[tracks[0]][0][name])]
    print(f"\n| method | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}")
    for method, by_track in found.items():
        means = [np.mean([entry[name] for track in tracks for entry in by_track[track]]) for name in names]
        print(f"| {method} | " + " | ".join(f"{value:.4g}" for value in means) + " |")


def print_ratios(found: Values) -> None:
    """MSEglobal as a share of the same-assay mean's: a row a method, a column a repeat."""
    errors = {
        method: np.array([[entry["MSEglobal"] for entry in entries] for entries in by_track.values()])
        for method, by_track in found.items()
    }
    means = {method: per_track.mean(axis=0) for method, per_track in errors.items()}
    repeats = len(means[BASELINE])
    print(
        f"\n| of the same-assay mean | {' | '.join(map(str, range(repeats)))} |\n|{' --- |' * (repeats + 1)}"
    )
    for method, mean in means.items():
        print(f"| {method} | " + " | ".join(f"{ratio:.3f}" for ratio in mean / means[BASELINE]) + " |")


def print_differences(found: Values, of: str) -> None:
    """A row a method: how much a solver differs from it over tracks, with intervals; and its worst track."""
    names = ("MSEglobal", "GWcorrasinh", "GWspear", "MSE1obs", "AucObs1")
    print(f"\n| {of} less | {' | '.join(names)} | MSEglobal, ratio of means | worst track |\n|{' --- |' * 8}")
    per_track = {
        method: {track: {n: np.mean([e[n] for e in some]) for n in names} for track, some in by_track.items()}
        for method, by_track in found.items()
    }
    tracks = sorted(per_track[of])
    for method in found:
        if method == of:
            continue
        cells = []
        for name in names:
            d = np.array([per_track[of][t][name] - per_track[method][t][name] for t in tracks])
            half = student.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
            cells.append(f"{d.mean():+.4f} ± {half:.4f}")
        own, other = (np.array([per_track[m][t]["MSEglobal"] for t in tracks]) for m in (of, method))
        worst = int(np.argmax(own / other))
        print(
            f"| {method} | {' | '.join(cells)} | {own.mean() / other.mean():.3f} | "
            f"{tracks[worst]} {own[worst] / other[worst]:.2f} |"
        )


def error(imputer: Imputer, data: TensorMoments, fold: Fold) -> float:
    """Mean over test experiments, before clipping."""
    affine = imputer.affine
    columns = feature_columns(imputer, data)
    return float(
        squared_errors(
            data.features, affine.weights, affine.intercept, columns, data.columns(fold.test)
        ).mean()
    )


def shapes() -> Iterator[tuple[str, Simulation, int]]:
    """What is simulated: its name, the simulation, and how many test folds are fitted."""
    for cells, assays, share, rank in ((10, 6, 0.6, 5), (16, 10, 0.4, 8)):
        simulation = Simulation.for_shape(cells, assays, share=share, rank=rank, seed=0)
        yield f"{cells} × {assays}", simulation, 5
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
    """A row a shape: errors of held-out tracks by the true factors, by each solver, and by the mean of auto's models.

    With Roadmap's 1014 experiments kriging is not fitted; elsewhere it is fitted without networks.
    """
    columns = ("true factors", "em", "kriging", "auto", "auto, 8 models averaged")
    print(f"\n| simulated | experiments | {' | '.join(columns)} |\n|" + " --- |" * (len(columns) + 2))
    for name, simulation, n_tests in shapes():
        place = SimulatedGenome.of_bins(bins)
        simulate(work / name, simulation, place, engine, form="tensor", truth=False)
        tensor = Tensor(work / name / "tensor")
        n_experiments = len(tensor.experiments)
        regressors = REGISTRY["auto"].regressors(n_experiments)
        moments = ensure_moments(tensor, engine, None, regressors)
        data = read_moments(moments)
        folds = make_folds(tensor.experiments, tests=5, valids=8)
        errors: dict[str, list[float]] = {column: [] for column in columns}
        for test in range(n_tests):
            group = [fold for fold in folds if fold.name.startswith(f"{test}.")]
            fold = group[0]
            errors["true factors"].append(
                error(true_factors(simulation, fold.train).imputer(fold.test), data, fold)
            )
            for solver in ("em", "auto") if len(regressors) == 1 else ("em", "kriging", "auto"):
                read = FitData(tensor, moments)
                chosen = REGISTRY[solver].choose(read, group, TrainSettings(solver=solver), engine, seed=0)
                fitting = REGISTRY[chosen.settings.solver]
                models = [
                    fitting.fit(read, f, chosen.settings, seed=0).model
                    for f in (group if solver == "auto" else group[:1])
                ]
                errors[solver].append(error(models[0].imputer(fold.test), data, fold))
                if solver == "auto":
                    averaged = Ensemble(tuple(models)).imputer(fold.test)
                    errors[columns[-1]].append(error(averaged, data, fold))
        cells = " | ".join(f"{np.mean(found):.5f}" if found else "" for found in errors.values())
        print(f"| {name}, rank {simulation.rank} | {n_experiments} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="cross-validations with other folds")
    parser.add_argument("--solvers", default=",".join(SOLVERS), help="separated by commas")
    parser.add_argument("--bins", type=int, default=50_000, help="simulated bins")
    parser.add_argument("--folds", choices=("random", "balanced"), default="random")
    parser.add_argument("--work", type=Path, help="where runs are kept and taken up; default: nowhere")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    solvers = arguments.solvers.split(",")
    with tempfile.TemporaryDirectory() as folder, LocalEngine(arguments.workers) as engine:
        work = Path(folder)
        if SHARED.is_dir():
            kept = arguments.work or work
            kept.mkdir(parents=True, exist_ok=True)
            balanced = arguments.folds == "balanced"
            found = real(kept, engine, solvers, arguments.repeats, balanced=balanced)
            print_means(found)
            print_ratios(found)
            print_differences(found, solvers[-2] if "kriging" not in solvers else "kriging")
        print_simulated(work, engine, arguments.bins)


if __name__ == "__main__":
    main()
