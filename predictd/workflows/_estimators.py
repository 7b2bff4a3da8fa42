"""Model files as estimators that give imputers."""

from __future__ import annotations

from pathlib import Path

from predictd.errors import ModelFormatError
from predictd.io.models import ModelFile, read_model
from predictd.model.factors import CPModel

# Kinds of model files and what makes an estimator of their parameters.
_KINDS = {"cp": CPModel.from_arrays}


def load_estimator(path: Path) -> tuple[CPModel, ModelFile]:
    """The estimator of a model file, and the file's contents.

    Raises
    ------
    ModelFormatError
        If the file is missing, damaged, foreign or of a kind that this predictd has not.
    """
    file = read_model(path)
    if file.kind not in _KINDS:
        raise ModelFormatError(
            f"{path} holds a model of kind '{file.kind}', which this predictd does not know; update it"
        )
    try:
        return _KINDS[file.kind](file.parameters), file
    except (KeyError, ValueError, TypeError) as err:
        raise ModelFormatError(f"{path} is no whole model ({err}); train it again") from err
