"""Model files, and the models of a cross-validation, as estimators that give imputers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from predictd.constants import FOLDS_JSON, METRICS_TSV, MODELS
from predictd.errors import DataError, ModelFormatError
from predictd.io.files import exists, sha256_of, sha256_of_json
from predictd.io.models import ModelFile, read_model
from predictd.model.cp.factors import CPModel
from predictd.model.ensemble import Committee, Model
from predictd.model.folds import Fold, by_test_fold, whole_of
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
    files
        Checksums of its model files, for tasks that load them again; see `load_held_out`.
    fold
        Name of the fold that was trained; `.` for several.
    info
        What the file says of its training, or one of a cross-validation.
    held_out
        Of a cross-validation: the experiments that the models of each test fold never saw.
    left_out
        Of a cross-validation: those that it trained on, but not for this test fold, whether that holds them out or not.
    validation
        Experiments that settings, or when to stop, may have been chosen on, of those that no test fold holds out.
    """

    estimator: Committee
    files: dict[Path, str]
    fold: str
    info: dict[str, Any]
    held_out: dict[str, tuple[Experiment, ...]] = field(default_factory=dict)
    left_out: dict[str, tuple[Experiment, ...]] = field(default_factory=dict)
    validation: frozenset[Experiment] = frozenset()

    @property
    def checksum(self) -> str:
        """Identity of the file, or of all files of a cross-validation."""
        every = list(self.files.values())
        return sha256_of_json(every) if self.held_out else every[0]

    @property
    def cost(self) -> dict[str, str | int]:
        """What it depends on how long they take to predict, as far as it is known: solver, rank and networks."""
        members = self.estimator.members
        stacked = [
            one.networks for one in members if isinstance(one, StackModel) and one.networks is not None
        ]
        networks = round(sum(len(own.last_bias) for own in stacked) / len(members))
        known = {"solver": self.info.get("solver"), "rank": self.info.get("settings", {}).get("rank")}
        return {name: value for name, value in known.items() if value is not None} | {"networks": networks}


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
    fold = file.info.get("fold", {})
    validation = frozenset(map(Experiment.parse, fold.get("valid", ())))
    committee, files = Committee((model,)), {path: sha256_of(path)}
    return Loaded(committee, files, str(fold.get("name", ".")), file.info, validation=validation)


def load_held_out(
    path: Path, pairs: Sequence[Experiment], files: Mapping[Path, str] | None = None
) -> Committee:
    """The models that pairs are imputed by, and no others: that of a file, or those of a cross-validation.

    This may be unfinished.

    Parameters
    ----------
    path, pairs
        The file, or the directory of the cross-validation, and the pairs.
    files
        Checksums of all its files, as whoever asks has seen them; None: they may be any.

    Raises
    ------
    ModelFormatError
        If one of them is missing, damaged, foreign, of a kind that this predictd has not, or another than in `files`.
    """
    if not path.is_dir():
        return Committee((_load(path, files)[0],))
    folds = load_folds(path / FOLDS_JSON)
    others = not set(pairs) <= set().union(*(fold.test for fold in folds))
    if not others or everything_path(path).exists():
        folds = [fold for fold in folds if not set(pairs).isdisjoint(fold.test)]
    return _fold_committee(path, folds, others=others, files=files)[0]


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


def _load(path: Path, files: Mapping[Path, str] | None) -> tuple[Model, ModelFile]:
    """See `load_model`; ModelFormatError where it is another file than in `files`."""
    found = load_model(path)
    # After it was read, so that nothing can be put in its place in between.
    if files is not None and sha256_of(path) != files.get(path):
        raise ModelFormatError(f"{path} was made again after the run began; run the command again")
    return found


def load_cp_model(path: Path) -> tuple[CPModel, ModelFile]:
    """As `load_model`, for what only factors can do; raises DataError for a model without."""
    model, file = load_model(path)
    return as_cp_model(model, path), file


def as_cp_model(model: Model, path: Path | str) -> CPModel:
    """A model that has factors; DataError for another."""
    if not isinstance(model, CPModel):
        raise DataError(
            f"{path} is a model of kind '{model.kind}', which has no factors; train one with the solver em, als or sgd"
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
    found: list[Fold] = []
    for group in by_test_fold(folds).values():
        whole = whole_of(group)
        found += [whole] if fold_model_path(directory, whole).exists() else group
    return found


def training_info(directory: Path) -> dict[str, Any]:
    """What the first model of a cross-validation says of its training; see `check_origin`."""
    folds = model_folds(directory, load_folds(directory / FOLDS_JSON))
    return read_model(fold_model_path(directory, folds[0])).info


def _fold_committee(
    directory: Path,
    folds: Sequence[Fold],
    *,
    others: bool = True,
    files: Mapping[Path, str] | None = None,
) -> tuple[Committee, dict[str, Any]]:
    """Models of a cross-validation: observed pairs go to those of the test fold that held them out.

    Others, where there are any, go to the model of all experiments, or to all models where there is none. With it comes
    what the first model says of its training. For `files` see `load_held_out`.
    """
    folds = model_folds(directory, folds)
    models: list[Model] = []
    info: dict[str, Any] = {}
    held_out: dict[Experiment, list[int]] = {}
    for index, fold in enumerate(folds):
        model, file = _load(fold_model_path(directory, fold), files)
        models.append(model)
        info = info or file.info
        for pair in fold.test:
            held_out.setdefault(pair, []).append(index)
    of_others: tuple[int, ...] | None = None
    if others and everything_path(directory).exists():
        of_others = (len(models),)
        models.append(_load(everything_path(directory), files)[0])
    indices = {pair: tuple(found) for pair, found in held_out.items()}
    return Committee(tuple(models), indices, of_others), info


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
    committee, info = _fold_committee(path, folds)
    if not exists(path / METRICS_TSV):
        _check_unscored(path, committee.members[0])
    files = [fold_model_path(path, fold) for fold in folds]
    files += [everything_path(path)] if everything_path(path).exists() else []
    held_out = {fold.owner: fold.test for fold in folds}
    left_out = dict.fromkeys(held_out, frozenset(committee.everyone.train))
    for fold in folds:
        left_out[fold.owner] = left_out[fold.owner].difference(fold.train, fold.valid)
    return Loaded(
        committee,
        {file: sha256_of(file) for file in files},
        ".",
        info,
        held_out,
        {name: tuple(sorted(own)) for name, own in left_out.items()},
        frozenset().union(*(fold.valid for fold in folds)).difference(*held_out.values()),
    )


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
