"""Trees of a run's own searches, kept for its certificate: what decided a property is not sought again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..branching import BranchAndBound
from ..branching.state import BranchState
from ..graph import Graph, Node
from ..search_states import Resumable, SearchState
from .claim import Claim
from .engine_tree import EngineLeaf, Leaves, kept_leaves

__all__ = ["TreeRecord"]


@dataclass(slots=True, eq=False)
class TreeRecord:
    """Where the searches of one run stopped, by problem; and the graph that they were about.

    effort: splits for each end of a hidden neuron, when these have trees of their own for the first time.

    `keeping` makes a search keep its leaves, `take` is told whenever one stops.
    """

    graph: Graph | None = None
    states: dict[int, tuple[BranchState, int]] = field(default_factory=dict)
    effort: int = 0

    def keeping(self, method: Resumable) -> Resumable:
        """The same search, of which all leaves are kept; itself where it has none that certificates know."""
        if not isinstance(method, BranchAndBound):
            return method
        self.effort = method.settings.rounds
        return replace(method, settings=replace(method.settings, keep=True))

    def take(self, graph: Graph, problems: Tensor, state: SearchState) -> None:
        """Takes in where a search stopped, whose problems (b,) have these numbers in the run."""
        if isinstance(state, BranchState):
            self.graph = graph
            self.states.update({b: (state, place) for place, b in enumerate(problems.tolist())})

    @property
    def rounds(self) -> int:
        """Splits for each end of each hidden neuron, where trees of their own for these helped a search: the
        most of the last times.
        """
        times = [one.refined[0] for state, _ in self.states.values() for one in state.trees]
        most = max((count if count >= 0 else -1 - count for count in times), default=0)
        return 0 if most == 0 else self.effort * 2 ** (most - 1)

    def leaves(self, claim: Claim, nodes: Sequence[Node]) -> Leaves:
        """The leaves of all trees that are whole, by problem and clause of the claim about this run's query.

        nodes: those of the claim's network as a graph, by number; splits and slopes are about these.
        """
        found: Leaves = {}
        states = {id(state): state for state, _ in self.states.values()}
        known = {key: kept_leaves(state, claim) for key, state in states.items()}
        for problem, (state, place) in self.states.items():
            for (own, clause), leaves in known[id(state)].items():
                said = [_said(leaf, claim, nodes) for leaf in leaves] if own == place else []
                made = [leaf for leaf in said if leaf is not None]
                if made and len(made) == len(leaves) and _whole(made):
                    found[problem, clause] = made
        return found


def _said(leaf: EngineLeaf, claim: Claim, nodes: Sequence[Node]) -> EngineLeaf | None:
    """A leaf of the model's graph as one of the claim's; None where a split is of what no function reads."""
    numbers, about = claim.network.numbers, claim.network.nodes
    curves = {k: entry["inputs"][0] for k, entry in enumerate(about) if entry["op"] in ("relu", "sigmoid")}
    read = {*curves.values()}
    if any(numbers.get(index, -1) not in read for index, *_ in leaf.splits):
        return None
    splits = tuple((nodes[numbers[index]].index, place, side, at) for index, place, side, at in leaf.splits)
    slopes = {}
    for index, values in leaf.slopes.items():
        node = nodes[numbers[index]] if numbers.get(index) in curves else None
        if node is not None and values.dim() > 2 and values[:, :, 0].numel() == node.numel:
            slopes[node.index] = values.reshape(1, 1, values.shape[2], *node.shape)
    return replace(leaf, splits=splits, slopes=slopes)


def _whole(leaves: Sequence[EngineLeaf]) -> bool:
    """Whether the leaves make up a tree: nothing is missing, and nothing is there twice."""
    open_ = [(0, list(leaves))]
    while open_:
        depth, some = open_.pop()
        if any(len(leaf.splits) == depth for leaf in some):
            if len(some) > 1:
                return False
            continue
        at = {(node, place, point) for node, place, _, point in (leaf.splits[depth] for leaf in some)}
        halves = [[leaf for leaf in some if leaf.splits[depth][2] == side] for side in (-1, 1)]
        if len(at) > 1 or not all(halves):
            return False
        open_ += [(depth + 1, half) for half in halves]
    return True
