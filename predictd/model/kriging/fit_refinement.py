"""How the networks of a refinement learn: from training tracks, each kriged from the others, at sampled bins."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.model.imputer import BASES, Feature, Regressor
from predictd.model.kriging.kriging import KrigingModel
from predictd.model.kriging.refinement import SCALES, Refinement
from predictd.pairs import Experiment, positions

Float32 = npt.NDArray[np.float32]

# Units of each hidden layer; tracks that a network learns from, and bins of each; how it learns from them. On the pilot
# tracks networks that learned from three tracks each and were averaged did better than such of fewer or of all tracks.
WIDTH = 32
TRACKS = 3
BINS = 16_000
EPOCHS = 6
BATCH = 1024
LEARNING_RATE = 2e-3
PENALTY = 1e-2
# The strongest bins of a track, by their share, count twice: least squares alone predict peaks too low.
STRONGEST = 0.01
# With fewer tracks there is too little to learn from.
FEWEST = 6


@dataclass(frozen=True)
class ContextSample:
    """Signal at some bins all over the genome, with what stands around them.

    Attributes
    ----------
    experiments
        The N experiments of a tensor.
    values
        float32 (scales × bins × N): their means over the windows of `SCALES`; without NaN.
    """

    experiments: tuple[Experiment, ...]
    values: Float32

    def features(self, features: Sequence[Feature], rows: npt.NDArray[np.intp]) -> Float32:
        """Features of an imputer at some of the bins: (len(rows) × k)."""
        built = np.empty((len(rows), len(features)), dtype=np.float32)
        for regressor in sorted({Regressor(*feature[1:]) for feature in features}):
            those = np.flatnonzero([feature[1:] == regressor for feature in features])
            if regressor.half_width and regressor.basis != "value":
                raise ValueError(f"a sample has no {regressor}")
            scale = SCALES.index(Regressor(regressor.half_width))
            columns = self.columns([features[index].experiment for index in those.tolist()])
            built[:, those] = BASES[regressor.basis](self.values[scale][np.ix_(rows, columns)])
        return built

    def columns(self, experiments: Sequence[Experiment]) -> npt.NDArray[np.intp]:
        """Their places in `values`."""
        return positions(experiments, self.experiments)


def fit_refinement(
    model: KrigingModel,
    sample: ContextSample,
    krige: Callable[[tuple[Experiment, ...]], KrigingModel],
    *,
    n_networks: int,
    rng: np.random.Generator,
) -> Refinement | None:
    """Fit networks to what kriging leaves of the tracks that a model reads.

    Parameters
    ----------
    model
        Whose predictions are to be refined.
    sample
        What is learned from.
    krige
        Fits a model like it to some training experiments.
    n_networks
        R.
    rng
        Draws tracks and bins, and starts the networks.

    Returns
    -------
    Refinement or None
        None where the model reads fewer than `FEWEST` tracks that vary.
    """
    # An import of a second, and for those who fit networks alone.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    tracks = model.surroundings.tracks
    if n_networks == 0 or len(tracks) < FEWEST:
        return None
    n_bins = min(BINS, sample.values.shape[1])
    order: list[int] = []
    while len(order) < n_networks * TRACKS:
        order += rng.permutation(len(tracks)).tolist()
    fitted, learned = [], []
    for r in range(n_networks):
        own = [tracks[index] for index in order[r * TRACKS : (r + 1) * TRACKS]]
        rows = [drawn_bins(track, sample, n_bins, rng) for track in own]
        tasks = [
            _lesson(track, model.train, sample, krige, some) for track, some in zip(own, rows, strict=True)
        ]
        network = MLPRegressor(
            hidden_layer_sizes=(WIDTH, WIDTH),
            alpha=PENALTY,
            batch_size=min(BATCH, n_bins),
            learning_rate_init=LEARNING_RATE,
            max_iter=EPOCHS,
            random_state=int(rng.integers(2**31)),
        )
        with warnings.catch_warnings():
            # It is meant to stop early.
            warnings.simplefilter("ignore", ConvergenceWarning)
            read, wanted = (np.concatenate(parts) for parts in zip(*tasks, strict=True))
            network.fit(read, wanted)
        weights, biases = network.coefs_, network.intercepts_
        # Weights of what never changed are as they were drawn; they would add noise where it is otherwise.
        constant = np.ptp(read, axis=0) == 0
        biases[0] += read[0, constant] @ weights[0][constant]
        weights[0][constant] = 0
        fitted.append([*weights, *biases])
        learned.append(np.stack(model.indices(own), axis=1))
    first, second, last, first_bias, second_bias, last_bias = (
        np.stack([parts[index] for parts in fitted]).astype(np.float32) for index in range(6)
    )
    return Refinement(
        first,
        first_bias,
        second,
        second_bias,
        last[..., 0],
        last_bias[..., 0],
        np.array(learned, dtype=np.int64),
    )


def drawn_bins(
    track: Experiment, sample: ContextSample, n_bins: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Draw bins of a sample to learn a track from, of which the strongest stand twice.

    Returns
    -------
    intp (n_bins and more,)
        Rows of the sample's values.
    """
    (column,) = sample.columns([track])
    signal = sample.values[0, :, column]
    rows = rng.choice(len(signal), n_bins, replace=False)
    return np.concatenate([rows, rows[signal[rows] >= np.quantile(signal, 1 - STRONGEST)]])


def _lesson(
    track: Experiment,
    train: tuple[Experiment, ...],
    sample: ContextSample,
    krige: Callable[[tuple[Experiment, ...]], KrigingModel],
    rows: npt.NDArray[np.intp],
) -> tuple[Float32, Float32]:
    """What networks read, (bins × inputs), and should give, (bins,), of a track as if it were missing."""
    model = krige(tuple(e for e in train if e != track))
    imputer = model.imputer([track])
    predicted = imputer.affine(sample.features(imputer.features, rows))[:, 0]
    (cell,), (assay,) = model.indices([track])
    mean, sd = np.float32(model.means[cell, assay]), np.float32(np.exp(model.log_sds[cell, assay]))
    others = model.surroundings
    read, factor = sample.columns(others.tracks), 1 / others.sds
    z = [
        ((values[np.ix_(rows, read)] - others.means) * factor).astype(np.float32) for values in sample.values
    ]
    neighbours = others.around(track, int(cell), int(assay))
    inputs = neighbours.padded(neighbours.inputs((predicted - mean) / sd, z))
    (column,) = sample.columns([track])
    return inputs, (sample.values[0, rows, column] - predicted) / sd
