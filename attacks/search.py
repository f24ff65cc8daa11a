"""The ledger of one attack run: which samples are left, the best point of each, and what was spent.

Every attack moves points about in its own way; what must never go wrong is the same for all of them and lives here:
the best point over *all* evaluated points is kept per sample, samples that are broken leave the batch,
NaN never counts, random numbers are per sample, every forward and backward pass is counted, and nothing is
reported before a clean forward pass has replayed it. A `Search` lives for one call of one attack.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from robustbench_local.errors import GraphError, NonFiniteError, ShapeError
from robustbench_local.specs import Query

from .attack import AttackResult
from .losses import Loss
from .random_numbers import Ids, sample_ids, sample_keys, uniform

__all__ = ["Search"]

_ROUNDING = 64.0
"""Violations within this many units of rounding of the outputs' size may change sign with the batch size."""


class Search:
    """The state of one run on the B problems of `query`; its methods see only the b samples still to be broken.

    name: the attack's name, in its random numbers and errors.
    early_stop: a sample leaves once it is broken; otherwise its violation is driven up to the last step.
    start, seed, ids, deadline: as for `Attack`.
    Raises `ShapeError` or `NonFiniteError` for start points of another shape or with NaN.
    """

    def __init__(
        self,
        query: Query,
        *,
        name: str,
        start: Tensor | None = None,
        seed: int = 0,
        ids: Ids | None = None,
        deadline: float | None = None,
        early_stop: bool = True,
    ) -> None:
        self.name = name
        self.query = query if not query.C.is_inference() else _select(query, torch.arange(query.batch))
        self._whole = self.query
        self._deadline = deadline
        self._early_stop = early_stop
        self._start = _start_points(query, start)
        device = self._start.device
        self._rows = torch.arange(query.batch, device=device)
        self._keys = sample_keys(seed, name, sample_ids(ids, query.batch, device))
        self._points = self._start.clone()
        self._violation = torch.full((query.batch,), -torch.inf, dtype=self._start.dtype, device=device)
        self._broken = torch.zeros(query.batch, dtype=torch.bool, device=device)
        self._finite = torch.ones_like(self._broken)
        self._complete = torch.ones_like(self._broken)
        self._forwards = torch.zeros(query.batch, dtype=torch.int64, device=device)
        self._backwards = torch.zeros_like(self._forwards)

    @property
    def done(self) -> bool:
        """Whether no sample is left to attack."""
        return self._rows.numel() == 0

    @property
    def start(self) -> Tensor:
        """The samples' first points (b, *shape), in the set and in the network's dtype."""
        return self._start[self._rows]

    def expired(self) -> bool:
        """Whether the deadline has passed; if so the samples left are marked as not complete."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        if late:
            self._complete[self._rows] = False
        return late

    def uniform(self, *, restart: int, step: int, draw: int = 0) -> Tensor:
        """Random numbers in [0, 1) of the shape of the points (b, *shape), each sample's its own."""
        shape, dtype = self._start.shape[1:], self._start.dtype
        return uniform(self._keys, shape, dtype, restart=restart, step=step, draw=draw)

    def random_points(self, restart: int) -> Tensor:
        """A random point of each set (b, *shape), another one for each restart."""
        where = self.uniform(restart=restart, step=-1)
        radial = uniform(self._keys, (), where.dtype, restart=restart, step=-1, draw=1)
        return self.query.inputs.sample(where, radial).to(where.dtype)

    def evaluate(self, x: Tensor) -> Tensor:
        """The query's violation (b,) at points x (b, *shape) of the sets; -inf where it is not finite."""
        with torch.no_grad():
            outputs = self.query.network(x)
            return self._record(x, outputs, self.query.atoms(outputs))

    def gradient(self, x: Tensor, loss: Loss) -> Tensor:
        """The gradient (b, *shape) of `loss` at points x (b, *shape) of the sets, which it also evaluates.

        Zero where it is not finite. Works inside `no_grad` and `inference_mode`; leaves the network's
        parameters, their `requires_grad` and `grad`, and its mode alone. Raises `GraphError` for a network without gradient.
        """
        with torch.inference_mode(False), torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            outputs = self.query.network(leaf)
            atoms = self.query.atoms(outputs)
            objective = loss(self.query, atoms).sum()
        self._record(x, outputs.detach(), atoms.detach())
        if self._early_stop and bool(self._broken[self._rows].all()):
            return torch.zeros_like(x)
        self._backwards[self._rows] += 1
        gradient = self._differentiate(objective, leaf)
        finite = gradient.isfinite().flatten(1).all(1)
        self._finite[self._rows] &= finite
        return torch.where(_along(finite, gradient), gradient, 0.0)

    def drop_broken(self) -> Tensor | None:
        """Let broken samples leave the batch; the mask (b,) of those that stay, or None if all of them do."""
        if not self._early_stop:
            return None
        keep = ~self._broken[self._rows]
        if bool(keep.all()):
            return None
        self.query = _select(self.query, keep)
        self._rows, self._keys = self._rows[keep], self._keys[keep]
        return keep

    def result(self) -> AttackResult:
        """The best points of all B samples, replayed by a clean forward pass."""
        violation, violated = self._replay()
        return AttackResult(
            points=self._points,
            violation=violation,
            violated=violated,
            forwards=self._forwards,
            backwards=self._backwards,
            finite=self._finite,
            complete=self._complete,
        )

    def _record(self, x: Tensor, outputs: Tensor, atoms: Tensor) -> Tensor:
        """Keep the points x (b, *shape) that are their sample's best so far; returns their violation (b,)."""
        rows = self._rows
        finite = outputs.isfinite().flatten(1).all(1)
        violation = self.query.combine(atoms)
        finite &= violation.isfinite()
        violation = torch.where(finite, violation, -torch.inf)
        better = (violation > self._violation[rows]).nonzero().flatten()
        self._points[rows[better]] = x.detach()[better]
        self._violation[rows[better]] = violation[better]
        self._broken[rows] |= violation > _rounding(outputs)
        self._finite[rows] &= finite
        self._forwards[rows] += 1
        return violation

    def _differentiate(self, objective: Tensor, leaf: Tensor) -> Tensor:
        gradient = None
        if objective.requires_grad:
            (gradient,) = torch.autograd.grad(objective, leaf, allow_unused=True)
        if gradient is None:
            raise GraphError(
                f"attack {self.name!r} follows gradients, but the network's output has none with respect to its input",
                where=type(self.query.network).__name__,
                cure="use an attack without gradients, or let the network's step functions (argmax, round, detach) "
                "pass a surrogate gradient",
            )
        return gradient

    def _replay(self) -> tuple[Tensor, Tensor]:
        """Violation (B,) and verdict (B,) of the best points on a clean forward pass.

        Samples so near to the boundary that rounding could turn the verdict are replayed alone, so that it
        does not depend on the batch that they were in.
        """
        query, points = self._whole, self._points
        violation, violated, near = _forward(query, points)
        self._forwards += 1
        for row in near.nonzero().flatten():
            one = row.reshape(1)
            violation[one], violated[one], _ = _forward(_select(query, one), points[one])
            self._forwards[one] += 1
        inside = query.inputs.contains(points)
        self._finite &= violation.isfinite()
        valid = violation.isfinite() & inside
        return torch.where(valid, violation, torch.nan), violated & valid


def _forward(query: Query, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Violation, verdict and "within rounding of the boundary", each (B,), from one forward pass at x."""
    with torch.no_grad():
        outputs = query.network(x)
        answered = query.with_network(lambda _: outputs)
        violation = answered.violation(x)
        finite = outputs.isfinite().flatten(1).all(1)
        violation = torch.where(finite, violation, torch.nan)
        return violation, answered.violated(x), violation.abs() <= _rounding(outputs)


def _rounding(outputs: Tensor) -> Tensor:
    """Violations (B,) up to this size may be rounding: kernels sum in another order for another batch size."""
    return _ROUNDING * torch.finfo(outputs.dtype).eps * outputs.abs().flatten(1).amax(1)


def _select(query: Query, index: Tensor) -> Query:
    """The sub-batch as ordinary tensors, which autograd takes, even inside `inference_mode`."""
    with torch.inference_mode(False):
        return query.select(index)


def _start_points(query: Query, start: Tensor | None) -> Tensor:
    """The points to begin from, in the network's dtype and the sets."""
    inputs = query.inputs
    points = inputs.centre() if start is None else start
    expected = (query.batch, *inputs.shape)
    if tuple(points.shape) != expected:
        raise ShapeError(f"start points of shape {tuple(points.shape)} for sets of shape {expected}", where="start")
    if not bool(points.isfinite().all()):
        raise NonFiniteError("start points with NaN or infinity", where="start", cure="give finite points")
    return inputs.project(points.detach().to(device=inputs.device, dtype=_dtype(query)))


def _dtype(query: Query) -> torch.dtype:
    """The dtype the network computes in: that of its first real parameter, else the one the set was given in."""
    network = query.network
    if isinstance(network, nn.Module):
        for parameter in network.parameters():
            if parameter.is_floating_point():
                return parameter.dtype
    return query.inputs.dtype


def _along(mask: Tensor, like: Tensor) -> Tensor:
    """The mask (b,) with the axes that `like` (b, *shape) has more."""
    return mask.reshape(-1, *(1,) * (like.ndim - 1))
