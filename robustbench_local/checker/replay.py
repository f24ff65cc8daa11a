"""The proof: every clause of every problem has a tree of splits, every leaf of it a refutation by one bound.

A clause is a conjunction of atoms e_i = C_i y + d_i > 0 (strict) or >= 0. On a leaf, weights w >= 0 of its
atoms with least(-sum w_i e_i) > 0 (>= 0 where all weighted atoms are strict) show that no point meets it.
Hidden nodes are bounded over the leaf's own box or over an outer one, of which it was cut. Lemmas come before
the claim: bounds of single hidden coordinates, whose negations are refuted the same way, node by node.
"""

import itertools
from collections import namedtuple
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .bounds import Bounds
from .curves import LARGE, TINY, Array, Rejected, finite
from .network import Network, integers

# What a tree shows: no point of a problem's box makes all atoms C z + d > 0 (>= 0 where not strict) of the
# values z of a node true. With the last node it is a clause of the claim, else a lemma.
Goal = namedtuple("Goal", "name problem node C d strict")
# A part of a goal's tree: its box, splits (node, coordinate, side, point), its place in the arrays; outer:
# the box over which hidden nodes are bounded, and the way.
Leaf = namedtuple("Leaf", "goal lower upper splits number first outer")


class Proof:
    """The claim and the arrays of its proof, checked for form only: whatever they say, bounds stay valid."""

    def __init__(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.arrays, self.network = arrays, Network(header["network"]["nodes"], arrays)
        claim = [finite(arrays[f"spec/{k}"], k) for k in ("lower", "upper", "C", "d")]
        self.lower, self.upper, self.C, self.d = claim
        (count, rows, outputs), sizes = self.C.shape, self.network.sizes
        shapes = (self.lower.shape, self.upper.shape, self.d.shape, outputs)
        clauses = [[integers(atom, 2, 0) for atom in clause] for clause in header["spec"]["clauses"]]
        if shapes != ((count, sizes[0]), (count, sizes[0]), (count, rows), sizes[-1]):
            raise Rejected("the specification fits neither itself nor the network")
        self.clauses = [tuple(zip(*clause, strict=True)) for clause in clauses]  # atoms, and which are strict
        self.weights, self.multipliers = (finite(arrays[f"proof/{k}"], k) for k in ("weights", "multipliers"))
        if bool(np.any(self.lower > self.upper)) or min(self.weights.min(), *self.multipliers, 0.0) < 0:
            raise Rejected("a box is empty, or a weight or multiplier negative")
        self.known = dict[int, Array]()  # of a node's values z bounds of -z and z (2, problems, n), by lemmas

    def goals(self) -> Iterator[Goal]:
        """Lemmas (problem, node, coordinate, side), side * z >= side * bound; then the claim's clauses."""
        sizes, lemmas = self.network.sizes, self.arrays["proof/lemmas"].tolist()
        bounds = finite(self.arrays["proof/bounds"], "a lemma").tolist()
        for (problem, node, place, side), bound in zip(lemmas, bounds, strict=True):
            if not 0 < node < len(sizes) - 1 or side * side != 1:
                raise Rejected("a lemma is about a node that there is not, or about neither side")
            C, d = np.zeros((1, sizes[node])), np.array([side * bound])
            C[0, place] = -side
            yield Goal(f"lemma on {node, place}", problem, node, C, d, (1,))
            known = self.known.setdefault(node, np.full((2, len(self.lower), sizes[node]), LARGE))
            known[int(side < 0), problem, place] = -side * bound
        for problem, (rows, strict) in itertools.product(range(len(self.lower)), self.clauses):
            C, d = self.C[problem, list(rows)], self.d[problem, list(rows)]
            yield Goal(f"clause of atoms {rows}", problem, len(sizes) - 1, C, d, strict)

    def leaves(self) -> Iterator[Leaf]:
        """The leaves of all trees, which lie one after the other in preorder: z <= point, then z >= point."""
        nodes, places, points = (self.arrays[f"proof/{k}"] for k in ("nodes", "coordinates", "points"))
        at = number = first = 0
        for goal in self.goals():
            open_: list[Any] = [(((self.lower[goal.problem], self.upper[goal.problem]),), ())]
            while open_:
                boxes, splits = open_.pop()  # the boxes on the way from the root
                lower, upper = boxes[-1]
                node, place, point = int(nodes[at]), int(places[at]), float(finite(points[at], "a split"))
                at += 1
                if node < 0:
                    up, way = integers([int(v) for v in self.arrays["proof/about"][number]], 2, 0)
                    yield Leaf(goal, lower, upper, splits, number, first, (*boxes[-1 - up], way))
                    number, first = number + 1, first + len(splits)
                elif node > 0:
                    open_ += [(boxes, (*splits, (node, place, side, point))) for side in (1, -1)]
                elif lower[place] <= point <= upper[place]:
                    low, high = lower.copy(), upper.copy()
                    low[place] = high[place] = point
                    open_ += [((*boxes, (low, upper)), splits), ((*boxes, (lower, high)), splits)]
                else:
                    raise Rejected("a box is split outside of it")
        sizes = [len(self.arrays[f"proof/{k}"]) for k in ("nodes", "weights", "sets", "about", "multipliers")]
        if sizes != [at, number, number, number, first]:
            raise Rejected("the trees do not use up their arrays")


def replay(header: Mapping[str, Any], arrays: Mapping[str, Array], until: float) -> tuple[int, float]:
    """The number of leaves and the smallest bound. Rejected where something is not proved, or not in time."""
    proof, margin, groups = Proof(header, arrays), np.inf, dict[Any, list[Leaf]]()
    leaves, step = list(proof.leaves()), max(1, 2**16 // sum(proof.network.sizes))
    for leaf in leaves:  # those with the same box share its bounds
        key = leaf.goal.node, leaf.outer[2], leaf.goal.problem, *(e.tobytes() for e in leaf.outer[:2])
        groups.setdefault(key, []).append(leaf)
    for node, way in {key[:2] for key in groups}:
        parts = [group for key, group in groups.items() if key[:2] == (node, way)]
        for block in (parts[i : i + step] for i in range(0, len(parts), step)):
            margin = min(margin, _block(proof, header["proof"]["ways"][way], block, until))
    return len(leaves), margin


def _block(proof: Proof, way: Any, block: list[list[Leaf]], until: float) -> float:
    """The smallest bound over some groups of leaves, each with a box of its own; infinite for lemmas."""
    box, margin = [np.stack([group[0].outer[end] for group in block]) for end in (0, 1)], np.inf
    symbols, refined = integers([way["symbols"]], 1, -1)[0], [integers(e, 4, -1) for e in way["refined"]]
    bounds = Bounds(proof.network, proof.arrays, box, symbols >= 0, until)
    last, problems = block[0][0].goal.node, [group[0].goal.problem for group in block]
    for node in range(1, last + 1):
        # lemmas count for what comes later only: none is used for its own proof
        known = proof.known[node][:, problems] if node < last and node in proof.known else (LARGE, LARGE)
        bounds.add(node, max(symbols, 0), *known)
        for _, first, set_, count in (entry for entry in refined if entry[0] == node):
            rows = proof.arrays[f"proof/{node}.rows"][first : first + count] if count > 0 else None
            bounds.refine(node, set_ + np.arange(max(count, 1))[None], None, rows)
    pairs = [(k, leaf) for k, group in enumerate(block) for leaf in group]
    step = max(1, 2**18 // sum(proof.network.sizes))
    for some in (pairs[i : i + step] for i in range(0, len(pairs), step)):
        own = bounds.take(np.array([k for k, _ in some]))
        margin = min(margin, _refute(proof, own, [leaf for _, leaf in some], way["clipped"], own.rounds))
    return margin if last == len(proof.network.sizes) - 1 else np.inf


def _refute(proof: Proof, bounds: Bounds, leaves: list[Leaf], clipped: Any, rounds: int) -> float:
    """The smallest bound over the leaves, whose bounds are given; Rejected where one proves nothing.

    rounds: of clipping, for the leaves that are not proved before.
    """
    network, last = proof.network, leaves[0].goal.node
    most = max(len(leaf.splits) for leaf in leaves)
    start, usual = {last: np.zeros((len(leaves), 1, network.sizes[last]))}, np.array([[-1]])
    split = {node for leaf in leaves for node, *_ in leaf.splits}  # a split says that -side (z - point) <= 0
    walls = {node: np.zeros((len(leaves), most, network.sizes[node])) for node in split}
    needed, constant, size, level, reach, beta = (np.zeros((len(leaves), k)) for k in [1] * 3 + [most] * 3)
    for k, leaf in enumerate(leaves):
        (*_, C, d, strict), w = leaf.goal, proof.weights[leaf.number]
        if not bool(np.any(w > 0)) or bool(np.any(w[len(strict) :])):
            raise Rejected("a leaf weighs no atom of its clause, or others")
        needed[k], w = not all(s == 1 for s, x in zip(strict, w, strict=False) if x > 0), w[: len(strict)]
        start[last][k, 0], constant[k] = -(w @ C), -(w @ d)
        size[k] = w @ (np.abs(C) @ bounds.size(last)[k] + np.abs(d))
        beta[k, : len(leaf.splits)] = proof.multipliers[leaf.first : leaf.first + len(leaf.splits)]
        for s, (node, place, side, point) in enumerate(leaf.splits):
            walls[node][k, s, place], level[k, s] = -side, side * point
            reach[k, s] = max(-bounds.lower[node][k, place], bounds.upper[node][k, place]) + abs(point)
            face, tighter = (bounds.lower, max) if side > 0 else (bounds.upper, min)
            face[node][k, place] = tighter(face[node][k, place], point)
    start |= {node: start.get(node, 0.0) + beta[:, None] @ wall for node, wall in walls.items()}
    constant += (beta * level).sum(1, keepdims=True)
    error = network.slack * (most + 2) * (size + (beta * reach).sum(1, keepdims=True)) + TINY
    lower, upper = np.stack([leaf.lower for leaf in leaves]), np.stack([leaf.upper for leaf in leaves])
    plane = bounds.pull(start, proof.arrays["proof/sets"][[e.number for e in leaves], None], constant, error)
    found = bounds.minimum(lower, upper, *plane)[:, 0]
    empty = np.any([(low > high).any(1) for low, high in zip(bounds.lower, bounds.upper, strict=True)], 0)
    proved = np.where(needed[:, 0] > 0, found > 0, found >= 0) | empty
    margin, open_ = float(np.min(found, where=proved & ~empty, initial=np.inf)), np.flatnonzero(~proved)
    if len(open_) == 0:
        return margin
    k, sides = open_[0], [bounds.pull(walls, usual, level, 0.0)] if walls and clipped else []
    if not clipped or rounds == 0:
        raise Rejected(f"problem {leaves[k].goal.problem}, {leaves[k].goal.name}: a bound is {found[k]:.6g}")
    # nor does a point matter where the plane below -sum w_i e_i is above zero
    bounds, cut = bounds.take(open_), [np.concatenate(p, 1)[open_] for p in zip(plane, *sides, strict=True)]
    for node in (number for number in integers(clipped, None, 1) if number <= last):
        bounds.refine(node, usual, cut)
    return min(margin, _refute(proof, bounds, [leaves[k] for k in open_], clipped, rounds - 1))
