"""The points of any of several sets: alternatives of a domain, as one set that is not convex."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustbench_local.errors import DeviceError, EmptySetError, ShapeError

from .box import Box, box_hull
from .concatenation import common_dtype, concatenate
from .input_set import Divisible, InputSet, check_points, check_rows, kept

__all__ = ["Union"]


class Union:
    """The points in at least one of `members`, sets of equal batch and shape on one device.

    Unions among the members are opened. Raises ShapeError or DeviceError.
    """

    __slots__ = ("_hull", "_members")

    def __init__(self, members: Sequence[InputSet]) -> None:
        if not members:
            raise ShapeError("a union of no sets", cure="give at least one member")
        flat: list[InputSet] = []
        for member in members:
            flat.extend(member.members if isinstance(member, Union) else [member])
        first = flat[0]
        for i, member in enumerate(flat):
            if (member.batch, member.shape) != (first.batch, first.shape):
                sizes = (member.batch, *member.shape), (first.batch, *first.shape)
                raise ShapeError(f"member {i} of a union has shape {sizes[0]}, member 0 {sizes[1]}")
            if member.device != first.device:
                raise DeviceError(f"member {i} lives on {member.device}, member 0 on {first.device}")
        self._members = tuple(flat)
        self._hull: Box | None = None

    @classmethod
    def of(cls, left: InputSet, right: object) -> Union:
        """What `left | right` is; NotImplemented where right is no set."""
        return cls([left, right]) if isinstance(right, InputSet) else NotImplemented

    @property
    def members(self) -> tuple[InputSet, ...]:
        """The sets, none of them a union."""
        return self._members

    @property
    def batch(self) -> int:
        """B, the number of problems."""
        return self._members[0].batch

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self._members[0].shape

    @property
    def dtype(self) -> torch.dtype:
        """The smallest floating type that holds those of all members."""
        return common_dtype(self._members)

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._members[0].device

    def __repr__(self) -> str:
        return " | ".join(map(repr, self._members))

    def box(self) -> Box:
        """The smallest box around the members' hulls."""
        if self._hull is None:
            self._hull = box_hull([member.box() for member in self._members])
        return self._hull

    def centre(self) -> Tensor:
        """The first member's centres, (B, *shape) float64."""
        return self._members[0].centre()

    def support(self, a: Tensor) -> Tensor:
        """The largest support of a member, exact where theirs are: a (B or 1, K, *shape) -> (B, K)."""
        check_rows(a, self.batch, self.shape)
        return torch.stack([member.support(a) for member in self._members]).amax(0)

    def steepest(self, g: Tensor) -> Tensor:
        """The steepest displacement of the member that reaches farthest along g, (B, *shape)."""
        check_points(g, self.batch, self.shape)
        steps = torch.stack([member.steepest(g) for member in self._members])
        far = torch.stack([member.support(g.unsqueeze(1))[:, 0] for member in self._members])
        return _picked(steps, far.argmax(0))

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest of the members' nearest points, (B, *shape) of x's dtype, exactly inside.

        Raises EmptySetError where no member holds a point of that dtype.
        """
        check_points(x, self.batch, self.shape)
        tries = [_project(member, x) for member in self._members]
        lost = torch.stack([failed for _, failed, _ in tries])
        for b in lost.all(0).nonzero().flatten().tolist()[:1]:
            raise next(error for _, failed, error in tries if error is not None and bool(failed[b]))
        points, wide = torch.stack([y for y, _, _ in tries]), x.to(torch.float64)
        gaps = (points.to(torch.float64) - wide).flatten(2).norm(dim=2)
        gaps = gaps.nan_to_num(nan=0.0).masked_fill(lost, torch.inf)
        return kept(self.contains(x), x, _picked(points, gaps.argmin(0)))

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A member by radial (B,), and a random point of it from uniform (B, *shape), both in [0, 1)."""
        check_points(uniform, self.batch, self.shape)
        count = len(self._members)
        place = radial.to(torch.float64) * count
        which = place.floor().clamp(max=count - 1)
        rest = (place - which).clamp(max=1 - 2.0**-24).to(radial.dtype)
        points = torch.stack([member.sample(uniform, rest) for member in self._members])
        return _picked(points, which.to(torch.int64))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies in a member, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        return torch.stack([member.contains(x) for member in self._members]).any(0)

    def select(self, index: Tensor) -> Union:
        """The unions at a long or bool index (b,)."""
        return Union([member.select(index) for member in self._members])

    def parts(self, *, most: int = 4096) -> tuple[InputSet, Tensor] | None:
        """The members, and the parts of those that have some, with the problem (B',) of each.

        None where there are more than `most` in all.
        """
        found: list[InputSet] = []
        owners: list[Tensor] = []
        rows = torch.arange(self.batch, device=self.device)
        for member in self._members:
            pair = member.parts(most=most) if isinstance(member, Divisible) else (member, rows)
            # a member with too many parts of its own is one part
            part, owner = (member, rows) if pair is None else pair
            found.append(part)
            owners.append(owner)
        if sum(part.batch for part in found) > most:
            found, owners = list(self._members), [rows] * len(self._members)
        if sum(part.batch for part in found) > most:
            return None
        return concatenate(found), torch.cat(owners)

    def __and__(self: InputSet, other: InputSet) -> Union:
        """The union of the members' intersections with `other`; all of them must hold a point."""
        if not isinstance(other, InputSet):
            return NotImplemented
        from .meeting import meet  # which knows all kinds of sets, this one too

        return Union([meet(self, other)])

    __rand__ = __and__

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)


def _picked(values: Tensor, which: Tensor) -> Tensor:
    """values[which[b], b] of values (M, B, *shape): (B, *shape)."""
    return values[which, torch.arange(values.shape[1], device=values.device)]


def _project(member: InputSet, x: Tensor) -> tuple[Tensor, Tensor, EmptySetError | None]:
    """The member's nearest points, the rows (B,) bool that have none in x's dtype, and the last error."""
    failed = torch.zeros(member.batch, dtype=torch.bool, device=x.device)
    try:
        return member.project(x), failed, None
    except EmptySetError as error:
        if member.batch == 1:
            return x, ~failed, error
    halves = torch.arange(member.batch, device=x.device).chunk(2)
    (y, lost, first), (z, gone, second) = (_project(member.select(rows), x[rows]) for rows in halves)
    return torch.cat([y, z]), torch.cat([lost, gone]), second or first
