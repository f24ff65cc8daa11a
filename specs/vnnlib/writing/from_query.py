"""One problem of a query as a property of VNN-LIB 2, or as a flat one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch

from ...composed import Composed
from ...query import Query
from ...sets import Ball, Box, Product, box_within
from ...tree import All, Any, AtLeast, Atom, Tree, count_clauses, disjuncts
from ..formula import Builder, Formula, Table
from ..property import VnnlibProperty
from ..rows import Clause, Row
from ..terms import Element, Term
from ..version2 import Vnnlib2Property
from .from_property import one_network
from .linear_formulas import add, all_of, any_of, linear_formula
from .sets import say
from .wiring import Wiring, refused

__all__ = ["flat_from_query", "from_query"]

_MOST_CLAUSES = 100_000


def from_query(
    query: Query,
    input_shape: Sequence[int] | None,
    output_shape: Sequence[int] | None,
    names: tuple[str, str, str] = ("f", "X", "Y"),
) -> Vnnlib2Property:
    """The one problem of a query.

    Shapes, batch axis included, and names of network, input and output are those of a network that is no
    composition.

    Raises SpecError (E-EXPORT) for a batch of problems, for sets without a linear description, and for
    functions that VNN-LIB does not have.
    """
    _check_single(query)
    if isinstance(query.network, Composed):
        wiring = Wiring(query.network)
        declared, features = wiring.declared, wiring.features
        at, ties = wiring.coordinates(), wiring.ties
    else:
        sizes = (1, *query.inputs.shape), (1, query.C.shape[2])
        declared = one_network(input_shape or sizes[0], output_shape or sizes[1], names)
        terms: list[Term] = [Element(p) for p in range(declared.size)]
        inputs = query.inputs.centre()[0].numel()
        at, features, ties = terms[:inputs], terms[inputs:], []
    whole = Builder(Table())
    say(query.inputs, at, whole)
    for tie in ties:
        whole.add(tie)
    add(whole, _Atoms(query, features, whole.table).said(query.tree))
    return Vnnlib2Property(query.id[:12] or "query", "2.0", declared, whole.whole())


def flat_from_query(query: Query) -> VnnlibProperty:
    """The one problem of a query of a plain network over a box, as clauses."""
    _check_single(query)
    inputs = query.inputs.body if isinstance(query.inputs, Ball) else query.inputs
    if isinstance(inputs, Product) and all(isinstance(block, Box) for block in inputs.blocks):
        inputs = inputs.box()
    if isinstance(query.network, Composed) or not isinstance(inputs, Box):
        what = "VNN-LIB 1.0 has boxes and one network applied to its input, the query more"
        raise refused(what, "write version 2.0, or atoms_as_outputs(query) and its network")
    if count_clauses(query.tree) > _MOST_CLAUSES:
        raise refused(f"the violation has more than {_MOST_CLAUSES} clauses", "write version 2.0")
    C, d = query.C[0].tolist(), query.d[0].tolist()
    clauses = []
    for atoms in disjuncts(query.tree):
        rows = []
        for atom in atoms:
            columns = tuple(j for j, c in enumerate(C[atom.index]) if c)
            factors = tuple(C[atom.index][j] for j in columns)
            rows.append(Row(columns, factors, d[atom.index], atom.strict))
        clauses.append(Clause(0, tuple(rows)))
    size = inputs.lower[0].numel()
    outer, inner = (
        tuple(face.reshape(1, size).cpu() for face in pair)
        for pair in (inputs.cast(torch.float64), inputs.inner(torch.float64))
    )
    box = box_within((outer[0], outer[1]), (inner[0], inner[1]))
    return VnnlibProperty(query.id[:12], size, query.C.shape[2], box, tuple(clauses))


class _Atoms:
    """The tree of a query over the terms of its features."""

    def __init__(self, query: Query, features: Sequence[Term], table: Table) -> None:
        self._C, self._d = query.C[0].cpu(), query.d[0].tolist()
        self._features, self._table = features, table

    def said(self, tree: Tree) -> Formula | bool:
        if isinstance(tree, Atom):
            row = self._C[tree.index]
            parts = [(float(row[j]), self._features[j]) for j in row.nonzero().flatten().tolist()]
            return linear_formula(parts, self._d[tree.index], tree.strict)
        if isinstance(tree, AtLeast):
            return self.said(_spelled_out(tree))
        parts_said = [self.said(child) for child in tree.children]
        return any_of(parts_said) if isinstance(tree, Any) else all_of(Builder(self._table), parts_said)


def _spelled_out(tree: AtLeast) -> Tree:
    """`count` of the children, as an OR of ANDs."""
    if math.comb(len(tree.children), tree.count) > _MOST_CLAUSES:
        raise refused(
            f"{tree.count} of {len(tree.children)} conditions are too many cases", "bound each of them"
        )
    return Any(tuple(All(chosen) for chosen in combinations(tree.children, tree.count)))


def _check_single(query: Query) -> None:
    if query.batch != 1:
        what = f"a file holds one problem, the query {query.batch}"
        raise refused(what, "write query.select(torch.tensor([k])) for each of them")
