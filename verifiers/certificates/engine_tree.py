"""Trees of the engine's own branch and bound, as a start for the search for a proof.

Its search is faster than the one for proofs: float32, and no bound of a hidden neuron needs to be one that
the checker finds. Which splits close a tree, and with which slopes and multipliers, is worth knowing all the
same: what it left open, and leaves that do not hold by the checker's bounds, are split further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_local.specs import All, Any, Atom, Box, Query

from ..branching import BranchAndBound, Settings
from ..branching.domains import Domains
from ..branching.state import BranchState
from ..graph import Graph
from ..verifier import Budget
from .claim import Claim
from .leaves import Domain
from .trees import Branch

__all__ = [
    "EngineLeaf",
    "Leaves",
    "engine_leaf",
    "engine_leaves",
    "engine_query",
    "kept_leaves",
    "planted",
]

# without new bounds of hidden neurons, by trees or in single domains, which the checker does not find
_CLIPPING, _PLAIN = (
    BranchAndBound(settings=Settings(keep=True, refine=0, tighten=0, clip=c)) for c in (Settings().clip, 0)
)
_ROOM = 0.5  # units of a multiplier's parameter, of which there are four, that the engine's own range takes


@dataclass(frozen=True, slots=True, eq=False)
class EngineLeaf:
    """A part of a clause's tree: splits (node number, coordinate, side, point) from the root, the multiplier
    and its range of each, and slopes (1, 1, ...) by node number; none where memory was short.
    """

    splits: tuple[tuple[int, int, int, float], ...]
    multipliers: NDArray[np.float64]
    ranges: NDArray[np.float64]
    slopes: Mapping[int, Tensor]


Leaves = dict[tuple[int, int], list[EngineLeaf]]
"""The parts of trees, by problem and clause."""


def engine_leaves(graph: Graph, claim: Claim, seconds: float, *, clipped: bool) -> Leaves:
    """All parts, closed or open, of the trees that `bab` grows in so many seconds, by problem and clause.

    graph: the claim's network, in float64. clipped: whether the checker clips; a tree that was closed by
    clipping is of little use where it does not. Clauses of several atoms have none, nor those that hold
    unsplit.
    """
    budget, engine = Budget(seconds=seconds), _CLIPPING if clipped else _PLAIN
    _, state = engine.resumed(graph.to(torch.float32), engine_query(graph, claim), None, budget)
    return {} if state is None else kept_leaves(state, claim)


def kept_leaves(state: BranchState, claim: Claim) -> Leaves:
    """All parts, closed or open, of a search's trees, by problem of the search and clause of the claim."""
    found: Leaves = {}
    clauses = {clause[0][0]: c for c, clause in enumerate(claim.clauses) if len(clause) == 1}
    for trees in state.trees:
        if trees.atoms.shape[1] > 1 or len(trees.left):
            continue  # the engine weighs several atoms anew in every domain
        key = [
            (int(state.wanted[b]), clauses[a])
            for b, a in zip(trees.problem.tolist(), trees.atoms[:, 0].tolist(), strict=True)
        ]
        every = [(part, range(part.count)) for part in trees.closed]
        every += [(part, range(k, k + 1)) for part, k in trees.open]
        for domains, places in every:
            for k in places:
                found.setdefault(key[int(domains.root[k])], []).append(engine_leaf(domains, k))
    return found


def planted(
    whole: Domain, leaves: Sequence[EngineLeaf], graph: Graph, number: Mapping[int, int]
) -> list[Domain]:
    """Puts the tree that ends in these leaves where the domain's place is; the leaves as domains.

    number: the certificate's numbers of the graph's nodes.
    """
    made = []
    for leaf in leaves:
        holder, side = whole.parent
        for node, coordinate, half, point in leaf.splits:
            if getattr(holder, side) is None:
                setattr(holder, side, Branch(number[node], coordinate, point, None, None))
            holder, side = getattr(holder, side), "low" if half < 0 else "high"
        units = (_ROOM * leaf.ranges).tolist()
        splits = tuple((*split, unit) for split, unit in zip(leaf.splits, units, strict=True))
        slopes: dict[object, Tensor] = {graph.nodes[k]: values for k, values in leaf.slopes.items()}
        made.append(
            Domain(
                whole.problem,
                whole.clause,
                whole.atom,
                splits,
                leaf.multipliers,
                slopes,
                (holder, side),
                fresh=True,
            )
        )
    return made


def engine_leaf(domains: Domains, k: int) -> EngineLeaf:
    """Domain k of a batch."""
    splits = domains.splits
    here = (splits.node[k] >= 0).nonzero().squeeze(1)
    columns = (splits.node, splits.coordinate, splits.side, splits.point)
    node, coordinate, side, point = (column[k, here].tolist() for column in columns)
    scale = domains.scale[k, here].double()
    return EngineLeaf(
        tuple(zip(node, coordinate, map(int, side), point, strict=True)),
        (domains.multipliers[k, here].double() * scale).numpy(),
        scale.numpy(),
        {n.index: values[k : k + 1] for n, values in domains.slopes.items()},
    )


def engine_query(graph: Graph, claim: Claim) -> Query:
    """The claim as a query about its network."""
    lower, upper = (
        torch.from_numpy(end).reshape(-1, *graph.input_shape) for end in (claim.lower, claim.upper)
    )
    clauses = (All(tuple(Atom(atom, strict) for atom, strict in clause)) for clause in claim.clauses)
    tree = Any(tuple(clauses))
    return Query(graph.run, Box(lower, upper), torch.from_numpy(claim.C), torch.from_numpy(claim.d), tree)
