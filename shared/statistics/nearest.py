"""How often chance puts something as near as this: the distance to a nearest neighbour has a Weibull distribution.

The smallest of many distances is a minimum, and a minimum that cannot fall below zero is Weibull in the limit. Its two
parameters are not known but have been seen in a few values, so they are integrated over: the probability is that of
the next value, given those seen (the predictive distribution under the prior that is invariant to location and scale
of the logarithm, which makes it exact at any number of values: Hahn & Meeker 1991, § 12.7).
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import binom, gamma

Array = NDArray[np.float64]

SMALLEST = 1e-6
"""Of a distance, relative to what is usual: float32 tells no smaller one from nothing."""
_SPREADS = np.geomspace(0.005, 20, 400)
"""Over which the spread of the logarithms, 1 / Weibull's shape, is integrated."""
_LARGE = 50.0
"""An exponent beyond which a value is surely exceeded."""


_QUANTILES = (np.arange(64) + 0.5) / 64
"""Over which Weibull's scale is integrated where several values share it."""


def probability_of_nearer(values: Array, seen: Array) -> Array:
    """For each value, the probability that one more is as small, given those seen by chance. All > 0; 2 or more seen.

    With z = Σ exp(log seen / spread), the chance of a larger one at a spread is (1 + exp(log value / spread) / z)⁻ⁿ.
    """
    log_z, weights = _learnt(seen)
    larger = -len(seen) * np.logaddexp(0, _logs(values)[:, None] / _SPREADS - log_z)
    return -np.expm1(larger) @ weights


def probability_of_as_many_nearer(values: Array, seen: Array) -> Array:
    """For each value, the probability that of as many new ones as these, as many are as small as it or smaller.

    The new ones are independent of one another, but what is not known of chance is the same for all: so this is not
    made of the probabilities of single ones.
    """
    log_z, weights = _learnt(seen)
    rates = gamma.ppf(_QUANTILES, len(seen))
    different, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: list[float] = []
    for value, count in zip(_logs(different), counts.cumsum(), strict=True):
        hazards = np.exp(np.minimum(value / _SPREADS - log_z, _LARGE))[:, None] * rates
        found.append(float(binom.sf(count - 1, len(values), -np.expm1(-hazards)).mean(axis=1) @ weights))
    return np.array(found)[which]


def _learnt(seen: Array) -> tuple[Array, Array]:
    """(log z, weight) of each spread."""
    logs = _logs(seen)
    scaled = logs / _SPREADS[:, None]
    log_z = np.asarray(logsumexp(scaled, axis=1))
    log_weights = (1 - len(logs)) * np.log(_SPREADS) + scaled.sum(axis=1) - len(logs) * log_z
    weights = np.exp(log_weights - log_weights.max())
    return log_z, weights / weights.sum()


def _logs(values: Array) -> Array:
    return np.log(np.maximum(values, SMALLEST))
