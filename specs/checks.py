"""What is wrong with a property that could be lowered: violations that nothing could reach."""

from __future__ import annotations

import torch
from torch import Tensor

from .expressions.base import Formula, spec_error
from .query import Query
from .tree import atoms_of, count_clauses, disjuncts

__all__ = ["check_not_trivial", "unreachable"]

_MOST_CLAUSES = 4096
_MOST_NUMBERS = 10_000_000


def check_not_trivial(query: Query, body: Formula) -> None:
    """Raise SpecError (E-TRIVIAL) where no outputs at all could make any problem's violation true."""
    if query.batch and bool(unreachable(query).all()):
        raise spec_error(
            "E-TRIVIAL",
            f"nothing could violate `{body.text}`: its negation contradicts itself for any network",
            "did you mean `|`, or the opposite sign? If it is meant, use spec.unchecked()",
        )


def unreachable(query: Query) -> Tensor:
    """Problems (B,) whose violation is false whatever the features are.

    A clause is so where a row has no coefficient and is false, or where two rows exclude each other:
    y > a + e and y < a - e. Only violations of at most 4,096 clauses are looked at; no is never wrong.
    """
    none = torch.zeros(query.batch, dtype=torch.bool, device=query.d.device)
    if count_clauses(query.tree) > _MOST_CLAUSES:
        return none
    strict = torch.zeros(query.d.shape[1], dtype=torch.bool, device=query.d.device)
    for atom in atoms_of(query.tree):
        strict[atom.index] |= atom.strict
    idle = ~(query.C != 0).any(2) & torch.where(strict, query.d <= 0, query.d < 0)  # (B, m)
    result = ~none
    for clause in disjuncts(query.tree):
        index = [atom.index for atom in clause]
        false = idle[:, index].any(1)
        if len(index) > 1 and query.batch * len(index) ** 2 * query.C.shape[2] <= _MOST_NUMBERS:
            false = false | _excluded(query.C[:, index], query.d[:, index], strict[index])
        result = result & false
        if not bool(result.any()):
            break
    return result


def _excluded(C: Tensor, d: Tensor, strict: Tensor) -> Tensor:
    """Where two of the conditions C_i y + d_i > or >= 0 have opposite C and no common solution, (B,)."""
    opposite = ((C.unsqueeze(1) + C.unsqueeze(2)) == 0).all(3)
    total = d.unsqueeze(1) + d.unsqueeze(2)
    either = strict.unsqueeze(0) | strict.unsqueeze(1)
    return (opposite & torch.where(either, total <= 0, total < 0)).flatten(1).any(1)
