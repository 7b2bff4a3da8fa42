"""What is said of a tensor before it is used: how much is complete, and which tracks are no signal of their own."""

from __future__ import annotations

import logging
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from predictd.constants import REFUSE_COMPLETE, WARN_COMPLETE
from predictd.errors import DataError
from predictd.io.tensor.manifest import Manifest
from predictd.io.tensor.store import Tensor
from predictd.model.labels.labels import Standardised, standardise
from predictd.model.labels.quality import amplitudes_off, same_signal
from predictd.model.ranges import Spans
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment, axes, rows_of
from predictd.wording import some
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.tensor.ranges import artefacts_of

log = logging.getLogger(__name__)

# Tracks that a message names before it counts the rest.
_NAMED = 3
# How many times as strong or as weak as expected a track is that is named: of transformed signal, where arcsinh makes
# 3 of 10 to 1000.
_FACTOR = 3.0

Mask = npt.NDArray[np.bool_]


def warn_incomplete(tensor: Tensor) -> None:
    """Log a warning that names the worst tracks when under 95 % of the bins are complete."""
    if tensor.n_complete < WARN_COMPLETE * tensor.n_bins:
        log.warning("%s", _incomplete(tensor))


def warn_odd(tensor: Tensor) -> None:
    """Log a warning of tracks with the same signal everywhere, and one of those with an artefact in a single bin."""
    spans = Spans.of(tensor.summary())
    constant = np.flatnonzero(spans.sds == 0)
    if constant.size:
        log.warning(
            "the same signal in every bin of %s: such a track holds no information; check the file, or leave it out",
            some((tensor.experiments[i] for i in constant), _NAMED),
        )
    artefacts = [
        f"{tensor.experiments[i]} ({spans.highest[i]:g}, {spans.above[i]:.0f} standard deviations above its mean)"
        for i in np.flatnonzero(artefacts_of(tensor))
    ]
    if artefacts:
        log.warning(
            "a single bin far beyond all others in %s: it is taken for an artefact, and cut off where models read it; "
            "leave the region out when you ingest (`exclude`), or the track",
            some(artefacts, _NAMED),
        )


def warn_same_files(manifest: Manifest) -> None:
    """Log a warning of files that are the tracks of several experiments, by their checksums, or their paths."""
    files: dict[str, list[tuple[Experiment, str]]] = defaultdict(list)
    for entry in manifest.experiments:
        for source in entry.sources:
            files[source.sha256 or source.path].append((entry.experiment, source.path))
    same = []
    for users in files.values():
        pairs, paths = ({user[part]: None for user in users} for part in (0, 1))
        if len(pairs) > 1:
            same.append(f"{' and '.join(map(str, pairs))} ({some(paths, _NAMED)})")
    if same:
        log.warning(
            "the same file under several labels: %s; find out which is right, correct the table, and ingest again",
            some(same, _NAMED),
        )


def warn_suspicious(tensor: Tensor, data: TensorMoments) -> None:
    """Log a warning of tracks that are one track under several labels, and one of those that may be in another unit."""
    standard, experiments = standardise(data.s), data.experiments
    sound = ~artefacts_of(tensor)[tensor.columns(experiments)]
    _warn_amplitudes(tensor, data, standard, sound & ~standard.constant)
    same = [
        f"{experiments[i]} and {experiments[j]} (r {standard.correlations[i, j]:.4f})"
        for i, j in same_signal(standard.correlations, sound)
    ]
    if same:
        log.warning(
            "the same signal under two labels: %s; one label is wrong, and makes predictions from it wrong: find out "
            "which, correct the table of tracks, and ingest again",
            some(same, _NAMED),
        )


def _warn_amplitudes(tensor: Tensor, data: TensorMoments, standard: Standardised, used: Mask) -> None:
    """Log a warning of tracks that are many times as strong, or as weak, as the others suggest."""
    transforms = tensor.manifest.transforms
    positive = np.array([TRANSFORMS[transforms[e.assay]].clipped for e in data.experiments])
    off = amplitudes_off(
        standard,
        *rows_of(data.experiments, *axes(data.experiments)),
        used=used,
        positive=positive,
        factor=_FACTOR,
    )
    found = [
        f"{data.experiments[i]} ({np.exp(off[i]):.2g} times)"
        for i in np.argsort(-np.abs(off), kind="stable")[: np.count_nonzero(off)]
    ]
    if found:
        log.warning(
            "a signal much stronger or weaker than the other tracks of the cell type and of the assay suggest, after "
            "the transform: %s; the file may be in another unit, or hold noise or hardly any signal, and makes "
            "predictions from it wrong: check it, or leave the track out",
            some(found, _NAMED),
        )


def require_complete(tensor: Tensor) -> None:
    """Warn under 95 % complete bins, and of odd tracks; see `warn_odd`.

    Raises
    ------
    DataError
        Under 50 %: what would be learned is about a small part of the genome.
    """
    if tensor.n_complete < REFUSE_COMPLETE * tensor.n_bins:
        raise DataError(f"{_incomplete(tensor)}; at least {REFUSE_COMPLETE:.0%} are needed")
    warn_incomplete(tensor)
    warn_odd(tensor)


def _incomplete(tensor: Tensor) -> str:
    share = tensor.n_complete / tensor.n_bins
    observed = tensor.summary()[:, 0] / tensor.n_bins
    worst = [
        f"{tensor.experiments[i]} ({observed[i]:.1%})" for i in np.argsort(observed)[:3] if observed[i] < 1
    ]
    return (
        f"only {tensor.n_complete:,} of {tensor.n_bins:,} bins ({share:.1%}) of "
        f"{tensor.path} have a value in every experiment; the least covered are {', '.join(worst)}: leave them out of "
        "the table, or ingest only regions that all cover; or, where no signal means zero, uncovered positions as zero"
    )
