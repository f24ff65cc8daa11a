"""A graph over an input set as a linear program: one column per value of every node.

Affine nodes are equality rows, nonlinear nodes the planes of `planes`, or, where the caller asks for it, an
exact encoding with integer columns. Every node's box bounds its columns. Boxes are those of CROWN in float64,
moved outward by 1e-12 (1 + |bound|): more than the rounding of their computation in networks whose values do
not cancel to a thousandth of their summands; this shift is no proof, unlike what `safe` does afterwards.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from robustbench_local.specs import Ball, Box, InputSet, Intersection

from ..graph import Graph, Node
from ..interval import Interval
from ..rule import Elementwise, find_rule
from .encodings import ENCODINGS
from .planes import affine_plane, planes
from .program import Array, Block, Builder, Program

__all__ = ["Relaxation", "widened"]

_SHIFT = 1e-12


def widened(box: Interval) -> Interval:
    """The box moved outward by 1e-12 (1 + |bound|), for the rounding of what computed it."""
    return Interval(
        box.lower - _SHIFT * (1 + box.lower.abs()),
        box.upper + _SHIFT * (1 + box.upper.abs()),
    )


class Relaxation:
    """The program of one sample, grown node by node in topological order.

    `inputs` has batch 1; `boxes` (batch 1, float64, widened where they were computed) must hold a node before
    it is added. With `exact`, nodes that have an encoding get it; `exactly` tells whether all nonlinear nodes
    had one.
    """

    def __init__(
        self, graph: Graph, inputs: InputSet, boxes: dict[Node, Interval], *, exact: bool = False
    ) -> None:
        self.graph, self.inputs, self.boxes, self.exact = graph, inputs, boxes, exact
        self.builder = Builder()
        self.exactly, self.cone = True, False
        self.builder.add_node(graph.input, *_ends(boxes[graph.input]))
        self._input_rows()

    def grow(self, until: Node) -> Program:
        """The program of all nodes up to `until`, inclusive."""
        for node in self.graph.nodes[1 : until.index + 1]:
            if node not in self.builder.columns:
                self._add(node)
        return self.builder.build(None if isinstance(self.inputs, Box) else self.inputs, cone=self.cone)

    def _add(self, node: Node) -> None:
        builder, place = self.builder, self.builder.add_node(node, *_ends(self.boxes[node]))
        minus = Block(-sparse.eye_array(node.numel, format="csr"), place.start)
        if find_rule(node).affine:
            plane = affine_plane(node)
            builder.add_rows([*self._blocks(node, plane.coefficients), minus], -plane.offset, -plane.offset)
            return
        encoding = ENCODINGS.get(node.op) if self.exact and node.op is not None else None
        if encoding is not None and all(_bounded(self.boxes[p]) for p in node.inputs):
            encoding.encode(node, self.boxes, builder)
            return
        self.exactly = False
        for plane in planes(node, self.boxes):
            nothing = np.full(node.numel, np.inf)
            # coefficients @ x - y <= -offset for a plane below, >= for one above
            ends = (-nothing, -plane.offset) if plane.below else (-plane.offset, nothing)
            builder.add_rows([*self._blocks(node, plane.coefficients), minus], *ends, size=self._size(node))

    def _size(self, node: Node) -> float | Array:
        """How large the numbers are that a rule computes planes from."""
        reach = [np.maximum(*(np.abs(end) for end in _ends(self.boxes[parent]))) for parent in node.inputs]
        if isinstance(find_rule(node), Elementwise):
            return np.where(np.isfinite(reach[0]), reach[0], 0.0)
        return 1.0 + max(float(np.max(r[np.isfinite(r)], initial=0.0)) for r in reach)

    def _blocks(self, node: Node, matrices: tuple[object, ...]) -> list[Block]:
        return [
            Block(matrix, self.builder.columns[parent].start)
            for matrix, parent in zip(matrices, node.inputs, strict=True)
        ]

    def _input_rows(self) -> None:
        """An l1 ball as rows with one distance column per coordinate; other round sets are left to the
        solver.
        """
        ball = self.inputs.ball if isinstance(self.inputs, Intersection) else self.inputs
        if isinstance(ball, Ball) and ball.p == 1:
            centre, n = ball.center.flatten().numpy(), self.graph.input.numel
            radius = float(ball.radius)
            distance = self.builder.add_columns(np.zeros(n), np.full(n, radius))
            one, nothing = sparse.eye_array(n, format="csr"), np.full(n, np.inf)
            for sign in (1.0, -1.0):  # distance >= +-(x - centre)
                blocks = [Block(sign * one, 0), Block(-one, distance.start)]
                self.builder.add_rows(blocks, -nothing, sign * centre)
            total = Block(sparse.csr_array(np.ones((1, n))), distance.start)
            self.builder.add_rows([total], np.array([-math.inf]), np.array([radius]))
        elif not isinstance(self.inputs, Box):
            self.cone = True


def _bounded(box: Interval) -> bool:
    return bool((box.lower.isfinite() & box.upper.isfinite()).all())


def _ends(box: Interval) -> tuple[Array, Array]:
    return _flat(box.lower), _flat(box.upper)


def _flat(values: Tensor) -> Array:
    numbers: Array = values.detach().to("cpu", torch.float64).flatten().numpy()
    return numbers
