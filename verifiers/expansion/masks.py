"""Truth values that become numbers, and choices between two numbers: affine in the mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..graph import Node
from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__: list[str] = []

aten = torch.ops.aten


@expansion(aten.to.dtype, aten._to_copy.default)
def _to(build: Build, x: Any, dtype: torch.dtype | None = None, *rest: Any, **kind: Any) -> Any:
    return _number(build, x, dtype)


@expansion(aten.type_as.default, aten.to.other)
def _type_as(build: Build, x: Any, other: Any, *rest: Any, **kind: Any) -> Any:
    return _number(build, x, build.dtype(other))


@expansion(aten.where.Scalar)
def _where(build: Build, mask: Any, yes: float, no: float) -> Any:
    """no + (yes - no) * mask."""
    size = torch.tensor(float(yes) - float(no))
    return build.call(aten.add.Tensor, build.call(aten.mul.Tensor, mask, size), float(no))


def _number(build: Build, x: Any, dtype: torch.dtype | None) -> Any:
    """A truth value or whole number times one; None, which leaves the cast without a rule, for others."""
    if not isinstance(x, Node) or build.dtype(x).is_floating_point or dtype is None:
        return None
    return build.call(aten.mul.Tensor, x, torch.ones((), dtype=dtype)) if dtype.is_floating_point else None
