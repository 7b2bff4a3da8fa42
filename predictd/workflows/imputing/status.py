"""How pairs are imputed: by models that were trained or steered by them, that never saw them, or never observed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from predictd.model.ensemble import Committee
from predictd.pairs import Experiment

# Values of the column `status` of tracks.tsv.
TRAINED, VALIDATION, HELD_OUT = "trained on", "validation", "held out"
NEVER_OBSERVED = "never observed"
# What metrics.tsv says of the fold of pairs whose scores are not held-out errors.
NOT_HELD_OUT_FOLDS = {TRAINED: "trained", VALIDATION: "validation"}


def statuses(
    estimator: Committee,
    pairs: Sequence[Experiment],
    observed: Iterable[Experiment],
    validation: Collection[Experiment],
) -> dict[Experiment, str]:
    """How each pair is imputed, given the experiments of the tensor, and those that models were validated on.

    A pair is `trained on` if a model that imputes it read its own track, `validation` if settings, or when to stop, may
    have been chosen on it, `held out` if it was observed, but no model saw it.
    """
    found = dict.fromkeys(pairs, NEVER_OBSERVED)
    for status, own in (
        (HELD_OUT, observed),
        (VALIDATION, validation),
        (TRAINED, estimator.trained_on(pairs)),
    ):
        found |= dict.fromkeys(found.keys() & set(own), status)
    return found
