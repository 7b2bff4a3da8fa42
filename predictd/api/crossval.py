"""Cross-validations: models that never saw what they are scored on, and intervals that are calibrated on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from predictd.api import frames
from predictd.api.imputing import impute_region, write_tracks
from predictd.api.inputs import Pair, Region, Source, path_of, path_or_none, using, whole
from predictd.api.model import settings_of
from predictd.api.tensor import Tensor, opened
from predictd.config import SolverName
from predictd.constants import COVERAGE_TSV, FOLDS_JSON, METRICS_TSV, RUN_JSON
from predictd.engine import Engine
from predictd.errors import ModelFormatError
from predictd.io.files import state_of
from predictd.io.results import read_run_json
from predictd.workflows.evaluation.regions import Regions
from predictd.workflows.imputing.calibration import read_calibration
from predictd.workflows.imputing.estimators import Loaded, load_estimator
from predictd.workflows.tensor.origin import made_from
from predictd.workflows.training.crossval import Crossval
from predictd.workflows.training.member_errors import MEMBERS_TSV

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class CrossValidation:
    """A finished cross-validation on disk; `cross_validate` and `load_cross_validation` give one.

    Parameters
    ----------
    path
        Directory that `cross_validate` or `predictd cv` made.

    Raises
    ------
    ModelFormatError
        If it is none, or unfinished.
    """

    def __init__(self, path: Source) -> None:
        self.path = path_of(path)
        if not (self.path / FOLDS_JSON).is_file():
            raise ModelFormatError(f"{self.path} is not a cross-validation; make one with cross_validate")
        if not (self.path / METRICS_TSV).is_file():
            raise ModelFormatError(f"{self.path} is unfinished; call cross_validate again to continue it")
        # Its models, and what run.json was when they were read.
        self._read: tuple[dict[str, Any], Loaded] | None = None

    def __reduce__(self) -> tuple[Callable[[Source], CrossValidation], tuple[Path]]:
        return CrossValidation, (self.path,)

    @property
    def tensor(self) -> Tensor:
        """The tensor that it was made from; TensorFormatError where it is gone, or was made again."""
        return Tensor(made_from(self._run(), self.path).path)

    @property
    def metrics(self) -> pd.DataFrame:
        """Every measure of every experiment by the model and the baselines: a row for each pair and method.

        The measures are explained on the page Evaluation.
        """
        return frames.read_frame(self.path / METRICS_TSV)

    @property
    def members(self) -> pd.DataFrame | None:
        """Errors of each member of the stack by itself, by pair; None for other solvers."""
        path = self.path / MEMBERS_TSV
        return frames.read_frame(path) if path.is_file() else None

    @property
    def coverage(self) -> pd.DataFrame | None:
        """How often intervals hold, by pair; None where there were too few bins to calibrate them."""
        path = self.path / COVERAGE_TSV
        return frames.read_frame(path) if path.is_file() else None

    @property
    def choices(self) -> dict[str, str]:
        """For each test fold, what settings were chosen, and why."""
        return dict(self._run()["results"]["choices"])

    def _run(self) -> dict[str, Any]:
        return read_run_json(self.path)

    @overload
    def impute(
        self,
        tensor: Tensor | Source | None = ...,
        pairs: str | Pair | Iterable[Pair] = ...,
        *,
        region: Region,
        write: None = ...,
        sd: Literal[False] = ...,
        engine: Engine | None = ...,
    ) -> xr.DataArray: ...

    @overload
    def impute(
        self,
        tensor: Tensor | Source | None = ...,
        pairs: str | Pair | Iterable[Pair] = ...,
        *,
        region: Region,
        write: None = ...,
        sd: Literal[True],
        engine: Engine | None = ...,
    ) -> xr.Dataset: ...

    @overload
    def impute(
        self,
        tensor: Tensor | Source | None = ...,
        pairs: str | Pair | Iterable[Pair] = ...,
        *,
        region: None = ...,
        write: Source,
        sd: bool = ...,
        engine: Engine | None = ...,
    ) -> pd.DataFrame: ...

    def impute(
        self,
        tensor: Tensor | Source | None = None,
        pairs: str | Pair | Iterable[Pair] = "missing",
        *,
        region: Region | None = None,
        write: Source | None = None,
        sd: bool = False,
        engine: Engine | None = None,
    ) -> xr.DataArray | xr.Dataset | pd.DataFrame:
        """Impute pairs in a region in memory, or whole tracks into files.

        An observed pair is imputed by the models that never saw it.

        Parameters
        ----------
        tensor
            None: the one that it was made from.
        pairs, region, write, engine
            See `Model.impute`.
        sd
            Give the standard deviation of each value as well, calibrated on the held-out experiments.

        Returns
        -------
        xarray.DataArray
            With a region: see `Model.impute`.
        xarray.Dataset
            With a region and `sd`: such arrays `signal` and `sd`, both in the unit of the tracks.
        pandas.DataFrame
            Else the table of the tracks that were written, with absolute paths.

        Raises
        ------
        PredictdError
            If tensor, pairs and region do not fit, or the output cannot be written.
        """
        own = self.tensor if tensor is None else opened(tensor)
        if region is None or write is not None:
            return write_tracks(self.path, own, pairs, region, write, sd=sd, engine=engine)
        calibration = read_calibration(self.path) if sd else None
        loaded = self._loaded
        return impute_region(
            loaded.estimator, own, pairs, region, calibration, info=loaded.info, source=self.path
        )

    @property
    def _loaded(self) -> Loaded:
        """Its models, read anew where it was made again, as all else of it is."""
        try:
            state = state_of(self.path / RUN_JSON)
        except OSError as err:
            raise ModelFormatError(
                f"{self.path} is not a finished cross-validation any more; call cross_validate again"
            ) from err
        if self._read is None or self._read[0] != state:
            self._read = state, load_estimator(self.path)
        return self._read[1]

    def __repr__(self) -> str:
        return f"<predictd.CrossValidation {str(self.path)!r}: {self._shape()}>"

    def _repr_html_(self) -> str:
        shape = escape(self._shape())
        return f"<p><b>predictd.CrossValidation</b> <code>{escape(str(self.path))}</code><br>{shape}</p>"

    def _shape(self) -> str:
        run = self._run()["results"]
        return f"{run['models']} models, {len(self.choices)} test folds"


def cross_validate(
    tensor: Tensor | Source,
    output: Source,
    *,
    solver: SolverName = "auto",
    rank: int | None = None,
    penalty: float | None = None,
    networks: int | None = None,
    seed: int = 0,
    folds: Source | None = None,
    promoters: Source | None = None,
    genes: Source | None = None,
    enhancers: Source | None = None,
    engine: Engine | None = None,
) -> CrossValidation:
    """Train models that never saw what they are tested on, score them, and calibrate intervals on their errors.

    Parameters
    ----------
    tensor
        The tensor, or its path.
    output
        Directory to write. A call that was interrupted goes on when it is repeated; a finished one is opened.
    solver, rank, penalty, networks
        See `train`; what is not given is chosen for each test fold on its own validation experiments.
    seed
        Of folds and of everything random.
    folds
        A folds.json; None: 5 test folds of 8 validation folds each.
    promoters, genes, enhancers
        BED files for MSEprom, MSEgene and MSEenh.
    engine
        What runs it; None: all CPUs of this machine.

    Raises
    ------
    PredictdError
        If data, folds and settings do not fit together, or `output` holds something else.
    """
    plan = Crossval(
        opened(tensor).path,
        path_of(output),
        settings_of(solver, rank, penalty, networks),
        seed=whole(seed, "seed"),
        folds=path_or_none(folds),
        regions=Regions(path_or_none(promoters), path_or_none(genes), path_or_none(enhancers)),
    )
    if not plan.finished:
        with using(engine) as own:
            plan.ensure(own)
    return CrossValidation(output)


def load_cross_validation(path: Source) -> CrossValidation:
    """Open a finished cross-validation; see `CrossValidation`."""
    return CrossValidation(path)
