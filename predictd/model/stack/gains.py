"""Whether networks are worth what they cost: what they take off the error of tracks that they did not learn from."""

from __future__ import annotations

import numpy as np

from predictd.interrupt import give_up_if_asked
from predictd.model.stack.networks import Float64, Lesson, Networks, WindowSample, exercise
from predictd.model.stack.weights import is_gain

# Bins at which a track is predicted.
TESTED_BINS = 4096


def errors_of_unseen(
    lesson: Lesson, sample: WindowSample, networks: Networks, seed: int, *, every: int = 1
) -> Float64:
    """How networks do on known tracks that they did not learn from, out of the bag (Breiman 1996).

    Parameters
    ----------
    lesson
        The tracks.
    sample
        Whose bins are predicted.
    networks
        Of these, a track is predicted by the ones that learned from a few others.
    seed
        Of the bins.
    every
        One of so many tracks is predicted.

    Returns
    -------
    float64 (tracks × 2)
        The squared error that the stack leaves, and that with what networks add, over the track's variance. Tracks that
        all networks have seen are left out.
    """
    found = []
    for row in range(0, len(lesson.names), every):
        cell, assay = (int(axis[row]) for axis in lesson.places)
        weights = networks.weights(cell, assay, unseen=True)
        if not weights.any():
            continue
        give_up_if_asked()
        rng = np.random.default_rng([seed, row])
        n_bins = sample.values.shape[1]
        rows = rng.choice(n_bins, min(n_bins, TESTED_BINS), replace=False)
        read, wanted = exercise(lesson, row, sample, rows)
        left = wanted - networks(read, weights)
        found.append([np.square(values, dtype=np.float64).mean() for values in (wanted, left)])
    return np.array(found, dtype=np.float64).reshape(-1, 2)


def worthwhile(errors: Float64, *, few: bool = False) -> bool:
    """Whether networks take enough off errors, as of `errors_of_unseen`.

    They take many times as long as all else: `is_gain` says what is worth that. An error above the variance counts as
    the variance, so that a track that nothing predicts does not decide. Of fewer than two tracks nothing is known, and
    networks stay. With `few` they stay if the mean is above 0: of few tracks small gains are hard to see, and there are
    few pairs to impute.
    """
    if len(errors) < 2:
        return True
    if few:
        return bool((errors[:, 0] - errors[:, 1]).mean() > 0)
    before, after = np.minimum(errors, 1.0).T
    return is_gain(before - after)
