"""D14: a test of the attack on the network itself, altered so that every case has a point to be found."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robustbench_local.specs import Query

from .examination import Examination
from .registry import Measured, NotApplicable, diagnostic, share

__all__ = ["attack_unit_test"]

_LEVEL = 0.95  # of the way from the start's violation to the best random point's


@diagnostic(
    "D14",
    "the attack's unit test",
    meaning="share of the cases in which the attack misses a point that is there for certain",
    threshold=0.05,
    remedy="adapt the attack to the network until it passes: another loss, bpda, eot, more steps; "
    "results before that mean little",
    source="R. Zimmermann et al., arXiv 2206.13991 (binarisation test); here the property's offset is moved",
)
def attack_unit_test(examination: Examination) -> Measured:
    """The property moved so that the best of many random points breaks it and the start does not.

    All atoms are shifted by the same number, which shifts the violation of any AND/OR tree by that number.
    """
    query = examination.query
    with torch.no_grad():
        begin = query.violation(examination.start).double().cpu()
    known = examination.draws.violation
    fair = (known > begin) & known.isfinite()
    if not bool(fair.any()):
        raise NotApplicable("no random point is worse than the start")
    level = begin + _LEVEL * (known - begin)
    rows = fair.nonzero().flatten()
    planted = _shifted(query, -torch.where(fair, level, 0.0)).select(rows.to(query.inputs.device))
    found = examination.attacked(examination.attack, planted, rows)
    if found is None:
        raise NotApplicable("the network passes no gradient on, see D2")
    missed = torch.zeros(query.batch, dtype=torch.bool)
    missed[rows] = ~found.violated.cpu()
    return Measured(share(missed[rows]), missed, f"{len(rows)} cases")


def _shifted(query: Query, by: Tensor) -> Query:
    """The problems with every atom shifted by a number (b,)."""
    return replace(query, d=query.d + by.to(query.d).unsqueeze(1), id=f"{query.id} shifted")
