"""Settings: the file, what the command line lays over it, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from commands import call_predictd
from here import Here
from made_folds import FEWEST_SWEEPS, SHORT_SGD
from made_tensors import small_tensor
from predictd.config import (
    READ_BY,
    Config,
    Settings,
    SolverName,
    TrainSettings,
    changes,
    defaults_toml,
    load_config,
)
from predictd.errors import ConfigError
from predictd.model.folds import validation_split
from predictd.pairs import Experiment
from predictd.workflows.tensor.moments import ensure_moments
from predictd.workflows.training.folds import selection_folds
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.solver import FitData
from refusals import refused


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_papers_descent_is_the_default():
    sgd = load_config(None).train.sgd
    assert (sgd.learning_rate, sgd.beta1, sgd.beta2, sgd.epsilon, sgd.decay) == (
        0.005,
        0.9,
        0.999,
        1e-8,
        1e-6,
    )
    assert (sgd.init, sgd.bin_fraction, sgd.burn_in_bins, sgd.burn_in_epochs) == (0.33, 0.01, 8000, 0.5)
    assert (sgd.updates_per_round, sgd.rounds_per_evaluation) == (5000, 3)
    assert (sgd.window, sgd.window_shift, sgd.min_improvement, sgd.significance) == (15, 5, 1e-5, 0.05)
    assert (sgd.patience, sgd.max_restores) == (35, 3)


def test_an_empty_file_changes_nothing(toml):
    assert load_config(toml("")) == load_config(None) == Config()


def test_a_files_values_count(toml):
    config = load_config(toml("seed = 7\n[train]\nlambda = 0.25\n[train.sgd]\nbeta1 = 0.8\n"))
    assert (config.seed, config.train.regularisation, config.train.sgd.beta1) == (7, 0.25, 0.8)
    assert config.train.sgd.beta2 == 0.999


def test_a_rank_or_lambda_without_a_solver_belongs_to_em(toml):
    assert load_config(None).train.solver == "auto"
    assert load_config(toml("[train]\nrank = 3\n")).train.solver == "em"
    assert load_config(toml("[train]\nlambda = 0.5\n")).train.solver == "em"
    assert load_config(None, {"train": {"solver": None, "rank": 3}}).train.solver == "em"
    assert load_config(toml('[train]\nrank = "auto"\n')).train.solver == "auto"
    assert load_config(toml('[train]\nsolver = "als"\n'), {"train": {"rank": 3}}).train.solver == "als"
    assert load_config(None, {"train": {"solver": "auto", "rank": 3}}).train.solver == "auto"


def test_the_command_line_wins_where_it_says_something(toml):
    path = toml("seed = 7\n[train]\nlambda_g = 2.0\nlambda = 0.25\n[train.sgd]\nbeta1 = 0.8\n")
    config = load_config(
        path, {"seed": 1, "train": {"lambda": 0.5, "lambda_g": None, "sgd": {"beta2": 0.99}}}
    )
    assert (config.seed, config.train.regularisation, config.train.lambda_g) == (1, 0.5, 2.0)
    assert (config.train.sgd.beta1, config.train.sgd.beta2) == (0.8, 0.99)
    assert load_config(path, {"seed": None}).seed == 7


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sede = 1", ["'sede'", "not permitted"]),
        ("[train]\nranks = 1", ["'train.ranks'", "not permitted"]),
        ("[train.sgd]\nbeta1 = 1.0", ["'train.sgd.beta1'", "less than 1"]),
        ("[train.sgd]\nlearning_rate = nan", ["'train.sgd.learning_rate'", "finite"]),
        ("seed = -1", ["'seed'", "greater than or equal to 0"]),
        ("seed = 9223372036854775808", ["'seed'", "less than 9223372036854775808"]),
        ('seed = "x"', ["'seed'", "integer"]),
        ("train = 3", ["'train'", "dictionary"]),
        ("seed = ", ["cannot read settings", "Invalid value"]),
    ],
)
def test_wrong_settings_are_named(toml, text, parts):
    path = toml(text)
    # A group on the command line must not hide that the file has something else in its place.
    for overrides in (None, {"train": {"sgd": {"beta2": 0.9}}}):
        with refused(ConfigError, str(path), *parts):
            load_config(path, overrides)


def test_wrong_values_of_the_command_line_are_named():
    with refused(ConfigError, "settings: 'train.sgd.beta1'", "less than 1"):
        load_config(None, {"train": {"sgd": {"beta1": 2.0}}})


def test_files_that_cannot_be_read(tmp_path):
    with refused(ConfigError, str(tmp_path / "absent.toml"), "No such file"):
        load_config(tmp_path / "absent.toml")
    with refused(ConfigError, str(tmp_path), "Is a directory"):
        load_config(tmp_path)
    (tmp_path / "latin1.toml").write_bytes(b"# \xe9\n")
    with refused(ConfigError, "latin1.toml", "utf-8"):
        load_config(tmp_path / "latin1.toml")


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        load_config(None).train.sgd.beta1 = 0.5


# -- defaults as a file -----------------------------------------------------------------------------------------------


def settings_of(group: type[Settings]) -> Iterator[tuple[str, FieldInfo]]:
    """All settings, also of the groups below."""
    for name, field in group.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from settings_of(field.annotation)
        else:
            yield field.alias or name, field


def test_the_defaults_are_a_file_that_sets_them(tmp_path):
    text = defaults_toml()
    path = tmp_path / "predictd.toml"
    path.write_text(text)
    assert load_config(path) == Config() and changes(load_config(path)) == []
    for name, field in settings_of(Config):
        assert field.description, f"{name} has no description"
        assert re.search(
            rf"^# {re.escape(field.description)}\n(# one of .*\n)?(# )?{name} =", text, re.MULTILINE
        )
    assert "# one of auto, stack, donors, kriging, em, als, sgd\nsolver =" in text
    assert max(map(len, text.splitlines())) <= 100


def test_every_setting_of_the_file_can_be_changed(tmp_path):
    """Also the one that is not set, whose line is a comment."""
    text = defaults_toml().replace("# trees =", "trees = 7").replace("seed = 0", "seed = 3")
    text = text.replace("patience = 40", "patience = 41").replace('lambda = "auto"', "lambda = 0.5")
    (tmp_path / "c.toml").write_text(text)
    changed = changes(load_config(tmp_path / "c.toml"))
    assert changed == [
        ("seed", 3, 0),
        ("train.lambda", 0.5, "auto"),
        ("train.als.patience", 41, 40),
        ("network.trees", 7, None),
    ]


def test_config_prints_what_commands_take(tensor_path, tmp_path):
    """A start for --config: the same model as without it."""
    done = call_predictd("config", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, defaults_toml(), "")
    quick = done.stdout.replace("networks = 16", "networks = 0").replace("max_sweeps = 500", "max_sweeps = 9")
    (tmp_path / "all.toml").write_text(quick)
    (tmp_path / "few.toml").write_text("[train]\nnetworks = 0\n[train.als]\nmax_sweeps = 9\n")
    models = []
    for name in ("all", "few"):
        done = call_predictd(
            "train", tensor_path, "-o", f"{name}.h5", "--config", f"{name}.toml", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        models.append(json.loads((tmp_path / f"{name}.h5.run.json").read_text())["settings"])
    assert models[0] == models[1]


def test_config_checks_a_file(tmp_path):
    (tmp_path / "c.toml").write_text("seed = 5\n[train]\nrank = 8\n")
    done = call_predictd("config", "--check", "c.toml", cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "seed = 5  (default: 0)",
        'train.solver = "em"  (default: "auto")',
        'train.rank = 8  (default: "auto")',
        "c.toml: all settings are known; 3 of them differ from the defaults",
    ]
    (tmp_path / "d.toml").write_text("sede = 5\n")
    done = call_predictd("config", "--check", "d.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "predictd: error: settings in d.toml: 'sede': extra inputs are not permitted\n"


# Solvers


def test_each_solver_that_can_be_named_is_there():
    assert set(get_args(SolverName)) == set(SOLVERS)
    assert set().union(*READ_BY.values()) <= set(SOLVERS)
    assert set(READ_BY) <= set(TrainSettings.model_fields)


def test_settings_of_some_solvers_name_those_that_read_them(tmp_path):
    looked_at: set[str] = set()

    class Noted(TrainSettings):
        def __getattribute__(self, name: str) -> Any:
            looked_at.add(name)
            return super().__getattribute__(name)

    signal = np.random.default_rng(0).gamma(2.0, size=(300, 20))
    pairs = [Experiment(f"C{i // 4}", f"A{i % 4}") for i in range(20)]
    tensor = small_tensor(tmp_path / "tensor", signal, experiments=pairs)
    data, engine = FitData(tensor, ensure_moments(tensor, Here(1))), Here(1)
    read_by: dict[str, set[str]] = {name: set() for name in READ_BY}
    for name in {solver.name for solver in SOLVERS.values()}:
        solver = SOLVERS[name]
        looked_at.clear()
        given = Noted(solver=name, networks=1, als=FEWEST_SWEEPS, sgd=SHORT_SGD.sgd)
        choice = solver.choose(data, selection_folds(pairs, 0), given, engine, seed=0)
        solver.fit(data, validation_split(pairs), choice, seed=0)
        # All look at it, and most refuse it.
        looked_at.discard("predictd_constants")
        try:
            solver.check(TrainSettings(solver=name, predictd_constants=True), 20)
            looked_at.add("predictd_constants")
        except ConfigError:
            pass
        own = {alias for alias, other in SOLVERS.items() if other is solver}
        for setting in looked_at & set(READ_BY):
            read_by[setting] |= own
    assert read_by == {setting: set(solvers) for setting, solvers in READ_BY.items()}
