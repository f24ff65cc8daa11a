"""One cell of a domain: sets placed on variables and affine conditions, as one input set.

Conditions on one coordinate narrow its interval; `x'_i - x_i` of two variables couples them; what is left
are rows of a polytope. Bounds that are no floats (a third, say) are kept rounded both ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, SpecError, UnboundedSetError

from .expressions.base import Bindings
from .expressions.domains import BallDomain, BoxDomain, Domain
from .expressions.leaves import Var
from .layout import Layout
from .sets import Box, Coupled, CoupledBall, InputSet, Polytope, Product, box_within, enclose_sum, meet
from .tree import Atom

__all__ = ["Cell", "Rows", "cell_set"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Conditions C[b] @ x + d[b] >= 0 (> 0 where strict) on the flat input: C (b, m, N), d (b, m)."""

    C: Tensor
    d: Tensor
    strict: tuple[bool, ...] = ()

    def at(self, clause: Sequence[Atom]) -> Rows:
        """The rows of a clause."""
        index = [atom.index for atom in clause]
        return Rows(self.C[:, index], self.d[:, index], tuple(atom.strict for atom in clause))

    def pick(self, mask: Tensor) -> Rows:
        """The rows of a mask (m,)."""
        kept = tuple(s for s, m in zip(self.strict, mask.tolist(), strict=True) if m)
        return Rows(self.C[:, mask], self.d[:, mask], kept)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """Sets placed on variables, and rows; both must hold."""

    sets: tuple[tuple[Var, Domain], ...]
    rows: Rows | None

    @staticmethod
    def joined(cells: Iterable[Cell]) -> Cell:
        """The intersection."""
        cells = list(cells)
        rows = [cell.rows for cell in cells if cell.rows is not None and cell.rows.strict]
        sets = tuple(pair for cell in cells for pair in cell.sets)
        if not rows:
            return Cell(sets, None)
        batch = max(r.C.shape[0] for r in rows), max(r.d.shape[0] for r in rows)
        return Cell(
            sets,
            Rows(
                torch.cat([r.C.expand(batch[0], -1, -1) for r in rows], 1),
                torch.cat([r.d.expand(batch[1], -1) for r in rows], 1),
                tuple(s for r in rows for s in r.strict),
            ),
        )


@dataclass(slots=True, eq=False)
class _Interval:
    """Bounds of every flat coordinate, (B, N) float64: rounded outward, and inward for membership."""

    lower: Tensor
    upper: Tensor
    inner_lower: Tensor
    inner_upper: Tensor

    @classmethod
    def everything(cls, batch: int, size: int, device: torch.device) -> _Interval:
        low = torch.full((batch, size), -math.inf, dtype=torch.float64, device=device)
        return cls(low, -low, low.clone(), -low)

    def narrow(self, rows: Rows) -> None:
        """Take in rows that have one coefficient each."""
        for k, strict in enumerate(rows.strict):
            column = int((rows.C[:, k] != 0).any(0).nonzero()[0])
            a, d = rows.C[:, k, column], rows.d[:, k]
            down, up = _quotients(-d, a, self.lower.shape[0])
            inside_low = _after(up, down == up, math.inf) if strict else up
            inside_high = _after(down, down == up, -math.inf) if strict else down
            rising = (a > 0).expand(self.lower.shape[0])
            _take(self.lower, column, down, rising, torch.maximum)
            _take(self.inner_lower, column, inside_low, rising, torch.maximum)
            _take(self.upper, column, up, ~rising, torch.minimum)
            _take(self.inner_upper, column, inside_high, ~rising, torch.minimum)

    def part(self, start: int, size: int, shape: tuple[int, ...]) -> _Interval:
        """The coordinates of one variable, (B, *shape)."""
        return _Interval(
            *(
                face[:, start : start + size].reshape(-1, *shape)
                for face in (self.lower, self.upper, self.inner_lower, self.inner_upper)
            )
        )

    def within(self, limits: Box) -> Box:
        """The box of these bounds, the limits where there are none."""
        lower, upper = limits.lower, limits.upper
        outer = (torch.maximum(self.lower, lower), torch.minimum(self.upper, upper))
        inner_low, inner_high = limits.inner(torch.float64)
        inner = (torch.maximum(self.inner_lower, inner_low), torch.minimum(self.inner_upper, inner_high))
        return box_within(outer, inner, limits.dtype)

    @property
    def free(self) -> bool:
        """Whether no coordinate has a bound."""
        return bool((torch.isinf(self.lower) & torch.isinf(self.upper)).all())


def cell_set(
    cell: Cell, variables: Sequence[Var], layout: Layout, points: Sequence[Tensor], env: Bindings
) -> InputSet:
    """The cell as a set over the layout. Raises EmptySetError, UnboundedSetError or what the sets raise.

    A variable that only a coupling bounds gets its hull from the variable before it.
    """
    size = sum(block.size for block in layout.blocks)
    interval = _Interval.everything(env.batch, size, env.device)
    rows = cell.rows
    if rows is not None:
        rows = _nonconstant(rows)
        lonely = (rows.C != 0).any(0).sum(1) == 1
        interval.narrow(rows.pick(lonely))
        rows = rows.pick(~lonely)
    blocks: list[InputSet] = []
    previous: tuple[Var, InputSet] | None = None
    for variable in variables:
        domains = [domain for placed, domain in cell.sets if placed.name == variable.name]
        bounds = interval.part(layout.start(variable.name), _size(variable), variable.shape or (1,))
        gap = None
        if previous is not None:
            gap, rows, domains = _gap(previous[0], variable, domains, rows, layout, env)
        found = _variable_set(variable, domains, bounds, gap, previous, env)
        if gap is not None:
            assert previous is not None
            blocks[-1] = gap.coupled(previous[1], found)
            previous = None
        else:
            blocks.append(found)
            previous = (variable, found)
    if layout.plain:
        whole = blocks[0]
    else:
        blocks.extend(Box(point, point, dtype=env.dtype) for point in points)
        whole = blocks[0] if len(blocks) == 1 else Product(blocks)
    if rows is None or not rows.strict:
        return whole
    A, b = -rows.C.reshape(*rows.C.shape[:2], -1), rows.d.expand(env.batch, -1)
    strict = torch.tensor(rows.strict, dtype=torch.bool, device=b.device)
    cut = Polytope(A, b, whole.box(), strict=strict)
    straight = all(isinstance(block, Box) for block in blocks)  # the hull is then the set itself
    return cut if straight else meet(whole, cut)


@dataclass(frozen=True, slots=True, eq=False)
class _Gap:
    """What couples a variable to the one before it: low <= x' - x <= high, (B, n) each, or a ball of it."""

    low: Tensor
    high: Tensor
    p: float = math.inf
    radius: Tensor | None = None

    def hull(self, around: Box, shape: tuple[int, ...]) -> Box:
        """Where x' can be for x in the box."""
        low, high = self.low.reshape(-1, *shape), self.high.reshape(-1, *shape)
        lower, upper = enclose_sum(around.lower, low)[0], enclose_sum(around.upper, high)[1]
        if not bool(torch.isfinite(lower).all() and torch.isfinite(upper).all()):
            raise UnboundedSetError("a variable is coupled to another one, but not in every coordinate")
        return Box(lower, upper)

    def coupled(self, first: InputSet, second: InputSet) -> InputSet:
        """The pairs of both sets that the gap allows."""
        boxes = first.box(), second.box()
        pairs: InputSet
        if self.radius is not None:
            pairs = CoupledBall(*boxes, self.radius, self.p)
        else:
            widest = (
                enclose_sum(boxes[1].lower, -boxes[0].upper)[0],
                enclose_sum(boxes[1].upper, -boxes[0].lower)[1],
            )
            low, high = (g.reshape(boxes[0].lower.shape) for g in (self.low, self.high))
            low = torch.where(torch.isinf(low), widest[0], low)
            high = torch.where(torch.isinf(high), widest[1], high)
            pairs = Coupled(*boxes, low, high)
        straight = isinstance(first, Box) and isinstance(second, Box)
        return pairs if straight else meet(pairs, Product([first, second]))


def _gap(
    before: Var, variable: Var, domains: list[Domain], rows: Rows | None, layout: Layout, env: Bindings
) -> tuple[_Gap | None, Rows | None, list[Domain]]:
    """The coupling of two neighbours, and the rows and sets that are left."""
    low = torch.full((env.batch, _size(variable)), -math.inf, dtype=torch.float64, device=env.device)
    high, found = -low, False
    around = [d for d in domains if isinstance(d, BallDomain) and isinstance(d.center, Var)]
    kept = [d for d in domains if d not in around]
    round_gap: _Gap | None = None
    for ball in around:
        if ball.center.text != before.name or before.shape != variable.shape:
            raise SpecError(
                f"`{ball.text}` is placed on `{variable.text}`, which does not stand next to its centre",
                cure="let a variable be the centre of one ball only, of its own shape",
            )
        radius = env.scope.of(ball.radius).to(torch.float64).expand(env.batch)
        if math.isinf(ball.p):
            low = torch.maximum(low, -radius.unsqueeze(1))
            high, found = torch.minimum(high, radius.unsqueeze(1)), True
        else:
            wide = radius.unsqueeze(1).expand_as(low)
            round_gap = _Gap(-wide, wide, ball.p, radius)
    if rows is not None and before.shape == variable.shape and round_gap is None:
        rows, taken = _take_differences(rows, before, variable, layout, low, high)
        found = found or taken
    return (round_gap or (_Gap(low, high) if found else None)), rows, kept


def _take_differences(
    rows: Rows, before: Var, variable: Var, layout: Layout, low: Tensor, high: Tensor
) -> tuple[Rows, bool]:
    """Moves rows +-(x'_i - x_i) + d >= 0 into low and high; the other rows."""
    n, first, second = _size(variable), layout.start(before.name), layout.start(variable.name)
    x, y = rows.C[:, :, first : first + n], rows.C[:, :, second : second + n]
    count = (rows.C != 0).any(0).sum(1)
    unit = (y.abs().sum(2) == 1).all(0) & (x == -y).all(0).all(1) & (y[:1] == y).all(0).all(1)
    mask = unit & (count == 2) & ~torch.tensor(rows.strict, dtype=torch.bool, device=count.device)
    for k in mask.nonzero().squeeze(1).tolist():
        i = int(y[0, k].nonzero()[0])
        d = rows.d[:, k].expand(low.shape[0])
        if float(y[0, k, i]) > 0:
            low[:, i] = torch.maximum(low[:, i], -d)
        else:
            high[:, i] = torch.minimum(high[:, i], d)
    return rows.pick(~mask), bool(mask.any())


def _variable_set(
    variable: Var,
    domains: Sequence[Domain],
    bounds: _Interval,
    gap: _Gap | None,
    previous: tuple[Var, InputSet] | None,
    env: Bindings,
) -> InputSet:
    """The set of one variable, over its shape; (1,) for a number."""
    shape = variable.shape or (1,)
    limits: Box | None = None
    others: list[Domain] = []
    for domain in domains:
        if isinstance(domain, BoxDomain):
            found = domain.build(env, shape)
            limits = found if limits is None else limits & found
        else:
            others.append(domain)
    if limits is None and gap is not None and previous is not None:
        limits = gap.hull(previous[1].box(), shape)
    closed = [domain for domain in others if domain.bounded]  # their hull is a limit to the rest
    if not bounds.free or (limits is None and 0 < len(closed) < len(others)):
        limits = bounds.within(_everywhere(bounds, variable, closed, env) if limits is None else limits)
    if not others:
        if limits is None:
            raise UnboundedSetError(
                f"`{variable.text}` has no bounds", cure="intersect its domain with box(..)"
            )
        return limits
    return reduce(meet, (domain.within(env, shape, limits) for domain in others))


def _everywhere(bounds: _Interval, variable: Var, others: Sequence[Domain], env: Bindings) -> Box:
    """A box to put bounds into where the domain names none: its other sets' hull, or the bounds alone."""
    if others:
        return reduce(lambda a, b: a & b, (d.within(env, variable.shape or (1,), None).box() for d in others))
    missing = torch.isinf(bounds.lower) | torch.isinf(bounds.upper)
    if bool(missing.any()):
        where = [tuple(i) for i in missing[0].nonzero().tolist()]
        named = ", ".join(_named(variable, i) for i in where[:4]) + (", .." if len(where) > 4 else "")
        raise UnboundedSetError(
            f"`{variable.text}` has no lower or no upper bound in {named} "
            f"({len(where)} of {missing[0].numel()})",
            cure="intersect its domain with box(..)",
        )
    return Box(bounds.lower, bounds.upper)


def _named(variable: Var, index: tuple[int, ...]) -> str:
    if variable.names:
        return f"{variable.name}.{variable.names[index[0]]}"
    return f"{variable.name}[{', '.join(map(str, index))}]" if variable.shape else variable.name


def _nonconstant(rows: Rows) -> Rows:
    """The rows with a coefficient; EmptySetError where a constant one is false."""
    used = (rows.C != 0).any(0).any(1)
    fixed = rows.pick(~used)
    for k, strict in enumerate(fixed.strict):
        false = fixed.d[:, k] <= 0 if strict else fixed.d[:, k] < 0
        if bool(false.any()):
            raise EmptySetError(f"a condition of the domain is false at sample {int(false.nonzero()[0])}")
    return rows.pick(used)


def _quotients(numerator: Tensor, divisor: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """The largest floats not above and the smallest not below numerator / divisor, (B,) each."""
    near = (numerator / divisor).expand(batch)
    down, up = near.clone(), near.clone()
    n, a = numerator.expand(batch).tolist(), divisor.expand(batch).tolist()
    known: dict[tuple[float, float], int] = {}
    for b, pair in enumerate(zip(n, a, strict=True)):
        if pair not in known:
            exact, value = Fraction(pair[0]) / Fraction(pair[1]), Fraction(float(near[b]))
            known[pair] = (exact > value) - (exact < value)
        if known[pair] > 0:
            up[b] = math.nextafter(float(near[b]), math.inf)
        elif known[pair] < 0:
            down[b] = math.nextafter(float(near[b]), -math.inf)
    return down, up


def _after(value: Tensor, exact: Tensor, towards: float) -> Tensor:
    """The next float where the value itself is left out; a rounded value is strictly inside already."""
    beyond = torch.nextafter(value, torch.full_like(value, towards))
    return torch.where(exact, beyond, value)


def _take(
    face: Tensor, column: int, value: Tensor, use: Tensor, pick: Callable[[Tensor, Tensor], Tensor]
) -> None:
    face[:, column] = torch.where(use, pick(face[:, column], value), face[:, column])


def _size(variable: Var) -> int:
    return math.prod(variable.shape)
