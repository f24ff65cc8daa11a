"""How a claim's violation grows with its input sets: the claim on smaller copies of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from robustbench_local.attacks import scaled
from robustbench_local.cascade import find_any_method
from robustbench_local.errors import SpecError
from robustbench_local.evaluation import Cases, Method, clean
from robustbench_local.models import Claim

__all__ = ["CASES", "NORM", "SIZES", "quick_methods", "resized", "sized"]

NORM = "scale"
"""The norm in the table of sets that have a size: `eps` is then the factor of the claim's own sets."""

SIZES = (0.25, 0.5, 0.75)
"""The factors of the smaller copies; those of the claim itself are 1, and at 0 a set is its centre."""

CASES = 32
"""So many problems of a claim, spread over all, are also posed on smaller sets."""

_QUICK = ("ibp", "crown")  # bounds of one pass: the claim's own sets get the searches


def sized(cases: Cases) -> Cases:
    """The problems of a claim with their size, 1, where the sets have one: balls and boxes do."""
    try:
        scaled(cases.query.inputs, torch.ones(cases.query.batch))
    except SpecError:
        return cases
    return replace(cases, norm=NORM, eps=1.0)


def resized(cases: Cases) -> Iterator[Cases]:
    """Up to `CASES` problems of `sized` on sets of the factors `SIZES`; none where the sets have no size.

    All lie in the claim's own sets: a violation found in one counts for the larger ones, a bound of one for
    the smaller ones.
    """
    if cases.norm != NORM:
        return
    batch = cases.query.batch
    some = cases.select(torch.linspace(0, batch - 1, min(CASES, batch)).round().long())
    for size in SIZES:
        factor = torch.full((some.query.batch,), size, dtype=torch.float64)
        query = replace(some.query, inputs=scaled(some.query.inputs, factor))
        yield replace(some, query=query, eps=size)


def quick_methods(claim: Claim) -> dict[str, Method]:
    """The forward pass at the centre, the claim's first attack, and its verifiers that need one pass."""
    names = (claim.methods[0], *(name for name in claim.methods if name in _QUICK))
    return {"clean": clean, **{name: find_any_method(name) for name in names}}
