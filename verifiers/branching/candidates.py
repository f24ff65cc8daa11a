"""Where to split next: coordinates whose relaxation costs the bound most, by the coefficients that reach it.

The score of a coordinate is what its lines lose at the split point, times the coefficient that meets
them: for ReLU the intercept term of BaBSR (Bunel et al. 2020, arXiv 1909.06588), for other functions the
same idea at the middle of the box. The best few are then tried for real, as in FSB (De Palma et al. 2021,
arXiv 2104.06718), all domains and candidates in one batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..backward import Rows
from ..graph import Graph, Node
from ..interval import Interval
from ..rule import Elementwise, find_rule
from .bounding import dense_rows

__all__ = ["candidates"]


def candidates(
    graph: Graph, boxes: Mapping[Node, Interval], seen: Mapping[Node, Rows], count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best splits of D domains, (D, count) each: node number (-1: no more), coordinate, point, score."""
    found: list[tuple[int, Tensor, Tensor]] = []
    batch = boxes[graph.input].lower.shape[0]
    for node, rows in seen.items():
        if node.op is None:
            continue
        for position, parent in enumerate(node.inputs):
            scored = _scores(node, position, boxes, dense_rows(rows))
            if scored is not None:
                found.append((parent.index, scored[0].reshape(batch, -1), scored[1].reshape(batch, -1)))
    like = boxes[graph.input].lower
    if not found:
        none = torch.full((batch, count), -1, dtype=torch.int64, device=like.device)
        return none, torch.zeros_like(none), like.new_zeros(batch, count), like.new_zeros(batch, count)
    numbers = torch.cat([torch.full((s.shape[1],), i, device=like.device) for i, s, _ in found])
    places = torch.cat([torch.arange(s.shape[1], device=like.device) for _, s, _ in found])
    scores = torch.cat([s for _, s, _ in found], 1).nan_to_num(nan=-1.0)
    points = torch.cat([p for _, _, p in found], 1)
    best = scores.topk(min(count, scores.shape[1]), dim=1)
    node_of = torch.where(best.values > 0, numbers[best.indices], -1)
    missing = max(0, count - node_of.shape[1])

    def padded(values: Tensor, filler: int = 0) -> Tensor:
        return torch.nn.functional.pad(values, (0, missing), value=filler)

    chosen = places[best.indices], points.gather(1, best.indices), best.values
    return padded(node_of, -1), padded(chosen[0]), padded(chosen[1]), padded(chosen[2])


def _scores(
    node: Node, position: int, boxes: Mapping[Node, Interval], a: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Score and split point of every coordinate of an input, (D, *shape) each; None where there is none."""
    rule, box = find_rule(node), boxes[node.inputs[position]]
    mask = rule.undecided(node, position, box)
    if mask is None or not bool(mask.any()):
        return None
    if isinstance(rule, Elementwise):
        return _of_function(rule, node, box, a.squeeze(1), mask)
    width = box.upper - box.lower
    size = a.abs().flatten(1).mean(1).reshape(-1, *(1 for _ in node.inputs[position].shape))
    return torch.where(mask, size * width, -1.0), (box.lower + box.upper) / 2


def _of_function(
    rule: Elementwise, node: Node, box: Interval, a: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    middle = (box.lower + box.upper) / 2
    bends = (box.lower < 0) & (box.upper > 0) & _kinked(rule, node, box)
    point = torch.where(bends, torch.zeros_like(middle), middle)
    lines = rule.lines(node, box)
    value = node.run(point)
    above = lines.upper_slope * point - value
    above = above if lines.upper_offset is None else above + lines.upper_offset
    below = value - lines.lower_slope * point
    below = below if lines.lower_offset is None else below - lines.lower_offset
    score = a.clamp(min=0) * below - a.clamp(max=0) * above
    # a kink between lines that touch it there costs nothing at the point itself: count the area it opens
    idle = torch.minimum(above, box.upper - box.lower) * a.clamp(min=0) * 0.1
    return torch.where(mask, score + idle, -1.0), point


def _kinked(rule: Elementwise, node: Node, box: Interval) -> Tensor:
    """Whether the function is piecewise linear with its kink at zero: then the split there is exact."""
    ends = torch.stack((box.lower, box.upper))
    halves = node.run(ends / 2)
    return (2 * halves == node.run(ends)).all(0)
