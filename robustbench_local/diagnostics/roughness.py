"""D13: whether the loss around a case looks like something that a gradient describes."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.attacks import uniform, violation_loss

from .derivatives import slope_at
from .examination import Examination
from .registry import Measured, diagnostic

__all__ = ["rough_loss"]

_WIDTH = 8 / 255  # of the box in which the loss is compared, in all
_CHANGE = 0.1


@diagnostic(
    "D13",
    "rough loss",
    meaning="mean relative change of the violation within 4/255 of the start, each at most 1",
    threshold=_CHANGE,
    remedy="smooth the loss (eot over small noise, momentum, larger steps), bpda past the activation, "
    "restarts, and attacks without gradients",
    source="M. Pintor et al., arXiv 2106.09947 (unstable predictions); C. Qin et al., arXiv 1907.02610 "
    "(local linearity)",
)
def rough_loss(examination: Examination) -> Measured:
    """How far the violation changes where it hardly should; and, in the note, what a gradient leaves out."""
    query, start = examination.query, examination.start
    here = slope_at(query, start, violation_loss)
    value = here.value.double().cpu()
    size = value.abs().clamp(min=1e-12)
    changes, residual = torch.zeros_like(value), torch.zeros_like(value)
    keys = examination.keys("roughness")
    for draw in range(examination.effort.draws):
        noise = _WIDTH * (uniform(keys, query.inputs.shape, start.dtype, draw=draw) - 0.5)
        with torch.no_grad():
            change = query.violation(start + noise).double().cpu() - value
        changes += (change.abs() / size).clamp(max=1.0)
        residual = torch.maximum(residual, (change - _along(here.gradient, noise)).abs())
    changes /= examination.effort.draws
    return Measured(
        float(changes.mean()),
        changes > _CHANGE,
        f"at most {float((residual / size).max()):.2g} of the violation is not linear there",
    )


def _along(gradient: Tensor | None, step: Tensor) -> Tensor:
    """<gradient, step> per case, (b,) float64; 0 where there is no gradient."""
    if gradient is None:
        return torch.zeros(len(step), dtype=torch.float64)
    return (gradient * step).flatten(1).double().sum(1).cpu()
