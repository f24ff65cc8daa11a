"""Networks that are watched: every pass counted, and every point that an attack looks at remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from robustbench_local.specs import Query

__all__ = ["Meter", "Seen", "Tally", "watched", "watched_by"]


@dataclass(slots=True)
class Tally:
    """How many samples networks were run on, and differentiated at."""

    forwards: int = 0
    backwards: int = 0


class Meter(nn.Module):
    """A network that counts what it is used for."""

    def __init__(self, network: Callable[[Tensor], Tensor], tally: Tally) -> None:
        """Counts in `tally`."""
        super().__init__()
        self.network, self.tally = network, tally

    def forward(self, x: Tensor) -> Tensor:
        """The network's outputs at x (B, *in)."""
        y: Tensor = self.network(x)
        self.tally.forwards += len(x)
        if y.requires_grad:
            y.register_hook(self._count)
        return y

    def _count(self, gradient: Tensor) -> None:
        self.tally.backwards += len(gradient)


@dataclass(slots=True, eq=False)
class Seen:
    """The points that an attack looked at, for each of B problems.

    traces: the violation at each of them, in order. first: the first one in its set that broke the property.
    """

    traces: list[list[float]]
    first: dict[int, Tensor] = field(default_factory=dict)

    def look(self, rows: list[int], points: Tensor, violation: Tensor, inside: Tensor, bad: Tensor) -> None:
        """Notes the points (b, *in) of the problems `rows`, their violations (b,), whether they lie in their
        sets (b,), and whether they break the property there (b,)."""
        for k, row in enumerate(rows):
            self.traces[row].append(float(violation[k]))
            if bad[k] and row not in self.first:
                self.first[row] = points[k]

    def slope(self, rows: list[int]) -> None:
        """Notes that a gradient at points of the problems `rows` was computed."""


class _Watch(nn.Module):
    """The network of some problems of a batch, `rows` (b,) of it, whose answers are written down."""

    def __init__(self, query: Query, rows: Tensor, seen: Seen) -> None:
        super().__init__()
        self.inner = query.network
        self.query, self.rows, self.seen = query, rows, seen

    def forward(self, x: Tensor) -> Tensor:
        """The network's outputs at x (b, *in)."""
        points = x.detach().clone()  # a network may overwrite its input
        y: Tensor = self.inner(x)
        rows = self.rows.tolist()
        if y.requires_grad:
            y.register_hook(lambda _gradient: self.seen.slope(rows))
        with torch.no_grad():
            violation = self.query.combine(self.query.atoms(y.detach().double()))
            inside = self.query.inputs.contains(points)
            bad = self.query.violated_by(y.detach()) & inside
        self.seen.look(rows, points, violation, inside, bad)
        return y


@dataclass(frozen=True, eq=False, repr=False)
class _Watched(Query):
    """Problems whose network knows which of them it is asked about, also after some have left."""

    def select(self, index: Tensor) -> _Watched:
        part = Query.select(self, index)
        watch = self.network
        assert isinstance(watch, _Watch) and isinstance(part, _Watched)
        plain = watch.query.select(index)
        return replace(part, network=_Watch(plain, watch.rows[index.to(watch.rows.device)], watch.seen))


SeenT = TypeVar("SeenT", bound=Seen)


def watched(query: Query) -> tuple[Query, Seen]:
    """The same problems, and a record that an attack on them fills."""
    return watched_by(query, Seen([[] for _ in range(query.batch)]))


def watched_by(query: Query, seen: SeenT) -> tuple[Query, SeenT]:
    """The same problems, and the given record, which an attack on them fills."""
    watch = _Watch(query, torch.arange(query.batch), seen)
    return (
        _Watched(
            watch,
            query.inputs,
            query.C,
            query.d,
            query.tree,
            query.text,
            query.id,
            query.quantifier,
            query.layout,
        ),
        seen,
    )
