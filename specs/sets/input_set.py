"""The contract of an input set: B bounded sets of one shape, one per problem of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor
from typing_extensions import Self

from robustbench_local.errors import DtypeError, NonFiniteError, ShapeError

if TYPE_CHECKING:
    from .box import Box

__all__ = ["Divisible", "InputSet"]


@runtime_checkable
class InputSet(Protocol):
    """B bounded sets of points of `shape`; the batch axis is first everywhere.

    Sets are immutable, keep the numbers they were given in float64, and live on one device.
    Membership is exact in real arithmetic for those numbers: no tolerance anywhere. A set need not be
    convex: `support` is then that of its convex hull, which linear bounds cannot tell from the set.
    """

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point, without the batch axis."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the set was given."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the set's numbers live."""
        ...

    def box(self) -> Box:
        """The bounded box hull; never smaller than the set."""
        ...

    def centre(self) -> Tensor:
        """A point of each set, (B, *shape) float64."""
        ...

    def support(self, a: Tensor) -> Tensor:
        """Upper bounds of <a_k, x> over the set: a (B or 1, K, *shape) -> (B, K), in a's dtype.

        Exact (up to the rounding of the evaluation) for boxes and balls. The set is cast outward to
        a's dtype first. Differentiable in a.
        """
        ...

    def steepest(self, g: Tensor) -> Tensor:
        """The displacement d of largest <g, d> within the set's own size: (B, *shape) -> (B, *shape)."""
        ...

    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the set to x (B, *shape), in x's dtype; it lies in the set exactly.

        x must be finite; a row with NaN stays outside. Raises EmptySetError where the set holds no
        point of x's dtype. Not differentiable.
        """
        ...

    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A point of the set made from uniform (B, *shape) and radial (B,), all in [0, 1).

        The result has uniform's dtype, lies in the set exactly, and depends on the arguments only.
        """
        ...

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies in its set, (B,) bool: exact, and NaN is outside."""
        ...

    def select(self, index: Tensor) -> Self:
        """The sub-batch given by a long or bool index of shape (b,) or (B,)."""
        ...


@runtime_checkable
class Divisible(Protocol):
    """A set that is a union of simpler ones, which a verifier may bound one by one.

    Bounds over the parts are tighter as a rule, since each part has its own relaxation. The largest
    bound over the parts of a problem holds for the problem.
    """

    def parts(self, *, most: int = 4096) -> tuple[InputSet, Tensor] | None:
        """The parts of all problems as one batch of B' sets, and the problem (B',) int64 of each.

        Their union is the set. Every problem has at least one part. None where the set has none, or there
        would be more than `most`; fewer problems at a time (`select`) may then have few enough.
        """
        ...


def as_numbers(name: str, value: Tensor) -> Tensor:
    """`value` in float64, detached; it must hold finite reals."""
    if not value.is_floating_point():
        raise DtypeError(f"{name} has dtype {value.dtype}", cure="give floating point numbers")
    numbers = value.detach().to(torch.float64, copy=True)  # sets are immutable
    if not bool(torch.isfinite(numbers).all()):
        where = first_index(~torch.isfinite(numbers))
        raise NonFiniteError(
            f"{name} is {float(numbers[where])} at sample {where[0] if where else 0}, coordinate {where[1:]}",
            cure="give finite numbers",
        )
    return numbers


def check_points(x: Tensor, batch: int, shape: tuple[int, ...]) -> None:
    """Raise ShapeError unless x is (batch, *shape)."""
    if tuple(x.shape) != (batch, *shape):
        raise ShapeError(f"points have shape {tuple(x.shape)}, the set has {(batch, *shape)}")


def check_rows(a: Tensor, batch: int, shape: tuple[int, ...]) -> None:
    """Raise ShapeError unless a is (batch or 1, K, *shape)."""
    if a.ndim != len(shape) + 2 or tuple(a.shape[2:]) != shape or a.shape[0] not in (1, batch):
        raise ShapeError(f"rows have shape {tuple(a.shape)}, expected ({batch} or 1, K, *{shape})")


def first_index(mask: Tensor) -> tuple[int, ...]:
    """The index of the first True of a mask that holds one."""
    return tuple(int(i) for i in mask.nonzero()[0])


def one_of(mask: Tensor, radial: Tensor) -> Tensor:
    """The place (B,) of a True of each row of a mask (B, N), by radial (B,) in [0, 1); rows hold one."""
    count = mask.sum(1)
    which = (radial.to(torch.float64) * count).floor().to(torch.int64).clamp(max=count - 1)
    rank = mask.to(torch.int64).cumsum(1) - 1
    return ((rank == which.unsqueeze(1)) & mask).to(torch.int8).argmax(1)


def kept(inside: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Projections y of x (B, *shape), and x itself where it is `inside` (B,) or has no nearest point (NaN).

    Tiny changes may not show in the computed distances that y was chosen by.
    """
    stay = inside | torch.isnan(x).flatten(1).any(1)
    return torch.where(stay.reshape(-1, *[1] * (x.ndim - 1)), x, y)
