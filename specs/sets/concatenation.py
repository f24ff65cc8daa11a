"""Sets of different kinds as one longer batch: what the parts of a union are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustbench_local.errors import DeviceError, ShapeError

from .box import Box, box_stack
from .input_set import InputSet, check_points, check_rows

if TYPE_CHECKING:
    from .union import Union

__all__ = ["Concatenation", "concatenate"]


class Concatenation:
    """The problems of several sets of one shape, in any order.

    places: for each member the rows (b,) int64 of the whole batch that its problems are; together they
    are 0 .. B - 1, each once. Raises ShapeError or DeviceError.
    """

    __slots__ = ("_batch", "_hull", "_members", "_order", "_places")

    @torch.inference_mode(False)
    def __init__(self, members: Sequence[InputSet], places: Sequence[Tensor]) -> None:
        if not members:
            raise ShapeError("a concatenation of no sets", cure="give at least one member")
        first = members[0]
        for i, member in enumerate(members):
            if member.shape != first.shape:
                raise ShapeError(f"member {i} has points of shape {member.shape}, member 0 {first.shape}")
            if member.device != first.device:
                raise DeviceError(f"member {i} lives on {member.device}, member 0 on {first.device}")
        rows = torch.cat(list(places))
        self._members, self._places = tuple(members), tuple(places)
        self._order, self._batch = rows.argsort(), rows.numel()
        self._hull: Box | None = None

    @property
    def members(self) -> tuple[InputSet, ...]:
        """The sets of one kind each."""
        return self._members

    @property
    def places(self) -> tuple[Tensor, ...]:
        """The rows of the whole batch that the members' problems are."""
        return self._places

    @property
    def batch(self) -> int:
        """B, the number of all problems."""
        return self._batch

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
        return f"Concatenation([{', '.join(map(repr, self._members))}])"

    def box(self) -> Box:
        """The members' hulls."""
        if self._hull is None:
            self._hull = box_stack([member.box() for member in self._members]).select(self._order)
        return self._hull

    def centre(self) -> Tensor:
        """The members' centres, (B, *shape) float64."""
        return self._each(lambda member, place: member.centre())

    def support(self, a: Tensor) -> Tensor:
        """The members' supports, exact where they are: a (B or 1, K, *shape) -> (B, K); differentiable."""
        check_rows(a, self.batch, self.shape)
        shared = a.shape[0] == 1
        return self._each(lambda member, place: member.support(a if shared else a[place]))

    def steepest(self, g: Tensor) -> Tensor:
        """The members' steepest displacements, (B, *shape)."""
        check_points(g, self.batch, self.shape)
        return self._each(lambda member, place: member.steepest(g[place]))

    def project(self, x: Tensor) -> Tensor:
        """The nearest points, (B, *shape) of x's dtype, exactly inside."""
        check_points(x, self.batch, self.shape)
        return self._each(lambda member, place: member.project(x[place]))

    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """The members' random points, from uniform (B, *shape) and radial (B,) in [0, 1)."""
        check_points(uniform, self.batch, self.shape)
        return self._each(lambda member, place: member.sample(uniform[place], radial[place]))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies in its set, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        return self._each(lambda member, place: member.contains(x[place]))

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Concatenation:
        """The problems at a long or bool index (b,)."""
        wanted = torch.arange(self.batch, device=self.device)[index]
        members, places = [], []
        for member, place in zip(self._members, self._places, strict=True):
            local = torch.full((self.batch,), -1, dtype=torch.int64, device=self.device)
            local[place] = torch.arange(member.batch, device=self.device)
            own = local[wanted]
            rows = (own >= 0).nonzero().flatten()
            members.append(member.select(own[rows]))
            places.append(rows)
        return Concatenation(members, places)

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        from .union import Union  # which concatenates parts

        return Union.of(self, other)

    def _each(self, ask: Callable[[InputSet, Tensor], Tensor]) -> Tensor:
        pairs = zip(self._members, self._places, strict=True)
        return torch.cat([ask(member, place) for member, place in pairs])[self._order]


def concatenate(sets: Sequence[InputSet]) -> InputSet:
    """Sets of one shape as one longer batch, in the order given: a Box where all are boxes."""
    boxes = [part for part in sets if isinstance(part, Box)]
    if boxes and len(boxes) == len(sets):
        return box_stack(boxes)
    if len(sets) == 1:
        return sets[0]
    places, start = [], 0
    for part in sets:
        places.append(torch.arange(start, start + part.batch, device=part.device))
        start += part.batch
    return Concatenation(sets, places)


def common_dtype(sets: Sequence[InputSet]) -> torch.dtype:
    """The smallest floating type that holds those of all sets; at least one."""
    dtype = sets[0].dtype
    for part in sets[1:]:
        dtype = torch.promote_types(dtype, part.dtype)
    return dtype
