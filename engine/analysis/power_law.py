# SPDX-License-Identifier: Apache-2.0
"""Coverage as a power law of the number of samples, following Brown et al. 2024, "Large Language
Monkeys"."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_ROUNDING = 1e-12  # relative; numbers that differ by less are the same number
_STEEPEST, _FLATTEST = 50.0, 1e-9  # bounds on -b of a fit
_LOWEST = 50.0  # log -a


@dataclass(frozen=True)
class Fit:
    """coverage = exp(a * k**b) with a < 0 and b < 0. It tends to 1 as k grows: the model has no
    problems that are never solved. `residual`: the root mean square of coverage - fitted over
    the points."""

    a: float
    b: float
    residual: float

    def at(self, k: float) -> float:
        return math.exp(self.a * k**self.b)


def fit_power_law(ks: ArrayLike, coverage: ArrayLike) -> Fit | None:
    """The curve exp(a * k**b) nearest to coverage (points,), by least squares on log coverage.

    Brown et al. 2024, "Large Language Monkeys", section 3.1. Points of coverage 0 have no logarithm
    and are left out. None with fewer than four distinct ks left, if their coverage is constant, or
    if no curve is nearer than a constant, as where it falls. ValueError unless k >= 1 and coverage
    lies in 0 to 1.
    """
    k, c = np.asarray(ks, dtype=np.float64), np.asarray(coverage, dtype=np.float64)
    if k.ndim != 1 or k.shape != c.shape:
        raise ValueError(f"ks have the shape {k.shape}, coverage {c.shape}: one number each")
    if not (k >= 1).all() or not ((c >= 0) & (c <= 1 + _ROUNDING)).all():
        raise ValueError("ks must be at least 1 and coverage lie in 0 to 1")
    some = c > 0
    if len(np.unique(k[some])) < 4 or np.ptp(c[some]) <= _ROUNDING:
        return None
    log_c = np.log(np.minimum(c[some], 1.0))
    a, b = _least_squares(np.log(k[some]), log_c)
    if np.sum((log_c - a * k[some] ** b) ** 2) >= np.sum((log_c - log_c.mean()) ** 2):
        return None
    residual = float(np.sqrt(np.mean((c - np.exp(a * k**b)) ** 2)))
    return Fit(a, b, residual)


def _least_squares(log_k: Floats, log_c: Floats) -> tuple[float, float]:
    """The a and b that minimise the sum of (log c - a * k**b)**2, best of several starts.

    The unknowns are log -a and log -b, which fixes the signs.
    """
    from scipy import optimize  # type: ignore[import-untyped, unused-ignore]  # it ships no types

    flattest, steepest = math.log(_FLATTEST), math.log(_STEEPEST)

    def unknowns(x: Floats) -> tuple[float, float]:
        a = -math.exp(min(float(x[0]), _LOWEST))
        return a, -math.exp(min(max(float(x[1]), flattest), steepest))

    def residuals(x: Floats) -> Floats:
        a, b = unknowns(x)
        return a * np.exp(b * log_k) - log_c

    def jacobian(x: Floats) -> Floats:
        a, b = unknowns(x)
        fitted = a * np.exp(b * log_k)
        return np.stack([fitted, fitted * log_k * b], axis=1)

    # For a given b the best a is a linear problem.
    slopes = np.geomspace(0.01, 10, 7)
    powers = np.exp(-slopes[:, None] * log_k)
    heights = -(powers @ log_c) / (powers**2).sum(axis=1)
    errors = ((heights[:, None] * powers + log_c) ** 2).sum(axis=1)
    starts = [(math.log(heights[i]), math.log(slopes[i])) for i in np.argsort(errors)[:3]]
    results = [
        optimize.least_squares(residuals, s, jacobian, method="lm", xtol=1e-12, ftol=1e-12)
        for s in starts
    ]
    return unknowns(min(results, key=lambda result: float(result.cost)).x)
