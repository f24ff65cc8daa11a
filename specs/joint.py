"""From a domain over several variables to one input set, and the conditions that no set can hold.

The domain is a conjunction of sets placed on variables and of conditions. Affine conditions on variables
become bounds of coordinates, couplings x' - x of two variables, or rows of a polytope, all exact; an OR
splits the domain into cells whose union is taken. Every other condition (nonlinear, or about networks)
goes into the violation: it must be true at a counterexample.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.errors import SpecError

from .cells import Cell, Rows, cell_set
from .expressions.base import Bindings, Expr, Formula, spec_error
from .expressions.domains import Conjunction, Domain, Either, Outside, Placed
from .expressions.indexing import Element
from .expressions.leaves import Label, Var
from .expressions.logic import And
from .expressions.values import Emitter, Feature
from .layout import Layout
from .sets import InputSet, Union
from .tree import count_clauses, disjuncts

__all__ = ["conditions_of", "joint_set", "order_of"]

_MOST_CELLS = 1024

Condition = Placed | Formula


@dataclass(frozen=True, slots=True, eq=False)
class _Alternatives:
    """One conjunct as an OR of cells, each given by the sets and rows that it adds."""

    cells: tuple[Cell, ...]


def joint_set(
    domain: Domain | Formula,
    variables: Sequence[Var],
    layout: Layout,
    points: Sequence[Tensor],
    env: Bindings,
) -> InputSet:
    """The input set over the layout.

    points: the values (B, size) of the layout's blocks after the variables. Raises SpecError (E-DNF),
    EmptySetError, UnboundedSetError.
    """
    found = (_lowered(condition, variables, layout, env) for condition in conjuncts(domain, variables))
    alternatives = [group.cells for group in found if group is not None]
    count = 1
    for cells in alternatives:
        count *= len(cells)
    if count > _MOST_CELLS:
        raise spec_error(
            "E-DNF",
            f"the domain has {count} cells, the limit is {_MOST_CELLS}",
            "split it into several specs",
        )
    joined = [Cell.joined(cells) for cells in itertools.product(*alternatives)]
    sets = [cell_set(cell, variables, layout, points, env) for cell in joined]
    return sets[0] if len(sets) == 1 else Union(sets)


def conditions_of(
    domain: Domain | Formula, variables: Sequence[Var], layout: Layout, env: Bindings
) -> list[Formula]:
    """The conditions of the domain that no input set can hold: they belong into the violation."""
    return [c for c in conjuncts(domain, variables) if _lowered(c, variables, layout, env) is None]


def order_of(domain: Domain | Formula, variables: Sequence[Var]) -> tuple[Var, ...]:
    """The variables with the centre of a ball right before the variable that moves around it."""
    order = list(variables)
    for condition in conjuncts(domain, variables):
        if isinstance(condition, Placed) and isinstance(
            centre := getattr(condition.domain, "center", None), Var
        ):
            order = [v for v in order if v.name != condition.variable.name]
            order.insert([v.name for v in order].index(centre.name) + 1, condition.variable)
    return tuple(order)


def conjuncts(domain: Expr, variables: Sequence[Var]) -> Iterator[Condition]:
    """The parts of a domain that must all hold: placed sets that are no conjunctions, and formulas."""
    if isinstance(domain, (Conjunction, And)):
        yield from conjuncts(domain.left, variables)
        yield from conjuncts(domain.right, variables)
    elif isinstance(domain, Placed):
        yield from _placed(domain.domain, domain.variable)
    elif isinstance(domain, Domain):
        if len(variables) != 1:
            names = ", ".join(v.name for v in variables)
            raise SpecError(
                f"`{domain.text}` is not placed on a variable",
                cure=f"write {domain.text}(x) for one of {names}",
            )
        yield from _placed(domain, variables[0])
    elif isinstance(domain, Formula):
        yield domain


def _placed(domain: Domain, variable: Var) -> Iterator[Condition]:
    if isinstance(domain, Outside):
        yield domain.claim(variable)
    elif isinstance(domain, Conjunction):
        for part in (domain.left, domain.right):
            if isinstance(part, Domain):
                yield from _placed(part, variable)
            else:
                yield from conjuncts(part, (variable,))
    else:
        yield Placed(domain, variable)


def _lowered(
    condition: Condition, variables: Sequence[Var], layout: Layout, env: Bindings
) -> _Alternatives | None:
    if isinstance(condition, Placed):
        spelled = condition.domain.spelled(condition.variable, len(variables) > 1)
        if spelled is not None:
            return _lowered(spelled, variables, layout, env)
        return _Alternatives(tuple(_cells(condition, variables, layout, env)))
    emitter = Emitter(env.batch, env.device)
    # equalities are no trouble in a domain: a set holds them
    tree = condition.tree(replace(env, emitter=emitter, equalities=[]), negated=False)
    columns = [_columns(feature, layout) for feature in emitter.features]
    if any(c is None for c in columns) or count_clauses(tree) > _MOST_CELLS:
        return None
    local, d = emitter.rows()
    C = torch.zeros(
        *local.shape[:2], sum(b.size for b in layout.blocks), dtype=local.dtype, device=local.device
    )
    if columns:
        C[:, :, torch.cat([c for c in columns if c is not None])] = local
    rows = Rows(C, d)
    return _Alternatives(tuple(Cell((), rows.at(clause)) for clause in disjuncts(tree)))


def _cells(placed: Placed, variables: Sequence[Var], layout: Layout, env: Bindings) -> Iterator[Cell]:
    """The cells of a union of sets, or the one cell of a set."""
    if not isinstance(placed.domain, Either):
        yield Cell(((placed.variable, placed.domain),), None)
        return
    for part in (placed.domain.left, placed.domain.right):
        groups = []
        for condition in _placed(part, placed.variable):
            found = _lowered(condition, variables, layout, env)
            if found is None:
                raise spec_error(
                    "E-NONLIN",
                    f"`{condition.text}` is not affine, within `{placed.text}`",
                    "conditions of a union's members must be affine",
                )
            groups.append(found.cells)
        yield from map(Cell.joined, itertools.product(*groups))


def _columns(feature: Feature, layout: Layout) -> Tensor | None:
    """The flat coordinates that a feature reads; None where it is no variable or part of one."""
    variable = feature.of if isinstance(feature, Element) else feature
    if not isinstance(variable, Var):
        return None
    if isinstance(feature, Element) and any(isinstance(item, Label) for item in feature.items):
        return None
    start = layout.start(variable.name)
    size = torch.Size(variable.shape).numel()
    index = torch.arange(start, start + size).reshape(variable.shape)
    if isinstance(feature, Element):
        index = index[tuple(item for item in feature.items if not isinstance(item, Label))]
    return index.reshape(-1)
