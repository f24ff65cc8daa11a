"""Brackets of radii: the largest at which a property holds, by one bisection over many problems at once.

A witness says more than that one radius is refuted. Pulled towards the centre of its set for as long as it
breaks the property, and its set shrunk for as long as it contains it, it refutes a much smaller one without
another attack, so that most of the bisection is left to the verifiers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustbench_local.errors import NonFiniteError, RadiusError
from robustbench_local.specs import Query, Verdict

from .results import Result

__all__ = ["Closer", "Decide", "RadiusBracket", "closer_by", "radius_all"]

Decide = Callable[[Tensor, Tensor, float], tuple[Result, ...]]
"""Problems (k,), their radii (k,) and seconds -> the results of these problems."""
Closer = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Problems (k,), witnesses (k, *in), radii not refuted and refuted (k,) -> smaller refuted ones (k,), and
the points (k, *in) that refute them."""

_HALVINGS = 30  # of the way to the centre, and of a radius: beyond what float32 tells apart
_SHARE = 0.2  # of the time left for one question to slow methods, so that several can be asked


@dataclass(frozen=True, slots=True, eq=False)
class RadiusBracket:
    """The property holds at `holds` (NaN: at no radius tried) and is violated at `violated` (inf: at none).

    For a property that only gets harder with the radius, the largest radius at which it holds lies between.
    `witness` (*in) lies in the set of radius `violated` and breaks the property; None where none does.
    `queries` counts the verdicts that were asked for.
    """

    holds: float
    violated: float
    queries: int
    witness: Tensor | None = field(default=None, repr=False)


def radius_all(
    decide: Sequence[Decide],
    batch: int,
    *,
    low: float,
    high: float,
    tolerance: float,
    timeout: float,
    closer: Closer | None = None,
    progress: Callable[[list[RadiusBracket]], None] | None = None,
) -> list[RadiusBracket]:
    """Both ends of the largest radius, by bisection, for all problems at once.

    Radii in [low, high] are tried until the ends are within `tolerance` of what the methods can tell: the
    largest radius that they prove, and the smallest that they refute.

    Args:
        decide: the methods, quick ones first; later ones are asked only between the ends that earlier ones
            left, each question with a part of the time left.
        closer: what a witness refutes besides the radius it was found at.
        progress: called with the brackets after every question.

    Raises RadiusError or NonFiniteError for radii or a tolerance that cannot be used.
    """
    if not 0 <= low < high < float("inf"):
        raise RadiusError(f"radii from {low!r} to {high!r}", cure="give 0 <= low < high")
    if not tolerance > 0:
        raise NonFiniteError(f"tolerance {tolerance!r} is not above 0")
    deadline = time.monotonic() + timeout
    search = _Search(batch, low, closer)
    for place, methods in enumerate(decide):
        share = 1.0 if place == 0 else _SHARE
        search.forget_open()
        ends = (high, low) if place == 0 else ()
        for radius in ends:
            search.ask(methods, torch.arange(batch), torch.full((batch,), radius).double(), deadline, share)
        for upward in (True, False):
            while time.monotonic() < deadline:
                bottom, top = search.gap(upward)
                rows = (top - bottom > tolerance).nonzero().flatten()
                if len(rows) == 0:
                    break
                search.ask(methods, rows, (bottom[rows] + top[rows]) / 2, deadline, share)
                if progress is not None:
                    progress(search.brackets())
    return search.brackets()


class _Search:
    """What is known of each problem's radii: the largest proved, the smallest and largest open, the smallest
    refuted."""

    def __init__(self, batch: int, low: float, closer: Closer | None) -> None:
        self.low, self.closer = low, closer
        self.holds = torch.full((batch,), -torch.inf, dtype=torch.float64)
        self.violated = torch.full((batch,), torch.inf, dtype=torch.float64)
        self.queries = torch.zeros(batch, dtype=torch.int64)
        self.witnesses: list[Tensor | None] = [None] * batch
        self.forget_open()

    def forget_open(self) -> None:
        """Radii that were left open may be asked again: of other methods."""
        self.open_low = torch.full_like(self.holds, torch.inf)
        self.open_high = torch.full_like(self.holds, -torch.inf)

    def ask(self, decide: Decide, rows: Tensor, radii: Tensor, deadline: float, share: float) -> None:
        """Decides the problems `rows` (k,) at radii (k,) in this share of the time left."""
        # nothing is asked twice: beyond a refuted radius, or below a proved one, the answer is known
        new = (radii > self.holds[rows]) & (radii < self.violated[rows])
        rows, radii = rows[new], radii[new]
        if len(rows) == 0:
            return
        self.queries[rows] += 1
        results = decide(rows, radii, max(1e-3, share * (deadline - time.monotonic())))
        for b, radius, result in zip(rows.tolist(), radii.tolist(), results, strict=True):
            if result.verdict is Verdict.HOLDS:
                self.holds[b] = max(float(self.holds[b]), radius)
            elif result.verdict is Verdict.VIOLATED:
                self.violated[b], self.witnesses[b] = radius, result.witness
            else:
                self.open_low[b] = min(float(self.open_low[b]), radius)
                self.open_high[b] = max(float(self.open_high[b]), radius)
        self._pull(rows, results)

    def _pull(self, rows: Tensor, results: Sequence[Result]) -> None:
        """Refutes the smaller radii that the witnesses refute."""
        found = {b: r.witness for b, r in zip(rows.tolist(), results, strict=True) if r.witness is not None}
        if self.closer is None or not found:
            return
        chosen = torch.tensor(list(found))
        floor = self.holds[chosen].clamp(min=self.low)
        radii, points = self.closer(chosen, torch.stack(list(found.values())), floor, self.violated[chosen])
        for b, radius, point in zip(chosen.tolist(), radii.tolist(), points, strict=True):
            if radius < self.violated[b]:
                self.violated[b], self.witnesses[b] = radius, point

    def gap(self, upward: bool) -> tuple[Tensor, Tensor]:
        """The interval in which the largest provable radius (`upward`) or the smallest refutable one lies."""
        if upward:
            bottom, top = self.holds, torch.minimum(self.open_low, self.violated)
        else:
            bottom, top = torch.maximum(self.open_high, self.holds), self.violated
        known = torch.isfinite(bottom) & torch.isfinite(top)
        return torch.where(known, bottom, 0.0), torch.where(known, top, 0.0)

    def brackets(self) -> list[RadiusBracket]:
        """The brackets found so far."""
        holds = torch.where(torch.isfinite(self.holds), self.holds, torch.nan)
        return [
            RadiusBracket(h, v, n, w)
            for h, v, n, w in zip(
                holds.tolist(), self.violated.tolist(), self.queries.tolist(), self.witnesses, strict=True
            )
        ]


def closer_by(query_at: Callable[[Tensor, Tensor], Query], wide: nn.Module) -> Closer:
    """What witnesses refute, for a property whose queries at rows (k,) and radii (k,) are `query_at(rows,
    radii)`; `wide` is their network in float64.

    A radius counts as refuted where the point lies in that radius's own set exactly and breaks the property
    in the network's dtype and in float64, as it does at the radius where it was found.
    """

    def broken(rows: Tensor, points: Tensor, radii: Tensor) -> Tensor:
        query = query_at(rows, radii)
        place = query.inputs.device
        points = points.to(place)
        inside = query.inputs.contains(points)
        twice = query.violated(points) & query.with_network(wide).violated(points.double())
        return (inside & twice).cpu()

    def closer(rows: Tensor, points: Tensor, floor: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        centre = query_at(rows, floor).inputs.centre().to(points)
        outer, inner = torch.ones_like(found), torch.zeros_like(found)  # shares of the way: bad, not known
        for _ in range(_HALVINGS):
            middle = (outer + inner) / 2
            bad = broken(rows, _between(centre, points, middle), found)
            outer, inner = torch.where(bad, middle, outer), torch.where(bad, inner, middle)
        near = _between(centre, points, outer)
        top, bottom = found.clone(), floor.clone()
        for _ in range(_HALVINGS):
            middle = (top + bottom) / 2
            bad = broken(rows, near, middle)
            top, bottom = torch.where(bad, middle, top), torch.where(bad, bottom, middle)
        return top, near

    return closer


def _between(centre: Tensor, points: Tensor, share: Tensor) -> Tensor:
    """The points (k, *in) at these shares (k,) of the ways from the centres; 1 is the point itself."""
    part = share.to(points).reshape(-1, *[1] * (points.ndim - 1))
    return torch.where(part == 1, points, centre + part * (points - centre))
