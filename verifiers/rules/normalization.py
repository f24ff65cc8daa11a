"""Batch normalisation in evaluation mode: a scale and a shift per channel."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, PulledWindows, contract, register
from ..windows import WindowRows

aten = torch.ops.aten


class BatchNorm(Affine):
    """y = scale * x + shift per channel, from the running statistics."""

    coordinatewise = True

    def check(self, node: Node) -> None:
        if bool(node.argument(5, "training", False)) or node.argument(3, "running_mean") is None:
            raise UnsupportedOpError(
                "batch norm by batch statistics makes samples depend on each other",
                where=f"node {node.name}",
                cure="use track_running_stats=True and evaluation mode",
            )

    def scale_shift(self, node: Node) -> tuple[Tensor, Tensor]:
        """Scale and shift, each (C, 1, ...) to broadcast over one sample."""
        weight, bias, mean, variance = (node.args[i] for i in range(1, 5))
        scale = torch.rsqrt(variance + node.argument(7, "eps", 1e-5))
        if weight is not None:
            scale = scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        space = (1,) * (len(node.shape) - 1)
        return scale.reshape(-1, *space), shift.reshape(-1, *space)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        scale, shift = self.scale_shift(node)
        mid, radius = inputs[0].mid_radius()
        centre, spread = mid * scale + shift, radius * scale.abs()
        return Interval.around(centre, spread)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        scale, shift = self.scale_shift(node)
        return Pulled((a * scale,), contract(a, shift.expand(node.shape).unsqueeze(0)))

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        return tangents[0].scaled(self.scale_shift(node)[0])

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        return (rows.scaled(self.scale_shift(node)[0]),)

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        scale, shift = self.scale_shift(node)
        rows = rows.cleaned()
        offset = contract(rows.a.flatten(3).sum(3), shift.reshape(1, -1))
        return PulledWindows((rows.with_coefficients(rows.a * scale, clean=True),), offset)


register(aten.batch_norm.default)(BatchNorm())
