"""`predictd recommend`: the table, its errors, and whether the advice is worth following."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from commands import call_predictd
from made_moments import of_columns, simulated_moments
from made_tensors import small_tensor
from predictd.config import TrainSettings
from predictd.errors import ConfigError, DataError, TableError
from predictd.io.costs import read_costs
from predictd.model.folds import Fold
from predictd.model.labels.design import choose_experiments, conditional_covariance
from predictd.model.moments import squared_errors
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment, axes
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.tensor.recommend import recommend
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.solver import Choice
from read_tables import fields_of


def test_table(tensor, engine, tmp_path):
    done = call_predictd("recommend", tensor.path, "-k", 3, "-o", "rec.tsv", "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = fields_of(tmp_path / "rec.tsv")
    assert lines[0] == ["rank", "cell_type", "assay", "gain", "gain_per_dollar"]
    assert [line[0] for line in lines[1:]] == ["1", "2", "3"]
    chosen = [Experiment(line[1], line[2]) for line in lines[1:]]
    cell_types, assays = axes(tensor.experiments)
    missing = {Experiment(*pair) for pair in product(cell_types, assays)} - set(tensor.experiments)
    assert len(set(chosen)) == 3 and set(chosen) <= missing
    gains = [float(line[3]) for line in lines[1:]]
    assert gains == sorted(gains, reverse=True) and gains[-1] > 0
    assert all(line[4] == "." for line in lines[1:])
    run = json.loads((tmp_path / "rec.tsv.run.json").read_text())["results"]
    assert run["targets"] == run["candidates"] == len(missing)
    assert run["expected_error_before"] - run["expected_error_after"] == pytest.approx(sum(gains), rel=1e-4)

    # All of them: nothing is left to be wrong about.
    report = recommend(tensor.path, tmp_path / "all.tsv", engine, k=len(missing))
    assert report.after == pytest.approx(0.0, abs=1e-9 * report.before)


def test_costs_and_focus(tensor, engine, tmp_path):
    cell_types, assays = axes(tensor.experiments)
    plain = recommend(tensor.path, tmp_path / "a.tsv", engine, k=1).rows[0].pair
    table = tmp_path / "costs.tsv"
    table.write_text(
        "cell_type\tassay\tcost\n"
        + "".join(f"\t{assay}\t10\n" for assay in assays)
        + f"{plain.cell_type}\t{plain.assay}\t1e6\n"
    )
    report = recommend(tensor.path, tmp_path / "b.tsv", engine, k=2, costs=table)
    assert plain not in [row.pair for row in report.rows]
    assert [row.gain_per_dollar for row in report.rows] == pytest.approx(
        [row.gain / 10 for row in report.rows]
    )
    # Only what has a price can be bought.
    only = next(a for a in assays if any(Experiment(c, a) not in tensor.experiments for c in cell_types))
    table.write_text(f"assay\tcost\n{only}\t5\n")
    priced = recommend(tensor.path, tmp_path / "c.tsv", engine, k=1, costs=table)
    assert priced.rows[0].pair.assay == only and priced.candidates < report.candidates

    missing = [
        e for e in (Experiment(*p) for p in product(cell_types, assays)) if e not in tensor.experiments
    ]
    for focus in (missing[0].cell_type, missing[0].assay):
        report = recommend(tensor.path, tmp_path / "d.tsv", engine, k=1, focus=focus)
        assert report.targets == sum(focus in pair for pair in missing)
        assert focus in report.rows[0].pair


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("assay\tcost\nH9\t5\n", "line 2: the tensor has no assay 'H9'"),
        ("cell_type\tassay\tcost\nX\tA1\t5\n", "line 2: the tensor has no cell type 'X'"),
        ("assay\tcost\nA1\tmuch\n", "line 2: cost 'much' is not a positive number"),
        ("assay\tcost\nA1\t0\n", "line 2: cost '0' is not a positive number"),
        ("assay\tcost\nA1\t5\nA1\t6\n", "line 3: a line above has a cost of A1, too"),
        ("cell_type\tassay\tcost\nC1\tA1\t5\nC1\tA1\t6\n", "line 3: a line above has a cost of C1:A1, too"),
        ("assay\tcost\n", "lists no costs"),
        ("assay\tprice\nA1\t5\n", "its header must hold assay, cost"),
    ],
)
def test_bad_cost_tables(text, message, tmp_path):
    path = tmp_path / "costs.tsv"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        read_costs(path, ["C1"], ["A1"])


def test_bad_requests_are_one_line(tensor, engine, tmp_path):
    for arguments, message in (
        (("-k", 999), "-k 999: only"),
        (("--for", "nobody"), "--for nobody"),
    ):
        done = call_predictd("recommend", tensor.path, *arguments, "-o", "r.tsv", cwd=tmp_path)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("predictd: error: ") and message in done.stderr
    assert not (tmp_path / "r.tsv").exists()
    flat = small_tensor(tmp_path / "flat", np.ones((60, 3), dtype=np.float32))
    with pytest.raises(DataError, match="every track is constant"):
        recommend(flat.path, tmp_path / "r.tsv", engine, k=1)
    full = small_tensor(tmp_path / "T", np.random.default_rng(0).random((60, 4)).astype(np.float32))
    with pytest.raises((ConfigError, DataError), match=r"only 0 pairs|nothing is left"):
        recommend(full.path, tmp_path / "r.tsv", engine, k=1)


def test_advice_is_better_than_chance_and_than_custom():
    """Half of the tracks hidden; of these 8 are added by each rule. Errors by EM on the rest, exact from moments."""
    totals: dict[str, list[float]] = {"advice": [], "most used assay": [], "random": []}
    for seed in range(4):
        simulation = Simulation.for_shape(16, 8, share=0.6, rank=8, seed=seed)
        experiments = list(simulation.experiments)
        s = simulated_moments(simulation)
        cell_types, assays = axes(experiments)
        rng = np.random.default_rng(seed)
        while True:
            hidden_at = set(rng.choice(len(experiments), 30, replace=False).tolist())
            train = [e for i, e in enumerate(experiments) if i not in hidden_at]
            if axes(train) == (cell_types, assays):
                break
        hidden = [experiments[i] for i in sorted(hidden_at)]

        def rows(pairs, cell_types=cell_types, assays=assays):
            return (
                np.array([cell_types.index(e.cell_type) for e in pairs]),
                np.array([assays.index(e.assay) for e in pairs]),
            )

        known = of_columns(s, [experiments.index(e) for e in train])
        covariance = conditional_covariance(known, rows(train), rows(hidden), len(cell_types), len(assays))
        everything = np.ones(len(hidden), dtype=bool)
        counts = {assay: sum(e.assay == assay for e in train) for assay in assays}
        shuffled = [hidden[i] for i in rng.permutation(len(hidden))]
        choices = {
            "advice": [hidden[p.index] for p in choose_experiments(covariance, everything, everything, 8)],
            "most used assay": sorted(shuffled, key=lambda e: -counts[e.assay])[:8],
            "random": shuffled[:8],
        }

        def error_left(chosen, experiments=experiments, s=s, train=train, hidden=hidden):
            data = TensorMoments(s, tuple(experiments))
            rest = tuple(e for e in hidden if e not in chosen)
            settings = TrainSettings(solver="em", rank=4, regularisation=0.3)
            fold = Fold("all", (), (), tuple(sorted([*train, *chosen])))
            model = SOLVERS["em"].fit_moments(data, fold, Choice(settings, ""), seed=0, sweeps=40).model
            left, solution, intercept = model.affine(rest)
            weights = left @ solution
            return squared_errors(s, weights, intercept, data.columns(model.train), data.columns(rest)).sum()

        for rule, chosen in choices.items():
            totals[rule].append(error_left(chosen))
    means = {rule: np.mean(errors) for rule, errors in totals.items()}
    assert means["advice"] < 0.95 * means["random"]
    assert means["advice"] < 0.95 * means["most used assay"]
