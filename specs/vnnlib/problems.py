"""Clauses as queries: one problem per input set, problems with equal trees in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError

from ..composed import Composed
from ..expressions import Net, Var
from ..layout import Block, Layout
from ..query import Query
from ..sets import Box, InputSet, Polytope, box_within
from ..tree import All, Any, Atom, Tree, join
from .rows import Clause, Row, dense

__all__ = ["Network", "problems"]

Network = Callable[[Tensor], Tensor]

_ALWAYS = Row((), (), 1.0, True)


@dataclass(frozen=True, slots=True)
class _Problem:
    """x in boxes[box] with the cuts, which are rows on inputs alone; some clause of rows true of (x, y)."""

    box: int
    cuts: tuple[Row, ...]
    tree: Tree
    rows: tuple[Row, ...]

    @property
    def group(self) -> tuple[Tree, bool, tuple[bool, ...]]:
        """Equal for problems that fit into one query: tree, whether rows weigh inputs, strictness of cuts."""
        return self.tree, any(row.inputs for row in self.rows), tuple(cut.strict for cut in self.cuts)


def problems(
    clauses: Sequence[Clause],
    boxes: Box,
    network: Network,
    shape: tuple[int, ...],
    outputs: int,
    *,
    device: torch.device | None,
    text: Callable[[str], str],
) -> list[Query]:
    """The clauses as queries of a network from `shape` to `outputs` numbers; `text`: part -> a query's text.

    Raises EmptySetError where the conditions on inputs leave no input that floats can hit in any clause.
    """
    found: dict[tuple[int, tuple[Row, ...]], list[tuple[Row, ...]]] = {}
    for clause in clauses:
        cuts = tuple(row for row in clause.rows if not row.columns and row.inputs)
        rest = tuple(row for row in clause.rows if row.columns or not row.inputs)
        found.setdefault((clause.box, cuts), []).append(rest)
    groups: dict[object, list[_Problem]] = {}
    for (box, cuts), choices in found.items():
        problem = _Problem(box, cuts, *_tree(choices))
        groups.setdefault(problem.group, []).append(problem)
    sets = _Sets(boxes, shape, device)
    solid: list[tuple[list[_Problem], InputSet]] = []
    failed: list[tuple[_Problem, EmptySetError]] = []
    for group in groups.values():
        solid.extend(sets.built(group, failed))
    if not solid:
        raise failed[0][1]
    loose: dict[object, list[_Problem]] = {}
    for problem, _ in failed:  # no polytope: the cuts become conditions beside the others, on the box
        problem = _Problem(problem.box, (), *_with_cuts(problem))
        loose.setdefault(problem.group, []).append(problem)
    solid.extend((group, sets.box(group)) for group in loose.values())
    wrapped = _with_inputs(network, shape, outputs, device)
    queries = []
    for number, (group, inputs) in enumerate(solid):
        _, weighs, _ = group[0].group
        size = boxes.lower.shape[1] if weighs else 0
        C, d = dense([row for problem in group for row in problem.rows], outputs, size)
        C, d = C.reshape(len(group), -1, outputs + size).to(device), d.reshape(len(group), -1).to(device)
        label = text(f"{number + 1}/{len(solid)}")
        queries.append(Query(wrapped() if weighs else network, inputs, C, d, group[0].tree, label))
    return queries


class _Sets:
    """Input sets of problems, in the network's shape and on a device."""

    def __init__(self, boxes: Box, shape: tuple[int, ...], device: torch.device | None) -> None:
        self._shape, self._device = shape, device
        self._outer, self._inner = boxes.cast(torch.float64), boxes.inner(torch.float64)

    def box(self, group: Sequence[_Problem]) -> Box:
        """The boxes of a group."""
        index = torch.tensor([problem.box for problem in group])
        outer, inner = (
            (
                lower[index].reshape(-1, *self._shape).to(self._device),
                upper[index].reshape(-1, *self._shape).to(self._device),
            )
            for lower, upper in (self._outer, self._inner)
        )
        return box_within(outer, inner)

    def built(
        self, group: list[_Problem], failed: list[tuple[_Problem, EmptySetError]]
    ) -> list[tuple[list[_Problem], InputSet]]:
        """The sets of a group; problems whose cuts leave nothing go to `failed`."""
        if not group[0].cuts:
            return [(group, self.box(group))]
        try:
            return [(group, self._polytope(group))]
        except EmptySetError as error:
            if len(group) == 1:
                failed.append((group[0], error))
                return []
        return [pair for problem in group for pair in self.built([problem], failed)]

    def _polytope(self, group: Sequence[_Problem]) -> Polytope:
        size = self._outer[0].shape[1]
        A, b = dense([cut for problem in group for cut in problem.cuts], 0, size)
        strict = torch.tensor([cut.strict for cut in group[0].cuts], device=self._device)
        A, b = -A.reshape(len(group), -1, size).to(self._device), b.reshape(len(group), -1).to(self._device)
        return Polytope(A, b, self.box(group), strict=strict)


def _tree(clauses: Sequence[Sequence[Row]]) -> tuple[Tree, tuple[Row, ...]]:
    """The OR of the clauses over their distinct rows, and these rows in the order of their atoms."""
    position: dict[Row, int] = {}
    children: list[Tree] = []
    for rows in clauses:
        atoms: list[Tree] = [
            Atom(position.setdefault(row, len(position)), row.strict) for row in rows or (_ALWAYS,)
        ]
        children.append(join(All, atoms))
    return join(Any, children), tuple(position)


def _with_cuts(problem: _Problem) -> tuple[Tree, tuple[Row, ...]]:
    """Tree and rows of a problem, its cuts taken in."""
    first = len(problem.rows)
    atoms: list[Tree] = [Atom(first + k, cut.strict) for k, cut in enumerate(problem.cuts)]
    return join(All, [problem.tree, *atoms]), (*problem.rows, *problem.cuts)


def _with_inputs(
    network: Network, shape: tuple[int, ...], outputs: int, device: torch.device | None
) -> Callable[[], Network]:
    """What makes the network whose output is followed by its input, flat; once."""
    made: list[Network] = []

    def make() -> Network:
        if not made:
            x, f = Var("x", shape), Net("f", shape, outputs)
            layout = Layout((Block("x", shape),))
            made.append(Composed([f(x), x], layout, {"f": network}, {}, device or torch.device("cpu")))
        return made[0]

    return make
