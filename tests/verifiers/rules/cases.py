"""One or more small networks for every operator that has a bound rule: `CASES[name]`.

A new operator needs a line here, or in one of the files `*_cases.py` beside this one: `test_every_rule.py`
fails without one, and applies all its properties.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from robustbench_local.verifiers.graph import concatenate
from robustbench_local.verifiers.rules.centred import centred
from robustbench_local.verifiers.rules.inverse_deviation import inverse_deviation
from robustbench_local.verifiers.rules.normalised import normalised
from robustbench_local.verifiers.rules.stack import stacked
from torch import Tensor, nn
from torch.nn import functional as F

aten = torch.ops.aten


@dataclass(frozen=True)
class Case:
    """A function of x (B, *shape) and of `parts` (modules and parameter shapes) that uses `op`."""

    op: Callable[..., Any]
    shape: tuple[int, ...]
    function: Callable[..., Tensor]
    parts: tuple[Callable[[], nn.Module | Tensor], ...] = ()


CASES: dict[str, Case] = {}


def case(
    name: str,
    op: Callable[..., Any],
    shape: tuple[int, ...],
    function: Callable[..., Tensor],
    *parts: Callable[[], nn.Module | Tensor] | tuple[int, ...],
) -> None:
    built = tuple(partial(torch.zeros, p) if isinstance(p, tuple) else p for p in parts)
    CASES[name] = Case(op, shape, function, built)


def layer(
    name: str,
    op: Callable[..., Any],
    shape: tuple[int, ...],
    kind: Callable[..., nn.Module],
    *args: Any,
    **kw: Any,
) -> None:
    """A torch layer by itself."""
    case(name, op, shape, lambda x, m: m(x), partial(kind, *args, **kw))


ADD, SUB, MUL, DIV = aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor
case("add number", ADD, (3,), lambda x: x + 1.5)
case("add twice", ADD, (3,), lambda x: x + x)
case("add alpha", ADD, (3,), lambda x: torch.add(x, x.flip(1), alpha=-2))
case("add parameter", ADD, (2, 3), lambda x, b: x + b, (3,))
case("add to larger", ADD, (2, 1), lambda x, b: x + b, (1, 2, 3))
case("add from left", ADD, (3,), lambda x, b: b + x, (1, 3))
case("add broadcast", ADD, (2, 3), lambda x: x + x[:, :1] + x[:, :, 1:2])
case("add of lower rank", ADD, (2, 3), lambda x: x + x[:, 0].unsqueeze(1))
case("add to one number", ADD, (3,), lambda x: x.sum(1) + 0.5)
case("add in place", ADD, (3,), lambda x: x.mul(2).add_(1.0).add_(x))
case("add integers", ADD, (3,), lambda x: x + torch.tensor([1, 2, 3]))
case("add zeros of the batch", ADD, (3,), lambda x: x + torch.full((x.shape[0], 3), 2.0))
case("add.Scalar", aten.add.Scalar, (3,), lambda x: aten.add.Scalar(x, 2.0, 3.0))
case("sub", SUB, (2, 3), lambda x, b: x - b, (2, 1))
case("sub itself", SUB, (3,), lambda x: x - 2 * x.flip(1))
case("sub from constant", SUB, (3,), lambda x, b: b - x, (3,))
case("sub alpha", SUB, (3,), lambda x, b: torch.sub(x, b, alpha=0.5), (3,))
case("sub.Scalar", aten.sub.Scalar, (3,), lambda x: aten.sub.Scalar(x, 2.0))
case("rsub number", aten.rsub.Scalar, (3,), lambda x: 1 - x)
case("rsub alpha", aten.rsub.Scalar, (3,), lambda x: torch.rsub(x, 2.0, alpha=3.0))
case("rsub.Tensor", aten.rsub.Tensor, (3,), lambda x, b: torch.rsub(x, b, alpha=-2), (3,))
case("mul number", MUL, (3,), lambda x: -2.5 * x)
case("mul parameter", MUL, (2, 3), lambda x, b: x * b, (2, 1))
case("mul to larger", MUL, (2, 1), lambda x, b: b * x, (2, 3))
case("mul by zero", MUL, (3,), lambda x: x * 0 + 1)
case("mul in place", MUL, (3,), lambda x: (x + 1).mul_(-2.0))
case("mul expression", MUL, (3,), lambda x, b: x * b.exp(), (3,))
case("mul.Scalar", aten.mul.Scalar, (3,), lambda x: aten.mul.Scalar(x, -2.0))
case("div number", DIV, (3,), lambda x: x / -4.0)
case("div parameter", DIV, (2, 3), lambda x, b: x / (b.abs() + 1), (2, 1))
case("div.Scalar", aten.div.Scalar, (3,), lambda x: aten.div.Scalar(x, 4.0))
case("neg", aten.neg.default, (2, 3), lambda x: -x)

LINEAR = aten.linear.default
layer("linear", LINEAR, (4,), nn.Linear, 4, 3)
layer("linear without bias", LINEAR, (4,), nn.Linear, 4, 3, bias=False)
layer("linear on the last axis", LINEAR, (2, 3, 4), nn.Linear, 4, 2)
case("linear of weights", LINEAR, (3,), lambda x, v: F.linear(x, v / v.norm()), (2, 3))
case("linear from one number", LINEAR, (3,), lambda x, m: m(x.sum(1).unsqueeze(1)), partial(nn.Linear, 1, 4))
case("addmm", aten.addmm.default, (4,), lambda x, b, w: torch.addmm(b, x, w), (3,), (4, 3))
case("matmul", aten.matmul.default, (2, 4), lambda x, w: x @ w, (4, 3))
case("mm", aten.mm.default, (4,), lambda x, w: torch.mm(x, w), (4, 3))

C1, C1P = aten.conv1d.default, aten.conv1d.padding
layer("conv1d", C1, (2, 7), nn.Conv1d, 2, 3, 3)
layer("conv1d stride", C1, (2, 8), nn.Conv1d, 2, 4, 3, stride=2, padding=2, dilation=2, groups=2)
layer("conv1d leaves a rest", C1, (1, 9), nn.Conv1d, 1, 2, 2, stride=3, bias=False)
layer("conv1d same", C1P, (2, 6), nn.Conv1d, 2, 3, 4, padding="same")
layer("conv1d same odd", C1P, (2, 6), nn.Conv1d, 2, 3, 3, padding="same", dilation=2)
layer("conv1d valid", C1P, (2, 6), nn.Conv1d, 2, 3, 3, padding="valid", stride=2)
C2, C2P = aten.conv2d.default, aten.conv2d.padding
layer("conv2d", C2, (2, 5, 4), nn.Conv2d, 2, 3, 3, padding=1)
layer("conv2d without bias", C2, (2, 5, 4), nn.Conv2d, 2, 3, 3, padding=1, bias=False)
layer("conv2d uneven", C2, (3, 6, 5), nn.Conv2d, 3, 2, (2, 3), stride=(2, 1), padding=(0, 2))
layer("conv2d uneven stride", C2, (1, 7, 8), nn.Conv2d, 1, 2, (1, 2), stride=(3, 2), padding=(0, 1))
layer("conv2d stride over kernel", C2, (2, 7, 7), nn.Conv2d, 2, 3, 2, stride=3)
layer("conv2d dilated", C2, (2, 6, 6), nn.Conv2d, 2, 2, 3, dilation=2, padding=2)
layer("conv2d dilated uneven", C2, (1, 6, 7), nn.Conv2d, 1, 2, (2, 3), dilation=(3, 1), padding=(1, 0))
layer("conv2d groups", C2, (4, 5, 5), nn.Conv2d, 4, 6, 3, groups=2, padding=1, stride=2)
layer("conv2d depthwise", C2, (3, 4, 4), nn.Conv2d, 3, 3, 3, groups=3, padding=1)
layer("conv2d many channels", C2, (6, 4, 4), nn.Conv2d, 6, 5, 3, stride=2, padding=1)
layer("conv2d point", C2, (3, 4, 3), nn.Conv2d, 3, 2, 1)
layer("conv2d reflecting", C2, (1, 4, 4), nn.Conv2d, 1, 2, 3, padding=1, padding_mode="reflect")
layer("conv2d circular", C2, (1, 4, 4), nn.Conv2d, 1, 2, 3, padding=1, padding_mode="circular")
layer("conv2d same", C2P, (2, 5, 4), nn.Conv2d, 2, 3, (2, 4), padding="same")
layer("conv2d same odd", C2P, (2, 5, 4), nn.Conv2d, 2, 3, 3, padding="same")
layer("conv2d same dilated", C2P, (1, 6, 6), nn.Conv2d, 1, 2, 2, padding="same", dilation=3)
layer("conv3d", aten.conv3d.default, (1, 3, 4, 3), nn.Conv3d, 1, 2, 2, stride=(1, 2, 1), padding=1)
layer("conv3d same", aten.conv3d.padding, (1, 3, 3, 4), nn.Conv3d, 1, 2, (2, 1, 3), padding="same")
T1, T2 = aten.conv_transpose1d.default, aten.conv_transpose2d.input
layer("transposed 1d", T1, (2, 4), nn.ConvTranspose1d, 2, 3, 3, stride=2, padding=1, output_padding=1)
layer("transposed 1d groups", T1, (4, 4), nn.ConvTranspose1d, 4, 4, 2, groups=2, dilation=2, bias=False)
layer("transposed 2d", T2, (2, 3, 4), nn.ConvTranspose2d, 2, 3, 3, padding=1)
TRANSPOSED = partial(nn.ConvTranspose2d, 2, 4)
layer("transposed 2d uneven", T2, (2, 3, 3), TRANSPOSED, (2, 3), stride=(3, 2), output_padding=(2, 1))
layer("transposed 2d dilated", T2, (2, 3, 3), TRANSPOSED, 2, dilation=3, groups=2, output_padding=2)
layer("transposed 3d", aten.conv_transpose3d.input, (1, 2, 3, 2), nn.ConvTranspose3d, 1, 2, 2, stride=2)

BN = aten.batch_norm.default
layer("batch norm", BN, (3,), nn.BatchNorm1d, 3)
layer("batch norm 1d", BN, (3, 4), nn.BatchNorm1d, 3, eps=0.1)
layer("batch norm 2d", BN, (2, 3, 4), nn.BatchNorm2d, 2)
layer("batch norm not affine", BN, (2, 3, 2), nn.BatchNorm2d, 2, affine=False)

AP1, AP2 = aten.avg_pool1d.default, aten.avg_pool2d.default
layer("average 1d", AP1, (2, 7), nn.AvgPool1d, 3, 2, padding=1)
layer("average 1d ceil", AP1, (2, 6), nn.AvgPool1d, 3, 2, padding=1, ceil_mode=True, count_include_pad=False)
layer("average 2d", AP2, (2, 5, 6), nn.AvgPool2d, 2)
layer("average 2d uneven", AP2, (2, 5, 6), nn.AvgPool2d, (2, 3), stride=(1, 2), padding=(1, 0))
layer("average 2d ceil", AP2, (1, 5, 6), nn.AvgPool2d, 3, stride=2, padding=1, ceil_mode=True)
layer("average 2d inside", AP2, (1, 5, 5), nn.AvgPool2d, 3, stride=2, padding=1, count_include_pad=False)
layer("average 2d divisor", AP2, (1, 4, 4), nn.AvgPool2d, 2, divisor_override=3)
layer("adaptive 1d", aten.adaptive_avg_pool1d.default, (2, 7), nn.AdaptiveAvgPool1d, 3)
layer("adaptive 2d", aten.adaptive_avg_pool2d.default, (2, 5, 4), nn.AdaptiveAvgPool2d, (2, 3))
layer("global average", aten.adaptive_avg_pool2d.default, (2, 3, 4), nn.AdaptiveAvgPool2d, 1)
MP1, MP2 = aten.max_pool1d.default, aten.max_pool2d.default
layer("max 1d", MP1, (2, 7), nn.MaxPool1d, 3, 2, padding=1)
layer("max 1d dilated", MP1, (2, 8), nn.MaxPool1d, 2, 1, dilation=3, ceil_mode=True)
layer("max 2d", MP2, (2, 4, 6), nn.MaxPool2d, 2)
layer("max 2d overlapping", MP2, (1, 5, 5), nn.MaxPool2d, 3, stride=1, padding=1)
layer("max 2d uneven", MP2, (1, 5, 6), nn.MaxPool2d, (2, 3), stride=(2, 1), padding=(1, 1))
layer("max 2d dilated", MP2, (1, 6, 7), nn.MaxPool2d, 2, stride=2, dilation=(2, 3))
layer("max 2d ceil", MP2, (2, 5, 6), nn.MaxPool2d, 2, stride=3, ceil_mode=True)
layer("max 2d point", MP2, (2, 3, 3), nn.MaxPool2d, 1)
layer("max 2d whole", MP2, (2, 3, 2), nn.MaxPool2d, (3, 2))

RESHAPE = aten.reshape.default
case("flatten", RESHAPE, (2, 3, 2), lambda x: x.flatten(1))
case("flatten middle", RESHAPE, (2, 3, 2, 2), lambda x: x.flatten(2, 3))
case("reshape", RESHAPE, (2, 6), lambda x: x.reshape(-1, 4, 3))
case("view", RESHAPE, (2, 6), lambda x: x.view(x.shape[0], 3, -1))
case("unflatten", RESHAPE, (6,), lambda x: x.unflatten(1, (2, 3)))
case("squeeze", RESHAPE, (1, 4, 1), lambda x: x.squeeze())
case("squeeze axis", RESHAPE, (1, 4, 1), lambda x: x.squeeze(-1))
case("squeeze axes", RESHAPE, (1, 4, 1), lambda x: x.squeeze((1, 3)))
case("unsqueeze", RESHAPE, (4,), lambda x: x.unsqueeze(-1))
case("index with None", RESHAPE, (4,), lambda x: x[:, None])
PERMUTE, TRANSPOSE = aten.permute.default, aten.transpose.int
case("permute", PERMUTE, (2, 3, 4), lambda x: x.permute(0, 3, 1, 2))
case("permute negative", PERMUTE, (2, 3, 4), lambda x: x.permute(0, -1, -3, -2))
case("permute and flatten", PERMUTE, (2, 3, 2), lambda x: x.permute(0, 2, 3, 1).flatten(1))
case("transpose", TRANSPOSE, (2, 3, 4), lambda x: x.transpose(-1, 1))
case("transpose contiguous", TRANSPOSE, (2, 3), lambda x: x.transpose(1, 2).contiguous().view(-1, 6))
case("expand", aten.expand.default, (1, 3), lambda x: x.expand(-1, 4, 3))
case("expand more axes", aten.expand.default, (2, 1), lambda x: x[:, None].expand(x.shape[0], 3, 2, 4))

SLICE, SELECT = aten.slice.Tensor, aten.select.int
case("slice", SLICE, (5,), lambda x: x[:, 1:3])
case("slice of the batch", SLICE, (5,), lambda x: x[:][:, -2:])
case("slice by steps", SLICE, (2, 5), lambda x: x[..., 1::2])
case("slice whole", SLICE, (4,), lambda x: x[:, :][:, 1:])
case("chunk", SLICE, (5,), lambda x: torch.cat([c * (i + 1) for i, c in enumerate(x.chunk(2, 1))], 1))
case("split", SLICE, (2, 5), lambda x: x.split(2, -1)[2] - x.split([1, 4], dim=2)[0])
case("tensor_split", SLICE, (2, 5), lambda x: x.tensor_split(3, -1)[1])
case("unbind", SELECT, (3, 2), lambda x: x.unbind(1)[2] - 2 * x.unbind(1)[0])
case("select", SELECT, (3, 2), lambda x: x[:, -1])
case("select one number", SELECT, (3,), lambda x: x[:, 1])
case("select last axis", SELECT, (3, 2), lambda x: x.select(-1, 0))
case("narrow", aten.narrow.default, (2, 5), lambda x: x.narrow(2, 1, 3))
case("flip", aten.flip.default, (2, 3), lambda x: x.flip(-1, 1))
case(
    "index select",
    aten.index_select.default,
    (3, 2),
    lambda x: x.index_select(1, torch.tensor([2, 0, 2, 1], device=x.device)),
)
case("roll", aten.roll.default, (2, 3), lambda x: x.roll(1, -1))
case("roll axes", aten.roll.default, (2, 3), lambda x: x.roll((1, 2), (1, 2)))
CAT = aten.cat.default
case("cat", CAT, (2, 3), lambda x: torch.cat([x, 2 * x, x], -1))
case("cat with parameter", concatenate, (3,), lambda x, b: torch.cat([b.expand(x.shape[0], 2), x], 1), (2,))
case("cat with zeros", concatenate, (2, 3), lambda x: torch.cat([x, torch.ones(x.shape[0], 1, 3)], dim=1))
case("stack by cat", CAT, (3,), lambda x: torch.cat([x[:, None], -x[:, None]], 1))
STACK = aten.stack.default
case("stack", STACK, (2, 3), lambda x: torch.stack([x, 2 * x, x.flip(1)], 1))
case("stack last", STACK, (2, 3), lambda x: torch.stack([x, -x], -1))
case("stack with parameter", stacked, (3,), lambda x, b: torch.stack([b.expand(x.shape[0], 3), x], 1), (3,))
PAD = aten.pad.default
case("pad", PAD, (2, 3), lambda x: F.pad(x, (1, 2)))
case("pad with value", PAD, (2, 3, 2), lambda x: F.pad(x, (1, 0, 2, 1), value=-0.5))
case("pad and crop", PAD, (2, 4), lambda x: F.pad(x, (-1, 2), value=0.5))
case("pad reflecting", PAD, (2, 5), lambda x: F.pad(x, (2, 1), mode="reflect"))
case("pad replicating", PAD, (2, 3, 3), lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate"))
case("pad circular", PAD, (2, 3, 3), lambda x: F.pad(x, (1, 2, 0, 1), mode="circular"))
case("constant_pad_nd", aten.constant_pad_nd.default, (3,), lambda x: aten.constant_pad_nd(x, [1, 1], 0.5))

SUM, MEAN = aten.sum.dim_IntList, aten.mean.dim
case("sum", SUM, (2, 3), lambda x: x.sum(1))
case("sum axes", SUM, (2, 3, 2), lambda x: x.sum((-1, 1)))
case("sum to one number", SUM, (2, 3), lambda x: x.sum((1, 2)))
case("sum kept", SUM, (2, 3), lambda x: x.sum(-1, keepdim=True))
case("mean", MEAN, (2, 3), lambda x: x.mean(2))
case("lerp", aten.lerp.Tensor, (3,), lambda x: torch.lerp(x, 2 - x.flip(1), x.roll(1, 1)))
case("gated", aten.lerp.Tensor, (2, 3), lambda x: torch.lerp(x[:, :1], x, x.sigmoid().mean(1, keepdim=True)))
case("variance", centred, (2, 4), lambda x: x.var(2))
case("variance over two axes", centred, (2, 3), lambda x: x.var((1, 2), unbiased=False, keepdim=True) + x)
case("inverse deviation", inverse_deviation, (2, 4), lambda x: F.layer_norm(x, (4,), eps=0.5))
layer("layer norm", normalised, (2, 4), nn.LayerNorm, 4)
layer("layer norm of two", normalised, (2, 2), nn.LayerNorm, 2, elementwise_affine=False, eps=1e-3)
layer("layer norm over two axes", normalised, (2, 3), nn.LayerNorm, (2, 3))
layer("root mean square norm", normalised, (2, 4), nn.RMSNorm, 4, eps=1e-5)
layer("group norm", normalised, (4, 3), nn.GroupNorm, 2, 4)
layer("instance norm", normalised, (2, 2, 3), nn.InstanceNorm2d, 2, affine=True)
case("mean centred", MEAN, (2, 3), lambda x: x - x.mean((1, 2), keepdim=True))
case("mean over images", MEAN, (2, 3, 2), lambda x: x.mean((-2, -1)))

RELU, LEAKY = aten.relu.default, aten.leaky_relu.default
case("relu", RELU, (4,), lambda x: F.relu(x - x.flip(1)))
case("relu in place", RELU, (4,), lambda x: torch.relu_(x + x.roll(1, 1)) * 2)
case("relu read before and after", RELU, (4,), lambda x: (h := 2 * x) + 1 - h.relu())
case("relu on one number", RELU, (4,), lambda x: x.sum(1).relu() - 1)
case("relu on images", RELU, (2, 3, 3), lambda x, m: m(x).relu(), partial(nn.Conv2d, 2, 3, 2))
for _slope in (0.2, 0.0, 1.0, 2.0, -0.5, -2.0):
    case(f"leaky relu {_slope}", LEAKY, (4,), partial(F.leaky_relu, negative_slope=_slope))
case("leaky relu in place", LEAKY, (4,), lambda x: F.leaky_relu(x - x.flip(1), 0.1, inplace=True))
case("sigmoid", aten.sigmoid.default, (4,), lambda x: torch.sigmoid(3 * x))
case("sigmoid on one number", aten.sigmoid.default, (4,), lambda x: torch.sigmoid(x.sum(1)))
case("tanh", aten.tanh.default, (4,), lambda x: torch.tanh(x - 2 * x.flip(1)))
case("tanh on images", aten.tanh.default, (2, 3, 3), lambda x, m: m(x).tanh(), partial(nn.Conv2d, 2, 3, 2))

for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if _module.name.endswith("_cases"):
        importlib.import_module(f"{__package__}.{_module.name}")
