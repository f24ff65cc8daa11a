"""Boxes of domains of hidden splits as the checker finds them where it clips: see its `Bounds.least`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_local.checker import Bounds

from ..graph import Node
from ..interval import Interval
from .claim import Claim
from .leaves import Domain
from .trees import Way

__all__ = ["clipped_boxes", "clipped_nodes", "joined_bounds"]

_NUMBERS = 2**15  # coordinates times inputs: beyond, the checker's work on every leaf does not pay

_USUAL = np.array([[-1]])


def clipped_nodes(claim: Claim, sizes: Sequence[int]) -> tuple[int, ...]:
    """What functions read, in small networks; nothing in others."""
    nodes = claim.network.nodes
    read = sorted({about["inputs"][0] for about in nodes if about["op"] in ("relu", "sigmoid")})
    return tuple(read) if sum(sizes[node] for node in read) * sizes[0] <= _NUMBERS else ()


def joined_bounds(parts: Sequence[Bounds]) -> Bounds:
    """The bounds of several problems as one batch."""
    made = parts[0].take(np.zeros(len(parts), np.int64))
    for name in ("lower", "upper", "reach"):
        ends = [getattr(part, name) for part in parts]
        setattr(made, name, [np.concatenate(arrays) for arrays in zip(*ends, strict=True)])
    return made


def clipped_boxes(
    root: Bounds, domains: Sequence[Domain], nodes: Sequence[Node], way: Way
) -> dict[Node, Interval]:
    """The boxes of the nodes that are clipped or split, by the graph's nodes in the certificate's order.

    root: bounds of all problems. Where a box is empty its ends are swapped.
    """
    number = {node.index: k for k, node in enumerate(nodes)}
    bounds = root.take(np.array([d.problem for d in domains]))
    most = max(len(d.splits) for d in domains)
    walls: dict[int, NDArray[np.float64]] = {}
    level = np.zeros((len(domains), most))
    for k, domain in enumerate(domains):
        for s, (index, place, side, point, _) in enumerate(domain.splits):
            node = number[index]
            wall = walls.setdefault(node, np.zeros((len(domains), most, root.network.sizes[node])))
            wall[k, s, place], level[k, s] = -side, side * point
            face, tighter = (bounds.lower, max) if side > 0 else (bounds.upper, min)
            face[node][k, place] = tighter(face[node][k, place], point)
    pulled = bounds.pull(walls, _USUAL, level, 0.0)
    for node in way.clipped:
        bounds.refine(node, _USUAL, pulled)
    return {nodes[k]: _interval(bounds, k, nodes[k]) for k in {*way.clipped, *walls}}


def _interval(bounds: Bounds, number: int, node: Node) -> Interval:
    lower, upper = bounds.lower[number], bounds.upper[number]
    ends = (torch.from_numpy(end(lower, upper)) for end in (np.minimum, np.maximum))
    low, high = (end.reshape(-1, *node.shape) for end in ends)
    return Interval(low, high)
