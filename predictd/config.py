"""Settings of a run: their defaults, their limits, and how they are read from a TOML file.

The command line carries what a run needs every time; the rest is science and stands here. Unknown keys are errors.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from predictd.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib


# Of each worker between two merges, in the paper.
_PAPER_UPDATES = 5000


SolverName = Literal["auto", "stack", "donors", "kriging", "em", "als", "sgd"]


class Settings(BaseModel):
    """Base of all groups of settings: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Group = TypeVar("Group", bound=Settings)


class SgdSettings(Settings):
    """The paper's stochastic gradient descent (Durham et al. 2018, Methods; Nadam: Dozat 2016)."""

    learning_rate: float = Field(0.005, gt=0)
    beta1: float = Field(0.9, gt=0, lt=1)
    beta2: float = Field(0.999, gt=0, lt=1)
    epsilon: float = Field(1e-8, gt=0)
    decay: float = Field(1e-6, ge=0, lt=1, description="per-update decay of learning rate and beta1")
    init: float = Field(0.33, gt=0, description="factors start uniform in (-init, init)")
    dtype: Literal["float32", "float64"] = "float32"

    bin_fraction: float = Field(0.01, gt=0, le=1, description="share of the bins that is trained on")
    min_bins: int = Field(8000, ge=1, description="train on at least so many bins where there are as many")
    burn_in_bins: int = Field(8000, ge=1)
    burn_in_epochs: float = Field(0.5, ge=0)
    updates_per_round: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        _PAPER_UPDATES,
        description="updates of each worker between two merges; auto: enough to make merging cheap",
    )
    max_rounds: int = Field(30_000, ge=1)

    rounds_per_evaluation: int = Field(3, ge=1)
    window: int = Field(15, ge=2, description="evaluations in each of the two windows that are compared")
    window_shift: int = Field(5, ge=1)
    min_improvement: float = Field(1e-5, ge=0)
    significance: float = Field(0.05, gt=0, lt=1)
    patience: int = Field(35, ge=1, description="stop when the best evaluation is older than this")
    max_restores: int = Field(3, ge=0)

    @property
    def least_updates(self) -> int:
        """Updates a round, at least: auto takes no fewer than the paper."""
        return _PAPER_UPDATES if self.updates_per_round == "auto" else self.updates_per_round

    def sampled_bins(self, n_bins: int) -> int:
        """How many of a tensor's bins are trained on."""
        return min(n_bins, max(self.min_bins, round(self.bin_fraction * n_bins)))


class AlsSettings(Settings):
    """Sweeps on the second moments, for the solvers als and em."""

    starts: int = Field(3, ge=1, description="random starts; the best after `start_sweeps` goes on")
    start_sweeps: int = Field(20, ge=1)
    max_sweeps: int = Field(500, ge=1)
    tolerance: float = Field(1e-6, ge=0, description="relative change of the objective that ends a descent")
    evaluate_every: int = Field(5, ge=1, description="sweeps between two evaluations")
    patience: int = Field(40, ge=1, description="stop when the best evaluation is so many sweeps old")


class TrainSettings(Settings):
    """What `predictd train` and `predictd cv` fit."""

    solver: SolverName = Field(
        "auto", description="auto: stack; em where a rank or a lambda is given and no solver"
    )
    rank: int | Literal["auto"] = Field("auto", description="L; auto: chosen on validation experiments")
    regularisation: float | Literal["auto"] = Field(
        "auto",
        alias="lambda",
        description="λ of the objective, the prior's strength for em; auto: chosen, too",
    )
    lambda_g: float = Field(3.0, gt=0, description="λ_G of sgd and als; em estimates it")
    networks: int = Field(
        16, ge=0, le=1000, description="stack, donors, kriging: networks that learn what these leave; 0: none"
    )
    predictd_constants: bool = Field(False, description="sgd: the paper's own penalties instead of λ and λ_G")
    sgd: SgdSettings = SgdSettings()
    als: AlsSettings = AlsSettings()

    model_config = ConfigDict(populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _rank_and_penalty_belong_to_em(cls, values: Any) -> Any:
        """Where no solver is named, a rank or a lambda says that factors are wanted."""
        given = isinstance(values, dict) and any(
            values.get(name, "auto") != "auto" for name in ("rank", "lambda", "regularisation")
        )
        return {"solver": "em", **values} if given else values

    @field_validator("rank")
    @classmethod
    def _rank_is_positive(cls, rank: int | str) -> int | str:
        if isinstance(rank, int) and rank < 1:
            raise ValueError("a rank is at least 1")
        return rank

    @field_validator("regularisation")
    @classmethod
    def _penalty_is_not_negative(cls, penalty: float | str) -> float | str:
        if isinstance(penalty, float) and penalty < 0:
            raise ValueError("a penalty is at least 0")
        return penalty


class NetworkSettings(Settings):
    """What `predictd network infer` infers links by."""

    method: Literal["rf", "et", "multi", "grnboost", "ridge", "clr", "pearson"] = "rf"
    trees: int | None = Field(
        None, ge=1, description="rf, et, multi: 1000 where it is not given; grnboost: 5000 at most"
    )
    top: int = Field(100, ge=1, description="links kept a target")
    min_importance: float = Field(0.0, ge=0, description="links of less are left out")
    quality: bool = Field(False, description="also the held-out R² of each target")


class Config(Settings):
    """A whole TOML file."""

    seed: int = Field(0, ge=0, lt=2**63)
    train: TrainSettings = TrainSettings()
    network: NetworkSettings = NetworkSettings()


def load_config(path: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Read a TOML file of settings and lay the command line's own values over it.

    Parameters
    ----------
    path
        The file; None for the defaults.
    overrides
        Nested values that win over the file's; entries that are None are left out.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key or value is not allowed.
    """
    where = f"settings in {path}" if path else "settings"
    values = _read_toml(path, where) if path is not None else {}
    return _validated(Config, _overlay(values, overrides or {}), where)


def read_settings(path: Path, group: type[Group], what: str) -> Group:
    """Read a TOML file that holds one group of settings.

    Parameters
    ----------
    path, group
        The file, and what it holds.
    what
        What it is called in messages.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key or value is not allowed.
    """
    where = f"{what} in {path}"
    return _validated(group, _read_toml(path, where), where)


def load_settings(group: type[Group], values: dict[str, Any]) -> Group:
    """A group of settings with these values, the others as they are without; ConfigError for one that may not be."""
    return _validated(group, values, "settings")


def _read_toml(path: Path, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise ConfigError(f"cannot read {where}: {err}") from err


def _validated(group: type[Group], values: dict[str, Any], where: str) -> Group:
    try:
        return group.model_validate(values)
    except ValidationError as err:
        first = err.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: '{key}': {first['msg'].lower()}") from err


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key, {}), dict):
            merged[key] = _overlay(merged.get(key, {}), value)
        elif isinstance(value, dict):
            continue  # The file has a value where a group belongs: left there to be refused.
        elif value is not None:
            merged[key] = value
    return merged
