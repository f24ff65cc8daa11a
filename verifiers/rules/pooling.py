"""Average and maximum pooling in one and two dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, Rule, contract, register

aten = torch.ops.aten


def _sizes(node: Node, position: int, name: str, default: Any, rank: int) -> list[int]:
    value = node.argument(position, name, default)
    values = [value] if isinstance(value, int) else list(value)
    return values * rank if len(values) == 1 else values


def _check_axes(node: Node, rank: int) -> None:
    if len(node.shape) != rank + 1:  # torch would take the batch axis for the channels
        raise UnsupportedOpError(
            f"{node.op} needs (batch, channels, *space), one sample has shape {node.inputs[0].shape}",
            where=f"node {node.name}",
            cure="give the tensor a channel axis: x.unsqueeze(1)",
        )


class AveragePool(Affine):
    """avg_pool1d and avg_pool2d: a fixed linear map; the backward step is the operator's own adjoint."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def check(self, node: Node) -> None:
        _check_axes(node, self.rank)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        kernel = _sizes(node, 1, "kernel_size", 1, self.rank)
        stride = _sizes(node, 2, "stride", [], self.rank) or kernel
        padding = _sizes(node, 3, "padding", 0, self.rank)
        rest = (node.argument(4, "ceil_mode", False), node.argument(5, "count_include_pad", True))
        divisor = node.argument(6, "divisor_override") if self.rank == 2 else None
        rows = a.flatten(0, 1)
        if self.rank == 1:  # the one-dimensional operator has no adjoint of its own: lift it to height 1
            rows, kernel, stride, padding = rows.unsqueeze(-2), [1, *kernel], [1, *stride], [0, *padding]
        channels, *space = node.inputs[0].shape
        space = [1, *space] if self.rank == 1 else space
        like = a.new_zeros(()).expand(rows.shape[0], channels, *space)
        pulled: Tensor = aten.avg_pool2d_backward(
            rows.contiguous(), like, kernel, stride, padding, *rest, divisor
        )
        return Pulled((pulled.reshape(*a.shape[:2], *node.inputs[0].shape),))


class AdaptiveAveragePool(Affine):
    """adaptive_avg_pool1d and adaptive_avg_pool2d."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def check(self, node: Node) -> None:
        _check_axes(node, self.rank)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        source = node.inputs[0].shape
        rows = a.flatten(0, 1)
        if self.rank == 1:
            rows = rows.unsqueeze(-2)
        space = [1, *source[1:]] if self.rank == 1 else list(source[1:])
        like = a.new_zeros(()).expand(rows.shape[0], source[0], *space)
        pulled: Tensor = aten._adaptive_avg_pool2d_backward(rows.contiguous(), like)
        return Pulled((pulled.reshape(*a.shape[:2], *source),))


class MaxPool(Rule):
    """max_pool1d and max_pool2d.

    Lower: the input with the largest lower bound. Upper: that input too where it beats all others of
    its window for sure, else the constant largest upper bound.
    """

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def _window(self, node: Node) -> dict[str, Any]:
        kernel = _sizes(node, 1, "kernel_size", 1, self.rank)
        stride = _sizes(node, 2, "stride", [], self.rank) or kernel
        window = {
            "kernel_size": kernel,
            "stride": stride,
            "padding": _sizes(node, 3, "padding", 0, self.rank),
            "dilation": _sizes(node, 4, "dilation", 1, self.rank),
        }
        if self.rank == 1:
            window = {"kernel_size": [1, *kernel], "stride": [1, *stride],
                      "padding": [0, *window["padding"]], "dilation": [1, *window["dilation"]]}  # fmt: skip
        return {**window, "ceil_mode": bool(node.argument(5, "ceil_mode", False))}

    def check(self, node: Node) -> None:
        _check_axes(node, self.rank)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return Interval(node.run(inputs[0].lower), node.run(inputs[0].upper))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        """The inputs of undecided windows that reach above the window's best lower bound."""
        _, surely, _ = self.choose(node, box)
        lower, upper = self._lift(box.lower), self._lift(box.upper)
        window = self._window(node)
        best = functional.max_pool2d(lower, **window).flatten(2).unsqueeze(2)
        columns = _windows(upper, window, surely.shape[-2:])
        wanted = (columns > best) & ~surely.flatten(2).unsqueeze(2)
        numbers = torch.arange(lower[0].numel(), device=lower.device, dtype=torch.float64).reshape(
            1, *lower.shape[1:]
        )
        places = _windows(numbers, window, surely.shape[-2:]).expand(lower.shape[0], -1, -1, -1)
        mask = torch.zeros(lower.shape[0], lower[0].numel() + 1, dtype=torch.bool, device=lower.device)
        target = (
            torch.where(wanted, places, float(lower[0].numel())).long().flatten(1)
        )  # the spare column takes the rest
        mask = mask.scatter(1, target, torch.ones_like(target, dtype=torch.bool))[:, :-1]
        return mask.reshape(box.lower.shape) & (box.lower < box.upper)

    def choose(self, node: Node, box: Interval) -> tuple[Tensor, Tensor, Tensor]:
        """Per window: flat index of the chosen input, whether it surely wins, the largest upper bound."""
        lower, upper = (self._lift(t) for t in (box.lower, box.upper))
        window = self._window(node)
        best, index = functional.max_pool2d(lower, return_indices=True, **window)
        ceiling = functional.max_pool2d(upper, **window)
        # the chosen input surely wins iff no other input of the window reaches above its lower bound:
        # count, per window, the inputs whose upper bound exceeds `best`
        columns = _windows(upper, window, ceiling.shape[-2:])  # (B, C, k, oh*ow)
        rivals = (columns > best.flatten(2).unsqueeze(2)).sum(2).reshape(best.shape)
        own = upper.flatten(2).gather(2, index.flatten(2)).reshape(best.shape)
        surely = rivals <= (own > best).long()
        surely &= torch.isfinite(best) & torch.isfinite(ceiling)
        return index, surely, ceiling

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        index, surely, ceiling = self.choose(node, boxes[node.inputs[0]])
        negative = a.clamp(max=0).reshape(*a.shape[:2], *ceiling.shape[1:])
        full = a.reshape(*a.shape[:2], *ceiling.shape[1:])
        through = torch.where(surely.unsqueeze(1), full, full - negative)
        constant = torch.where(surely, torch.zeros_like(ceiling), ceiling)
        batch, rows = a.shape[:2]
        batch = max(batch, index.shape[0])
        channels, *space = self._lift(boxes[node.inputs[0]].lower).shape[1:]
        zeros = a.new_zeros(batch, rows, channels, space[0] * space[1])
        place = index.flatten(2).unsqueeze(1).expand(batch, rows, -1, -1)
        pulled = zeros.scatter_add(3, place, through.flatten(3).expand(batch, rows, -1, -1))
        return Pulled((pulled.reshape(batch, rows, *node.inputs[0].shape),), contract(negative, constant))

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        """The chosen input's tangent where it surely wins, else the hull of the window's tangents."""
        index, surely, _ = self.choose(node, boxes[node.inputs[0]])
        many = tangents[0].lower.shape[:2]
        batch = torch.broadcast_shapes(many, (index.shape[0], 1))
        ends = []
        for sign, end in ((-1, tangents[0].lower), (1, tangents[0].upper)):
            t = self._lift(sign * end.flatten(0, 1))
            hull = functional.max_pool2d(t, **self._window(node)).unflatten(0, many)
            place = index.flatten(2).unsqueeze(1).expand(*batch, -1, -1)
            own = t.unflatten(0, many).flatten(3).expand(*batch, -1, -1).gather(3, place)
            chosen = torch.where(surely.unsqueeze(1), own.unflatten(3, surely.shape[-2:]), hull)
            ends.append(sign * chosen.reshape(*batch, *node.shape))
        return Interval(*ends)

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        """The row to the chosen input where it surely wins, else between none and all to every candidate."""
        box = boxes[node.inputs[0]]
        index, surely, _ = self.choose(node, box)
        window, out = self._window(node), surely.shape[-2:]
        lower, upper = self._lift(box.lower), self._lift(box.upper)
        size = lower[0].numel()
        # float64 holds every place exactly; padding gets -inf and goes to a spare column
        numbers = torch.arange(size, device=lower.device, dtype=torch.float64).reshape(1, *lower.shape[1:])
        places = _windows(numbers, window, out)
        places = torch.where(places.isfinite(), places, float(size)).long()
        best = functional.max_pool2d(lower, **window).flatten(2).unsqueeze(2)
        maybe = ~(_windows(upper, window, out) < best)  # NaN bounds exclude nothing
        offsets = torch.arange(lower.shape[1], device=lower.device).reshape(1, -1, 1) * lower[0, 0].numel()
        winner = (index.flatten(2) + offsets).unsqueeze(2) == places
        sure = surely.flatten(2).unsqueeze(2)
        maybe, always = torch.where(sure, winner, maybe).unsqueeze(1), (sure & winner).unsqueeze(1)
        ends = []
        for sign, end in ((-1, rows.lower), (1, rows.upper)):
            a = (sign * end).reshape(*end.shape[:2], lower.shape[1], 1, -1)
            part = torch.where(always, a, torch.where(maybe, a.clamp(min=0), torch.zeros_like(a)))
            target = places.flatten().expand(*part.shape[:2], -1)
            pulled = part.new_zeros(*part.shape[:2], size + 1).scatter_add(2, target, part.flatten(2))
            ends.append(sign * pulled[..., :-1].reshape(*part.shape[:2], *node.inputs[0].shape))
        return (Interval(*ends),)

    def _lift(self, t: Tensor) -> Tensor:
        return t.unsqueeze(-2) if self.rank == 1 else t


def _windows(x: Tensor, window: dict[str, Any], out: torch.Size) -> Tensor:
    """The inputs of every window, padded with -inf: (B, C, kernel, oh*ow)."""
    kernel, stride, padding, dilation = (window[k] for k in ("kernel_size", "stride", "padding", "dilation"))
    need = [(out[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
    after = [need[i] - x.shape[-2 + i] - padding[i] for i in range(2)]
    padded = functional.pad(x, [padding[1], after[1], padding[0], after[0]], value=-torch.inf)
    rows = (
        torch.arange(out[0], device=x.device)[:, None] * stride[0]
        + torch.arange(kernel[0], device=x.device) * dilation[0]
    )
    columns = (
        torch.arange(out[1], device=x.device)[:, None] * stride[1]
        + torch.arange(kernel[1], device=x.device) * dilation[1]
    )
    picked = padded[..., rows[:, :, None, None], columns[None, None]]  # (B, C, oh, kh, ow, kw)
    return picked.permute(0, 1, 3, 5, 2, 4).reshape(*x.shape[:2], kernel[0] * kernel[1], -1)


register(aten.avg_pool1d.default)(AveragePool(1))
register(aten.avg_pool2d.default)(AveragePool(2))
register(aten.adaptive_avg_pool1d.default)(AdaptiveAveragePool(1))
register(aten.adaptive_avg_pool2d.default)(AdaptiveAveragePool(2))
register(aten.max_pool1d.default)(MaxPool(1))
register(aten.max_pool2d.default)(MaxPool(2))
