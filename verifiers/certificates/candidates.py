"""Where to split a domain: coordinates whose lines lose most, by the coefficients that meet them.

For relu the intercept score of BaBSR (Bunel et al. 2020, arXiv 1909.06588), for sigmoid the width of the box.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..graph import Node
from .leaves import DomainBatch, dense

__all__ = ["candidates"]

_TRIES = 3  # splits of a domain that are tried for real


def candidates(
    batch: DomainBatch,
    lines: Mapping[Node, tuple[Tensor, Tensor]],
    rest: Tensor,
    smooth: Mapping[Node, bool],
) -> tuple[Tensor, ...]:
    """The splits with the highest scores (b, tries) of some domains: node, coordinate, point, score, unit.

    lines: slopes of the functions' lines; rest (b,): the domains; smooth: which functions are no relu. A
    score of 0 stands for no split; the unit is the size of the coefficient.
    """
    found = []
    for node, rows in batch.seen.items():
        if node not in lines:
            continue
        box = batch.boxes[node.inputs[0]]
        low, high = box.lower.flatten(1)[rest], box.upper.flatten(1)[rest]
        a = dense(rows).flatten(1)[rest]
        score, point = a.abs() * (high - low), (low + high) / 2
        if not smooth[node]:
            chord = high * -low / (high - low).clamp(min=1e-30)
            below = lines[node][0][rest]
            floor = torch.minimum(below * -low, (1 - below) * high)
            score = (-a).clamp(min=0) * chord + a.clamp(min=0) * floor
            score = torch.where((low < 0) & (high > 0), score, torch.zeros_like(a))
            point = torch.zeros_like(a)
        best = score.topk(min(_TRIES, score.shape[1]), 1)
        numbers = torch.full_like(best.indices, node.inputs[0].index)
        size = a.abs().gather(1, best.indices)
        found.append((numbers, best.indices, point.gather(1, best.indices), best.values, size))
    joined = [torch.cat(parts, 1) for parts in zip(*found, strict=True)]
    order = joined[3].topk(min(_TRIES, joined[3].shape[1]), 1).indices
    return tuple(part.gather(1, order) for part in joined)
