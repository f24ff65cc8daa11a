"""Raising lower bounds by their parameters, for proofs: the parameters of the best bound are what counts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..slopes import Slopes

__all__ = ["Ascent"]

_FIRST, _SECOND = 0.9, 0.999  # Adam's usual constants (Kingma and Ba 2015, arXiv 1412.6980)


class Rows(Protocol):
    """D rows of a sample of its own each."""

    def lower(self, slopes: Slopes) -> Tensor:
        """Lower bounds (D, 1)."""
        ...


@dataclass(frozen=True, slots=True)
class Ascent:
    """`steps` projected gradient steps, the first of `size` (parameters lie in [0, 1]), shrunk by `decay`."""

    steps: int
    size: float
    decay: float

    def best(self, batch: Rows, slopes: Slopes, needed: Tensor, deadline: float) -> Slopes:
        """The parameters of the best bound of each domain on the way from `slopes`, those included.

        Ends early where every bound is above `needed` (D, 1), or at the deadline.
        """
        moments: dict[object, tuple[Tensor, Tensor]] = {}
        found, top = Slopes(), torch.empty(0)
        for step in range(self.steps + 1):
            with torch.enable_grad():
                bound = batch.lower(slopes)
            value = bound.detach().nan_to_num(nan=-torch.inf)
            if step == 0:
                top = value
                found.values.update({key: v.detach().clone() for key, v in slopes.values.items()})
            better = (value > top).squeeze(1)
            top = torch.maximum(top, value)
            for key, kept in found.values.items():
                kept[better] = slopes.values[key].detach()[better]
            done = bool((top > needed).all()) or time.monotonic() > deadline
            if done or step == self.steps or not bound.requires_grad:
                break
            self._move(slopes, bound, moments, step)
        return found

    def _move(
        self, slopes: Slopes, bound: Tensor, moments: dict[object, tuple[Tensor, Tensor]], step: int
    ) -> None:
        keys = [key for key, value in slopes.values.items() if value.requires_grad]
        values = [slopes.values[key] for key in keys]
        gradients = torch.autograd.grad(bound, values, torch.ones_like(bound), allow_unused=True)
        size = self.size * self.decay**step * (1 - _SECOND ** (step + 1)) ** 0.5 / (1 - _FIRST ** (step + 1))
        with torch.no_grad():
            for key, value, gradient in zip(keys, values, gradients, strict=True):
                if gradient is None:
                    continue
                first, second = moments.setdefault(key, (torch.zeros_like(value), torch.zeros_like(value)))
                first.lerp_(gradient, 1 - _FIRST)
                second.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
                value.addcdiv_(first, second.sqrt().add_(1e-12), value=size).clamp_(0, 1)
