"""`predictd folds`, and how folds.json is read."""

from __future__ import annotations

import json
from pathlib import Path

from predictd.errors import TableError
from predictd.io.files import write_json
from predictd.io.tensor.store import Tensor
from predictd.model.folds import Fold, check_fold, folds_from_json, folds_to_json, make_folds


def write_folds(tensor: Tensor, output: Path, *, tests: int, valids: int, seed: int) -> list[Fold]:
    """Divide a tensor's experiments and write folds.json."""
    folds = make_folds(tensor.experiments, tests=tests, valids=valids, seed=seed)
    write_json(output, folds_to_json(folds))
    return folds


def read_folds(path: Path, tensor: Tensor) -> dict[str, Fold]:
    """Folds of a file by name, checked against a tensor.

    Raises
    ------
    TableError
        If the file is not a folds.json.
    DataError
        If a fold leaves a cell type or an assay without training experiments, or names pairs that the tensor lacks.
    """
    folds = load_folds(path)
    for fold in folds:
        check_fold(fold, tensor.experiments)
    return {fold.name: fold for fold in folds}


def load_folds(path: Path) -> list[Fold]:
    """Folds of a file, not checked against a tensor.

    Raises
    ------
    TableError
        If the file is not a folds.json.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise TableError(f"cannot read the folds in {path}: {err}; make them with 'predictd folds'") from err
    try:
        return folds_from_json(data)
    except TableError as err:
        raise TableError(f"{path}: {err}") from err
