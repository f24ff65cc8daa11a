"""Networks with step functions, and the surrogate gradients that pass through them.

Straight-through estimation: Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating gradients through
stochastic neurons for conditional computation", 2013, arXiv 1308.3432; against defences it is backward pass
differentiable approximation: A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of
security", ICML 2018, arXiv 1802.00420. Values are those of the network, bit for bit; only gradients differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["StraightThrough", "as_twin", "exchange_gradient", "pass_through"]

Function = Callable[..., Any]

_DIVISIONS = {"floor_divide", "__floordiv__"}
_STEPS = set("round floor ceil trunc fix sign sgn heaviside detach".split()) | _DIVISIONS
_STEPS.add("fake_quantize_per_tensor_affine")  # the gradient passes as if these returned their argument
_ABOVE = {"gt", "ge", "__gt__", "__ge__", "greater", "greater_equal"}
_BELOW = {"lt", "le", "__lt__", "__le__", "less", "less_equal"}
_CASTS = {"float", "double", "half", "bfloat16", "to", "type", "type_as"}
_INTEGERS = {"int", "long", "short", "char", "byte", *_CASTS}
_SHAPES = set("reshape view flatten permute transpose squeeze unsqueeze __getitem__ clone".split())
_SUMS = set("add __add__ __radd__ sub __sub__ rsub __rsub__ neg __neg__".split())
_PRODUCTS = set("mul __mul__ __rmul__ div __truediv__".split())
_FOLLOWED = _SHAPES | _SUMS | _PRODUCTS | _DIVISIONS  # of integers: done to what they came from as well
_OUTWARD = {"numpy", "__array__", "tolist", "item"}


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, value: Tensor) -> Tensor:
        del ctx, source
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None


def exchange_gradient(source: Tensor, value: Tensor) -> Tensor:
    """`value`, with the gradient that `source`, of the same shape, has."""
    if not source.requires_grad:
        return value
    result: Tensor = _Exchange.apply(source.to(value.dtype), value.detach())  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """What a tensor without a gradient came from; the tensor is kept, so that its id stays its own."""

    value: Tensor
    source: Tensor  # of value's shape; of a choice (*value's shape, V)
    choice: bool  # value is an index, source the probabilities of each


class StraightThrough(TorchFunctionMode):
    """Within `with StraightThrough():` step functions of torch pass gradients on; one forward pass each.

    Rounding, floor division, signs and detached tensors pass the gradient unchanged; comparisons and casts to
    integers as soon as what they gave is used as a number again, or chooses between two constants; argmax as
    a softmax, where a one-hot vector or a row of a table is taken by it. `torch.no_grad` has no effect.
    """

    def __init__(self) -> None:
        super().__init__()
        self._origins: dict[int, _Origin] = {}

    def __torch_function__(
        self,
        func: Function,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The function's value, with a surrogate gradient where it would have none."""
        del types
        with torch.enable_grad():
            return self._call(func, args, dict(kwargs or {}))

    def _call(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        if name in _OUTWARD:
            return func(*(a.detach() if isinstance(a, Tensor) else a for a in args), **kwargs)
        if name.endswith("_") and name[:-1] in _STEPS and args[0].requires_grad:
            return args[0].copy_(
                exchange_gradient(args[0].clone(), func(args[0].detach().clone(), *args[1:]))
            )
        out = func(*args, **kwargs)
        if not isinstance(out, Tensor):
            return out
        if out.is_floating_point():
            return self._number(name, func, out, args)
        self._remember(name, func, out, args, kwargs)
        return out

    def _number(self, name: str, func: Function, out: Tensor, args: tuple[Any, ...]) -> Tensor:
        """A floating result, connected with what it came from."""
        first: Any = args[0] if args else None
        if name in _STEPS or func == torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            same = isinstance(first, Tensor) and first.shape == out.shape
            source = first / args[1] if same and name in _DIVISIONS else first
            return exchange_gradient(source, out) if same and source.is_floating_point() else out
        origin = self._origins.get(id(first))
        if name in _CASTS and origin is not None and not origin.choice:
            return exchange_gradient(origin.source, out)
        if name == "where" and origin is not None and len(args) == 3 and not out.requires_grad:
            share = exchange_gradient(origin.source, first.to(out.dtype))
            step = torch.as_tensor(args[1] - args[2]).to(share)
            surrogate = torch.where(step.isfinite(), step, 0.0) * share
            return exchange_gradient(surrogate.expand_as(out), out)
        table, index = (
            (args[1], first) if name == "embedding" else (first, args[1] if len(args) > 1 else None)
        )
        origin = self._origins.get(id(index))
        if name in ("embedding", "__getitem__") and origin is not None and origin.choice:
            return exchange_gradient((origin.source @ table.flatten(1)).reshape(out.shape), out)
        if name in _FOLLOWED and not all(self._origins.get(id(a)) is None for a in args):
            known = [self._as_number(a, out.dtype) for a in args]
            return exchange_gradient(func(*known), out)
        return out

    def _remember(
        self, name: str, func: Function, out: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Keeps what an integer or a truth value came from."""
        first = args[0] if args else None
        if not isinstance(first, Tensor):
            return
        origin, source = self._origins.get(id(first)), None
        if name in _ABOVE | _BELOW and len(args) > 1:
            source = args[0] - args[1] if name in _ABOVE else args[1] - args[0]
        elif name in _INTEGERS:
            source = first if first.is_floating_point() else origin.source if origin else None
        elif name == "argmax" and (len(args) > 1 or "dim" in kwargs) and not kwargs.get("keepdim", False):
            dim = args[1] if len(args) > 1 else kwargs["dim"]
            self._keep(out, first.movedim(dim, -1).softmax(-1), choice=True)
        elif name == "one_hot" and origin is not None and origin.source.shape == out.shape:
            source = origin.source
        elif name in _FOLLOWED and any(id(a) in self._origins for a in args):
            known = tuple(self._as_number(a, torch.get_default_dtype()) for a in args)
            source = self._call(func, known, kwargs)
        if source is not None and source.is_floating_point() and source.shape == out.shape:
            self._keep(out, source, choice=False)

    def _keep(self, value: Tensor, source: Tensor, *, choice: bool) -> None:
        if source.requires_grad:
            self._origins[id(value)] = _Origin(value, source, choice)

    def _as_number(self, argument: object, dtype: torch.dtype) -> object:
        origin = self._origins.get(id(argument))
        if origin is None or origin.choice:
            return argument
        return exchange_gradient(origin.source, origin.value.to(dtype))


def pass_through(module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor | None:
    """A forward hook: outputs of the input's shape that lost its gradient get it unchanged."""
    del module
    source = args[0] if args else None
    if not (isinstance(source, Tensor) and isinstance(output, Tensor)):
        return None
    lost = source.requires_grad and output.is_floating_point() and not output.requires_grad
    return exchange_gradient(source, output) if lost and source.shape == output.shape else None


def as_twin(twin: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """A forward hook: the output has the gradient that `twin` has at the input."""

    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        del module
        with torch.enable_grad():
            return exchange_gradient(twin(args[0]), output)

    return hook
