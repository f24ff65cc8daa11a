"""Floating-point formats, and the constants of their error analysis.

Sources: Higham, Accuracy and Stability of Numerical Algorithms (2nd edition, 2002): (2.4) for the model
fl(a op b) = (a op b)(1 + d) with |d| <= u, lemma 3.1 for gamma_n. That lemma counts factors (1 + d_i), so it
holds for every order of a sum, with and without fused multiply-adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

__all__ = ["BFLOAT16", "DOUBLE", "FORMATS", "HALF", "SINGLE", "Format"]


@dataclass(frozen=True, slots=True)
class Format:
    """A binary format with rounding to nearest: `unit` is its unit roundoff u, half the spacing at one.

    tiny: the smallest normal number; a result below it may be rounded to a multiple of the smallest
    subnormal one, or flushed to zero. largest: the largest finite number.
    """

    name: str
    dtype: torch.dtype
    unit: float
    tiny: float
    largest: float

    @staticmethod
    def of(name: str, dtype: torch.dtype) -> Format:
        """The format of a torch dtype."""
        numbers = torch.finfo(dtype)
        return Format(name, dtype, numbers.eps / 2, numbers.tiny, numbers.max)

    def gamma(self, count: int) -> float:
        """gamma_n = n u / (1 - n u), at least the relative error of n roundings; infinite from n u = 1 on."""
        total = count * self.unit
        return total / (1 - total) * (1 + 2**-40) if total < 1 else math.inf


SINGLE = Format.of("float32", torch.float32)
DOUBLE = Format.of("float64", torch.float64)
HALF = Format.of("float16", torch.float16)
BFLOAT16 = Format.of("bfloat16", torch.bfloat16)
FORMATS = {kind.name: kind for kind in (SINGLE, DOUBLE, HALF, BFLOAT16)}
