"""Boxes of domains of hidden splits as the checker finds them where it clips: see its `Bounds.least`."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from torch import Tensor

from robustbench_local.checker import Bounds

from ..graph import Node
from ..interval import Interval
from .claim import Claim
from .leaves import Domain
from .trees import Way

__all__ = ["Clipping", "clipped_nodes", "joined_bounds"]

_NUMBERS = 2**15  # coordinates times inputs: beyond, the checker's work on every leaf does not pay

_CLEAR = 1e-7  # how far ends must cross, relative to their size, where a box is called empty
_USUAL = np.array([[-1]])


def clipped_nodes(claim: Claim, sizes: Sequence[int]) -> tuple[int, ...]:
    """What functions read, in small networks of relu; nothing in others."""
    nodes = claim.network.nodes
    read = sorted({about["inputs"][0] for about in nodes if about["op"] == "relu"})
    if any(about["op"] == "sigmoid" for about in nodes):  # whose tuned slopes depend on the boxes
        return ()
    return tuple(read) if sum(sizes[node] for node in read) * sizes[0] <= _NUMBERS else ()


def joined_bounds(parts: Sequence[Bounds]) -> Bounds:
    """The bounds of several problems as one batch."""
    made = parts[0].take(np.zeros(len(parts), np.int64))
    for name in ("lower", "upper", "reach"):
        ends = [getattr(part, name) for part in parts]
        setattr(made, name, [np.concatenate(arrays) for arrays in zip(*ends, strict=True)])
    return made


class Clipping:
    """Bounds of some domains while the checker clips them, round after round.

    root: bounds of all problems; nodes: the graph's nodes in the certificate's order.
    """

    def __init__(self, root: Bounds, domains: Sequence[Domain], nodes: Sequence[Node], way: Way) -> None:
        self.nodes, self.way = nodes, way
        self.bounds, number = root.take(np.array([d.problem for d in domains])), _numbers(nodes)
        most = max(len(d.splits) for d in domains)
        shapes = {
            number[i]: (len(domains), most, root.network.sizes[number[i]])
            for d in domains
            for i, *_ in d.splits
        }
        self.walls = {node: np.zeros(shape) for node, shape in shapes.items()}
        self.level = np.zeros((len(domains), most))
        for k, domain in enumerate(domains):
            for s, (index, place, side, point, _) in enumerate(domain.splits):
                node = number[index]
                self.walls[node][k, s, place] = -side
                self.level[k, s] = side * point
                face, tighter = (self.bounds.lower, max) if side > 0 else (self.bounds.upper, min)
                face[node][k, place] = tighter(face[node][k, place], point)

    def clipped(self, plane: tuple[Tensor, Tensor]) -> tuple[dict[Node, Interval], Tensor]:
        """The boxes of the nodes that are clipped or split after one more round; and which are clearly empty
        (D,), so that the domain has no point that matters. Where a box is empty its ends are swapped.

        plane: slopes (D, n) and constants (D,) of what is not above zero at such a point.
        """
        bounds = self.bounds
        own = (plane[0].numpy()[:, None], plane[1].numpy()[:, None], np.zeros((len(self.level), 1)))
        split = [bounds.pull(self.walls, _USUAL, self.level, 0.0)] if self.walls else []
        cut = [np.concatenate(parts, 1) for parts in zip(own, *split, strict=True)]
        empty = np.zeros(len(self.level), bool)
        for node in self.way.clipped:
            bounds.refine(node, _USUAL, cut)
            low, high = bounds.lower[node], bounds.upper[node]
            empty |= (low - high > _CLEAR * (1 + np.abs(low))).any(1)
        found = {self.nodes[k]: _interval(bounds, k, self.nodes[k]) for k in {*self.way.clipped, *self.walls}}
        return found, torch.from_numpy(empty)

    def select(self, index: Tensor) -> Clipping:
        """That of some of the domains (d,)."""
        some, made = index.numpy(), copy(self)
        made.bounds, made.level = self.bounds.take(some), self.level[some]
        made.walls = {node: wall[some] for node, wall in self.walls.items()}
        return made


def _numbers(nodes: Sequence[Node]) -> dict[int, int]:
    return {node.index: k for k, node in enumerate(nodes)}


def _interval(bounds: Bounds, number: int, node: Node) -> Interval:
    lower, upper = bounds.lower[number], bounds.upper[number]
    ends = (torch.from_numpy(end(lower, upper)) for end in (np.minimum, np.maximum))
    low, high = (end.reshape(-1, *node.shape) for end in ends)
    return Interval(low, high)
