"""The third part of a certificate: trees of splits, and at their leaves what refutes a clause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Branch", "Proof", "Refuted", "Tree", "tree_arrays"]


@dataclass(slots=True, eq=False)
class Refuted:
    """A leaf: weights of the clause's atoms, multipliers of the hidden splits on the way, and slopes.

    slopes: (node, side) -> slopes of that function, "below" or "above", at the proof's `ids` of the node;
    none for the usual ones.
    """

    weights: NDArray[np.float64]
    multipliers: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    slopes: dict[tuple[int, str], NDArray[np.float64]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Branch:
    """A split of a coordinate of a node (0: the input) at a point; `low` is the part below."""

    node: int
    coordinate: int
    point: float
    low: Tree
    high: Tree


Tree = Branch | Refuted | None
"""None: not proved."""


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """The trees by problem and clause, in the order of the claim.

    refined: nodes whose bounds come from backward passes. ids: the coordinates of a node that slopes are of.
    """

    trees: list[Tree]
    refined: tuple[int, ...]
    ids: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def leaves(self) -> int:
        """The number of leaves of all trees."""
        return sum(isinstance(node, Refuted) for tree in self.trees for node in _preorder(tree))

    @property
    def complete(self) -> bool:
        """Whether every leaf is refuted."""
        return all(node is not None for tree in self.trees for node in _preorder(tree))


def tree_arrays(proof: Proof, most_atoms: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header's entry and the arrays of a complete proof; clauses have up to `most_atoms` atoms."""
    splits: list[tuple[int, int, float]] = []
    leaves: list[Refuted] = []
    for tree in proof.trees:
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
        "multipliers": np.concatenate([leaf.multipliers for leaf in leaves]).astype(np.float32),
        **_slopes(leaves, proof.ids),
    }
    entry = {"refined": [[node, -1] for node in proof.refined]}
    return entry, {f"proof/{name}": value for name, value in arrays.items()}


def _slopes(leaves: list[Refuted], ids: Mapping[int, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
    """The sets of slopes, and which one a leaf uses; multiples of 1 / 255 as bytes."""
    own = [leaf.slopes for leaf in leaves if leaf.slopes]
    sets = np.cumsum([bool(leaf.slopes) for leaf in leaves]) - 1
    arrays: dict[str, NDArray[Any]] = {
        "sets": np.where([bool(leaf.slopes) for leaf in leaves], sets, -1).astype(np.int32)
    }
    for node, side in sorted({key for slopes in own for key in slopes}):
        values = np.stack([slopes[node, side] for slopes in own])
        steps = np.rint(values * 255)
        whole = bool(np.all(np.abs(values * 255 - steps) < 1e-6) and np.all((steps >= 0) & (steps <= 255)))
        arrays[f"{node}.{side}"] = steps.astype(np.uint8) if whole else values.astype(np.float32)
        arrays[f"{node}.ids"] = ids[node].astype(np.int32)
    return arrays


def _preorder(tree: Tree) -> Iterator[Tree]:
    """The nodes of a tree, the part below a split's point before that above."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, Branch):
            stack += [node.high, node.low]
