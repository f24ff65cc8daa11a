"""AND/OR trees over violation atoms: how the rows of a query combine into one truth and one number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

import torch
from torch import Tensor

__all__ = ["All", "Any", "AtLeast", "Atom", "Tree"]


@dataclass(frozen=True)
class Atom:
    """The claim e[index] > 0 (`strict`) or e[index] >= 0."""

    index: int
    strict: bool


@dataclass(frozen=True)
class All:
    """Every child is true; as a number, the minimum. Children: at least one."""

    children: tuple[Tree, ...]


@dataclass(frozen=True)
class Any:
    """At least one child is true; as a number, the maximum. Children: at least one."""

    children: tuple[Tree, ...]


@dataclass(frozen=True)
class AtLeast:
    """At least `count` children are true; as a number, the count-th largest. 1 <= count <= len(children)."""

    count: int
    children: tuple[Tree, ...]


Tree = Atom | All | Any | AtLeast


def fold_values(tree: Tree, e: Tensor) -> Tensor:
    """The number of the tree from atom values e (B, m): (B,); NaN anywhere it matters stays NaN."""
    return _fold(tree, e, lambda strict, block: block, _largest)


def fold_truth(tree: Tree, e: Tensor) -> Tensor:
    """The truth of the tree from atom values e (B, m): (B,) bool; NaN makes an atom false."""
    return _fold(tree, e, lambda strict, block: block > 0 if strict else block >= 0, _enough)


def atoms_of(tree: Tree) -> Iterator[Atom]:
    """The atoms in order, with repetitions."""
    if isinstance(tree, Atom):
        yield tree
    else:
        for child in tree.children:
            yield from atoms_of(child)


def count_clauses(tree: Tree) -> int:
    """The number of clauses of the disjunctive normal form, without building it."""
    if isinstance(tree, Atom):
        return 1
    counts = [count_clauses(child) for child in tree.children]
    if isinstance(tree, Any):
        return sum(counts)
    if isinstance(tree, AtLeast):  # elementary symmetric polynomial of the children's counts
        ways = [1] + [0] * tree.count
        for count in counts:
            for k in range(tree.count, 0, -1):
                ways[k] += ways[k - 1] * count
        return ways[tree.count]
    return math.prod(counts)


def disjuncts(tree: Tree) -> Iterator[tuple[Atom, ...]]:
    """The clauses of the disjunctive normal form, each a conjunction of atoms, lazily."""
    if isinstance(tree, Atom):
        yield (tree,)
    elif isinstance(tree, Any):
        for child in tree.children:
            yield from disjuncts(child)
    elif isinstance(tree, AtLeast):
        for chosen in combinations(tree.children, tree.count):
            yield from disjuncts(All(chosen))
    else:
        for parts in product(*(list(disjuncts(child)) for child in tree.children)):
            yield tuple(dict.fromkeys(atom for part in parts for atom in part))


def dual(tree: Tree) -> Tree:
    """The negation, over atoms of the opposite sign: it is true of -e where the tree is false of e."""
    if isinstance(tree, Atom):
        return Atom(tree.index, not tree.strict)
    children = tuple(dual(child) for child in tree.children)
    if isinstance(tree, AtLeast):
        return AtLeast(len(children) - tree.count + 1, children)
    return All(children) if isinstance(tree, Any) else Any(children)


def join(kind: type[All] | type[Any], children: list[Tree]) -> Tree:
    """All or Any of the children, flattened; a single child stands for itself."""
    flat: list[Tree] = []
    for child in children:
        flat.extend(child.children if isinstance(child, kind) else (child,))
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def _fold(
    tree: Tree, e: Tensor, leaf: Callable[[bool, Tensor], Tensor], reduce: Callable[[int, Tensor], Tensor]
) -> Tensor:
    if isinstance(tree, Atom):
        return leaf(tree.strict, e[:, tree.index])
    whole = isinstance(tree, AtLeast)  # else parts may be reduced group by group
    parts: list[Tensor] = []
    for strict in (False, True):  # all plain atoms of one kind at once: the usual tree is one such group
        index = [c.index for c in tree.children if isinstance(c, Atom) and c.strict == strict]
        if index:
            block = leaf(strict, _columns(e, index))
            parts.extend(block.unbind(1) if whole else [reduce(_needed(tree, len(index)), block)])
    parts.extend(_fold(c, e, leaf, reduce) for c in tree.children if not isinstance(c, Atom))
    return parts[0] if len(parts) == 1 else reduce(_needed(tree, len(parts)), torch.stack(parts, 1))


def _needed(tree: All | Any | AtLeast, among: int) -> int:
    """How many of `among` children must be true."""
    return tree.count if isinstance(tree, AtLeast) else 1 if isinstance(tree, Any) else among


def _largest(count: int, values: Tensor) -> Tensor:
    """The count-th largest along axis 1; NaN where it depends on one."""
    if count == 1:
        return values.amax(1)
    if count == values.shape[1]:
        return values.amin(1)
    found = values.topk(count, dim=1).values[:, -1]
    return torch.where(values.isnan().any(1), torch.nan, found)


def _enough(count: int, truths: Tensor) -> Tensor:
    return truths.sum(1) >= count


def _columns(e: Tensor, index: list[int]) -> Tensor:
    first, last = index[0], index[-1]
    if index == list(range(first, last + 1)):  # a view costs nothing and neither does its gradient
        return e[:, first : last + 1]
    return e[:, index]
