"""How many updates a worker of SGD makes between two merges, so that merging stays a small part of the time.

The number decides what a descent comes to, so that it is measured only where `updates_per_round` is "auto".
"""

from __future__ import annotations

import math
from dataclasses import replace

from predictd.workflows.training.sgd.descent import SgdProblem

_EXCHANGE_SHARE = 0.1
# Less is not worth a word.
_WASTE_SECONDS = 10.0
_PROBE_EVALUATIONS = 5
_UNIT = 1000


def probe(problem: SgdProblem) -> SgdProblem:
    """A few rounds of a problem, whose seconds tell what an update and an exchange take."""
    settings = problem.settings
    rounds = _PROBE_EVALUATIONS * settings.rounds_per_evaluation
    few = settings.model_copy(update={"max_rounds": min(rounds, settings.max_rounds), "burn_in_epochs": 0.0})
    return replace(problem, settings=few, phase="measure")


def enough_updates(update_seconds: float, exchange_seconds: float, updates_per_round: int) -> int:
    """Updates a round, in thousands, that bring the exchange to a tenth of the time; no fewer than there were.

    Parameters
    ----------
    update_seconds, exchange_seconds
        Of a worker's rounds; see `DescentResult`.
    updates_per_round
        That they were measured with.
    """
    enough = updates_per_round * exchange_seconds / update_seconds * (1 / _EXCHANGE_SHARE - 1)
    return max(updates_per_round, math.ceil(enough / _UNIT) * _UNIT)


def exchange_advice(update_seconds: float, exchange_seconds: float, updates_per_round: int) -> str | None:
    """What to set where workers spend too much of their rounds with exchanging; None where they do not.

    Parameters
    ----------
    update_seconds, exchange_seconds, updates_per_round
        As for `enough_updates`.
    """
    total = update_seconds + exchange_seconds
    if exchange_seconds < _WASTE_SECONDS or exchange_seconds <= _EXCHANGE_SHARE * total:
        return None
    enough = enough_updates(update_seconds, exchange_seconds, updates_per_round)
    return (
        f"the workers spent {exchange_seconds / total:.0%} of their rounds exchanging factors and waiting for each "
        f'other; set updates_per_round to {enough} or "auto" in the settings of sgd, which is another descent, or '
        "take fewer `workers`"
    )
