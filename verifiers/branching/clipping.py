"""Bounds of hidden coordinates in a domain, from its splits and from what a counterexample there must meet.

Every split is a half space of the input, by the plane around the split coordinate; the linear bound that the
parent ended with is one more, for a point above it cannot be a counterexample. Over the box and all
half spaces g @ x + h >= 0 a plane a @ x + b is, for ANY multipliers b_s >= 0, at least the box's minimum of

    (a - sum of b_s g_s) @ x + b - sum of b_s h_s

and gradient steps look for good multipliers of all coordinates of all domains in one batch. The idea of
clipping by such half spaces is that of Clip-and-Verify (Zhou et al. 2025, arXiv 2512.11087).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.specs import Box

from ..graph import Node
from ..interval import Interval
from .domains import Splits
from .ledger import Ledger
from .planes import Planes, planes_of
from .problem import Roots
from .settings import Settings

__all__ = ["Clipper", "Clipping", "Gain", "HalfSpaces", "tightened"]

_CUSHION = 1e-5  # relative to all magnitudes that a bound was computed from: more than float32 rounding
_STEPS, _SIZE = 12, 0.3
_NUMBERS = 2**17  # at once: what fits a cache
_WIDEST = 64
_TRIAL, _WORTH = 128, 0.01  # domains after which clipping ends if it took less than this share of the gaps


Gain = tuple[int, float]
"""How many domains have been clipped, and what it brought."""


@dataclass(frozen=True, slots=True, eq=False)
class HalfSpaces:
    """S half spaces of D domains, normals @ x + at >= 0: normals (D, S, n), at (D, S)."""

    normals: Tensor
    at: Tensor


class Clipper:
    """Clips the bounds of the coordinates that cost most, in domains of some roots.

    In deep networks the planes are too loose to gain much: what clipping gains is watched, and `pays` says
    whether it is worth going on.
    """

    def __init__(self, roots: Roots, planes: Planes, gain: Gain = (0, 0.0)) -> None:
        self.roots, self.planes = roots, planes
        self.box = roots.boxes[roots.graph.input]
        self._domains, self._gain = gain

    @property
    def gain(self) -> Gain:
        """How many domains have been clipped, and what it brought."""
        return self._domains, self._gain

    @property
    def pays(self) -> bool:
        """False where many domains have been clipped and little came of it."""
        return self._domains < _TRIAL or self._gain >= _WORTH * self._domains

    @staticmethod
    def of(roots: Roots, gain: Gain = (0, 0.0)) -> Clipper | None:
        """The clipper of some roots; None where there is nothing to clip or no memory for it.

        gain: what clipping has brought so far.
        """
        planes = planes_of(roots)
        return None if planes is None else Clipper(roots, planes, gain)

    def start(self, root: Tensor) -> Tensor:
        """The roots' bounds of all coordinates of domains (D,): (D, 2, U)."""
        problem, parts = self.roots.problem[root], []
        for number, places in self.planes.nodes:
            box = self.roots.boxes[self.roots.graph.nodes[number]].select(problem)
            parts.append(torch.stack([_rows(end)[:, places] for end in (box.lower, box.upper)], 1))
        return torch.cat(parts, 2)

    def clip(
        self,
        root: Tensor,
        splits: Splits,
        tight: Tensor,
        plane: tuple[Tensor, Tensor],
        wanted: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Tighter bounds (D, 2, U) of domains, and where they are empty (D,).

        tight: bounds so far. plane: coefficients (D, n) and constant (D,) of what is not above zero at a
        counterexample. wanted: node numbers and places (D, k) of the coordinates to be bounded.
        """
        tight = self._split(splits, tight)
        number = self.planes.number(*wanted)
        each = number.shape[1] * 2 * self.box.lower[0].numel()
        result = tight.clone()
        for part in torch.arange(len(root), device=root.device).split(max(1, _NUMBERS // max(1, each))):
            spaces = self._spaces(root[part], splits.select(part), (plane[0][part], plane[1][part]))
            result[part] = self._clipped(root[part], spaces, tight[part], number[part])
        empty = (result[:, 0] > result[:, 1]).any(1)
        self._domains += len(root)
        self._gain += float(_taken(tight, result).sum())
        return torch.stack((result.amin(1), result.amax(1)), 1), empty

    def _split(self, splits: Splits, tight: Tensor) -> Tensor:
        """The bounds with the splits themselves applied."""
        number = self.planes.number(splits.node, splits.coordinate)
        spare = torch.where(number >= 0, number, tight.shape[2])
        infinite = torch.full_like(splits.point, torch.inf)
        low = torch.where(splits.side > 0, splits.point, -infinite)
        high = torch.where(splits.side < 0, splits.point, infinite)
        wide = torch.nn.functional.pad(tight, (0, 1))
        lower = wide[:, 0].scatter_reduce(1, spare, low, "amax")
        upper = wide[:, 1].scatter_reduce(1, spare, high, "amin")
        return torch.stack((lower, upper), 1)[:, :, :-1]

    def _spaces(self, root: Tensor, splits: Splits, plane: tuple[Tensor, Tensor]) -> HalfSpaces:
        problem = self.roots.problem[root].unsqueeze(1)
        number = self.planes.number(splits.node, splits.coordinate)
        known, number = number >= 0, number.clamp(min=0)
        above = (splits.side > 0).to(torch.int64)  # z >= point needs the plane above z, and the reverse
        rows, at = self.planes.rows[above, problem, number], self.planes.at[above, problem, number]
        side = torch.where(known, splits.side, torch.zeros_like(splits.side))
        normals = torch.cat((rows * side.unsqueeze(2), -plane[0].unsqueeze(1)), 1)
        return HalfSpaces(normals, torch.cat(((at - splits.point) * side, -plane[1].unsqueeze(1)), 1))

    def _clipped(self, root: Tensor, spaces: HalfSpaces, tight: Tensor, number: Tensor) -> Tensor:
        """The bounds (D, 2, U) with those of coordinates `number` (D, k) clipped; they may cross."""
        problem = self.roots.problem[root]
        index, known = number.clamp(min=0), number >= 0
        rows = torch.cat([self.planes.rows[i, problem.unsqueeze(1), index] * (1 - 2 * i) for i in (0, 1)], 1)
        at = torch.cat([self.planes.at[i, problem.unsqueeze(1), index] * (1 - 2 * i) for i in (0, 1)], 1)
        box = self.box.select(problem)
        mid, radius = (v.flatten(1) for v in box.mid_radius())
        found = _minima(rows, at, spaces, mid, radius)
        k = index.shape[1]
        spare = torch.where(known, index, tight.shape[2])
        wide = torch.nn.functional.pad(tight, (0, 1))
        lower = wide[:, 0].scatter_reduce(1, spare, found[:, :k], "amax")
        upper = wide[:, 1].scatter_reduce(1, spare, -found[:, k:], "amin")
        return torch.stack((lower, upper), 1)[:, :, :-1]


class Clipping:
    """What a search clips: begun where its first domain is to be split, ended where it does not pay.

    width: how many coordinates of every domain are clipped.
    """

    def __init__(self, roots: Roots, ledger: Ledger, settings: Settings, gain: Gain = (0, 0.0)) -> None:
        self.roots, self.ledger, self._before = roots, ledger, gain
        able = isinstance(ledger.query.inputs, Box)
        self.width = min(_WIDEST, settings.clip // roots.graph.input.numel) if able else 0
        self._clipper: Clipper | None = None

    def begun(self, root: Tensor, tight: Tensor) -> Tensor:
        """The bounds (D, 2, U) that clipping goes on from: the roots' where it has not begun."""
        if tight.shape[2] or self.width == 0:
            return tight
        if self._clipper is None:
            self._clipper = Clipper.of(self.roots, self._before)
            if self._clipper is None:
                self.width = 0
                return tight
        return self._clipper.start(root)

    @property
    def planes(self) -> Planes | None:
        """The planes whose coordinates have bounds in every domain; None where there are none."""
        return None if self._clipper is None else self._clipper.planes

    @property
    def gain(self) -> Gain:
        """How many domains have been clipped, and what it brought."""
        return self._before if self._clipper is None else self._clipper.gain

    def resumed(self, root: Tensor, tight: Tensor) -> Tensor:
        """The bounds (D, 2, U) of an earlier call's domains, or their roots' where others are clipped now."""
        start = self.begun(root, tight[:, :, :0])
        return tight if tight.shape == start.shape else start

    def clipped(
        self,
        root: Tensor,
        splits: Splits,
        tight: Tensor,
        plane: tuple[Tensor, Tensor],
        branch: tuple[Tensor, ...] | None,
    ) -> tuple[Tensor, Tensor]:
        """Tighter bounds (D, 2, U) of the parents' most costly coordinates, and where they are empty (D,)."""
        if self._clipper is None or not self._clipper.pays or branch is None or tight.shape[2] == 0:
            return tight, torch.zeros_like(root, dtype=torch.bool)
        lowered = plane[0], plane[1] - self.ledger.above
        wanted = branch[0][:, : self.width], branch[1][:, : self.width]
        return self._clipper.clip(root, splits, tight, lowered, wanted)

    def known(self, tight: Tensor) -> tuple[Planes, Tensor] | None:
        """The bounds as `boxes_of` takes them."""
        clipper = self._clipper
        return None if clipper is None or tight.shape[2] == 0 else (clipper.planes, tight)

    def capped(self, lower: Tensor, tight: Tensor) -> Tensor:
        """A bound that rests on a parent's plane is one only up to what that plane leaves out."""
        return lower.clamp(max=self.ledger.above) if tight.shape[2] else lower


def _taken(before: Tensor, after: Tensor) -> Tensor:
    """The share (D,) of the widths on both sides of zero that clipping took away, (D, 2, U) each."""
    wide = (-before[:, 0]).clamp(min=0).minimum(before[:, 1].clamp(min=0)).sum(1)
    left = (-after[:, 0]).clamp(min=0).minimum(after[:, 1].clamp(min=0)).sum(1)
    return (1 - left / wide.clamp(min=torch.finfo(wide.dtype).tiny)).nan_to_num(nan=0.0).clamp(0, 1)


def tightened(
    known: Mapping[Node, Interval], planes: Planes, nodes: tuple[Node, ...], tight: Tensor
) -> dict[Node, Interval]:
    """Boxes of D domains with the bounds `tight` (D, 2, U) of the planes' coordinates put in."""
    boxes, first = dict(known), 0
    for number, places in planes.nodes:
        box, count = known[nodes[number]], places.shape[0]
        part = tight[:, :, first : first + count].to(box.lower.dtype)
        lower, upper = (
            _rows(end).index_copy(1, places, part[:, i]).reshape(end.shape)
            for i, end in enumerate((box.lower, box.upper))
        )
        boxes[nodes[number]] = Interval(lower, upper)
        first += count
    return boxes


def _minima(rows: Tensor, at: Tensor, spaces: HalfSpaces, mid: Tensor, radius: Tensor) -> Tensor:
    """Lower bounds (D, R) of rows (D, R, n) @ x + at (D, R) over boxes and half spaces, less rounding."""
    reach = (mid.abs() + radius).unsqueeze(2)
    a, g = rows * radius.unsqueeze(1), spaces.normals * radius.unsqueeze(1)
    centre = at + (rows @ mid.unsqueeze(2)).squeeze(2)
    height = spaces.at + (spaces.normals @ mid.unsqueeze(2)).squeeze(2)
    size = (rows.abs() @ reach).squeeze(2) + at.abs()
    sizes = (spaces.normals.abs() @ reach).squeeze(2) + spaces.at.abs()
    # in units of each row's and each half space's own range, multipliers are of size one
    unit = a.abs().sum(2, keepdim=True).clamp(min=1e-30)
    units = g.abs().sum(2, keepdim=True).clamp(min=1e-30)
    a, g, centre, height = a / unit, g / units, centre / unit.squeeze(2), height / units.squeeze(2)
    size, sizes = size / unit.squeeze(2), sizes / units.squeeze(2)
    turned, best = g.transpose(1, 2), torch.full_like(centre, -torch.inf)
    beta = torch.zeros(*centre.shape, height.shape[1], dtype=a.dtype, device=a.device)
    first, second, step = torch.zeros_like(beta), torch.zeros_like(beta), _SIZE
    for t in range(1, _STEPS + 1):
        left = torch.baddbmm(a, beta, g, alpha=-1)
        sign = torch.sign(left)
        value = centre - (beta @ height.unsqueeze(2)).squeeze(2) - left.mul_(sign).sum(2)
        slack = _CUSHION * (size + (beta @ sizes.unsqueeze(2)).squeeze(2))
        best = torch.fmax(best, value - slack)
        gradient = sign @ turned - height.unsqueeze(1)
        first.lerp_(gradient, 0.2)
        second.mul_(0.95).addcmul_(gradient, gradient, value=0.05)
        scale = step / (1 - 0.8**t)
        beta.addcdiv_(first, (second / (1 - 0.95**t)).sqrt_().add_(1e-6), value=scale).clamp_(min=0)
        step *= 0.85
    return best * unit.squeeze(2)


def _rows(values: Tensor) -> Tensor:
    """Values (D, *shape) as (D, n); a single number a domain, (D,), makes n = 1."""
    return values.flatten(1) if values.dim() > 1 else values.unsqueeze(1)
