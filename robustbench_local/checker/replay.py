"""The proof: every clause of every problem has a tree of splits, every leaf of it a refutation by one bound.

A clause is a conjunction of atoms e_i = C_i y + d_i > 0 (strict) or >= 0. On a leaf, weights w >= 0 of its
atoms with least(-sum w_i e_i) > 0 (>= 0 where all weighted atoms are strict) show that no point meets it.
Hidden nodes are bounded over the leaf's own box or over an outer one, of which it was cut.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .bounds import Bounds, bounds_over
from .curves import TINY, Array, Rejected, finite
from .network import Network, integers


class Leaf(NamedTuple):
    """A part of a clause's tree: box, splits (node, coordinate, side, point), place in the arrays.

    outer: the box over which hidden nodes are bounded, and the way.
    """

    problem: int
    clause: int
    lower: Array
    upper: Array
    splits: tuple[tuple[int, int, int, float], ...]
    number: int
    first: int
    outer: tuple[Array, Array, int]


class Proof:
    """The claim and the arrays of its proof, checked for form only: whatever they say, bounds stay valid."""

    def __init__(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.arrays, self.network = arrays, Network(header["network"]["nodes"], arrays)
        self.lower, self.upper, self.C, self.d = (
            finite(arrays[f"spec/{k}"], k) for k in ("lower", "upper", "C", "d")
        )
        (count, rows, outputs), sizes = self.C.shape, self.network.sizes
        shapes = (self.lower.shape, self.upper.shape, self.d.shape, outputs)
        self.clauses = [[integers(atom, 2, 0) for atom in clause] for clause in header["spec"]["clauses"]]
        fit = all(clause and all(i < rows and s < 2 for i, s in clause) for clause in self.clauses)
        if not fit or not count or shapes != ((count, sizes[0]), (count, sizes[0]), (count, rows), sizes[-1]):
            raise Rejected("the specification fits neither itself nor the network")
        self.sets, self.about = arrays["proof/sets"], arrays["proof/about"]
        self.weights, self.multipliers = (finite(arrays[f"proof/{k}"], k) for k in ("weights", "multipliers"))
        if bool(np.any(self.lower > self.upper)) or min(self.weights.min(), *self.multipliers, 0.0) < 0:
            raise Rejected("a box is empty, or a weight or multiplier negative")
        self.ways = [(integers([w["symbols"]], 1, -1)[0], w["refined"]) for w in header["proof"]["ways"]]

    def leaves(self) -> Iterator[Leaf]:
        """The leaves of all trees, which lie one after the other in preorder: z <= point, then z >= point."""
        nodes, places, points = (self.arrays[f"proof/{key}"] for key in ("nodes", "coordinates", "points"))
        at = number = first = 0
        for problem, clause in np.ndindex(len(self.lower), len(self.clauses)):
            open_: list[tuple[Any, Any]] = [(((self.lower[problem], self.upper[problem]),), ())]
            while open_:
                boxes, splits = open_.pop()  # the boxes on the way from the root
                lower, upper = boxes[-1]
                node, place, point = int(nodes[at]), int(places[at]), float(finite(points[at], "a split"))
                at += 1
                if node < 0:
                    up, way = integers([int(v) for v in self.about[number]], 2, 0)
                    outer = (*boxes[-1 - up], way)
                    yield Leaf(problem, clause, lower, upper, splits, number, first, outer)
                    number, first = number + 1, first + len(splits)
                elif not (node < len(self.network.sizes) and 0 <= place < self.network.sizes[node]):
                    raise Rejected("a split names a coordinate that there is not")
                elif node > 0:
                    open_ += [(boxes, (*splits, (node, place, side, point))) for side in (1, -1)]
                elif lower[place] <= point <= upper[place]:
                    low, high = lower.copy(), upper.copy()
                    low[place] = high[place] = point
                    open_ += [((*boxes, (low, upper)), splits), ((*boxes, (lower, high)), splits)]
                else:
                    raise Rejected("a box is split outside of it")
        parts = (nodes, self.weights, self.sets, self.about, self.multipliers)
        if [at, number, number, number, first] != [len(a) for a in parts]:
            raise Rejected("the trees do not use up their arrays")


def replay(header: Mapping[str, Any], arrays: Mapping[str, Array], until: float) -> tuple[int, float]:
    """The number of leaves and the smallest bound. Rejected where something is not proved, or not in time."""
    proof, margin, groups = Proof(header, arrays), np.inf, dict[tuple[int, bytes], list[Leaf]]()
    leaves, step = list(proof.leaves()), max(1, 2**16 // sum(proof.network.sizes))
    for leaf in leaves:  # those with the same box share its bounds
        lower, upper, way = leaf.outer
        groups.setdefault((way, lower.tobytes() + upper.tobytes()), []).append(leaf)
    for way in {leaf.outer[2] for leaf in leaves}:
        parts = [group for (number, _), group in groups.items() if number == way]
        for block in (parts[i : i + step] for i in range(0, len(parts), step)):
            margin = min(margin, _block(proof, proof.ways[way], block, until))
    return len(leaves), margin


def _block(proof: Proof, way: tuple[int, Any], block: list[list[Leaf]], until: float) -> float:
    """The smallest bound over some groups of leaves, each with a box of its own."""
    lower, upper = (np.stack([group[0].outer[end] for group in block]) for end in (0, 1))
    (symbols, refined), margin = way, np.inf
    bounds = bounds_over(proof.network, proof.arrays, (lower, upper), symbols >= 0, until)
    for node in range(1, len(proof.network.sizes)):
        bounds.add(node, max(symbols, 0))
        for _, number in (pair for pair in refined if pair[0] == node):
            bounds.refine(node, np.array(integers([number], 1, -1)))
    pairs = [(k, leaf) for k, group in enumerate(block) for leaf in group]
    step = max(1, 2**18 // sum(proof.network.sizes))
    for some in (pairs[i : i + step] for i in range(0, len(pairs), step)):
        own = bounds.take(np.array([k for k, _ in some]))
        margin = min(margin, _refute(proof, own, [leaf for _, leaf in some]))
    return margin


def _refute(proof: Proof, bounds: Bounds, leaves: list[Leaf]) -> float:
    """The smallest bound over the leaves, whose bounds are given; Rejected where one proves nothing."""
    network, last, slack = proof.network, len(proof.network.sizes) - 1, proof.network.slack
    start = {last: np.zeros((len(leaves), 1, network.sizes[last]))}
    constant, error = np.zeros((len(leaves), 1)), np.full((len(leaves), 1), TINY)
    needed, empty = np.zeros(len(leaves), bool), np.zeros(len(leaves), bool)
    for k, leaf in enumerate(leaves):
        clause, w = proof.clauses[leaf.clause], proof.weights[leaf.number]
        if not bool(np.any(w > 0)) or bool(np.any(w[len(clause) :])):
            raise Rejected("a leaf weighs no atom of its clause, or others")
        needed[k] = not all(strict for (_, strict), x in zip(clause, w, strict=False) if x > 0)
        rows, w = [row for row, _ in clause], w[: len(clause)]
        C, d = proof.C[leaf.problem, rows], proof.d[leaf.problem, rows]
        start[last][k, 0], constant[k] = -(w @ C), -(w @ d)
        error[k] += slack * (w @ (np.abs(C) @ bounds.size(last)[k] + np.abs(d)))
        own = proof.multipliers[leaf.first : leaf.first + len(leaf.splits)]
        for beta, (node, place, side, point) in zip(own, leaf.splits, strict=True):
            a = start.setdefault(node, np.zeros((len(leaves), 1, network.sizes[node])))
            error[k] += slack * (np.abs(a[k, 0, place]) + beta) * bounds.size(node)[k, place] + TINY
            error[k] += slack * (np.abs(constant[k]) + beta * abs(point))
            a[k, 0, place] -= beta * side
            constant[k] += beta * side * point
            face, tighter = (bounds.lower, max) if side > 0 else (bounds.upper, min)
            face[node][k, place] = tighter(face[node][k, place], point)
            empty[k] |= bounds.lower[node][k, place] > bounds.upper[node][k, place]
    plane = bounds.pull(start, proof.sets[[leaf.number for leaf in leaves]], constant, error)
    lower, upper = np.stack([leaf.lower for leaf in leaves]), np.stack([leaf.upper for leaf in leaves])
    found = bounds.minimum(lower, upper, *plane)[:, 0]
    for k in np.flatnonzero(~(np.where(needed, found > 0, found >= 0) | empty))[:1]:
        raise Rejected(f"problem {leaves[k].problem}, clause {leaves[k].clause}: a bound is {found[k]:.6g}")
    return float(np.min(found, where=~empty, initial=np.inf))
