"""The third part of a certificate: trees of splits, and at their leaves what refutes a clause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Branch", "Lemma", "Proof", "Refuted", "Tree", "Way", "tree_arrays"]


@dataclass(slots=True, eq=False)
class Refuted:
    """A leaf: weights of the clause's atoms, multipliers of the hidden splits on the way, and slopes.

    slopes: (node, side) -> slopes of that function, "below" or "above", at the proof's `ids` of the node;
    none for the usual ones. way: which of the proof's ways bounds hidden nodes, over the box so many splits
    of the input `up`.
    """

    weights: NDArray[np.float64]
    multipliers: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    slopes: dict[tuple[int, str], NDArray[np.float64]] = field(default_factory=dict)
    way: int = 0
    up: int = 0


@dataclass(slots=True, eq=False)
class Branch:
    """A split of a coordinate of a node (0: the input) at a point; `low` is the part below."""

    node: int
    coordinate: int
    point: float
    low: Tree
    high: Tree


@dataclass(frozen=True, slots=True)
class Way:
    """How the checker bounds hidden nodes over a box: by forms with so many symbols for each function (-1: by
    intervals), and by backward passes for the nodes `refined`; for those of `clipped` once more on every
    leaf, with multiples of its hidden splits. tuned: rows with slopes of their own, (node, first row, first
    set, count) each.
    """

    symbols: int
    refined: tuple[int, ...]
    clipped: tuple[int, ...] = ()
    tuned: tuple[tuple[int, int, int, int], ...] = ()


Tree = Branch | Refuted | None
"""None: not proved."""


@dataclass(frozen=True, slots=True, eq=False)
class Lemma:
    """On a problem's box side * z >= side * bound, for a coordinate z of a hidden node; side 1 or -1."""

    problem: int
    node: int
    coordinate: int
    side: int
    bound: float
    tree: Tree


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """The trees by problem and clause, in the order of the claim. lemmas: what is shown before.

    ways: how boxes are bounded, a leaf says which one is its own. ids: the coordinates of a node that slopes
    are of. sets: slopes that the ways use, before those of the leaves; rows: of nodes, see `tuned_rows`.
    """

    trees: list[Tree]
    ways: tuple[Way, ...]
    ids: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    sets: Sequence[Mapping[tuple[int, str], NDArray[np.float64]]] = ()
    rows: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    lemmas: Sequence[Lemma] = ()

    @property
    def every(self) -> list[Tree]:
        """All trees, those of lemmas first."""
        return [*(lemma.tree for lemma in self.lemmas), *self.trees]

    @property
    def leaves(self) -> int:
        """The number of leaves of all trees."""
        return sum(isinstance(node, Refuted) for tree in self.every for node in _preorder(tree))

    @property
    def complete(self) -> bool:
        """Whether every leaf is refuted."""
        return all(node is not None for tree in self.every for node in _preorder(tree))


def tree_arrays(proof: Proof, most_atoms: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header's entry and the arrays of a complete proof; clauses have up to `most_atoms` atoms."""
    splits: list[tuple[int, int, float]] = []
    leaves: list[Refuted] = []
    for tree in proof.every:
        for node in _preorder(tree):
            if isinstance(node, Branch):
                splits.append((node.node, node.coordinate, node.point))
            elif node is not None:
                splits.append((-1, 0, 0.0))
                leaves.append(node)
    weights = np.zeros((len(leaves), most_atoms))
    for k, leaf in enumerate(leaves):
        weights[k, : len(leaf.weights)] = leaf.weights
    arrays: dict[str, NDArray[Any]] = {
        "nodes": np.array([s[0] for s in splits], np.int32),
        "coordinates": np.array([s[1] for s in splits], np.int32),
        "points": np.array([s[2] for s in splits], np.float64),
        "weights": weights,
        "about": np.array([(leaf.up, leaf.way) for leaf in leaves], np.int32).reshape(-1, 2),
        "multipliers": np.concatenate([leaf.multipliers for leaf in leaves]).astype(np.float32),
        "lemmas": np.array([(e.problem, e.node, e.coordinate, e.side) for e in proof.lemmas], np.int32),
        "bounds": np.array([lemma.bound for lemma in proof.lemmas]),
        **_slopes(leaves, proof),
        **{f"{node}.rows": codes.astype(np.int32) for node, codes in proof.rows.items()},
    }
    ways = [
        {
            "symbols": way.symbols,
            "refined": [*([node, 0, -1, 0] for node in way.refined), *map(list, way.tuned)],
            "clipped": list(way.clipped),
        }
        for way in proof.ways
    ]
    return {"ways": ways}, {f"proof/{name}": value for name, value in arrays.items()}


def _slopes(leaves: list[Refuted], proof: Proof) -> dict[str, NDArray[Any]]:
    """The sets of slopes, and which one a leaf uses; multiples of 1 / 255 as bytes."""
    own = [*proof.sets, *(leaf.slopes for leaf in leaves if leaf.slopes)]
    sets = np.cumsum([bool(leaf.slopes) for leaf in leaves]) - 1 + len(proof.sets)
    arrays: dict[str, NDArray[Any]] = {
        "sets": np.where([bool(leaf.slopes) for leaf in leaves], sets, -1).astype(np.int32)
    }
    for node, side in sorted({key for slopes in own for key in slopes}):
        none = np.zeros(len(proof.ids[node]))  # of functions that a row does not reach
        values = np.stack([slopes.get((node, side), none) for slopes in own])
        steps = np.rint(values * 255)
        whole = bool(np.all(np.abs(values * 255 - steps) < 1e-6) and np.all((steps >= 0) & (steps <= 255)))
        arrays[f"{node}.{side}"] = steps.astype(np.uint8) if whole else values.astype(np.float32)
        arrays[f"{node}.ids"] = proof.ids[node].astype(np.int32)
    return arrays


def _preorder(tree: Tree) -> Iterator[Tree]:
    """The nodes of a tree, the part below a split's point before that above."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Branch):
            stack += [node.high, node.low]
