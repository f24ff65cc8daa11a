"""D9 and D10: attacks at other radii, where it is known what must come out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from robustbench_local.attacks import Attack, fgsm, pgd
from robustbench_local.specs import Query

from .examination import Examination
from .registry import Measured, NotApplicable, diagnostic, share

__all__ = ["radius_curve", "unbounded"]

_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


@diagnostic(
    "D9",
    "success falls with the radius",
    meaning="share of the cases that an attack breaks at one radius and not at a larger one",
    threshold=0.0,
    remedy="more steps and restarts, and start each radius from the points of the smaller one: a point "
    "found for a small set lies in the larger one too",
    source="N. Carlini et al., arXiv 1902.06705, section 5 (success must not decrease)",
)
def radius_curve(examination: Examination) -> Measured:
    """One step, and the examined attack, each anew at a quarter to four times the radius."""
    at_radius = _family(examination)
    radii = [examination.eps * f for f in _FACTORS if examination.eps * f <= examination.widest]
    where, notes = torch.zeros(examination.query.batch, dtype=torch.bool), []
    for attack, name in ((fgsm, "one step"), (examination.attack, "many")):
        broken = [_broken(examination, attack, at_radius(radius)) for radius in radii]
        if any(part is None for part in broken):
            raise NotApplicable("the network passes no gradient on, see D2")
        curve = torch.stack([part for part in broken if part is not None])  # (radii, b)
        lost = (curve.cummax(0).values & ~curve).any(0)
        where |= lost
        notes.append(f"{name}: " + " ".join(f"{int(row.sum())}" for row in curve))
    return Measured(
        share(where), where, f"broken at {', '.join(f'{r:g}' for r in radii)}; " + "; ".join(notes)
    )


@diagnostic(
    "D10",
    "the unbounded attack fails",
    meaning="share of the cases that an attack in the whole domain leaves robust",
    threshold=0.0,
    remedy="the loss misleads: another loss (apgd-dlr), bpda, eot; a number at a smaller radius means "
    "little before this works",
    source="N. Carlini et al., arXiv 1902.06705, section 5; the rule of 100 % from M. Pintor et al., "
    "arXiv 2106.09947",
)
def unbounded(examination: Examination) -> Measured:
    """A long walk in sets so wide that they hold inputs of every kind."""
    if examination.widest <= examination.eps:
        raise NotApplicable("nothing wider than the property's own sets is known")
    wide = _family(examination)(examination.widest)
    steps = examination.effort.unbounded_steps
    broken = _broken(examination, partial(pgd, steps=steps, random_start=False), wide)
    if broken is None:
        raise NotApplicable("the network passes no gradient on, see D2")
    return Measured(share(~broken), ~broken, f"radius {examination.widest:g}, {steps} steps")


def _family(examination: Examination) -> Callable[[float], Query]:
    if examination.at_radius is None or not examination.eps > 0:
        raise NotApplicable("the property has no radius that could be changed")
    return examination.at_radius


def _broken(examination: Examination, attack: Attack, query: Query) -> Tensor | None:
    found = examination.attacked(attack, query)
    return None if found is None else found.violated.cpu()
