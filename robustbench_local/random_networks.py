"""Small random networks described by plain data: the raw material of `robustbench_local.strategies`.

A network is an input shape, a tuple of layer recipes and a weight seed. Weights come from a generator
of their own, so that building a network reads and changes no global random state, and the same
description gives the same weights everywhere. `repr` of a network is its description.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

__all__ = ["Layer", "RandomNetwork", "build_layer"]


@dataclass(frozen=True)
class Layer:
    """One layer's recipe: its kind, settings, named options, and inner branches where it has any."""

    kind: str
    settings: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    branches: tuple[tuple[Layer, ...], ...] = ()

    def __repr__(self) -> str:
        inner = [repr(s) for s in self.settings]
        inner += [f"[{', '.join(map(repr, branch))}]" for branch in self.branches]
        inner += [f"{name}={value!r}" for name, value in self.options]
        return f"{self.kind}({', '.join(inner)})"


class RandomNetwork(nn.Module):
    """A network in eval mode: `layers` in sequence on samples of `input_shape`.

    Weights are drawn from `seed` on the CPU in float64, with standard deviation 1/sqrt(fan in), then cast
    to `dtype`. `output_shape` is one sample's output shape.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        layers: Sequence[Layer],
        seed: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.input_shape, self.layers, self.seed = input_shape, tuple(layers), seed
        self.body = build_layer(Layer("chain", branches=(self.layers,))).to(torch.float64)
        _fill(self.body, torch.Generator().manual_seed(seed))
        self.body.to(dtype)
        self.requires_grad_(False)
        self.eval()
        with torch.no_grad():
            self.output_shape = tuple(self.body(torch.zeros(1, *input_shape, dtype=dtype)).shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *input_shape) -> (B, *output_shape)."""
        result: Tensor = self.body(x)
        return result

    def __repr__(self) -> str:
        return f"RandomNetwork({self.input_shape}, {list(self.layers)}, seed={self.seed})"


class _Map(nn.Module):
    """A parameter-free layer: `function` of the batch."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class _Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.body(x)
        return result


class _Cat(nn.Module):
    """Two branches of one input, side by side along the first axis of a sample."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], dim=1)


class _Product(nn.Module):
    """x * body(x): a gate."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = x * self.body(x)
        return product


class _Normalize(nn.Module):
    """(x - mean) / scale with one number per channel, as data normalisation does."""

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, *[1] * (axes - 1)))
        self.register_buffer("scale", torch.ones(channels, *[1] * (axes - 1)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale


def _slice(axis: int, start: int, stop: int, step: int) -> nn.Module:
    index = (slice(None),) * axis + (slice(start, stop, step),)
    return _Map(lambda x: x[index])


def _blank(kind: type[nn.Module], *settings: Any, **options: Any) -> nn.Module:
    """A layer whose weights are left as they lie in memory: the usual ones would use up global randomness."""
    layer: nn.Module = skip_init(kind, *settings, **options)
    return layer


def _chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


#: Layer kinds: settings and built branches -> module. Axis numbers count the batch axis as 0.
_KINDS: dict[str, Callable[..., nn.Module]] = {
    "chain": _chain,
    "linear": partial(_blank, nn.Linear),
    "conv1d": partial(_blank, nn.Conv1d),
    "conv2d": partial(_blank, nn.Conv2d),
    "conv_transpose2d": partial(_blank, nn.ConvTranspose2d),
    "batch_norm": lambda n, axes: (nn.BatchNorm1d if axes < 3 else nn.BatchNorm2d)(n),
    "normalize": _Normalize,
    "scale": lambda factor, shift: _Map(lambda x: factor * x - shift),
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
    "hardtanh": nn.Hardtanh,
    "abs": lambda: _Map(torch.abs),
    "sin": lambda: _Map(torch.sin),
    "square": lambda: _Map(torch.square),
    "softmax": lambda: nn.Softmax(dim=-1),
    "log_softmax": lambda: nn.LogSoftmax(dim=-1),
    "layer_norm": nn.LayerNorm,
    "attention": lambda: _Map(lambda x: F.scaled_dot_product_attention(x, x.flip(-1), x)),
    "avg_pool1d": nn.AvgPool1d,
    "avg_pool2d": nn.AvgPool2d,
    "max_pool1d": nn.MaxPool1d,
    "max_pool2d": nn.MaxPool2d,
    "flatten": nn.Flatten,
    "reshape": lambda shape: _Map(lambda x: x.reshape(x.shape[0], *shape)),
    "permute": lambda axes: _Map(lambda x: x.permute(axes)),
    "slice": _slice,
    "pad": lambda sizes, value: _Map(lambda x: F.pad(x, sizes, value=value)),
    "mean": lambda axes, keep: _Map(lambda x: x.mean(dim=axes, keepdim=keep)),
    "sum": lambda axes, keep: _Map(lambda x: x.sum(dim=axes, keepdim=keep)),
    "residual": _Residual,
    "product": _Product,
    "cat": _Cat,
}


def build_layer(layer: Layer) -> nn.Module:
    """The module of a recipe, its weights not yet drawn (undefined memory)."""
    branches = [_chain(*map(build_layer, branch)) for branch in layer.branches]
    return _KINDS[layer.kind](*layer.settings, *branches, **dict(layer.options))


@torch.no_grad()
def _fill(body: nn.Module, generator: torch.Generator) -> None:
    """Draws every parameter and buffer in the order of the modules; scales stay away from zero."""
    for module in body.modules():
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if name in _POSITIVE:
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim > 1 and isinstance(tensor, nn.Parameter):
                tensor.copy_(noise / math.sqrt(_fan_in(module, tensor)))
            else:
                tensor.copy_(noise / 2)


_POSITIVE = frozenset({"running_var", "scale"})


def _fan_in(module: nn.Module, weight: Tensor) -> int:
    if isinstance(module, nn.ConvTranspose2d):
        return max(1, weight.shape[0] // module.groups * weight[0, 0].numel() // math.prod(module.stride))
    return weight[0].numel()
