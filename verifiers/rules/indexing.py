"""Operators that take coordinates by constant indices, or put them there.

Taking is a table of source coordinates. Putting (scatter, index_add, ...) is affine in the tensor that is
overwritten and in the one that is written, with weights zero and one.
"""

from __future__ import annotations

from typing import Any

import torch

from robustbench_local.errors import UnsupportedOpError

from ..batched import Batched
from ..graph import Node, Slot
from ..rule import register
from .monotone import Monotone
from .shape import Gather, sample_axis

__all__ = ["GATHER", "PUTS", "Index", "Put", "Take"]

aten = torch.ops.aten

#: gather by a constant index.
GATHER = Batched(aten.gather.default, (0, 2))

#: Operators that put a tensor, or a number, at constant places along an axis, by torch's own name.
PUTS = {
    op: Batched(op, positions)
    for op, positions in (
        (aten.scatter.src, (0, 2, 3)),
        (aten.scatter.value, (0, 2)),
        (aten.scatter_add.default, (0, 2, 3)),
        (aten.index_add.default, (0, 3)),
        (aten.index_copy.default, (0, 3)),
        (aten.index_fill.int_Scalar, (0,)),
        (aten.slice_scatter.default, (0, 1)),
        (aten.select_scatter.default, (0, 1)),
        (aten.diagonal_scatter.default, (0, 1)),
    )
}


class Index(Gather):
    """x[:, ...] with constant indices, not along the batch axis."""

    def check(self, node: Node) -> None:
        indices: Any = node.args[1]
        if indices[0] is not None:
            sample_axis(node, 0, len(node.shape) + 1)
        if any(isinstance(i, Slot) for i in indices):
            raise _perturbed(node)


class Take(Gather):
    """Coordinates by a constant index along one axis."""

    def check(self, node: Node) -> None:
        super().check(node)
        if not isinstance(node.args[0], Slot) or len(node.inputs) != 1:
            raise _perturbed(node)


class Put(Monotone):
    """A tensor written into, or added to, another at constant places."""

    def check(self, node: Node) -> None:
        op: Any = node.op.op if isinstance(node.op, Batched) else node.op
        names = [a.name for a in op._schema.arguments]
        places = [i for i, name in enumerate(names) if name in ("index", "indices")]
        for i in places:
            given = node.argument(i, names[i])
            held = given if isinstance(given, (list, tuple)) else [given]
            if any(isinstance(v, Slot) for v in held):
                raise _perturbed(node)
        for name, default in (("dim", 0), ("dim1", 0), ("dim2", 1)):
            if name in names:
                sample_axis(node, int(node.argument(names.index(name), name, default)), len(node.shape) + 1)
        if "alpha" in names and float(node.argument(names.index("alpha"), "alpha", 1)) < 0:
            raise UnsupportedOpError(
                f"{node.op} with a negative factor", where=f"node {node.name}", cure="negate what is added"
            )


def _perturbed(node: Node) -> UnsupportedOpError:
    return UnsupportedOpError(
        f"{node.op} with an index that depends on the input has no rule",
        where=f"node {node.name}",
        cure="use constant indices; for the largest entries use amax or topk",
    )


register(aten.index.Tensor)(Index(axis_argument=None))
register(GATHER)(Take(axis_argument=(1, "dim", 0)))
register(*PUTS.values())(Put())
register(aten.repeat.default, aten.tile.default)(Gather(axis_argument=None))
register(aten.repeat_interleave.self_int)(Gather(axis_argument=(2, "dim", 0)))
register(aten.diagonal.default)(Gather(axis_argument=(2, "dim1", 0)))
register(aten.unfold.default)(Gather(axis_argument=(1, "dimension", 0)))
register(aten.rot90.default)(Gather(axis_argument=(2, "dims", [0, 1])))
register(
    aten.fliplr.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.channel_shuffle.default,
    aten.narrow_copy.default,
)(Gather(axis_argument=None))
