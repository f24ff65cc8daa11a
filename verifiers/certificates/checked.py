"""Bounds of domains as the checker finds them, given slopes and multipliers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.checker import Bounds

from ..slopes import Slopes
from .clipping import Clipping
from .leaves import Domain, DomainBatch

__all__ = ["Checked", "checked"]

_GAIN, _FEW = 0.2, 0.1  # of what is missing that a round must bring, in this share of the domains at least


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """Lower bounds (D, 1), infinite where a domain has no point that matters; and what they leave open.

    rows, slopes: of some domains, over the boxes that the checker has in the end; those among them that are
    open are `places` (r,) of these rows and `left` (r,) of all domains.
    """

    bound: Tensor
    rows: DomainBatch
    slopes: Slopes
    places: Tensor
    left: Tensor


def checked(
    whole: DomainBatch,
    slopes: Slopes,
    needed: Tensor,
    domains: Sequence[Domain],
    clipping: Callable[[Sequence[Domain]], Clipping] | None,
) -> Checked:
    """What the checker finds; `needed` (D, 1): what the bounds must exceed.

    whole: rows over the problems' boxes cut by the splits; clipping: of some domains, None where there is
    none. Rounds of clipping end before the checker's do where they bring little.
    """
    bound = whole.lower(slopes)
    rest = _open(bound, needed)
    if clipping is None or len(rest) == 0:
        return Checked(bound, whole, slopes, rest, rest)
    cut = clipping([domains[k] for k in rest.tolist()])
    plane = tuple(part[rest] for part in whole.plane(bound))
    rows, own, before, places = whole.take(rest, rest), _select(slopes, rest), bound[rest], rest
    for left_over in reversed(range(Bounds.rounds)):
        boxes, empty = cut.clipped((plane[0], plane[1]))
        rows = replace(rows, boxes={**rows.boxes, **boxes}, seen={})
        now = rows.lower(own)
        top = torch.maximum(bound[rest], now).masked_fill(empty.unsqueeze(1), torch.inf)
        bound[rest] = top
        places = _open(top, needed[rest])
        pays = (now - before > -_GAIN * now)[places].float()
        if len(places) == 0 or left_over == 0 or float(pays.mean()) < _FEW:
            break
        plane = tuple(part[places] for part in rows.plane(now))
        rest, rows, own = rest[places], rows.take(places, places), _select(own, places)
        cut, before = cut.select(places), now[places]
    return Checked(bound, rows, own, places, rest[places])


def _open(bound: Tensor, needed: Tensor) -> Tensor:
    return (bound > needed).logical_not().squeeze(1).nonzero().squeeze(1)


def _select(slopes: Slopes, index: Tensor) -> Slopes:
    return Slopes(values={key: value[index] for key, value in slopes.values.items()})
