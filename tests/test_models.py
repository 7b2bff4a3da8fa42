"""Model files: what is written comes back, and anything else is told in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest

from here import Here
from predictd.config import SolverName, TrainSettings
from predictd.constants import CHECKPOINT_FORMAT, CHECKPOINT_VERSION, MODEL_FORMAT, MODEL_VERSION
from predictd.errors import ModelFormatError
from predictd.io.hdf5 import write_arrays
from predictd.io.models import ModelFile, read_model, write_model
from predictd.model.cp.factors import CPModel
from predictd.pairs import Experiment
from predictd.workflows.imputing.estimators import load_estimator, load_model
from predictd.workflows.imputing.impute import impute
from predictd.workflows.training.train import train
from predictd.workflows.training.tune import TUNED


def model() -> CPModel:
    rng = np.random.default_rng(0)
    return CPModel(
        ("B-cell (naïve)", "T cell", "肝"),
        ("H3K4me3", "µ/β"),
        rng.normal(size=(3, 2)),
        rng.normal(size=(2, 2)),
        rng.normal(size=3),
        rng.normal(size=2),
        0.25,
        1.5,
        (Experiment("肝", "µ/β"), Experiment("T cell", "H3K4me3"), Experiment("B-cell (naïve)", "µ/β")),
    )


INFO = {"fold": {"name": "0.3", "test": ["a:b"]}, "history": [0.5, 0.1 + 0.2], "seed": 3, "refitted": True}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.h5"
    write_model(path, ModelFile("cp", model().to_arrays(), INFO))
    return path


def refused(path: Path) -> str:
    """The message with which a file is refused: one line that names it."""
    with pytest.raises(ModelFormatError) as caught:
        load_estimator(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def test_what_is_written_comes_back(path):
    file = read_model(path)
    assert file.kind == "cp" and file.info == INFO
    loaded, _ = load_model(path)
    for name in ("c", "a", "p", "q"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(model(), name))
    assert replace(loaded, c=0, a=0, p=0, q=0) == replace(model(), c=0, a=0, p=0, q=0)
    assert load_estimator(path).fold == "0.3"


def test_a_model_without_components_comes_back(path):
    empty = replace(model(), c=np.zeros((3, 0)), a=np.zeros((2, 0)))
    write_model(path, ModelFile("cp", empty.to_arrays(), {}))
    loaded = load_estimator(path)
    assert loaded.estimator.members[0].rank == 0 and loaded.fold == "."


def test_equal_content_gives_equal_bytes(path, tmp_path):
    again = tmp_path / "again.h5"
    write_model(
        again, ModelFile("cp", dict(reversed(model().to_arrays().items())), dict(reversed(INFO.items())))
    )
    assert again.read_bytes() == path.read_bytes()
    assert load_estimator(again).checksum == load_estimator(path).checksum


def test_a_missing_file(tmp_path):
    assert "does not exist; make a model with 'predictd train'" in refused(tmp_path / "no.h5")


def test_a_directory(tmp_path):
    assert "neither a model nor a cross-validation" in refused(tmp_path)
    with pytest.raises(ModelFormatError, match="is a directory; name the model file"):
        read_model(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "train it again" in refused(path)


def test_damage_shows_or_does_no_harm(path):
    content = path.read_bytes()
    intact = {name: array.tolist() for name, array in read_model(path).parameters.items()}
    shown = 0
    for position in range(0, len(content), 23):
        damaged = bytearray(content)
        damaged[position] ^= 0x15
        path.write_bytes(bytes(damaged))
        try:
            file = read_model(path)
        except ModelFormatError as err:
            assert "\n" not in str(err)
            shown += 1
        else:
            # Most bytes of a small HDF5 file are padding.
            assert {name: array.tolist() for name, array in file.parameters.items()} == intact
            assert file.kind == "cp" and file.info == INFO
    assert shown > 20


def foreign_text(path: Path) -> None:
    path.write_text("cell_type\tassay\tpath\n")


def foreign_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["C"] = np.zeros(3)


def foreign_checkpoint(path: Path) -> None:
    write_arrays(path, format=CHECKPOINT_FORMAT, version=CHECKPOINT_VERSION, header={}, arrays={})


@pytest.mark.parametrize("make", [foreign_text, foreign_hdf5, foreign_checkpoint])
def test_a_foreign_file(tmp_path, make):
    path = tmp_path / "other.h5"
    make(path)
    assert "is not a model that can be read" in refused(path)


def test_a_shard_is_no_model(tensor, tmp_path):
    path = tmp_path / "shard.h5"
    shutil.copy(tensor.shard_path(tensor.shard_names[0]), path)
    assert f"it is no {MODEL_FORMAT}" in refused(path)


def test_another_version(tmp_path):
    path = tmp_path / "new.h5"
    write_arrays(path, format=MODEL_FORMAT, version=MODEL_VERSION + 1, header={}, arrays={})
    assert f"it has version {MODEL_VERSION + 1}, this predictd reads version {MODEL_VERSION}" in refused(path)


def test_an_unknown_kind(path):
    write_model(path, ModelFile("tucker", model().to_arrays(), {}))
    assert "holds a model of kind 'tucker', which this predictd does not know; update it" in refused(path)


@pytest.mark.parametrize(
    "header", [{}, {"kind": "cp"}, {"kind": "cp", "info": 3}, {"kind": "cp", "info": "abc"}, [1]]
)
def test_a_header_that_is_none(tmp_path, header):
    path = tmp_path / "m.h5"
    write_arrays(path, format=MODEL_FORMAT, version=MODEL_VERSION, header=header, arrays=model().to_arrays())
    assert "is not a model that can be read" in refused(path)


@pytest.mark.parametrize("name", sorted(model().to_arrays()))
def test_a_missing_parameter_and_one_of_another_shape(path, name):
    arrays = model().to_arrays()
    del arrays[name]
    write_model(path, ModelFile("cp", arrays, json.loads(json.dumps(INFO))))
    assert f"is not a whole model ('{name}'); train it again" in refused(path)
    write_model(path, ModelFile("cp", arrays | {name: np.zeros((2, 2, 2))}, {}))
    assert "train it again" in refused(path)


@pytest.mark.parametrize("solver", [name for name in get_args(SolverName) if name != "auto"])
def test_models_of_each_solver_are_read_back(solver, short_path, tmp_path):
    """What a new solver writes has to be known where models are read."""
    settings = {"rank": 2, "lambda": 0.01} if solver in TUNED else {"networks": 0}
    train(short_path, tmp_path / "m.h5", TrainSettings(solver=solver, **settings), Here(1))
    assert load_model(tmp_path / "m.h5")[1].info["solver"] == solver
    assert len(impute(tmp_path / "m.h5", short_path, tmp_path / "tracks", Here(1)).pairs) == 6
