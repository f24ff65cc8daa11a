"""Better bounds of all hidden neurons of problems that a search has found hard, layer by layer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from robustbench_local.specs import Box

from ..crown import crown_bounds, undecided
from ..exactness import exact_nodes
from ..graph import Graph, Node
from ..interval import Interval
from ..rule import find_rule
from ..verifier import Budget
from .deepening import MOST_PROBLEMS, pays
from .ledger import Ledger
from .neuron_trees import NeuronTrees
from .problem import Roots, inflated
from .settings import Settings

__all__ = ["Refining", "refinable", "refined"]

_AT_ONCE = 128  # domains
_SHARE = 0.5  # of all time left
_GROWS = 0.25  # of the domains bounded since: where more are open, few get closed


class Refining:
    """When a search's hidden neurons are bounded by trees, and with what: larger ones from time to time.

    done: how often it has helped so far, as -1 less that where it does not pay any more, and how many domains
    had been bounded the last time.
    """

    def __init__(self, ledger: Ledger, settings: Settings, done: tuple[int, int]) -> None:
        self.ledger, self.settings, self.done = ledger, settings, done

    def due(self, open_: int, problems: int) -> bool:
        """Whether it is time, with so many domains open of so many problems: few are left, and trees only
        grow.
        """
        settings, (times, mark) = self.settings, self.done
        if times < 0 or settings.refine == 0 or problems > MOST_PROBLEMS:
            return False
        since = self.ledger.domains - mark
        grows = times == 0 or open_ >= _GROWS * since
        return grows and since >= settings.refine * problems * 2**times and refinable(self.ledger.graph)

    def boxes(
        self, roots: Roots, boxes: Mapping[Node, Interval], problems: tuple[int, ...]
    ) -> dict[Node, Interval]:
        """The boxes with better ones of some problems."""
        index = torch.tensor(sorted(problems), device=roots.d.device)
        left, budget = self.ledger.end - time.monotonic(), self.ledger.budget
        seconds = None if left == torch.inf else _SHARE * max(0.0, left)
        some = replace(roots, query=self.ledger.query.select(index))
        known = {node: box.select(index) for node, box in boxes.items()}
        larger = replace(self.settings, rounds=self.settings.rounds * 2 ** self.done[0])
        better = refined(some, known, larger, replace(budget, seconds=seconds))
        return {node: box.put(index, better[node]) for node, box in boxes.items()}

    def helped(self, before: Tensor, after: Tensor) -> bool:
        """Whether it helped the first roots; it ends where it did not."""
        useful = pays(before, after)
        times = self.done[0]
        self.done = times + 1 if useful else -1 - times, self.ledger.domains
        return useful


def refinable(graph: Graph) -> bool:
    """Whether all that is to be refined are vectors: rows of images would have to be dense."""
    wanted = [node for node in graph.nodes[1:] if not find_rule(node).affine and node.op is not None]
    return all(len(parent.shape) == 1 for node in wanted for parent in node.inputs)


def refined(
    whole: Roots, boxes: Mapping[Node, Interval], settings: Settings, budget: Budget
) -> dict[Node, Interval]:
    """Boxes of every node, none wider than `boxes`, of the problems of `whole`, whose own boxes are not read.

    They hold once they are inflated, as those of other methods do. Out of time, layers that are left get
    plain backward bounds.
    """
    graph, inputs, deadline = whole.graph, whole.query.inputs, budget.deadline()
    exact = exact_nodes(graph) if isinstance(inputs, Box) else frozenset()
    found: dict[Node, Interval] = {graph.input: boxes[graph.input]}
    for node in graph.nodes[1:]:
        box = _narrower(boxes[node], find_rule(node).interval(node, *(found[p] for p in node.inputs)))
        found[node] = box
        mask = None if node in exact else undecided(graph, node, box)
        if mask is not None and time.monotonic() <= deadline:
            safe = inflated({**boxes, **found})
            found[node] = _bounded(replace(whole, boxes=safe), node, mask, settings, (budget, deadline))
    if time.monotonic() > deadline:
        found, _ = crown_bounds(graph, inputs, replace(budget, seconds=None), known=found)
    return found


def _bounded(
    whole: Roots, node: Node, mask: Tensor, settings: Settings, limits: tuple[Budget, float]
) -> Interval:
    """The box of a node with the neurons of a mask (B, n) bounded by trees; limits: memory and deadline."""
    box, problem, place = whole.boxes[node], *mask.nonzero().unbind(1)
    lower, upper = (end.reshape(len(mask), -1).clone() for end in (box.lower, box.upper))
    budget, deadline = limits
    effort = (settings.rounds, settings.tries, settings.batch or _AT_ONCE)
    each = 2 * (settings.rounds + 1) * box.lower.element_size() * _slopes(whole.graph, node)
    at_once = max(1, budget.memory(mask.device) // each)
    for part in torch.arange(len(problem), device=mask.device).split(at_once):
        index = (problem[part], place[part])
        trees = NeuronTrees.of(whole, node, index, effort, deadline)
        low, high = (end.to(lower.dtype) for end in trees.bounds())
        lower[index], upper[index] = torch.fmax(lower[index], low), torch.fmin(upper[index], high)
    return _narrower(box, Interval(lower.reshape(box.lower.shape), upper.reshape(box.upper.shape)))


def _slopes(graph: Graph, node: Node) -> int:
    """Numbers that a leaf's tuning leaves."""
    below = graph.nodes[1 : node.index + 1]
    return 1 + sum(p.numel for n in below if not find_rule(n).affine for p in n.inputs)


def _narrower(box: Interval, other: Interval) -> Interval:
    """The intersection; where bounds cross by rounding, or one is no number, those of `box`."""
    both = box.intersect(other)
    crossed = (both.lower <= both.upper).logical_not()
    return Interval(torch.where(crossed, box.lower, both.lower), torch.where(crossed, box.upper, both.upper))
