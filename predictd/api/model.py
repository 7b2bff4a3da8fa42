"""Models: trained, kept in files, and applied to a tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from predictd.api import frames
from predictd.api.imputing import impute_region, write_tracks
from predictd.api.inputs import Pair, Region, Source, called, path_of, path_or_none, table, using, whole
from predictd.api.tensor import Tensor, opened
from predictd.config import SolverName, TrainSettings, load_settings
from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.io.checkpoint import Checkpoint
from predictd.io.files import make_directory
from predictd.io.models import ModelFile, write_model
from predictd.io.results import write_run_json
from predictd.io.temporary import temporary_folder
from predictd.io.tensor import store
from predictd.model.ensemble import Committee
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.workflows.evaluation.factors import factor_tables
from predictd.workflows.imputing import estimators
from predictd.workflows.training import extend as extending
from predictd.workflows.training import train as training

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Factors(NamedTuple):
    """Factors of a model, as tables whose rows are in the order of a tree of what is alike.

    Attributes
    ----------
    cell_types, assays
        DataFrames with the name, `cluster`, `component1` and `component2` (principal components), `bias`, and
        `factor1`, `factor2`, …: how much each factor adds to the transformed signal of the row, as the root mean
        square over the bins and over all assays (all cell types), with the sign of the factor. Tree, clusters and
        components follow distances: squared, these are mean squared differences between the imputed tracks of two
        rows, before clipping and without the biases.
    """

    cell_types: pd.DataFrame
    assays: pd.DataFrame


class Model:
    """A trained model; `train` and `load_model` make one.

    Attributes
    ----------
    info
        Plain values: settings, fold, seed, validation error, checksum of the tensor, software.
    """

    def __init__(
        self, file: ModelFile, record: RunRecord | None = None, *, source: str = "the model"
    ) -> None:
        if not isinstance(file, ModelFile):
            raise ConfigError("open a file of a model with predictd.load_model")
        self._file, self._record, self._source = file, record, source
        self._model = estimators.model_of(file, source)

    @property
    def info(self) -> dict[str, Any]:
        """How it was made, as plain values."""
        return dict(self._file.info)

    @property
    def solver(self) -> str:
        """Name of the solver that fitted it."""
        return str(self._file.info.get("solver", self._file.kind))

    @property
    def cell_types(self) -> list[str]:
        """Names of the cell types that it knows."""
        return list(self._model.cell_types)

    @property
    def assays(self) -> list[str]:
        """Names of the assays that it knows."""
        return list(self._model.assays)

    @property
    def train(self) -> list[Experiment]:
        """Experiments that it was trained on, which it reads when it imputes."""
        return list(self._model.train)

    @property
    def validation_mse(self) -> float:
        """Mean squared error over the validation experiments, of transformed signal; NaN where it is not known.

        It is not a held-out error: settings, or when to stop, may have been chosen on the same experiments.
        """
        return float(self._file.info.get("validation_mse", float("nan")))

    @overload
    def impute(
        self,
        tensor: Tensor | Source,
        pairs: str | Pair | Iterable[Pair] = ...,
        *,
        region: Region,
        write: None = ...,
        sd: bool = ...,
        engine: Engine | None = ...,
    ) -> xr.DataArray: ...

    @overload
    def impute(
        self,
        tensor: Tensor | Source,
        pairs: str | Pair | Iterable[Pair] = ...,
        *,
        region: None = ...,
        write: Source,
        sd: bool = ...,
        engine: Engine | None = ...,
    ) -> pd.DataFrame: ...

    def impute(
        self,
        tensor: Tensor | Source,
        pairs: str | Pair | Iterable[Pair] = "missing",
        *,
        region: Region | None = None,
        write: Source | None = None,
        sd: bool = False,
        engine: Engine | None = None,
    ) -> xr.DataArray | pd.DataFrame:
        """Impute pairs in a region in memory, or whole tracks into files.

        Parameters
        ----------
        tensor
            It has the experiments that the model was trained on.
        pairs
            `missing`, `observed`, `all`; or pairs as `E003:H3K27ac` or (cell type, assay). A pair that the model was
            trained on shows how well the model fits, not how well it predicts.
        region
            `chr1:1,000-2,000` (0-based, half-open), `chr1`, or (chromosome, start, end).
        write
            Directory for a bigWig a pair and `tracks.tsv`, as `predictd impute` writes them.
        sd
            For cross-validations only: a single model does not know its errors.
        engine
            For whole tracks: what runs it; None: all CPUs of this machine.

        Returns
        -------
        xarray.DataArray
            With a region: float32, dimensions `bin` and `experiment`, in the unit of the tracks; NaN where a bin cannot
            be imputed.
        pandas.DataFrame
            Else the table of the tracks that were written, with absolute paths.

        Raises
        ------
        PredictdError
            If model, tensor, pairs and region do not fit, or the output cannot be written.
        """
        if sd:
            raise ConfigError(
                "`sd`: a single model does not know its errors; impute with a cross-validation, whose intervals are "
                "calibrated on experiments that the models never saw"
            )
        own = opened(tensor)
        if region is not None and write is None:
            model = Committee((self._model,))
            return impute_region(model, own, pairs, region, info=self.info, source=self._source)
        with self._on_disk() as path:
            return write_tracks(path, own, pairs, region, write, engine=engine)

    def factors(self) -> Factors:
        """Factors of cell types and assays.

        Raises
        ------
        DataError
            If the model has none: those of the solvers em, als and sgd do. Or if its file is of an earlier version,
            and does not say how large the genome's factors are.
        """
        found = factor_tables(estimators.as_cp_model(self._model, self._source)).tables
        return Factors(*(frames.frame(found[kind].rows, found[kind].columns) for kind in Factors._fields))

    def save(self, path: Source) -> Model:
        """Write the model into a file, and how it was made into `PATH.run.json`; an older file is replaced.

        Returns
        -------
        Model
            The same.
        """
        output = path_of(path)
        make_directory(output.parent)
        write_model(output, self._file)
        if self._record is not None:
            write_run_json(self._record, output, sidecar=True)
        return self

    @contextmanager
    def _on_disk(self) -> Iterator[Path]:
        """A file of the model, which workers of this machine open."""
        with temporary_folder() as temporary:
            path = temporary / "model.h5"
            write_model(path, self._file)
            with called(path, self._source):
                yield path

    def __repr__(self) -> str:
        return f"<predictd.Model: {self._shape()}>"

    def _repr_html_(self) -> str:
        return f"<p><b>predictd.Model</b><br>{escape(self._shape())}</p>"

    def _shape(self) -> str:
        return (
            f"{self.solver}, trained on {len(self.train)} experiments of {len(self.cell_types)} cell types × "
            f"{len(self.assays)} assays, validation MSE {self.validation_mse:.4g}"
        )


def train(
    tensor: Tensor | Source,
    *,
    solver: SolverName = "auto",
    rank: int | None = None,
    penalty: float | None = None,
    networks: int | None = None,
    seed: int = 0,
    folds: Source | None = None,
    fold_name: str | None = None,
    engine: Engine | None = None,
) -> Model:
    """Fit a model to a tensor.

    Parameters
    ----------
    tensor
        The tensor, or its path. Its moments are kept in its directory.
    solver
        `auto` is the stack of all members; `donors`, `kriging`, `em`, `als` and `sgd` are single ones.
    rank, penalty
        Of factors: how many, and λ; None: chosen on validation experiments. One of them without a solver means em.
    networks
        Of the stack, donors and kriging: how many learn what these leave; 0: none; None: 16.
    seed
        Of everything random.
    folds, fold_name
        A folds.json and the name of one of its folds, to be trained alone; None: a seeded eighth of the experiments
        validates, then all are fitted.
    engine
        What runs it; None: all CPUs of this machine.

    Returns
    -------
    Model
        In memory; `Model.save` writes it.

    Raises
    ------
    PredictdError
        If data and settings do not allow it.
    """
    settings = settings_of(solver, rank, penalty, networks)
    with using(engine) as own, temporary_folder() as temporary:
        state = Checkpoint(temporary / "checkpoint")
        found = training.fit(
            store.Tensor(opened(tensor).path),
            settings,
            own,
            state,
            seed=whole(seed, "seed"),
            folds=path_or_none(folds),
            fold_name=fold_name,
        )
        state.release()
    return Model(found.file, replace(found.record, _usage=None))


def settings_of(
    solver: SolverName, rank: int | None, penalty: float | None, networks: int | None
) -> TrainSettings:
    """Settings of a fit, where None leaves the default; ConfigError for what is out of range."""
    # What is "auto" is left to the settings: a rank or a penalty alone says that factors are wanted.
    given = {"solver": solver, "rank": rank, "lambda": penalty, "networks": networks}
    return load_settings(
        TrainSettings, {name: value for name, value in given.items() if value not in (None, "auto")}
    )


def load_model(path: Source) -> Model:
    """Read a model that `Model.save`, `predictd train` or a cross-validation wrote.

    Raises
    ------
    ModelFormatError
        If it is missing, damaged or foreign.
    """
    own = path_of(path)
    _, file = estimators.load_model(own)
    return Model(file, source=str(own))


def extend(
    model: Model | Source,
    tensor: Tensor | Source,
    tracks: Source | pd.DataFrame | None = None,
    *,
    penalty: float | None = None,
    engine: Engine | None = None,
) -> Model:
    """A model that knows new cell types and assays as well, without training again.

    Parameters
    ----------
    model
        One that has factors (em, als, sgd), or its path.
    tensor
        It has the model's training experiments; without `tracks`, the new experiments, too.
    tracks
        Track table of new experiments, or a DataFrame of one.
    penalty
        λ of the new rows; None: that of the model's training.
    engine
        What runs it; None: all CPUs of this machine.

    Raises
    ------
    PredictdError
        If model, tensor and tracks do not fit.
    """
    own = model if isinstance(model, Model) else load_model(model)
    listed = nullcontext(None) if tracks is None else table(tracks)
    with own._on_disk() as path, listed as new, using(engine) as running:
        larger = path.with_name("larger.h5")
        extending.extend(path, opened(tensor).path, new, larger, running, penalty=penalty)
        return Model(estimators.load_model(larger)[1])
