"""A small ReLU network as one quadratic program: the data of the SDP relaxation.

Variables: the input coordinates of positive width and the outputs of the ReLUs whose sign is open, each
shifted and scaled to s in [-1, 1]; everything else is affine in them and is substituted. A form z' Q z in z =
(1, s) stands for a quadratic function of s. Forms that are >= 0 on the network's graph:

    y,   y - p,   chord(p) - y,   y (p - y) (in fact = 0)        for every open ReLU y = max(p, 0)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..rule import find_rule
from .planes import affine_plane
from .program import Array
from .rows import Sample

__all__ = ["Quadratic", "quadratic"]

aten = torch.ops.aten


@dataclass(frozen=True, slots=True, eq=False)
class Quadratic:
    """Affine rows over z = (1, s), n + 1 entries each.

    y, p, chord (k, n + 1): every open ReLU's output, input and upper line. output (m, n + 1): the network's.
    inputs (d, n + 1): its input. Every entry is a sum of at most `terms` products, counted over all layers,
    of magnitudes that sum to `size` at most.
    """

    y: Array
    p: Array
    chord: Array
    output: Array
    inputs: Array
    size: float
    terms: int

    @property
    def width(self) -> int:
        """n + 1."""
        return int(self.output.shape[1])


def quadratic(sample: Sample, largest: int) -> Quadratic:
    """The forms of a ReLU network on a box; UnsupportedOpError for other operators and for n > `largest`."""
    graph, forms = sample.graph, _Forms(sample, _count(sample, largest))
    for node in graph.nodes:
        forms.add(node)
    y, p, chord = (np.concatenate(part) for part in zip(*forms.open, strict=True))
    rows = forms.rows
    return Quadratic(y, p, chord, rows[graph.output], rows[graph.input], forms.size, forms.terms)


class _Forms:
    """The rows of every node over z, grown in topological order, and those of the open ReLUs."""

    def __init__(self, sample: Sample, width: int) -> None:
        self.sample, self.width = sample, width
        self.rows: dict[Node, Array] = {}
        empty = np.zeros((0, width))
        self.open: list[tuple[Array, Array, Array]] = [(empty, empty, empty)]
        self.place, self.terms, self.size = 1, 8, 1.0

    def add(self, node: Node) -> None:
        """The rows of the next node."""
        if node.op is None:
            low, high = self._ends(node)
            self.rows[node] = self._variables(low, high, np.flatnonzero(high > low))
        elif find_rule(node).affine:
            self._affine(node)
        else:
            self._relu(node)

    def _affine(self, node: Node) -> None:
        plane = affine_plane(node)
        rows, sizes = np.zeros((node.numel, self.width)), np.zeros((node.numel, self.width))
        for matrix, parent in zip(plane.coefficients, node.inputs, strict=True):
            rows += matrix @ self.rows[parent]
            sizes += abs(matrix) @ np.abs(self.rows[parent])
            self.terms += parent.numel + 2
        rows[:, 0] += plane.offset
        sizes[:, 0] += np.abs(plane.offset)
        self.rows[node], self.size = rows, max(self.size, float(sizes.max(initial=0.0)))

    def _relu(self, node: Node) -> None:
        p, (low, high) = self.rows[node.inputs[0]], self._ends(node.inputs[0])
        which = np.flatnonzero((low < 0) & (high > 0))
        y = self._variables(np.zeros(len(low)), high, which)[which]
        self.rows[node] = np.where((low >= 0)[:, None], p, 0.0)
        self.rows[node][which] = y
        slope = high[which] / (high[which] - low[which])
        chord = slope[:, None] * p[which]
        chord[:, 0] -= slope * low[which]
        self.open.append((y, p[which], chord))

    def _ends(self, node: Node) -> tuple[Array, Array]:
        box = self.sample.boxes[node]
        return box.lower.flatten().numpy(), box.upper.flatten().numpy()

    def _variables(self, low: Array, high: Array, which: npt.NDArray[np.intp]) -> Array:
        """Rows mid + radius * s_j of coordinates in [low, high]: those of `which` get the next variables."""
        rows = np.zeros((len(low), self.width))
        rows[:, 0] = (low + high) / 2
        radius = np.maximum(high - rows[:, 0], rows[:, 0] - low)
        rows[which, self.place + np.arange(len(which))] = np.nextafter(radius[which], np.inf)
        self.place += len(which)
        return rows


def _count(sample: Sample, largest: int) -> int:
    """n + 1, refused where it is too large or an operator is no ReLU."""
    inputs = sample.boxes[sample.graph.input]
    count = int((inputs.upper > inputs.lower).sum())
    for node in sample.graph.nodes[1:]:
        if find_rule(node).affine:
            continue
        if node.op is not aten.relu.default:
            raise UnsupportedOpError(
                f"the SDP relaxation knows ReLU networks only, not {node.op}",
                where=f"node {node.name}",
                cure="use 'lp', 'milp' or 'alpha-crown'",
            )
        box = sample.boxes[node.inputs[0]]
        count += int(((box.lower < 0) & (box.upper > 0)).sum())
    if count > largest:
        raise UnsupportedOpError(
            f"the SDP would have {count} variables (inputs and open ReLUs), the limit is {largest}",
            where="sdp",
            cure="use 'lp' or 'milp', a smaller input set, or SDP(largest=...)",
        )
    return count + 1
