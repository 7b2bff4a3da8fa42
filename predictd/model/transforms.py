"""Transforms of binned signal: to the space in which models live, and back to the unit of the track."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[Any]
# Fractions of exactly 0 and 1 are common (methylation); the logit sees them as this much inside.
_MARGIN = 1e-3


@dataclass(frozen=True)
class SignalTransform:
    """A monotone map of signal.

    Attributes
    ----------
    forward, inverse
        Elementwise; they keep the dtype of floating arrays.
    slope
        Derivative of `inverse`, elementwise.
    lower, upper
        Range of the raw signal that the transform takes, in the unit of the track.
    clipped
        Whether imputed signal is clipped at 0 (signal that is never negative).
    """

    forward: Callable[[Array], Array]
    inverse: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    lower: float = -np.inf
    upper: float = np.inf
    clipped: bool = False

    def to_track(self, imputed: Array) -> Array:
        """Imputed transformed signal in the unit of the track: clipped where it must be, then turned back."""
        return self.inverse(self.clip(imputed))

    def clip(self, imputed: Array) -> Array:
        """Imputed transformed signal as tracks have it: not negative, where signal never is."""
        return np.maximum(imputed, 0) if self.clipped else imputed

    def sd_to_track(self, imputed: Array, sd: Array) -> Array:
        """Standard deviation in the unit of the track, to first order, of one in transformed space."""
        return self.slope(self.clip(imputed)) * sd


def _inverse_logit(x: Array) -> Array:
    return np.clip((scipy.special.expit(x) - _MARGIN) / (1 - 2 * _MARGIN), 0, 1)


def _slope_of_logit(x: Array) -> Array:
    return scipy.special.expit(x) * scipy.special.expit(-x) / (1 - 2 * _MARGIN)


TRANSFORMS: dict[str, SignalTransform] = {
    "arcsinh": SignalTransform(np.arcsinh, np.sinh, np.cosh, lower=0.0, clipped=True),
    "log1p": SignalTransform(np.log1p, np.expm1, np.exp, lower=0.0, clipped=True),
    "logit": SignalTransform(
        lambda x: scipy.special.logit(x * (1 - 2 * _MARGIN) + _MARGIN),
        _inverse_logit,
        _slope_of_logit,
        lower=0.0,
        upper=1.0,
    ),
    "none": SignalTransform(lambda x: x, lambda x: x, np.ones_like),
}
