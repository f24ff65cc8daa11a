"""Single moves, one after another: words exchanged in a text, or coordinates pushed to the set's faces.

Guided by gradients: J. Ebrahimi, A. Rao, D. Lowd, D. Dou, "HotFlip: white-box adversarial examples for text
classification", ACL 2018, arXiv 1712.06751, with its beam search. Greedy and without: M. Alzantot et al.,
"Generating natural language adversarial examples", EMNLP 2018, arXiv 1804.07998, for the threat model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import InputSet, Query, TokenSet

from .attack import AttackResult, attack
from .losses import violation_loss
from .random_numbers import Ids
from .search import Search

__all__ = ["beam", "greedy"]


@attack("beam")
def beam(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 10,
    width: int = 4,
    branch: int = 8,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """Beam search over single moves: of each of `width` points the `branch` ones of largest gradient gain.

    A move exchanges one word of a `TokenSet`, an exchanged one too; in other sets it pushes one coordinate as
    far as the set allows. All moves' points are looked at, and the best `width` of them go on, `steps` times.
    Other arguments, and errors, as for `pgd`.
    """
    settings = _Beam(steps, width, branch, guided=True)
    return settings.run(
        Search(query, name="beam", start=start, seed=seed, ids=ids, deadline=deadline, early_stop=early_stop)
    )


@attack("greedy")
def greedy(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 20,
    branch: int = 40,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The best of `branch` random single moves, if it gains, `steps` times: `beam` without any gradient.

    Where there are no more than `branch` moves, as in short texts, all of them are tried.
    """
    settings = _Beam(steps, 1, branch, guided=False)
    return settings.run(
        Search(
            query, name="greedy", start=start, seed=seed, ids=ids, deadline=deadline, early_stop=early_stop
        )
    )


@dataclass(frozen=True, slots=True)
class _Beam:
    """Settings of the one loop of both."""

    steps: int
    width: int
    branch: int
    guided: bool

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("width", self.width), ("branch", self.branch)):
            if value < 1:
                raise RobustBenchError(f"{name} is {value}", where=name, cure="give 1 or more")

    def run(self, search: Search) -> AttackResult:
        """All steps."""
        if search.expired():
            return search.result()
        value = search.evaluate(search.start).unsqueeze(1)  # (b, w)
        states = search.start.unsqueeze(1)  # (b, w, *shape)
        keep = search.drop_broken()
        if keep is not None:
            states, value = states[keep], value[keep]
        for step in range(self.steps):
            if search.done:
                break
            found = self._spread(search, states, value, step)
            if found is None:
                break
            points, values = found
            value, best = values.topk(min(self.width, values.shape[1]), 1)
            rows = torch.arange(len(best), device=best.device).unsqueeze(1)
            states = points[rows, best]
        return search.result()

    def _spread(
        self, search: Search, states: Tensor, value: Tensor, step: int
    ) -> tuple[Tensor, Tensor] | None:
        """The points (b, n, *shape) that moves lead to, and their violation (b, n); None where it ends.

        Without gradients other moves are drawn next time: then the states themselves are among them.
        """
        points, values = (states[:, :0], value[:, :0]) if self.guided else (states, value)
        for place in range(states.shape[1]):
            if search.expired():
                return None
            gradient = None
            if self.guided:
                gradient = search.slope(states[:, place], violation_loss).gradient
                keep = search.drop_broken()
                if search.done:
                    return None
                if keep is not None:
                    states, points, values, gradient = (t[keep] for t in (states, points, values, gradient))
            moves = self._moves(search, states[:, place], gradient, (place, step))
            for number in range(moves.shape[1]):
                if search.expired():
                    return None
                x = search.query.inputs.project(moves[:, number])
                points = torch.cat([points, x.unsqueeze(1)], 1)
                values = torch.cat([values, search.evaluate(x).unsqueeze(1)], 1)
                keep = search.drop_broken()
                if search.done:
                    return None
                if keep is not None:
                    states, points, values, moves = (t[keep] for t in (states, points, values, moves))
        return points, values

    def _moves(self, search: Search, x: Tensor, gradient: Tensor | None, draw: tuple[int, int]) -> Tensor:
        """The points (b, k, *shape) that single moves lead to from x (b, *shape)."""
        inputs, (place, step) = search.query.inputs, draw
        if isinstance(inputs, TokenSet):
            size = inputs.mask.shape[1:]
            if gradient is None:
                return _exchanges(
                    inputs, x, search.uniform(restart=place, step=step, shape=tuple(size)), self.branch
                )
            gains = (inputs.candidates.to(x.dtype) - x.unsqueeze(2)) * gradient.unsqueeze(2)
            return _exchanges(inputs, x, gains.sum(3), self.branch)
        noise = 2 * search.uniform(restart=place, step=step) - 1
        return _pushes(inputs, x, noise if gradient is None else gradient, self.branch)


def _exchanges(inputs: TokenSet, x: Tensor, scores: Tensor, branch: int) -> Tensor:
    """The texts x (b, T, D) with one word exchanged, (b, k, T, D): those of largest scores (b, T, S)."""
    vectors, index = inputs.candidates.to(x.dtype), inputs.choices(x)  # (b, T, S, D), (b, T)
    every = torch.arange(vectors.shape[2], device=x.device)
    changed = index != inputs.original
    full = (changed.sum(1) >= inputs.swaps).reshape(-1, 1, 1) & ~changed.unsqueeze(2)
    barred = ~inputs.mask | (every == index.unsqueeze(2)) | full
    top, flat = scores.masked_fill(barred, -torch.inf).flatten(1).topk(min(branch, barred[0].numel()), 1)
    moves = []
    for k in range(flat.shape[1]):
        word, position = flat[:, k] % vectors.shape[2], flat[:, k] // vectors.shape[2]
        rows = torch.arange(len(x), device=x.device)
        there = (torch.arange(x.shape[1], device=x.device) == position.unsqueeze(1)) & top[
            :, k : k + 1
        ].isfinite()
        moves.append(torch.where(there.unsqueeze(2), vectors[rows, position, word].unsqueeze(1), x))
    return torch.stack(moves, 1)


def _pushes(inputs: InputSet, x: Tensor, way: Tensor, branch: int) -> Tensor:
    """The points x (b, k, *shape) with one coordinate pushed along `way`, those of largest gain first."""
    box, flat = inputs.box(), way.flatten(1)
    gains = flat.abs() * (box.upper - box.lower).to(x).flatten(1)
    places = gains.topk(min(branch, gains.shape[1]), 1).indices
    moves = []
    for k in range(places.shape[1]):
        side = torch.zeros_like(flat).scatter(1, places[:, k : k + 1], 1.0) * flat.sign()
        moves.append(x + 2 * inputs.steepest(side.reshape(x.shape)))
    return torch.stack(moves, 1)
