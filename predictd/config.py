"""Settings of a run: their defaults, their limits, and how they are read from a TOML file.

The command line carries what a run needs every time; the rest is science and is set here. Unknown keys are errors.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from predictd.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib


# Of each worker between two merges, in the paper.
_PAPER_UPDATES = 5000


SolverName = Literal["auto", "stack", "donors", "kriging", "em", "als", "sgd"]
# Settings of some solvers: reports of others leave them out.
READ_BY: dict[str, tuple[SolverName, ...]] = {
    "als": ("auto", "stack", "em", "als"),
    "sgd": ("sgd",),
    "predictd_constants": ("sgd",),
    "networks": ("auto", "stack", "donors", "kriging"),
}


# What pydantic adds to the name of a setting that may be of several types.
_TYPES = ("int", "float", "constrained-int", "literal['auto']")


class Settings(BaseModel):
    """Base of all groups of settings: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Group = TypeVar("Group", bound=Settings)


class SgdSettings(Settings):
    """The paper's stochastic gradient descent (Durham et al. 2018, Methods; Nadam: Dozat 2016)."""

    learning_rate: float = Field(0.005, gt=0, description="size of a step")
    beta1: float = Field(0.9, gt=0, lt=1, description="momentum: decay of the mean of gradients")
    beta2: float = Field(0.999, gt=0, lt=1, description="decay of the mean of squared gradients")
    epsilon: float = Field(1e-8, gt=0, description="added to the root of that mean")
    decay: float = Field(1e-6, ge=0, lt=1, description="per-update decay of learning rate and beta1")
    init: float = Field(0.33, gt=0, description="factors start uniform in (-init, init)")
    dtype: Literal["float32", "float64"] = Field("float32", description="precision of the factors")

    bin_fraction: float = Field(0.01, gt=0, le=1, description="share of the bins that is trained on")
    min_bins: int = Field(8000, ge=1, description="train on at least so many bins where there are as many")
    burn_in_bins: int = Field(8000, ge=1, description="bins that are trained on first")
    burn_in_epochs: float = Field(0.5, ge=0, description="passes over these before all others")
    updates_per_round: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        _PAPER_UPDATES,
        description="updates of each worker between two merges; auto: enough to make merging cheap",
    )
    max_rounds: int = Field(30_000, ge=1, description="stop after so many merges")

    rounds_per_evaluation: int = Field(3, ge=1, description="merges between two evaluations")
    window: int = Field(15, ge=2, description="evaluations in each of the two windows that are compared")
    window_shift: int = Field(5, ge=1, description="evaluations that the windows are apart")
    min_improvement: float = Field(
        1e-5, ge=0, description="fall of the validation error between them that counts"
    )
    significance: float = Field(
        0.05, gt=0, lt=1, description="p of the rank-sum test below which there was no such fall"
    )
    patience: int = Field(35, ge=1, description="stop when the best evaluation is older than this")
    max_restores: int = Field(3, ge=0, description="times to go back to the best with half the learning rate")

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
    start_sweeps: int = Field(20, ge=1, description="sweeps of each start")
    max_sweeps: int = Field(500, ge=1, description="stop after so many sweeps")
    tolerance: float = Field(1e-6, ge=0, description="relative change of the objective that ends a descent")
    evaluate_every: int = Field(5, ge=1, description="sweeps between two evaluations")
    patience: int = Field(40, ge=1, description="stop when the best evaluation is so many sweeps old")


class TrainSettings(Settings):
    """What `predictd train` and `predictd cv` fit."""

    solver: SolverName = Field(
        "auto", description="how models are fitted; auto: stack, or em where a rank or a lambda is given"
    )
    rank: int | Literal["auto"] = Field(
        "auto", description="number of components; auto: chosen on validation experiments"
    )
    regularisation: float | Literal["auto"] = Field(
        "auto",
        alias="lambda",
        description="λ, penalty of cell and assay factors (em: strength of their prior); auto: chosen, too",
    )
    lambda_g: float = Field(
        3.0, gt=0, description="λ_G, penalty of the genome's factors (sgd, als; em estimates it)"
    )
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


NetworkMethod = Literal["rf", "et", "multi", "grnboost", "ridge", "clr", "pearson", "auto"]
# What others call these methods.
NETWORK_METHOD_NAMES = {"genie3": "rf", "grnboost2": "grnboost"}


def network_method(name: Any) -> Any:
    """What a method of inference is called here; other names as they are."""
    return NETWORK_METHOD_NAMES.get(name.casefold(), name) if isinstance(name, str) else name


class NetworkSettings(Settings):
    """What `predictd network infer` infers links by."""

    method: Annotated[NetworkMethod, BeforeValidator(network_method)] = Field(
        "rf", description="how links are inferred"
    )
    trees: int | None = Field(
        None, ge=1, description="trees of each target; where not set 1000, and 5000 at most for grnboost"
    )
    top: int = Field(100, ge=1, description="links to keep of each target")
    min_importance: float = Field(0.0, ge=0, description="links of less are left out")
    quality: bool = Field(False, description="measure the held-out R² of each target, too")


class Config(Settings):
    """A whole TOML file."""

    seed: int = Field(0, ge=0, lt=2**63, description="seed of everything random")
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


def defaults_toml() -> str:
    """All settings with their defaults as a TOML file that `load_config` reads, each below what it means."""
    return (
        "\n".join(["# Settings of predictd; those left out have the values below.", *_toml_lines(Config())])
        + "\n"
    )


def changes(config: Config) -> list[tuple[str, Any, Any]]:
    """Name, value and default of each setting that is not the default, in the order of the settings."""
    defaults = dict(_flat(Config()))
    return [(name, value, defaults[name]) for name, value in _flat(config) if value != defaults[name]]


def _entries(settings: Settings) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Name in a TOML file, field and value of each setting of a group."""
    for name, field in type(settings).model_fields.items():
        yield field.alias or name, field, getattr(settings, name)


def _flat(settings: Settings, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, _, value in _entries(settings):
        if isinstance(value, Settings):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _toml_lines(settings: Settings, above: str = "") -> Iterator[str]:
    groups = []
    for name, field, value in _entries(settings):
        if isinstance(value, Settings):
            groups.append((f"{above}{name}", value))
            continue
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        yield f"# {field.description}"
        if choices:
            yield f"# one of {', '.join(choices)}"
        # TOML has no way to say that something is not set.
        yield f"# {name} =" if value is None else f"{name} = {json.dumps(value)}"
    for name, group in groups:
        summary = (type(group).__doc__ or "").splitlines()[0]
        yield from ("", f"# {summary}", f"[{name}]", *_toml_lines(group, f"{name}."))


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
        # Behind the names of settings pydantic says which of several types was tried.
        key = ".".join(str(part) for part in first["loc"] if part not in _TYPES)
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: '{key}': {reason[:1].lower()}{reason[1:]}") from err


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
