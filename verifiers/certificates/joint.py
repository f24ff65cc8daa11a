"""Weights of a clause's atoms under which linear functions below their negatives are largest together.

A clause is refuted where some weighted sum of its negated atoms is positive: of linear functions k + a u on
-1 <= u <= 1, the best weights are the dual of a linear program; exact line searches come close to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_weights"]

Array = NDArray[Any]


def best_weights(a: Array, k: Array) -> Array:
    """Weights (L, w), not negative with sum 1, of functions a (L, w, n), k (L, w): a large least value.

    From the best function towards every other one in turn, twice.
    """
    count = a.shape[1]
    rows = np.arange(len(a))
    best = (k - np.abs(a).sum(2)).argmax(1)
    weights = np.zeros_like(k)
    weights[rows, best] = 1.0
    b, q = a[rows, best], k[rows, best]
    for i in [*range(count)] * min(2, count - 1):
        share = _share(b, q, a[:, i], k[:, i])
        b = b + share[:, None] * (a[:, i] - b)
        q = q + share * (k[:, i] - q)
        weights *= 1 - share[:, None]
        weights[:, i] += share
    return weights


def _share(a: Array, k: Array, b: Array, q: Array) -> Array:
    """The share (L,) of k + a u that q + b u replaces for the largest least value.

    It is concave and piecewise linear in the share, with corners where a coefficient vanishes.
    """
    with np.errstate(all="ignore"):
        corners = np.nan_to_num(a / (a - b), nan=0.0, posinf=0.0, neginf=0.0).clip(0.0, 1.0)
    ends = np.zeros((len(a), 1))
    share = np.concatenate((ends, corners, ends + 1), 1)
    between = a[:, None] + share[:, :, None] * (b - a)[:, None]
    least = k[:, None] + share * (q - k)[:, None] - np.abs(between).sum(2)
    return np.asarray(share[np.arange(len(a)), least.argmax(1)])
