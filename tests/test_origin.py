"""Models read tensors of their own kind of signal alone: the same genome, bins and transforms."""

from __future__ import annotations

from pathlib import Path

import pytest

import predictd
from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import DataError
from predictd.io.models import ModelFile, read_model, write_model
from predictd.io.tensor.store import Tensor
from predictd.report.scores import Score
from predictd.workflows.evaluation.examples import Source, find_examples
from predictd.workflows.evaluation.factors import explain_factors
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.origin import check_origin, origin_of
from predictd.workflows.training.crossval import crossval
from predictd.workflows.training.extend import extend
from predictd.workflows.training.train import train

SETTINGS = TrainSettings(solver="em", rank=2, regularisation=0.3)
REGION = "chr1:0-1000"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, short_path: Path, engine: Engine) -> Path:
    """A model and a cross-validation of the short tensor. Read only."""
    folder = tmp_path_factory.mktemp("trained")
    train(short_path, folder / "model.h5", SETTINGS, engine)
    crossval(short_path, folder / "cv", SETTINGS, engine)
    return folder


def stored_otherwise(path: Path) -> str:
    """Have a tensor say that it stores one of its assays as it is; the assay."""
    manifest = Tensor(path).manifest
    assay = manifest.experiments[0].assay
    entries = tuple(
        entry.model_copy(update={"transform": "none"}) if entry.assay == assay else entry
        for entry in manifest.experiments
    )
    manifest.model_copy(update={"experiments": entries}).write(path)
    return assay


def test_all_models_say_what_they_were_trained_on(trained, short_path):
    own = origin_of(Tensor(short_path))
    assert own["bin_size"] == 25 and set(own["transforms"].values()) == {"arcsinh"}
    for path in (trained / "model.h5", *(trained / "cv" / "models").iterdir()):
        info = read_model(path).info
        assert {name: info[name] for name in own} == own, path


@pytest.mark.parametrize("name", ["model.h5", "cv"])
def test_a_tensor_of_another_transform_is_refused(trained, own_tensor, engine, tmp_path, name):
    assay = stored_otherwise(own_tensor)
    refused = pytest.raises(
        DataError, match=f"has the transform of {assay} none, but .* on arcsinh; name a tensor"
    )
    with refused:
        impute(trained / name, own_tensor, tmp_path / "imputed", engine)
    model = (
        predictd.load_model(trained / name)
        if name == "model.h5"
        else predictd.CrossValidation(trained / name)
    )
    with refused:
        model.impute(own_tensor, "all", region=REGION)
    assert not (tmp_path / "imputed").exists()


def test_other_workflows_refuse_it_too(trained, own_tensor, engine, tmp_path):
    stored_otherwise(own_tensor)
    fold = next((trained / "cv" / "models").iterdir())
    with pytest.raises(DataError, match="was trained on arcsinh"):
        explain_factors(trained / "model.h5", tmp_path / "factors", tensor=own_tensor)
    with pytest.raises(DataError, match="was trained on arcsinh"):
        extend(fold, own_tensor, None, tmp_path / "larger.h5", engine)
    observed = Tensor(own_tensor).experiments[0]
    scores = [Score(observed, "0", {"GWcorrasinh": 0.5, "MSEglobal": 1.0}, {})]
    examples, reason = find_examples(scores, Source(trained / "cv", Tensor(own_tensor), ()))
    assert not examples and "was trained on arcsinh" in reason
    assert not list(tmp_path.glob("factors*")) and not list(tmp_path.glob("larger*"))


def test_another_part_of_the_genome_is_as_good(trained, tensor_path, engine, tmp_path):
    assert Tensor(tensor_path).manifest.checksum != read_model(trained / "model.h5").info["tensor"]
    assert impute(trained / "model.h5", tensor_path, tmp_path / "imputed", engine).pairs


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"bin_size": 200}, "has the bin size 25, but m.h5 was trained on 200"),
        ({"bin_size": None}, r"25, but m.h5 was trained on none \(regions\)"),
        ({"genome": "hg19"}, "has the genome hg38, but m.h5 was trained on hg19"),
        ({"genome": "mine.sizes"}, None),
        ({"transforms": {"unknown": "logit"}}, None),
        ({}, None),
    ],
)
def test_what_a_model_says(own_tensor, said, message):
    manifest = Tensor(own_tensor).manifest
    manifest.model_copy(update={"genome": manifest.genome.model_copy(update={"name": "hg38"})}).write(
        own_tensor
    )
    if message is None:
        check_origin(said, "m.h5", Tensor(own_tensor))
    else:
        with pytest.raises(DataError, match=message):
            check_origin(said, "m.h5", Tensor(own_tensor))


def test_models_of_earlier_versions_are_taken(trained, short_path, engine, tmp_path):
    file = read_model(trained / "model.h5")
    told = {name: value for name, value in file.info.items() if name not in origin_of(Tensor(short_path))}
    write_model(tmp_path / "m.h5", ModelFile(file.kind, file.parameters, told))
    assert impute(tmp_path / "m.h5", short_path, tmp_path / "imputed", engine).pairs
