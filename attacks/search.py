"""The ledger of one attack run: which samples are left, the best point of each, and what was spent.

Every attack moves points about in its own way; what must never go wrong is the same for all of them and
lives here: the best point over *all* evaluated points is kept per sample, samples that are broken leave the
batch, NaN never counts, random numbers are per sample, every forward and backward pass is counted, and
nothing is reported before a clean forward pass has replayed it. A `Search` lives for one call of one attack.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor, nn

from robustbench_local.errors import DtypeError, GraphError, NonFiniteError, ShapeError
from robustbench_local.specs import Query

from .attack import AttackResult
from .losses import Loss
from .random_numbers import Ids, sample_ids, sample_keys, uniform

__all__ = ["Search"]

_ROUNDING = 64.0
"""Violations within this many units of rounding of the outputs' size may change sign with the batch size."""


class Search:
    """The state of one run on the B problems of `query`; its methods see the b samples still unbroken.

    query: the problems of those b samples.
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
        # numbers made under inference_mode cannot take part in autograd; copies made by `select` can
        self.query = query.select(torch.arange(query.batch)) if query.C.is_inference() else query
        self._whole = self.query
        self._name, self._deadline, self._early_stop = name, deadline, early_stop
        points = _start_points(query, start)
        device = points.device
        self._live = _Samples.begin(points, sample_keys(seed, name, sample_ids(ids, query.batch, device)))
        self._spent = (0, 0)  # forwards and backwards: the same for all samples that are left
        self._points = points.clone()
        self._forwards, self._backwards = torch.zeros((2, query.batch), dtype=torch.int64, device=device)
        self._finite, self._complete = torch.ones((2, query.batch), dtype=torch.bool, device=device)

    @property
    def done(self) -> bool:
        """Whether no sample is left to attack."""
        return self._live.rows.numel() == 0

    @property
    def start(self) -> Tensor:
        """The samples' first points (b, *shape), in the set and in the network's dtype."""
        return self._live.start

    @property
    def best(self) -> tuple[Tensor, Tensor]:
        """The samples' best points so far (b, *shape), and their violation (b,) float64, -inf before any."""
        return self._live.points, self._live.violation

    def expired(self) -> bool:
        """Whether the deadline has passed; if so the samples left are marked as not complete."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        if late:
            self._complete[self._live.rows] = False
        return late

    def uniform(self, *, restart: int, step: int, shape: tuple[int, ...] | None = None) -> Tensor:
        """Random numbers in [0, 1) of a shape (b, *shape), by default the points', each sample's its own."""
        shape = shape or tuple(self.start.shape[1:])
        return uniform(self._live.keys, shape, self.start.dtype, restart=restart, step=step)

    def random_points(self, restart: int) -> Tensor:
        """A random point of each set (b, *shape), another one for each restart."""
        where = self.uniform(restart=restart, step=-1)
        radial = uniform(self._live.keys, (), where.dtype, restart=restart, step=-1, draw=1)
        return self.query.inputs.sample(where, radial)

    def evaluate(self, x: Tensor) -> Tensor:
        """The violation (b,) float64 at points x (b, *shape) of the sets; -inf where it is not finite."""
        return self.look(x)[0]

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The violation (b,) as `evaluate` gives it, and the atoms (b, m), at points x of the sets."""
        with torch.no_grad():
            outputs = _outputs(self.query, x)
            atoms = self.query.atoms(outputs)
            return self._record(x, outputs, atoms), atoms

    @property
    def rows(self) -> Tensor:
        """The places (b,) of the samples in the whole batch, for what an attack keeps per sample itself."""
        return self._live.rows

    def gradient(self, x: Tensor, loss: Loss) -> Tensor:
        """The gradient (b, *shape) of `loss` at points x (b, *shape) of the sets, which it also evaluates."""
        return self.slope(x, loss)[0]

    def slope(self, x: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """The gradient (b, *shape) of `loss`, and its value (b,), at points x (b, *shape) of the sets.

        The gradient is zero, and the value -inf, where it is not finite. Works inside `no_grad` and
        `inference_mode`; leaves the network's parameters, their `requires_grad` and `grad`, and its mode
        alone. Raises `GraphError` for a network without gradient.
        """
        with torch.inference_mode(False), torch.enable_grad():
            leaf = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
            outputs = _outputs(self.query, leaf)
            atoms = self.query.atoms(outputs)
            values = loss(self.query, atoms)
            objective = values.sum()
        self._record(x, outputs.detach(), atoms.detach())
        value = values.detach()
        value = torch.where(value.isfinite(), value, -torch.inf)
        if self._early_stop and bool(self._live.broken.all()):
            return torch.zeros_like(x), value
        gradient = self._differentiate(objective, leaf)
        finite = _largest(gradient).isfinite()
        if not bool(finite.all()):
            self._live = replace(self._live, finite=self._live.finite & finite)
            gradient = torch.where(_along(finite, gradient), gradient, 0.0)
        return gradient, value

    def drop_broken(self, group: Tensor | None = None) -> Tensor | None:
        """Let broken samples leave the batch; the mask (b,) of those that stay, or None if all of them do.

        group: (B,) of the whole batch; samples of one group leave together.
        """
        if not self._early_stop or not bool(self._live.broken.any()):
            return None
        gone = self._live.broken
        if group is not None:
            own = group[self._live.rows]
            gone = torch.isin(own, own[gone])
        keep = ~gone
        self._settle(self._live.select(gone))
        self._live, self.query = self._live.select(keep), self.query.select(keep)
        return keep

    def result(self) -> AttackResult:
        """The best points of all B samples, replayed by a clean forward pass. Ends the search."""
        self._settle(self._live)
        violation, violated, passes = _replay(self._whole, self._points)
        self._forwards += passes
        self._finite &= violation.isfinite()
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
        live = self._live
        size = _largest(outputs)
        violation = self.query.combine(atoms).to(torch.float64)
        finite = size.isfinite() & violation.isfinite()
        violation = torch.where(finite, violation, -torch.inf)
        better = violation > live.violation
        self._live = replace(
            live,
            points=torch.where(_along(better, x), x.detach(), live.points),
            violation=torch.maximum(violation, live.violation),
            broken=live.broken | (violation > _rounding(outputs.dtype) * size),
            finite=live.finite & finite,
        )
        self._spent = (self._spent[0] + 1, self._spent[1])
        return violation

    def _differentiate(self, objective: Tensor, leaf: Tensor) -> Tensor:
        gradient = None
        if objective.requires_grad:
            self._spent = (self._spent[0], self._spent[1] + 1)
            (gradient,) = torch.autograd.grad(objective, leaf, allow_unused=True)
        if gradient is None:
            raise GraphError(
                f"attack {self._name!r} follows gradients, but the network's output has none in its input",
                where=type(self.query.network).__name__,
                cure="use an attack without gradients, or let the network's step functions (argmax, round, "
                "detach) pass a surrogate gradient",
            )
        return gradient

    def _settle(self, samples: _Samples) -> None:
        """Write down what the search leaves of samples that it is finished with."""
        self._points[samples.rows] = samples.points
        self._finite[samples.rows] = samples.finite
        self._forwards[samples.rows], self._backwards[samples.rows] = self._spent


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """What a search knows of b samples; every field has one row for each."""

    rows: Tensor  # (b,) their places in the whole batch
    keys: Tensor  # (b,) of their random numbers
    start: Tensor  # (b, *shape)
    points: Tensor  # (b, *shape) best so far
    violation: Tensor  # (b,) float64, there
    broken: Tensor  # (b,) bool: violated beyond doubt
    finite: Tensor  # (b,) bool: nothing but finite numbers so far

    @classmethod
    def begin(cls, points: Tensor, keys: Tensor) -> _Samples:
        """Samples that start at points (b, *shape)."""
        batch, device = points.shape[0], points.device
        return cls(
            rows=torch.arange(batch, device=device),
            keys=keys,
            start=points,
            points=points,
            violation=torch.full((batch,), -torch.inf, dtype=torch.float64, device=device),
            broken=torch.zeros(batch, dtype=torch.bool, device=device),
            finite=torch.ones(batch, dtype=torch.bool, device=device),
        )

    def select(self, index: Tensor) -> _Samples:
        """The samples at a long or bool index."""
        return _Samples(
            self.rows[index],
            self.keys[index],
            self.start[index],
            self.points[index],
            self.violation[index],
            self.broken[index],
            self.finite[index],
        )


def _replay(query: Query, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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
        outputs = _outputs(query, x)
        size = _largest(outputs)
        violation = query.combine(query.atoms(outputs.to(torch.float64)))
        violation = torch.where(size.isfinite(), violation, torch.nan)
        return violation, query.violated_by(outputs), violation.abs() <= _rounding(outputs.dtype) * size


def _outputs(query: Query, x: Tensor) -> Tensor:
    """The network's outputs (B, *out) at x (B, *shape), which must be real numbers."""
    outputs = query.network(x.clone())  # a network may overwrite its input
    if not outputs.is_floating_point():
        raise DtypeError(
            f"the network returned {outputs.dtype}",
            where=type(query.network).__name__,
            cure="attack the scores that it decides by, not the labels",
        )
    return outputs


def _rounding(dtype: torch.dtype) -> float:
    """Violations up to this share of the outputs may be rounding: in another batch kernels add otherwise."""
    return _ROUNDING * torch.finfo(dtype).eps


def _largest(x: Tensor) -> Tensor:
    """The largest absolute value of each sample, (b, ...) -> (b,); not finite if any entry is not."""
    return x.flatten(1).abs().amax(1)


def _start_points(query: Query, start: Tensor | None) -> Tensor:
    """The points to begin from, in the network's dtype and the sets."""
    inputs = query.inputs
    points = inputs.centre() if start is None else start
    expected = (query.batch, *inputs.shape)
    if tuple(points.shape) != expected:
        raise ShapeError(
            f"start points of shape {tuple(points.shape)} for sets of shape {expected}", where="start"
        )
    if not bool(points.isfinite().all()):
        raise NonFiniteError("start points with NaN or infinity", where="start", cure="give finite points")
    return inputs.project(points.detach().to(device=inputs.device, dtype=_dtype(query)))


def _dtype(query: Query) -> torch.dtype:
    """The dtype the network computes in: that of its first real weight, else the one the set was given in."""
    network = query.network
    weights = chain(network.parameters(), network.buffers()) if isinstance(network, nn.Module) else ()
    return next((weight.dtype for weight in weights if weight.is_floating_point()), query.inputs.dtype)


def _along(mask: Tensor, like: Tensor) -> Tensor:
    """The mask (b,) with the axes that `like` (b, *shape) has more."""
    return mask.reshape(-1, *(1,) * (like.ndim - 1))
