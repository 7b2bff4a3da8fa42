"""`predictd tune`: what wins, what it must not see, and searches that go on or are shared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import call_predictd
from folders import names
from made_folds import FEWEST_SWEEPS, FEWEST_SWEEPS_TOML
from made_tensors import rewritten
from predictd.config import AlsSettings, SgdSettings, TrainSettings, load_config
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError, Interrupted, OutputError
from predictd.io.files import write_json
from predictd.io.names import storage_without_secrets
from predictd.io.tensor.store import Tensor
from predictd.model.folds import Fold, folds_to_json, make_folds
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.training.folds import selection_folds
from predictd.workflows.training.solvers import SOLVERS as REGISTRY
from predictd.workflows.training.solvers.cp import RANKS
from predictd.workflows.training.solvers.solver import Choice, validation_sum
from predictd.workflows.training.tune import TuneOptions, TuneReport, tune
from refusals import refused

optuna = pytest.importorskip("optuna")

# Few sweeps: the search is tested here, not the fits.
QUICK = TrainSettings(als=FEWEST_SWEEPS)


def search(tensor: Path, output: Path, engine: Engine, **options: Any) -> TuneReport:
    searched = {name: options.pop(name) for name in TuneOptions.__dataclass_fields__ if name in options}
    wanted = TuneOptions(**{"trials": 3} | searched)
    return tune(tensor, output, options.pop("settings", QUICK), engine, wanted, **options)


def trials_of(journal: Path) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    (study,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=study, storage=storage).trials


def test_the_winner_is_written_as_settings_that_give_its_error(tensor, engine, tmp_path):
    path = tmp_path / "best.toml"
    given = TrainSettings(
        lambda_g=2.5, als=AlsSettings(start_sweeps=4, max_sweeps=20, patience=10), sgd=SgdSettings(window=7)
    )
    report = search(tensor.path, path, engine, trials=6, seed=4, settings=given)
    config = load_config(path)
    best = config.train
    assert config.seed == 4
    assert best == report.settings
    # What was not searched is as it was given.
    assert best.lambda_g == 2.5 and best.sgd == given.sgd
    assert best.als == given.als.model_copy(update={"starts": report.settings.als.starts})
    assert report.settings.rank in RANKS and report.trials == 6
    data = read_moments(ensure_moments(tensor, engine))
    folds = selection_folds(tensor.experiments, 4)
    fits = [REGISTRY[best.solver].fit_moments(data, fold, Choice(best, ""), seed=4) for fold in folds]
    errors = [fit.validation_mse * len(fold.valid) for fit, fold in zip(fits, folds, strict=True)]
    assert report.validation_mse == pytest.approx(sum(errors) / 18, rel=1e-9)
    first = path.read_text().splitlines()[:3]
    assert first == [
        f"# The best of 6 trials of 'predictd tune': mean squared error {report.validation_mse:.6g}",
        "# over 18 validation experiments in 8 folds.",
        "# These chose the settings, so that no error on them is a held-out error, also of 'predictd cv'.",
    ]
    run = json.loads((tmp_path / "best.toml.run.json").read_text())
    assert run["results"].pop("validation").startswith("no held-out error")
    assert run["results"] == {"validation_mse": report.validation_mse, "trials": 6}
    asked = {"trials": 6, "solvers": ["em", "als"], "storage": f"{path}.journal"}
    assert run["settings"] == given.model_dump(mode="json", by_alias=True) | asked
    values = [t.value for t in trials_of(tmp_path / "best.toml.journal")]
    assert min(values) == report.validation_mse


def test_a_search_that_goes_on_is_the_one_that_was_not_stopped(tensor, engine, tmp_path):
    """Also beyond the random beginning of the search."""
    search(tensor.path, tmp_path / "whole.toml", engine, trials=13)
    report = search(tensor.path, tmp_path / "parts.toml", engine, trials=4)
    assert report.trials == 4
    journal = (tmp_path / "parts.toml.journal").read_bytes()
    again = search(tensor.path, tmp_path / "parts.toml", engine, trials=4)
    assert again == report
    assert len(trials_of(tmp_path / "parts.toml.journal")) == 4
    assert (tmp_path / "parts.toml.journal").read_bytes().startswith(journal)
    search(tensor.path, tmp_path / "parts.toml", engine, trials=13)
    assert (tmp_path / "parts.toml").read_bytes() == (tmp_path / "whole.toml").read_bytes()
    parts, whole = (trials_of(tmp_path / f"{name}.toml.journal") for name in ("parts", "whole"))
    assert [(t.params, t.value) for t in parts] == [(t.params, t.value) for t in whole]
    assert len({json.dumps(t.params, sort_keys=True) for t in parts}) == 13


def test_other_solvers_data_or_seeds_are_other_searches_in_the_same_storage(tensor, engine, tmp_path):
    storage = str(tmp_path / "shared" / "journal")
    for options in (
        {},
        {"solvers": ["als"]},
        {"seed": 1},
        {"settings": TrainSettings(als=AlsSettings(starts=2, start_sweeps=2, max_sweeps=9))},
    ):
        assert (
            search(tensor.path, tmp_path / "best.toml", engine, trials=2, storage=storage, **options).trials
            == 2
        )
    journal = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(storage))
    assert len(optuna.get_all_study_names(journal)) == 4
    assert names(tmp_path) == ["best.toml", "best.toml.run.json", "shared"]


def test_searches_on_the_same_folds_share_no_trials_if_their_seeds_differ(tensor, engine, tmp_path):
    """The seed is not only that of folds, which may be given."""
    write_json(tmp_path / "folds.json", folds_to_json(make_folds(tensor.experiments, tests=3, valids=2)))
    given = {"folds": tmp_path / "folds.json", "test_fold": "0", "storage": str(tmp_path / "journal")}
    for seed in (0, 1, 0):
        report = search(tensor.path, tmp_path / f"{seed}.toml", engine, trials=1, seed=seed, **given)
        assert report.trials == 1
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(given["storage"]))
    studies = [
        optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)
    ]
    assert [len(study.trials) for study in studies] == [1, 1]


def test_a_database_as_storage(tensor, engine, tmp_path):
    url = f"sqlite:///{tmp_path}/trials.db"
    assert search(tensor.path, tmp_path / "a.toml", engine, trials=2, storage=url).trials == 2
    assert search(tensor.path, tmp_path / "b.toml", engine, trials=2, storage=url).trials == 2
    assert (tmp_path / "a.toml").read_bytes() == (tmp_path / "b.toml").read_bytes()
    assert json.loads((tmp_path / "a.toml.run.json").read_text())["settings"]["storage"] == url


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        (
            "postgresql+psycopg2://me:s?ecr/et@host:5432/db?sslkey=secret",
            "postgresql+psycopg2://host:5432/db",
        ),
        ("mysql://me@lab:secret@host/db", "mysql://host/db"),
        ("mysql://me:secret@host", "mysql://host"),
        ("sqlite:////data/me@lab/trials.db?timeout=3", "sqlite:////data/me@lab/trials.db"),
        ("here/trials?.journal", "here/trials?.journal"),
    ],
)
def test_a_storage_is_shown_without_secrets(storage, expected):
    assert storage_without_secrets(storage) == expected


def test_a_password_is_in_no_message(tensor, engine, tmp_path):
    with pytest.raises(OutputError, match="nothing://host/db ") as caught:
        search(tensor.path, tmp_path / "best.toml", engine, storage="nothing://me:hidden@host/db")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("storage", ["nothing://here", "file/journal"])
def test_a_storage_that_cannot_be_used_names_the_option(storage, tensor, engine, tmp_path):
    (tmp_path / "file").touch()
    place = storage if "://" in storage else str(tmp_path / storage)
    with refused(OutputError, place, "`storage`"):
        search(tensor.path, tmp_path / "best.toml", engine, storage=place)


@pytest.mark.processes
def test_processes_share_a_search(tensor, tmp_path):
    (tmp_path / "quick.toml").write_text(FEWEST_SWEEPS_TOML)
    n_processes, n_trials = 2, 5
    command = (
        f"tune {tensor.path} --trials {n_trials} --storage journal --config quick.toml --workers 1".split()
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "predictd", *command, "-o", f"best-{i}.toml"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        for i in range(n_processes)
    ]
    try:
        outputs = [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0], outputs
    trials = trials_of(tmp_path / "journal")
    # Each process finishes what it has begun.
    assert n_trials <= len(trials) < n_trials + n_processes
    assert all(trial.state.is_finished() for trial in trials)
    assert len({json.dumps(trial.params, sort_keys=True) for trial in trials}) == len(trials)


def test_test_experiments_remain_unseen(tensor_path, engine, tmp_path):
    tensor = Tensor(tensor_path)
    folds = make_folds(tensor.experiments, tests=3, valids=3)
    write_json(tmp_path / "folds.json", folds_to_json(folds))
    own = [fold for fold in folds if fold.name[0] == "1"]
    hidden = [tensor.experiments.index(e) for e in own[0].test]

    def change(_number: int, _chrom: str, signal: np.ndarray) -> None:
        signal[:, hidden] = signal[::-1, hidden] + 1

    other = rewritten(tensor_path, tmp_path / "other", change)
    options = {"folds": tmp_path / "folds.json", "test_fold": "1"}
    reports = [
        search(path, tmp_path / f"{path.name}.toml", engine, **options) for path in (tensor_path, other)
    ]
    assert reports[0] == reports[1]
    texts = [(tmp_path / f"{path.name}.toml").read_text() for path in (tensor_path, other)]
    assert texts[0] == texts[1]
    n_valid = sum(len(fold.valid) for fold in own)
    assert f"# over {n_valid} validation experiments in 3 folds.\n" in texts[0]
    run = json.loads((tmp_path / "other.toml.run.json").read_text())
    assert (run["settings"]["folds"], run["settings"]["test_fold"]) == (str(tmp_path / "folds.json"), "1")
    assert "also of 'predictd cv' but for test fold 1.\n" in texts[0]
    assert run["inputs"].keys() == {str(other), str(tmp_path / "folds.json")}


def test_sgd_takes_part(tensor, engine, tmp_path):
    settings = TrainSettings(
        sgd=SgdSettings(min_bins=500, burn_in_bins=100, updates_per_round=300, max_rounds=6)
    )
    report = search(tensor.path, tmp_path / "best.toml", engine, trials=2, solvers=["sgd"], settings=settings)
    best = load_config(tmp_path / "best.toml").train
    assert report.settings.solver == best.solver == "sgd" and best.sgd == settings.sgd
    assert 1e-5 <= best.regularisation <= 1e-1


def test_an_interruption_leaves_finished_trials(tensor, engine, tmp_path, monkeypatch):
    calls = []
    plain = type(engine).map

    def stopping(self: Engine, task: Any, keys: Any, shared: Any, **options: Any) -> Any:
        calls.append(task)
        if task is validation_sum and calls.count(task) == 3:
            raise Interrupted("stopped by SIGTERM; run the same command again")
        return plain(self, task, keys, shared, **options)

    path = tmp_path / "best.toml"
    with monkeypatch.context() as patch:
        patch.setattr(type(engine), "map", stopping)
        with pytest.raises(Interrupted):
            search(tensor.path, path, engine, trials=5)
    assert not path.exists()
    states = [trial.state.name for trial in trials_of(tmp_path / "best.toml.journal")]
    assert states == ["COMPLETE", "COMPLETE", "FAIL"]
    report = search(tensor.path, path, engine, trials=5)
    assert report.trials == 5 and "The best of 5 trials" in path.read_text()
    states = [trial.state.name for trial in trials_of(tmp_path / "best.toml.journal")]
    assert sorted(states) == ["COMPLETE"] * 5 + ["FAIL"]


def test_trials_without_a_model_count_and_end(tensor, engine, tmp_path, monkeypatch):
    values = iter([float("nan"), DataError("singular"), 0.5, float("nan")])

    def trouble(self: Engine, task: Any, keys: Any, shared: Any, **options: Any) -> Any:
        value = next(values)
        if isinstance(value, Exception):
            raise value
        return [value * 18 / len(keys)] * len(keys)

    ensure_moments(tensor, engine)
    with monkeypatch.context() as patch:
        patch.setattr(type(engine), "map", trouble)
        report = search(tensor.path, tmp_path / "best.toml", engine, trials=3)
        assert (report.trials, report.validation_mse) == (3, pytest.approx(0.5))
        with refused(DataError, "no trial gave a model"):
            search(tensor.path, tmp_path / "none.toml", engine, trials=1)
    assert not (tmp_path / "none.toml").exists()


def test_options_that_do_not_fit_together(tensor, engine, tmp_path):
    folds = make_folds(tensor.experiments, tests=3, valids=2)
    write_json(tmp_path / "folds.json", folds_to_json(folds))
    first = folds[0]
    write_json(
        tmp_path / "bare.json", folds_to_json([Fold("0.0", first.test, (), first.train + first.valid)])
    )

    def refuse(error: type[Exception], *parts: str, **options: Any) -> None:
        with refused(error, *parts):
            search(tensor.path, tmp_path / "best.toml", engine, **options)
        assert not (tmp_path / "best.toml").exists()

    refuse(ConfigError, "`test_fold` 1 needs `folds`", test_fold="1")
    refuse(ConfigError, "needs `test_fold`, one of 0, 1, 2", folds=tmp_path / "folds.json")
    refuse(ConfigError, "one of 0, 1, 2", folds=tmp_path / "folds.json", test_fold="0.1")
    refuse(DataError, "fold 0.0 has no validation", folds=tmp_path / "bare.json", test_fold="0")
    constants = TrainSettings(solver="sgd", predictd_constants=True)
    refuse(ConfigError, "predictd_constants", settings=constants, solvers=["sgd"])


def test_the_command_line(tensor, tmp_path):
    (tmp_path / "quick.toml").write_text(FEWEST_SWEEPS_TOML)
    common = ("tune", tensor.path, "-o", "best.toml", "--workers", 1)
    done = call_predictd(
        *common,
        "--trials",
        2,
        "--solvers",
        "als, als",
        "--seed",
        2**40,
        "--config",
        "quick.toml",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(
        r"best.toml: als, rank \d+, lambda \S+, \d starts: validation MSE 0\.\d{4}, the best of 2 trials "
        r"\(no held-out error: they were compared on these experiments\)\n$",
        done.stdout,
    )
    assert load_config(tmp_path / "best.toml").seed == 2**40
    done = call_predictd(*common, "--solvers", "em,newton", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "--solvers em,newton: name some of em, als, sgd" in done.stderr


def test_without_optuna_one_line_names_the_extra(tensor, tmp_path):
    script = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "optuna":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Absent())
from predictd.cli import main
sys.argv = ["predictd", *sys.argv[1:]]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "tune", str(tensor.path), "-o", "best.toml", "--workers", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    )
    assert done.returncode == 1
    assert done.stderr == "predictd: error: predictd tune needs Optuna: pip install 'predictd[tune]'\n"
    assert names(tmp_path) == []
