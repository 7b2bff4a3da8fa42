"""How pairs are imputed: by models that were trained on them, that never saw them, or never observed at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from predictd.model.ensemble import Committee
from predictd.pairs import Experiment

# Values of the column `status` of tracks.tsv.
TRAINED, HELD_OUT, NEVER_OBSERVED = "trained on", "held out", "never observed"
# What metrics.tsv says of the fold of a pair that was trained on.
TRAINED_FOLD = "trained"


def statuses(
    estimator: Committee, pairs: Sequence[Experiment], observed: Iterable[Experiment]
) -> dict[Experiment, str]:
    """How each pair is imputed, given the experiments of the tensor.

    A pair is `trained on` if a model that imputes it read its own track, `held out` if it was observed but none did.
    """
    known, trained = set(observed), estimator.trained_on(pairs)
    return {
        pair: TRAINED if pair in trained else HELD_OUT if pair in known else NEVER_OBSERVED for pair in pairs
    }
