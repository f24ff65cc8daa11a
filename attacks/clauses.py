"""The clauses of a property as an attack aims at them: lists of atoms that must all be violated.

What a wrong class is to robustness, a clause of the disjunctive normal form is to a property.
"""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from robustbench_local.specs import Query, disjuncts

from .losses import Loss
from .search import Search

__all__ = ["clause_lists", "clause_loss", "clause_ranking", "clause_values"]

_MOST_CLAUSES = 4096  # of a property that are looked at; more would cost more than the walks


def clause_lists(query: Query) -> list[list[int]]:
    """The first clauses of the query's tree, each as the places of its atoms."""
    return [[atom.index for atom in clause] for clause in islice(disjuncts(query.tree), _MOST_CLAUSES)]


def clause_values(clauses: list[list[int]], atoms: Tensor) -> Tensor:
    """The values (b, k) of clauses, each the minimum of its atoms (b, m)."""
    if all(len(clause) == 1 for clause in clauses):
        return atoms[:, [clause[0] for clause in clauses]]
    return torch.stack([atoms[:, clause].amin(1) for clause in clauses], 1)


def clause_ranking(clauses: list[list[int]], atoms: Tensor, most: int) -> Tensor:
    """The places (b, k) of the k <= `most` clauses of largest value at atoms (b, m), the largest first."""
    values = clause_values(clauses, atoms).nan_to_num(nan=-torch.inf)
    return values.topk(min(most, values.shape[1]), 1).indices


def clause_loss(search: Search, clauses: list[list[int]], target: Tensor) -> Loss:
    """The value of one clause per sample, target (B,) of the whole batch, as a loss of the samples left."""

    def loss(query: Query, atoms: Tensor) -> Tensor:
        del query
        return clause_values(clauses, atoms).gather(1, target[search.rows].unsqueeze(1)).squeeze(1)

    return loss
