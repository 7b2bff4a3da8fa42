"""Model files, and the models of a cross-validation, as estimators that give imputers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from predictd.constants import FOLDS_JSON, METRICS_TSV, MODELS
from predictd.errors import DataError, ModelFormatError
from predictd.io.files import exists, sha256_of, sha256_of_json
from predictd.io.models import ModelFile, read_model
from predictd.model.cp.factors import CPModel
from predictd.model.ensemble import Committee, Model
from predictd.model.folds import Fold
from predictd.model.stack.stack import StackModel
from predictd.pairs import Experiment
from predictd.wording import some
from predictd.workflows.tensor.folds import load_folds

log = logging.getLogger(__name__)

_KINDS: dict[str, type[CPModel] | type[StackModel]] = {kind.kind: kind for kind in (CPModel, StackModel)}


@dataclass(frozen=True)
class Loaded:
    """An estimator and where it comes from.

    Attributes
    ----------
    estimator
        Gives imputers.
    checksum
        Identity of the file, or of all files of a cross-validation.
    fold
        Name of the fold that was trained; `.` for several.
    info
        What the file says of its training, or one of a cross-validation.
    held_out
        Of a cross-validation: the experiments that the models of each test fold never saw.
    """

    estimator: Committee
    checksum: str
    fold: str
    info: dict[str, Any]
    held_out: dict[str, tuple[Experiment, ...]] = field(default_factory=dict)


def load_estimator(path: Path) -> Loaded:
    """The estimator of a model file, or of the directory of a cross-validation.

    Raises
    ------
    ModelFormatError
        If the file is missing, damaged, foreign or of a kind that this predictd has not, or the directory is no
        finished cross-validation.
    """
    if path.is_dir():
        return _cross_validation(path)
    model, file = load_model(path)
    fold = str(file.info.get("fold", {}).get("name", "."))
    return Loaded(Committee((model,)), sha256_of(path), fold, file.info)


def load_held_out(path: Path, pairs: Sequence[Experiment]) -> Committee:
    """The models that pairs are imputed by, and no others: that of a file, or those of a cross-validation.

    This may be unfinished.

    Raises
    ------
    ModelFormatError
        If one of them is missing, damaged, foreign or of a kind that this predictd has not.
    """
    if not path.is_dir():
        return load_estimator(path).estimator
    folds = load_folds(path / FOLDS_JSON)
    others = not set(pairs) <= set().union(*(fold.test for fold in folds))
    if not others or everything_path(path).exists():
        folds = [fold for fold in folds if not set(pairs).isdisjoint(fold.test)]
    return fold_committee(path, folds, others=others)


def load_model(path: Path) -> tuple[Model, ModelFile]:
    """The model of a file, and the file's contents; see `load_estimator`."""
    file = read_model(path)
    return model_of(file, path), file


def model_of(file: ModelFile, path: Path | str) -> Model:
    """The model that a file's contents are; `path` is for messages. See `load_estimator`."""
    if file.kind not in _KINDS:
        raise ModelFormatError(
            f"{path} holds a model of kind '{file.kind}', which this predictd does not know; update it"
        )
    try:
        return _KINDS[file.kind].from_arrays(file.parameters)
    except (KeyError, ValueError, TypeError) as err:
        raise ModelFormatError(f"{path} is not a whole model ({err}); train it again") from err


def load_cp_model(path: Path) -> tuple[CPModel, ModelFile]:
    """As `load_model`, for what only factors can do; raises DataError for a model without."""
    model, file = load_model(path)
    return as_cp_model(model, path), file


def as_cp_model(model: Model, path: Path | str) -> CPModel:
    """A model that has factors; DataError for another."""
    if not isinstance(model, CPModel):
        raise DataError(
            f"{path} is a model of kind '{model.kind}', which has no factors; train one with `solver` em, als or sgd"
        )
    return model


def fold_model_path(directory: Path, fold: Fold) -> Path:
    """Where a cross-validation keeps the model of a fold."""
    return directory / MODELS / f"fold-{fold.name}.h5"


def everything_path(directory: Path) -> Path:
    """Where a cross-validation keeps the model of all experiments, if its solver has one."""
    return directory / MODELS / "everything.h5"


def model_folds(directory: Path, folds: Sequence[Fold]) -> list[Fold]:
    """Folds of which a cross-validation has models: these, or one for each test fold, named as this."""
    found: dict[str, Fold] = {}
    for fold in folds:
        whole = fold.whole()
        one = whole if fold_model_path(directory, whole).exists() else fold
        found.setdefault(one.name, one)
    return list(found.values())


def training_info(directory: Path) -> dict[str, Any]:
    """What the first model of a cross-validation says of its training; see `check_origin`."""
    folds = model_folds(directory, load_folds(directory / FOLDS_JSON))
    return read_model(fold_model_path(directory, folds[0])).info


def fold_committee(directory: Path, folds: Sequence[Fold], *, others: bool = True) -> Committee:
    """Models of a cross-validation: observed pairs go to those of the test fold that held them out.

    Others, where there are any, go to the model of all experiments, or to all models where there is none.
    """
    folds = model_folds(directory, folds)
    members = [load_model(fold_model_path(directory, fold))[0] for fold in folds]
    held_out: dict[Experiment, list[int]] = {}
    for index, fold in enumerate(folds):
        for pair in fold.test:
            held_out.setdefault(pair, []).append(index)
    of_others: tuple[int, ...] | None = None
    if others and everything_path(directory).exists():
        of_others = (len(members),)
        members.append(load_model(everything_path(directory))[0])
    indices = {pair: tuple(found) for pair, found in held_out.items()}
    return Committee(tuple(members), indices, of_others)


def _cross_validation(path: Path) -> Loaded:
    if not (path / FOLDS_JSON).is_file():
        raise ModelFormatError(
            f"{path} is neither a model nor a cross-validation: name the file of 'predictd train' or the directory of "
            "'predictd cv'"
        )
    folds = load_folds(path / FOLDS_JSON)
    folds = model_folds(path, folds)
    missing = [fold.name for fold in folds if not fold_model_path(path, fold).is_file()]
    if missing:
        raise ModelFormatError(
            f"{path} is unfinished: {len(missing)} of {len(folds)} folds have no model ({some(missing)}); run "
            "'predictd cv' again"
        )
    if not exists(path / METRICS_TSV):
        _check_unscored(path, load_model(fold_model_path(path, folds[0]))[0])
    files = [fold_model_path(path, fold) for fold in folds]
    files += [everything_path(path)] if everything_path(path).exists() else []
    checksums = [sha256_of(file) for file in files]
    held_out = {fold.owner: fold.test for fold in folds}
    return Loaded(fold_committee(path, folds), sha256_of_json(checksums), ".", training_info(path), held_out)


def _check_unscored(path: Path, model: Model) -> None:
    """Say that a cross-validation has not finished scoring; ModelFormatError if it lacks its model of all experiments.

    It has one with stacks, of which there is one a test fold.
    """
    if isinstance(model, StackModel) and not exists(everything_path(path)):
        raise ModelFormatError(
            f"{path} is unfinished: the model of all experiments is missing; run 'predictd cv' again"
        )
    log.warning(
        "%s has all its models, but has not finished scoring them (there is no %s): nothing says yet how far the "
        "imputed tracks can be trusted; run the same 'predictd cv' again to finish it",
        path,
        METRICS_TSV,
    )
