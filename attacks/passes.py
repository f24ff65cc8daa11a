"""Forward passes of a query's network as attacks need them: real outputs, and the replay of found points."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

from robustbench_local.errors import DtypeError, GraphError
from robustbench_local.specs import Query

from .severed import last_cut

__all__ = ["along", "gradient_of", "largest", "network_dtype", "outputs_of", "replay", "rounding"]

_ROUNDING = 64.0
"""Violations within this many units of rounding of the outputs' size may change sign with the batch size."""


def replay(query: Query, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Violation (B,) and verdict (B,) of points (B, *shape) on a clean forward pass, and the passes taken.

    Samples so near to the boundary that rounding could turn the verdict are replayed alone, so that it
    does not depend on the batch that they were in.
    """
    violation, violated, near = _forward(query, points)
    for row in near.nonzero().flatten():
        one = row.reshape(1)
        violation[one], violated[one], _ = _forward(query.select(one), points[one])
    valid = violation.isfinite() & query.inputs.contains(points)
    return torch.where(valid, violation, torch.nan), violated & valid, 1 + near.long()


def _forward(query: Query, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Violation, verdict and "within rounding of the boundary", each (B,), from one forward pass at x."""
    with torch.no_grad():
        outputs = outputs_of(query, x)
        size = largest(outputs)
        violation = query.combine(query.atoms(outputs.to(torch.float64)))
        violation = torch.where(size.isfinite(), violation, torch.nan)
        return violation, query.violated_by(outputs), violation.abs() <= rounding(outputs.dtype) * size


def outputs_of(query: Query, x: Tensor) -> Tensor:
    """The network's outputs (B, *out) at x (B, *shape), which must be real numbers."""
    outputs = query.network(x.clone())  # a network may overwrite its input
    if not outputs.is_floating_point():
        raise DtypeError(
            f"the network returned {outputs.dtype}",
            where=type(query.network).__name__,
            cure="attack the scores that it decides by, not the labels",
        )
    return outputs


def gradient_of(objective: Tensor, *, leaf: Tensor, query: Query, name: str, again: bool) -> Tensor:
    """The gradient of a scalar in leaf (b, *shape); again: the graph is needed once more.

    Raises GraphError where the network passes none on to attack `name`.
    """
    gradient, why = None, ""
    if objective.requires_grad:
        try:
            (gradient,) = torch.autograd.grad(objective, leaf, allow_unused=True, retain_graph=again)
        except RuntimeError as error:
            if "is not implemented" not in str(error):
                raise
            why = f": {error}"  # names the function
    if gradient is None:
        cut = None if why else last_cut(query.network, leaf)
        raise GraphError(
            f"attack {name!r} follows gradients, but the network's output has none in its input"
            + (f": {cut} ends it" if cut else why),
            where=type(query.network).__name__,
            cure="use attack 'bpda', whose gradients pass through step functions, or one without gradients: "
            "'square', 'spsa', 'hopskipjump'",
        )
    return gradient


def rounding(dtype: torch.dtype) -> float:
    """Violations up to this share of the outputs may be rounding: in another batch kernels add otherwise."""
    return _ROUNDING * torch.finfo(dtype).eps


def largest(x: Tensor) -> Tensor:
    """The largest absolute value of each sample, (b, ...) -> (b,); not finite if any entry is not."""
    return x.flatten(1).abs().amax(1)


def network_dtype(query: Query) -> torch.dtype:
    """The dtype the network computes in: that of its first real weight, else the one the set was given in."""
    network = query.network
    weights = chain(network.parameters(), network.buffers()) if isinstance(network, nn.Module) else ()
    return next((weight.dtype for weight in weights if weight.is_floating_point()), query.inputs.dtype)


def along(mask: Tensor, like: Tensor) -> Tensor:
    """The mask (b,) with the axes that `like` (b, *shape) has more."""
    return mask.reshape(-1, *(1,) * (like.ndim - 1))
