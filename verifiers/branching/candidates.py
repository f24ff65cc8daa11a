"""Where to split next: coordinates whose relaxation costs the bound most, by the coefficients that reach it.

The score of a coordinate is what its lines lose at the split point, times the coefficient that meets
them: for ReLU the intercept term of BaBSR (Bunel et al. 2020, arXiv 1909.06588), for other functions the
same idea at the middle of the box; what a function of several coordinates loses there is divided among them.
The best few are then tried for real, as in FSB (De Palma et al. 2021, arXiv 2104.06718), all domains and
candidates in one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..backward import Rows
from ..graph import Graph, Node
from ..interval import Interval
from ..rule import Elementwise, Rule, find_rule
from .bounding import dense_rows

__all__ = ["candidates"]

_FLAT = 1e-12  # a slope that divides what flat planes lose


def candidates(
    graph: Graph, boxes: Mapping[Node, Interval], seen: Mapping[Node, Rows], count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The best splits of D domains, (D, count) each: node number (-1: no more), coordinate, point, pull,
    score.

    pull: the size of the coefficient that the coordinate had in the bound, which that of the split's
    multiplier is like.
    """
    found: list[tuple[int, Tensor, Tensor, Tensor]] = []
    batch = boxes[graph.input].lower.shape[0]
    for node, rows in seen.items():
        if node.op is None:
            continue
        for parent, values in _scores(node, boxes, dense_rows(rows)):
            score, point, pull = (value.reshape(batch, -1) for value in values)
            found.append((parent.index, score, point, pull))
    like = boxes[graph.input].lower
    if not found:
        none = torch.full((batch, count), -1, dtype=torch.int64, device=like.device)
        zero = like.new_zeros(batch, count)
        return none, torch.zeros_like(none), zero, zero, zero
    numbers = torch.cat([torch.full((s.shape[1],), i, device=like.device) for i, s, _, _ in found])
    places = torch.cat([torch.arange(s.shape[1], device=like.device) for _, s, _, _ in found])
    scores = torch.cat([s for _, s, _, _ in found], 1).nan_to_num(nan=-1.0)
    points = torch.cat([p for _, _, p, _ in found], 1)
    pulls = torch.cat([p for _, _, _, p in found], 1)
    best = scores.topk(min(count, scores.shape[1]), dim=1)
    node_of = torch.where(best.values > 0, numbers[best.indices], -1)
    missing = max(0, count - node_of.shape[1])

    def padded(values: Tensor, filler: int = 0) -> Tensor:
        return torch.nn.functional.pad(values, (0, missing), value=filler)

    point, pull = (padded(values.gather(1, best.indices)) for values in (points, pulls))
    return padded(node_of, -1), padded(places[best.indices]), point, pull, padded(best.values)


def _scores(
    node: Node, boxes: Mapping[Node, Interval], a: Tensor
) -> Iterator[tuple[Node, tuple[Tensor, Tensor, Tensor]]]:
    """Inputs of a node with score, split point and pull of every coordinate, (D, *shape) each."""
    rule = find_rule(node)
    masks = [rule.undecided(node, i, boxes[parent]) for i, parent in enumerate(node.inputs)]
    if not any(mask is not None and bool(mask.any()) for mask in masks):
        return
    if isinstance(rule, Elementwise):
        assert masks[0] is not None
        score, point = _of_function(rule, node, boxes[node.inputs[0]], a.squeeze(1), masks[0])
        yield node.inputs[0], (score, point, a.squeeze(1).abs().expand_as(score))
        return
    for parent, mask, (score, pull) in zip(node.inputs, masks, _shares(rule, node, boxes, a), strict=True):
        if mask is not None:
            yield parent, (torch.where(mask, score, -1.0), boxes[parent].mid_radius()[0], pull)


def _shares(rule: Rule, node: Node, boxes: Mapping[Node, Interval], a: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What the planes of a node lose at the middle of its boxes, divided among the coordinates of its inputs,
    and the size of the planes' slopes.

    Each gets a part in proportion to what the planes change along it; of flat planes, to its width.
    """
    batch = boxes[node].lower.shape[0]
    a = a.expand(batch, *a.shape[1:])
    pulled = rule.backward(node, a, boxes)
    middles = [boxes[parent].mid_radius()[0] for parent in node.inputs]
    loss = (a.squeeze(1) * node.run(*middles)).reshape(batch, -1).sum(1)
    loss = loss if pulled.offset is None else loss - pulled.offset.reshape(batch)
    effects, pulls = [], []
    for parent, middle, coefficients in zip(node.inputs, middles, pulled.coefficients, strict=True):
        slopes = dense_rows(coefficients).squeeze(1)
        loss = loss - (slopes * middle).reshape(batch, -1).sum(1)
        pulls.append(slopes.abs())
        effects.append((slopes.abs() + _FLAT) * (boxes[parent].upper - boxes[parent].lower))
    total = sum(effect.reshape(batch, -1).sum(1) for effect in effects)
    each = (loss / torch.as_tensor(total)).nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
    scores = (effect * each.reshape(batch, *(1 for _ in effect.shape[1:])) for effect in effects)
    return list(zip(scores, pulls, strict=True))


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
