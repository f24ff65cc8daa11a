"""The ledger of one attack run: which samples are left, the best point of each, and what was spent.

Every attack moves points about in its own way; what must never go wrong is the same for all of them and
lives here: the best point over *all* evaluated points is kept per sample, samples that are broken leave the
batch, NaN never counts, random numbers are per sample, every forward and backward pass is counted, and
nothing is reported before a clean forward pass has replayed it. A `Search` lives for one call of one attack.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from robustbench_local.errors import NonFiniteError, ShapeError
from robustbench_local.specs import Query

from .attack import AttackResult
from .losses import Loss
from .passes import along, gradient_of, largest, network_dtype, outputs_of, replay, rounding
from .random_numbers import Ids, sample_ids, sample_keys, uniform
from .samples import Ledger

__all__ = ["Exploration", "Search", "Slope"]

Values = Callable[[Query, Tensor], Tensor]
"""values(query, atoms (b, m)) -> (b, k): several objectives, row b of the atoms decides row b."""


class Exploration(NamedTuple):
    """What one forward pass, and a backward pass for each objective, say at points (b, *shape)."""

    gradients: Tensor  # (b, k, *shape), zero where not finite
    values: Tensor  # (b, k), -inf where not finite
    violation: Tensor  # (b,) float64, -inf where not finite


class Slope(NamedTuple):
    """What one forward and one backward pass say at points (b, *shape)."""

    gradient: Tensor  # (b, *shape), zero where not finite
    value: Tensor  # (b,) of the loss, -inf where not finite
    violation: Tensor  # (b,) float64, -inf where not finite


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
        keys = sample_keys(seed, name, sample_ids(ids, query.batch, points.device))
        self._start = points
        self._ledger = Ledger(points, keys)

    @property
    def done(self) -> bool:
        """Whether no sample is left to attack, those that rest aside."""
        return self.rows.numel() == 0

    @property
    def start(self) -> Tensor:
        """The samples' first points (b, *shape), in the set and in the network's dtype."""
        return self._start[self.rows]

    @property
    def best(self) -> tuple[Tensor, Tensor]:
        """The samples' best points so far (b, *shape), and their violation (b,) float64, -inf before any."""
        return self._ledger.live.points, self._ledger.live.violation

    def expired(self) -> bool:
        """Whether the deadline has passed; if so the samples left are marked as not complete."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        if late:
            self._ledger.late()
        return late

    def uniform(self, *, restart: int, step: int, shape: tuple[int, ...] | None = None) -> Tensor:
        """Random numbers in [0, 1) of a shape (b, *shape), by default the points', each sample's its own."""
        shape = shape or tuple(self._start.shape[1:])
        return uniform(self._ledger.live.keys, shape, self._start.dtype, restart=restart, step=step)

    def random_points(self, restart: int) -> Tensor:
        """A random point of each set (b, *shape), another one for each restart."""
        where = self.uniform(restart=restart, step=-1)
        radial = uniform(self._ledger.live.keys, (), where.dtype, restart=restart, step=-1, draw=1)
        return self.query.inputs.sample(where, radial)

    def evaluate(self, x: Tensor) -> Tensor:
        """The violation (b,) float64 at points x (b, *shape) of the sets; -inf where it is not finite."""
        return self.look(x)[0]

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The violation (b,) as `evaluate` gives it, and the atoms (b, m), at points x of the sets."""
        with torch.no_grad():
            outputs = outputs_of(self.query, x)
            atoms = self.query.atoms(outputs)
            return self._record(x, outputs, atoms), atoms

    @property
    def rows(self) -> Tensor:
        """The places (b,) of the samples in the whole batch, for what an attack keeps per sample itself."""
        return self._ledger.live.rows

    def gradient(self, x: Tensor, loss: Loss) -> Tensor:
        """The gradient (b, *shape) of `loss` at points x (b, *shape) of the sets, which it also evaluates."""
        return self.slope(x, loss).gradient

    def slope(self, x: Tensor, loss: Loss) -> Slope:
        """The gradient of `loss`, its value, and the violation, at points x (b, *shape) of the sets.

        The gradient is zero, and the value -inf, where it is not finite. Works inside `no_grad` and
        `inference_mode`; leaves the network's parameters, their `requires_grad` and `grad`, and its mode
        alone. Raises `GraphError` for a network without gradient.
        """
        seen = self._differentiated(x, lambda query, atoms: loss(query, atoms).unsqueeze(1), None)
        return Slope(seen.gradients.squeeze(1), seen.values.squeeze(1), seen.violation)

    def explore(self, x: Tensor, values: Values) -> Exploration:
        """Violation, and objectives with their gradients, at points x (b, *shape) that may lie anywhere.

        Only points of the sets are recorded, by exact membership; others break nothing and say nothing of
        whether the network is finite. One backward pass per objective. Otherwise as `slope`.
        """
        return self._differentiated(x, values, self.query.inputs.contains(x))

    def probe(self, x: Tensor) -> Tensor:
        """The violation (b,) as `evaluate` gives it, at points x (b, *shape) anywhere, as for `explore`."""
        with torch.no_grad():
            outputs = outputs_of(self.query, x)
            return self._record(x, outputs, self.query.atoms(outputs), self.query.inputs.contains(x))

    def drop_broken(self, group: Tensor | None = None, *, rest: Tensor | None = None) -> Tensor | None:
        """Let broken samples leave the batch; the places (c,) of those that stay, or None if all of them do.

        group: (B,) of the whole batch; samples of one group leave together. rest: (b,) samples that are to
        rest until `resume`, unless they are broken.
        """
        gone = self._ledger.live.broken & self._early_stop
        if group is not None:
            own = group[self.rows]
            gone = torch.isin(own, own[gone])
        return self._leave(gone, None if rest is None else rest & ~gone)

    def park(self, rest: Tensor) -> Tensor | None:
        """Let the samples of a mask (b,) rest until `resume`; the places (c,) of those that stay, or None if
        all do.
        """
        return self._leave(torch.zeros_like(rest), rest)

    def _leave(self, gone: Tensor, rest: Tensor | None) -> Tensor | None:
        """Samples at one mask are finished with, those at the other rest; the places of those that stay."""
        leaves = gone if rest is None else gone | rest
        if not bool(leaves.any()):
            return None
        keep = (~leaves).nonzero().flatten()
        self._ledger.leave(gone, rest, keep)
        self.query = self.query.select(keep)
        return keep

    def resume(self) -> None:
        """Bring back all samples that rest."""
        if self._ledger.resume():
            self.query = self._whole.select(self.rows)

    def result(self) -> AttackResult:
        """The best points of all B samples, replayed by a clean forward pass. Ends the search."""
        ledger = self._ledger
        ledger.close()
        violation, violated, passes = replay(self._whole, ledger.points)
        return AttackResult(
            points=ledger.points,
            violation=violation,
            violated=violated,
            forwards=ledger.passes[:, 0] + passes,
            backwards=ledger.passes[:, 1].clone(),
            finite=ledger.finite & violation.isfinite(),
            blind=(ledger.passes[:, 1] > 0) & ~ledger.steered,
            complete=ledger.complete,
        )

    def _differentiated(self, x: Tensor, values: Values, inside: Tensor | None) -> Exploration:
        with torch.inference_mode(False), torch.enable_grad():
            leaf = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
            outputs = outputs_of(self.query, leaf)
            atoms = self.query.atoms(outputs)
            objectives = values(self.query, atoms)
            sums = objectives.sum(0).unbind()
        violation = self._record(x, outputs.detach(), atoms.detach(), inside)
        value = objectives.detach()
        value = value.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)
        if self._early_stop and bool(self._ledger.live.broken.all()):
            return Exploration(x.new_zeros(x.shape[0], len(sums), *x.shape[1:]), value, violation)
        follow = partial(gradient_of, leaf=leaf, query=self.query, name=self._name)
        found = [follow(one, again=one is not sums[-1]) for one in sums]
        gradients = found[0].unsqueeze(1) if len(found) == 1 else torch.stack(found, 1)
        self._ledger.spend(0, len(sums))
        size = largest(gradients)
        finite = size < torch.inf  # NaN is not
        self._ledger.steer(size > 0)
        if not bool(finite.all()):
            self._ledger.not_finite(~finite if inside is None else ~finite & inside)
            gradients = torch.where(along(finite, gradients), gradients, 0.0)
        return Exploration(gradients, value, violation)

    def _record(self, x: Tensor, outputs: Tensor, atoms: Tensor, inside: Tensor | None = None) -> Tensor:
        """Keep the points x (b, *shape) that are their sample's best so far; returns their violation (b,).

        inside: (b,) which of them lie in their sets; None: all of them do.
        """
        size = largest(outputs)
        violation = self.query.combine(atoms).to(torch.float64)
        finite = (size < torch.inf) & (violation.abs() < torch.inf)  # NaN is not
        violation = counted = torch.where(finite, violation, -torch.inf)
        if inside is not None:
            finite, counted = finite | ~inside, torch.where(inside, violation, -torch.inf)
        self._ledger.record(x, counted, counted > rounding(outputs.dtype) * size, finite)
        self._ledger.spend(1, 0)
        return violation


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
    return inputs.project(points.detach().to(device=inputs.device, dtype=network_dtype(query)))
