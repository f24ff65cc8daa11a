"""Bounds of hidden nodes as the checker finds them: the search for a proof starts from nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robustbench_local.checker import Bounds, Network

from .claim import Claim
from .trees import Way

__all__ = ["checker_network", "enclosed", "refined_nodes"]


def checker_network(claim: Claim) -> Network:
    """The network as the checker reads it."""
    arrays = {
        k: a.astype(np.int64 if a.dtype.kind == "i" else np.float64) for k, a in claim.network.arrays.items()
    }
    return Network(claim.network.nodes, arrays)


def refined_nodes(claim: Claim) -> tuple[int, ...]:
    """What functions read, but for nodes that intervals bound exactly: one affine map of the input's box."""
    nodes, maps = claim.network.nodes, [0]
    for about in nodes[1:]:
        dense = {"pick": 0, "linear": 1, "conv": 1}.get(about["op"], 2)
        maps.append(dense + max(maps[p] for p in about["inputs"]))
    read = {about["inputs"][0] for about in nodes if about["op"] in ("relu", "sigmoid")}
    return tuple(sorted(node for node in read if maps[node] > 1))


def enclosed(
    network: Network,
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    way: Way,
    until: float = np.inf,
) -> Bounds:
    """The checker's bounds of all nodes over boxes (L, n); the checker's `Rejected` where it gets late."""
    bounds = Bounds(network, {}, [lower, upper], way.symbols >= 0, until)
    for node in range(1, len(network.sizes)):
        bounds.add(node, max(way.symbols, 0))
        if node in way.refined:
            bounds.refine(node, np.array([[-1]]))
    return bounds
