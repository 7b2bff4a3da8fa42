"""The stack and its members by name: weighed on validation folds, then refined by networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.engine.base import one_blas_thread
from predictd.errors import ConfigError, DataError
from predictd.model.cp.factors import CPModel
from predictd.model.folds import Fold, by_assay_alone
from predictd.model.stack.features import MOST_TRACKS, WINDOW, columns_of, sampled_moments
from predictd.model.stack.gains import errors_of_unseen, worthwhile
from predictd.model.stack.inputs import HALF_WIDTHS, CurveScales, Guide, related_assays
from predictd.model.stack.networks import FEWEST, Lesson, Networks, fit_network
from predictd.model.stack.pooling import Pooled
from predictd.model.stack.scales import Scales
from predictd.model.stack.stack import FEATURED, TOGETHER, StackModel
from predictd.model.stack.tracks import Tracks
from predictd.model.stack.weights import FARTHEST_SCALE, FARTHEST_SHIFT, Trials, Weights
from predictd.pairs import Experiment, axes
from predictd.workflows.tensor.context import ensure_window_sample, read_window_sample
from predictd.workflows.tensor.moments import TensorMoments, read_moments
from predictd.workflows.training.folds import deciding_folds, selection_folds
from predictd.workflows.training.settings import check_constants
from predictd.workflows.training.solvers.by_moments import MomentsSolver, moments_of
from predictd.workflows.training.solvers.em import Em
from predictd.workflows.training.solvers.solver import Choice, Fit, FitData
from predictd.workflows.training.solvers.standardised_em import StandardisedEm

Arrays = dict[str, npt.NDArray[np.generic]]


STANDARDISED_EM, _RAW_EM = StandardisedEm(), Em()
_DOUBTFUL = "em_raw"
_EMS: dict[str, Em] = {"em": STANDARDISED_EM, _DOUBTFUL: _RAW_EM}
_FACTORS = tuple(_EMS)
# Tracks on which networks are tested, about; of fewer networks too few learned from a few tracks each to be tested.
TESTED_TRACKS, FEWEST_TESTED = 64, 8


class Stack(MomentsSolver):
    """Some members of the stack (`predictd.model.stack`) and what networks add to them."""

    objective = "relative error"
    holds_out = False
    needs_cell_types = False

    def __init__(self, name: str, members: tuple[str, ...]) -> None:
        self.name, self.members = name, members

    def check(self, settings: TrainSettings, n_train: int) -> None:
        """See `Solver.check`; a rank, a penalty and the paper's penalties belong to other solvers and are refused."""
        check_constants(settings)
        for what, value in (("rank", settings.rank), ("penalty", settings.regularisation)):
            if value != "auto":
                raise ConfigError(
                    f"`{what}` works only with the solvers em, als and sgd; name one as `solver`, or leave it out"
                )

    def members_for(self, experiments: Sequence[Experiment]) -> tuple[str, ...]:
        """Its members for a tensor's experiments.

        There are no factors where cell types are held out of which no other experiment is known, and no features where
        experiments are many.
        """
        left: tuple[str, ...] = _FACTORS if by_assay_alone(experiments) else ()
        left += (FEATURED,) if len(experiments) > MOST_TRACKS else ()
        return tuple(name for name in self.members if name not in left)

    def choose(
        self, data: FitData, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
    ) -> Choice:
        """Weights of the members, and networks, by validation experiments that fits did not see."""
        experiments, members = data.tensor.experiments, self.members_for(data.tensor.experiments)
        if len(folds) == 1:
            folds = _folds_within(folds[0], experiments, seed)
        settled, factors, sweeps = settings.model_copy(update={"solver": self.name}), "", dict[str, int]()
        if set(_FACTORS) & {*self.members} - {*members}:
            factors = "; no em, since no experiment shares its cell type and its assay with others"
        if "em" in members:
            found = STANDARDISED_EM.search(data, folds, _of_em(settings), engine, seed=seed)
            settled = settled.model_copy(update={"rank": found.rank, "regularisation": found.regularisation})
            sweeps = self._sweeps(data, folds, settled, engine, seed=seed)
            factors = f"; em of rank {found.rank}, {STANDARDISED_EM.penalty_name} {found.regularisation:g}"
        assert data.moments is not None
        sample = sampled = None
        if FEATURED in members:
            sample = ensure_window_sample(data.tensor, engine, data.moments, named=data.named)
            (sampled,) = engine.map(_sampled, [sample], data.moments)
        trying = _Trying(self, data, settled, sweeps, seed, sampled)
        tried = engine.map(_try_fold, deciding_folds(folds), trying, label="members")
        trials = Trials.joined([attempt.trials for attempt in tried])
        # In an assay of small scale its errors are large: it needs a reason to count.
        weights = (
            Weights.with_doubtful(trials, members.index(_DOUBTFUL))
            if _DOUBTFUL in members
            else Weights.of(trials)
        )
        learned: Arrays = {"weights": weights.of_pools, "errors": weights.errors}
        learned |= {f"{name}_sweeps": np.array(n) for name, n in sweeps.items()}
        if sampled is not None:
            learned[FEATURED] = sampled
        if settings.networks and len(trials.donors) >= FEWEST:
            sample = sample or ensure_window_sample(data.tensor, engine, data.moments, named=data.named)
            own, gain = self._networks(data, tried, weights, sample, settings.networks, engine, seed=seed)
            learned |= own
            factors += gain
        return Choice(settled, _explain(members, trials, weights) + factors, learned)

    def _sweeps(
        self, data: FitData, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
    ) -> dict[str, int]:
        """How many sweeps of each EM are best on validation experiments: the median over folds.

        Fits to judge members by, and the final ones, make as many: stopped by the very tracks that judge it, a fit
        would look better than those that come of it.
        """
        searching = _Trying(self, data, settings, {}, seed, None)
        found = np.array(engine.map(_best_sweeps, deciding_folds(folds), searching, label="sweeps"))
        return dict(zip(_FACTORS, np.median(found, axis=0).astype(int).tolist(), strict=True))

    def _networks(
        self,
        data: FitData,
        tried: Sequence[_Tried],
        weights: Weights,
        sample: Path,
        n_networks: int,
        engine: Engine,
        *,
        seed: int,
    ) -> tuple[Arrays, str]:
        """What networks learn, with what they need to be led, and what they are worth; nothing if it is too little."""
        known = sorted(set().union(*({*one.model.train, *one.known.names} for one in tried)))
        related = related_assays(Pooled.of(_tracks(moments_of(data), known)))
        lessons = tuple(one.lesson(weights, related) for one in tried)
        teaching = _Teaching(lessons, sample, n_networks, seed)
        found = Networks.joined(engine.map(_fit_network, range(n_networks), teaching, label="networks"))
        gain = ""
        if n_networks >= FEWEST_TESTED:
            every = -(-sum(len(lesson.names) for lesson in lessons) // TESTED_TRACKS)
            testing = _Testing(teaching, found, every)
            tested = engine.map(_test_networks, range(len(lessons)), testing, label="testing networks")
            errors = np.concatenate(tested)
            share = (errors[:, 0] - errors[:, 1]).sum() / max(errors[:, 0].sum(), 1e-300)
            gain = f"; networks lower the error by {100 * share:.2g} % on experiments that they did not learn from"
            few = FEATURED in self.members_for(data.tensor.experiments)
            if not worthwhile(errors, few=few):
                return (
                    {},
                    f"{gain}, which is chance, or too little for the time that they take: they are left out",
                )
        (scales,) = engine.map(_curve_scales, [sample], None)
        own = {"related": related.astype(np.int64), "curve_means": scales.means, "curve_sds": scales.sds}
        return found.to_arrays() | own, gain

    def fit_moments(
        self, data: TensorMoments, fold: Fold, choice: Choice, *, seed: int, sweeps: int | None = None
    ) -> Fit:
        """See `MomentsSolver.fit_moments`; the members' weights and the networks are those of `choice.learned`."""
        learned = {name: np.asarray(array) for name, array in choice.learned.items()}
        weights = Weights(learned["weights"].astype(np.float64), learned["errors"].astype(np.float64))
        data = replace(data, sampled=learned.get(FEATURED))
        made = {name: int(learned[f"{name}_sweeps"]) for name in _FACTORS if f"{name}_sweeps" in learned}
        model = replace(self.unweighted(data, fold, choice.settings, made, seed=seed), weights=weights)
        if "related" in learned:
            scales = CurveScales(*(learned[name].astype(np.float64) for name in ("curve_means", "curve_sds")))
            model = replace(
                model,
                networks=Networks.from_arrays(dict(learned)),
                related=learned["related"].astype(np.intp),
                curve_scales=scales.some(data.columns(model.tracks.names)),
            )
        return Fit(model, _validation_mse(model, fold, data), ())

    def unweighted(
        self,
        data: TensorMoments,
        fold: Fold,
        settings: TrainSettings,
        sweeps: Mapping[str, int],
        *,
        seed: int,
    ) -> StackModel:
        """A model of a fold's training experiments alone, whose members all count the same; EM of so many sweeps."""
        cell_types, assays = axes(data.experiments)
        tracks = _tracks(data, fold.train)
        members = self.members_for(data.experiments)
        if tracks.features is None:
            members = tuple(name for name in members if name != FEATURED)
        fits: dict[str, CPModel] = {}
        alone = replace(fold, valid=())
        for name, em in _EMS.items():
            if name in members:
                choice = Choice(_of_em(settings), "")
                fitted = em.fit_moments(data, alone, choice, seed=seed, sweeps=sweeps.get(name)).model
                assert isinstance(fitted, CPModel)
                fits[name] = fitted
        return StackModel(
            tuple(cell_types),
            tuple(assays),
            fold.train,
            tracks,
            Scales.of(tracks),
            members,
            Weights.even(len(members)),
            fits.get("em"),
            fits.get("em_raw"),
        )


@dataclass(frozen=True)
class _Trying:
    """What members are tried on."""

    solver: Stack
    data: FitData
    settings: TrainSettings
    sweeps: Mapping[str, int]
    seed: int
    sampled: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class _Tried:
    """What members made of a fold's validation experiments that vary.

    Attributes
    ----------
    trials
        How they did.
    model
        Fitted to the fold's training experiments.
    known
        The validation experiments as tracks.
    maps, offsets
        What each member makes of them; see `StackModel.maps`.
    scales, shifts
        Predicted over true standard deviation of each track, and by how many of the latter its mean is predicted too
        low.
    """

    trials: Trials
    model: StackModel
    known: Tracks
    maps: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.float64]
    scales: npt.NDArray[np.float64]
    shifts: npt.NDArray[np.float64]

    def lesson(self, weights: Weights, related: npt.NDArray[np.intp]) -> Lesson:
        """What networks learn of it."""
        known, model = self.known, replace(self.model, weights=weights)
        stacked, _ = model.stacked(known.places, self.maps, self.offsets)
        guide = Guide.of(model.tracks, known.places, stacked, self.maps, model.pooled, related)
        own = weights.for_targets(model.n_donors(known.places)) * _in_own_units(model.members)
        corrections = own * (self.scales - 1.0)[:, np.newaxis]
        offsets = (own * (self.scales * self.offsets - self.shifts).T).sum(axis=1)
        tracks, names, places = model.tracks, known.names, known.places
        return Lesson(tracks, names, places, known.means, known.sds, guide, corrections, offsets)


def _best_sweeps(fold: Fold, shared: _Trying) -> list[int]:
    """Sweeps of each EM after which a fold's validation experiments are predicted best."""
    data, choice = moments_of(shared.data), Choice(_of_em(shared.settings), "")
    with one_blas_thread():
        fits = [em.fit_moments(data, fold, choice, seed=shared.seed) for em in _EMS.values()]
    return [fit.sweeps or 0 for fit in fits]


def _try_fold(fold: Fold, shared: _Trying) -> _Tried:
    """Predict a fold's validation experiments from its training experiments."""
    data = replace(moments_of(shared.data), sampled=shared.sampled)
    with one_blas_thread():
        model = shared.solver.unweighted(data, fold, shared.settings, shared.sweeps, seed=shared.seed)
        tracks = model.tracks
        known = _tracks(replace(data, sampled=None), fold.valid)
        maps, offsets = model.maps(known.places)
        names = (*tracks.names, *known.names)
        both = _tracks(data, names).every_correlation
        n, k = len(tracks.names), len(known.names)
        read = columns_of(np.arange(n), n + k)[: len(tracks.every_mean)]
        scales = model.scales.sds[known.places] / known.sds
        shifts = (known.means - model.scales.means[known.places]) / known.sds
        # What a model says in its own units does not depend on predicted scales and means, but where they bound it.
        own = _in_own_units(model.members)[:, np.newaxis]
        factors = np.where(own, scales, np.clip(scales, 1 / FARTHEST_SCALE, FARTHEST_SCALE))
        bounded = np.clip(shifts, -FARTHEST_SHIFT, FARTHEST_SHIFT)
        trials = Trials.of(
            maps * factors[..., np.newaxis],
            offsets * factors + own * (bounded - shifts),
            tracks.every_correlation,
            both[n : n + k, read],
            bounded,
            model.n_donors(known.places),
        )
    return _Tried(trials, model, known, maps, offsets, scales, shifts)


def _in_own_units(members: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which members predict a track itself, not its deviations from a predicted mean: bool (k,)."""
    return np.array([name == _DOUBTFUL for name in members])


@dataclass(frozen=True)
class _Teaching:
    """What networks learn from."""

    lessons: tuple[Lesson, ...]
    sample: Path
    n_networks: int
    seed: int


def _fit_network(index: int, shared: _Teaching) -> Networks:
    with one_blas_thread():
        sample = read_window_sample(shared.sample)
        return fit_network(shared.lessons, sample, index, shared.n_networks, shared.seed)


@dataclass(frozen=True)
class _Testing:
    """What networks are tested on: one of so many tracks of each lesson."""

    teaching: _Teaching
    networks: Networks
    every: int


def _test_networks(index: int, shared: _Testing) -> npt.NDArray[np.float64]:
    teaching = shared.teaching
    with one_blas_thread():
        sample = read_window_sample(teaching.sample)
        return errors_of_unseen(
            teaching.lessons[index], sample, shared.networks, teaching.seed, every=shared.every
        )


def _of_em(settings: TrainSettings) -> TrainSettings:
    """Settings for a fit of EM: of a single start, since other members steady the result."""
    als = settings.als.model_copy(update={"starts": 1})
    return settings.model_copy(update={"solver": "em", "als": als})


def _folds_within(fold: Fold, experiments: Sequence[Experiment], seed: int) -> list[Fold]:
    """Folds of a fold's training experiments; where none of these can be held out, the fold itself.

    Nor are they where the fold's alone would be held out by their assay, and the solver expects cell types.
    """
    if by_assay_alone(fold.train) > by_assay_alone(experiments):
        return [fold]
    try:
        return selection_folds(fold.train, seed)
    except DataError:
        return [fold]


def _tracks(data: TensorMoments, experiments: Sequence[Experiment]) -> Tracks:
    """Some experiments as tracks, with their features where these are known."""
    return Tracks.of(data.s, data.experiments, experiments, *axes(data.experiments), sampled=data.sampled)


def _sampled(sample: Path, moments: Path) -> npt.NDArray[np.float64]:
    """Moments of the tracks and of their features at a sample of bins: a task, since workers keep the sample."""
    values = read_window_sample(sample).values
    return sampled_moments(read_moments(moments).s, values[0], values[HALF_WIDTHS.index(WINDOW)])


def _curve_scales(sample: Path, _: None) -> CurveScales:
    """Of all tracks of a sample: a task as well."""
    return read_window_sample(sample).curve_scales


def _validation_mse(model: StackModel, fold: Fold, data: TensorMoments) -> float:
    """Before networks, in the unit of the transformed signal; NaN without validation experiments."""
    if not fold.valid:
        return float("nan")
    return float(data.errors(model.alone(fold.valid)[TOGETHER], model.tracks.names, fold.valid).mean())


def _explain(members: tuple[str, ...], trials: Trials, weights: Weights) -> str:
    """How members were weighed and how they did, in one line."""
    common = weights.of_pools.mean(axis=0)
    alone = np.diagonal(trials.gram, axis1=1, axis2=2) - 2 * trials.cross + trials.base[:, np.newaxis]
    parts = [
        f"{name} {weight:.2f} ({error:.3f})"
        for name, weight, error in zip(members, common, alone.mean(axis=0), strict=True)
    ]
    left = trials.errors(weights.for_targets(trials.donors)).mean()
    return (
        f"{', '.join(parts)}: error {left:.3f} of the variance on {len(trials.donors)} held-out experiments "
        "(in brackets each member's own)"
    )
