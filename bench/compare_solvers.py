"""SGD, ALS and EM on the same data: `python bench/compare_solvers.py` prints the table of docs/benchmarks.md.

Every solver fits the same fold at the same rank, stopped by the same validation experiments; the test experiments are
seen by none. J is taken of every model by the same function, on the moments of all bins. Real data (the 20 pilot
tracks) need the shared folder beside the repository; without it only the simulated rows are printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from predictd.config import TrainSettings
from predictd.engine import LocalEngine
from predictd.io.tables import read_pairs
from predictd.io.tensor.store import Tensor
from predictd.model.cp.als import CPProblem, Point
from predictd.model.cp.factors import CPModel
from predictd.model.folds import Fold, make_folds
from predictd.model.measures.baselines import baseline_weights
from predictd.model.moments import squared_errors
from predictd.model.simulate import Simulation
from predictd.workflows.imputing.estimators import load_model
from predictd.workflows.tensor.folds import write_folds
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.moments import TensorMoments, ensure_moments, read_moments
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate
from predictd.workflows.training.train import train

SHARED = Path(__file__).resolve().parents[2] / "shared"
# SGD and ALS minimise the same objective; EM's λ is the strength of its prior.
PENALTIES = {"sgd": 1e-3, "als": 1e-3, "em": 0.1}


def objective(model: CPModel, data: TensorMoments, settings: TrainSettings) -> float:
    """J of a model at the λ of SGD and ALS and the settings' λ_G, with the genome solved for it."""
    problem = CPProblem(data.s, list(data.experiments), model.train, regularisation=PENALTIES["als"])
    c = np.column_stack([model.c, model.p + model.mu - problem.mu])
    a = np.column_stack([model.a, model.q])
    return problem.genome(Point(c, a, settings.lambda_g)).value


def held_out(model: CPModel, data: TensorMoments, fold: Fold) -> float:
    left, solution, intercept = model.affine(fold.test)
    return float(
        squared_errors(
            data.s, left @ solution, intercept, data.columns(model.train), data.columns(fold.test)
        ).mean()
    )


def assay_mean(data: TensorMoments, fold: Fold) -> float:
    errors = []
    for pair in fold.test:
        columns, weights = baseline_weights(data.experiments, sorted(fold.train + fold.valid), pair)
        target = data.columns((pair,))
        errors.append(squared_errors(data.s, weights[np.newaxis], np.zeros(1), columns, target)[0])
    return float(np.mean(errors))


def compare(name: str, tensor: Tensor, rank: int, work: Path, n_folds: int) -> None:
    """Print a row a solver: means over folds with different test experiments."""
    folds = make_folds(tensor.experiments)
    chosen = [fold for fold in folds if fold.name.endswith(".0")][:n_folds]
    with LocalEngine() as engine:
        write_folds(tensor, work / "folds.json", tests=5, valids=8, seed=0)
        data = read_moments(ensure_moments(tensor, engine))
        baseline = np.mean([assay_mean(data, fold) for fold in chosen])
        for solver, penalty in PENALTIES.items():
            settings = TrainSettings(solver=solver, rank=rank, regularisation=penalty)
            values, errors, validations, seconds = [], [], [], []
            for fold in chosen:
                path = work / f"{name}-{solver}-{fold.name}.h5"
                start = time.perf_counter()
                report = train(
                    tensor.path,
                    path,
                    settings,
                    engine,
                    folds=work / "folds.json",
                    fold_name=fold.name,
                )
                seconds.append(time.perf_counter() - start)
                model = load_model(path)[0]
                values.append(objective(model, data, settings))
                errors.append(held_out(model, data, fold))
                validations.append(report.validation_mse)
            columns = (
                np.mean(values),
                np.mean(validations),
                np.mean(errors),
                np.mean(errors) / baseline,
                np.mean(seconds),
            )
            print(
                f"| {name} | {solver} | " + " | ".join(f"{value:.4g}" for value in columns) + " |", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bins", type=int, default=100_000, help="simulated bins")
    arguments = parser.parse_args()
    print("| data | solver | J | validation MSE | test MSE | of the same-assay mean | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder, LocalEngine() as engine:
        work = Path(folder)
        if SHARED.is_dir():
            tracks = work / "bigwigs"
            quiet = subprocess.DEVNULL
            subprocess.run(
                [sys.executable, SHARED / "tools" / "pilot_bigwigs.py", tracks], check=True, stdout=quiet
            )
            regions = SHARED / "data" / "genomes" / "encode-pilot.hg19.bed"
            options = IngestOptions(genome="hg19", regions=regions)
            pilot = ingest(tracks / "tracks.tsv", work / "pilot", options, engine)
            compare("pilot, 20 tracks", pilot, 5, work, 5)
            pairs = tuple(read_pairs(SHARED / "data" / "roadmap" / "experiments.tsv"))
            simulation = Simulation(pairs, rank=30, seed=1)
            compare_simulated("simulated Roadmap", simulation, arguments.bins, 100, work, engine)
        small = Simulation.for_shape(10, 6, share=0.6, rank=5, seed=0)
        compare_simulated("simulated, 36 tracks", small, arguments.bins, 5, work, engine)


def compare_simulated(
    name: str, simulation: Simulation, n_bins: int, rank: int, work: Path, engine: LocalEngine
) -> None:
    place = SimulatedGenome.of_bins(n_bins)
    simulate(work / name, simulation, place, engine, form="tensor", truth=False)
    compare(name, Tensor(work / name / "tensor"), rank, work, 2)


if __name__ == "__main__":
    main()
