"""What the diagnostics of one batch share: the problems, and the attacks that more than one of them reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from robustbench_local.attacks import (
    Attack,
    AttackResult,
    apgd,
    apgd_dlr,
    fgsm,
    pgd,
    sample_ids,
    sample_keys,
    smooth_violation_loss,
    worst_of,
)
from robustbench_local.errors import GraphError
from robustbench_local.specs import Query

from .random_points import Draws, random_points
from .surrogate import surrogate_of
from .watching import Seen, Tally, watched

__all__ = ["Effort", "Examination", "Network"]

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What the diagnostics spend, per case.

    Attributes:
        steps: of a PGD walk; the white box adds walks of APGD of twice as many.
        random_points: forward passes of the random search.
        queries: forward passes of the black-box search.
        draws: points around a case at which the roughness of the loss is measured.
        unbounded_steps: of the walk in the whole domain.
    """

    steps: int = 40
    random_points: int = 10_000
    queries: int = 1_000
    draws: int = 100
    unbounded_steps: int = 100

    def white_box(self) -> Attack:
        """PGD on the violation and on its smooth form, and APGD on the cross-entropy and the logit ratio."""
        return worst_of(
            partial(pgd, steps=self.steps, random_start=False),
            partial(pgd, steps=self.steps, restarts=2, loss=smooth_violation_loss),
            partial(apgd, steps=2 * self.steps),
            partial(apgd_dlr, steps=2 * self.steps),
        )


class Examination:
    """Problems that nothing breaks at their start, and runs on them, each made once when first asked for.

    query: the b problems that are examined. start: (b, *in), where attacks begin. names: their b ids.
    attack: the one whose results are examined; the white box of `Effort` by default. at_radius: the b
    problems at another radius, None where the property has none.
    """

    def __init__(
        self,
        query: Query,
        start: Tensor,
        names: tuple[str, ...],
        *,
        at_radius: Callable[[float], Query] | None,
        radii: tuple[float, float],
        tally: Tally,
        attack: Attack | None,
        effort: Effort,
        seed: int,
        surrogates: Sequence[Network] = (),
    ) -> None:
        """radii: the radius of the property, and the one at which the sets fill the whole domain. tally: what
        the networks of all these problems count in. surrogates: networks of the same inputs and outputs."""
        self._tally = tally
        self.query, self.start, self.names = query, start, names
        self.at_radius, (self.eps, self.widest) = at_radius, radii
        self.effort, self.seed = effort, seed
        self._surrogates = tuple(surrogates)
        self._standard = attack is None
        self.attack: Attack = effort.white_box() if attack is None else attack

    @property
    def spent(self) -> tuple[int, int]:
        """Forward and backward passes so far, of all cases together."""
        return self._tally.forwards, self._tally.backwards

    def keys(self, name: str) -> Tensor:
        """One key (b,) per case for random numbers that are used for `name`."""
        ids = sample_ids(self.names, len(self.names), self.start.device)
        return sample_keys(self.seed, f"diagnostics {name}", ids)

    def attacked(
        self, attack: Attack, query: Query | None = None, rows: Tensor | None = None
    ) -> AttackResult | None:
        """The attack on the problems, or on others in their places (of the cases at rows (k,), where given);
        None for a network without gradient."""
        index = torch.arange(len(self.names)) if rows is None else rows
        start, names = self.start[index.to(self.start.device)], [self.names[b] for b in index.tolist()]
        try:
            return attack(self.query if query is None else query, start=start, seed=self.seed, ids=names)
        except GraphError:
            return None

    @cached_property
    def examined(self) -> tuple[AttackResult | None, Seen]:
        """What the examined attack finds, and all that it looked at on the way."""
        query, seen = watched(self.query)
        return self.attacked(self.attack, query), seen

    @cached_property
    def walk(self) -> tuple[AttackResult | None, Seen]:
        """What a PGD walk from the starts finds, and all that it looked at on the way."""
        query, seen = watched(self.query)
        return self.attacked(partial(pgd, steps=self.effort.steps, random_start=False), query), seen

    @cached_property
    def surrogates(self) -> list[Network]:
        """The networks given, and one that learns from `queries` outputs of the attacked one per case."""
        learned = surrogate_of(self.query, self.keys("surrogate"), self.effort.queries)
        return [*self._surrogates, *([] if learned is None else [learned])]

    @cached_property
    def one_step(self) -> AttackResult | None:
        """What a single full step finds."""
        return self.attacked(fgsm)

    @cached_property
    def left_robust(self) -> Tensor:
        """The cases (b,) that gradients leave unbroken: the examined attack and the white box of `Effort`."""
        robust = torch.ones(self.query.batch, dtype=torch.bool)
        whole = None if self._standard else self.attacked(self.effort.white_box())
        for found in (self.walk[0], self.examined[0], whole):
            if found is not None:
                robust &= ~found.violated.cpu()
        return robust

    @cached_property
    def draws(self) -> Draws:
        """The best of many random points of each set."""
        return random_points(self.query, self.keys("random points"), self.effort.random_points)
