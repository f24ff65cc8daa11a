"""Pairs of a value and a derivative that networks compute with as if they were tensors (dual numbers).

A network runs on a `Dual` unchanged: torch hands every function over to `Dual`, which looks up the function's
rule. A function without a rule is an error, never a derivative of zero. Forward mode as in A. Griewank, A.
Walther, Evaluating derivatives, SIAM 2008, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

__all__ = ["Dual", "by_sample", "derivative", "linear", "primal", "refused", "rule", "rule_of", "wide"]

Function = Callable[..., Any]
Rule = Callable[..., Any]
_R = TypeVar("_R", bound=Rule)
_RULES: dict[object, Rule] = {}


def rule(*functions: object) -> Callable[[_R], _R]:
    """Enter what computes these functions on duals: called with the function first, then its arguments."""

    def enter(found: _R) -> _R:
        _RULES.update(dict.fromkeys(functions, found))
        return found

    return enter


def rule_of(function: object) -> Rule:
    """The rule of a function; UnsupportedOpError where it has none."""
    if function not in _RULES:
        raise refused(getattr(function, "__name__", str(function)))
    return _RULES[function]


class Dual:
    """A tensor and its derivative in one direction; never changed in place.

    The derivative has the tensor's shape, or an axis 0 of length 1 while all samples share it.
    """

    __slots__ = ("tangent", "value")

    def __init__(self, value: Tensor, tangent: Tensor) -> None:
        self.value, self.tangent = value, tangent

    @classmethod
    def __torch_function__(
        cls, func: Function, types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """The function on duals, by its rule; UnsupportedOpError where it has none."""
        del types
        return rule_of(func)(func, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.value, name)
        if not callable(found):
            if isinstance(found, Tensor):
                raise refused(name)
            return found  # shape, dtype, device and the like
        method = getattr(Tensor, name)
        if name in _OF_SHAPE:
            return found
        return lambda *args, **kwargs: self.__torch_function__(method, (), (self, *args), kwargs)

    def __bool__(self) -> NoReturn:
        raise refused("a condition on values")

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: Any) -> Dual:
        each = isinstance(index, tuple) and index[:1] == (slice(None),)  # of every sample the same
        return Dual(self.value[index], (self.tangent if each else wide(self))[index])

    def __setitem__(self, index: object, value: object) -> NoReturn:
        raise refused("an assignment in place")

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.tangent)

    def __abs__(self) -> Any:
        return self.__torch_function__(torch.abs, (), (self,))

    def __pow__(self, exponent: object) -> Any:
        return self.__torch_function__(torch.pow, (), (self, exponent))

    __hash__ = None  # type: ignore[assignment]


def _operator(function: Function, *, reflected: bool = False) -> Callable[[Dual, object], Any]:
    def apply(self: Dual, other: object) -> Any:
        pair = (other, self) if reflected else (self, other)
        return Dual.__torch_function__(function, (), pair)

    return apply


def _refuse(self: Dual, other: object) -> NoReturn:
    del self, other
    raise refused("an operation in place, or a comparison of values,")


_ARITHMETIC: Mapping[str, Function] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "matmul": torch.matmul,
    "truediv": torch.div,
}
for _name, _function in _ARITHMETIC.items():
    setattr(Dual, f"__{_name}__", _operator(_function))
    setattr(Dual, f"__r{_name}__", _operator(_function, reflected=True))
    setattr(Dual, f"__i{_name}__", _refuse)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Dual, f"__{_name}__", _refuse)

_OF_SHAPE = {"dim", "size", "numel", "is_floating_point", "stride", "is_contiguous", "get_device"}


def derivative(network: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> Tensor:
    """The derivative of `network` at x (B, *shape) along direction (*shape): of the shape of its outputs.

    Zero for outputs that are no function of x. At a kink of relu and its kind there is no derivative: NaN.
    Raises UnsupportedOpError, which names it, for a function of torch without a rule.
    """
    found = cast("Function", network)(Dual(x, direction.to(x).unsqueeze(0)))
    if isinstance(found, Dual):
        return wide(found)
    if isinstance(found, Tensor):
        return torch.zeros_like(found)
    raise refused(f"a network that gives {type(found).__name__}")


def primal(value: Any) -> Any:
    """The value without its derivative; what is no dual stays as it is."""
    return value.value if isinstance(value, Dual) else value


def wide(of: Dual) -> Tensor:
    """The derivative in the tensor's own shape.

    One that all samples share becomes a function of the value, so that what a network of derivatives gives
    depends on its input in form, too, as networks have to.
    """
    shared = of.tangent.shape[:1] == (1,) or of.tangent.ndim < of.value.ndim
    return of.tangent + 0 * of.value if shared else of.tangent


def linear(function: Function, of: Dual, *args: Any, **kwargs: Any) -> Any:
    """A function that is linear in its first argument, one result or several, while no other is a dual."""
    if any(isinstance(part, Dual) for part in (*args, *kwargs.values())):
        raise refused(f"{getattr(function, '__name__', function)} of two values that both move")
    value, tangent = function(of.value, *args, **kwargs), function(wide(of), *args, **kwargs)
    if isinstance(value, Tensor):
        return Dual(value, tangent)
    return tuple(Dual(*pair) for pair in zip(value, tangent, strict=True))


def by_sample(function: Function, of: Dual, *args: Any, **kwargs: Any) -> Dual:
    """As `linear`, and it leaves axis 0 alone: a derivative that all samples share stays one."""
    return Dual(function(of.value, *args, **kwargs), function(of.tangent, *args, **kwargs))


def refused(what: str) -> UnsupportedOpError:
    """The error for something that has no rule here."""
    names = {getattr(f, "__name__", "") for f in _RULES}
    known = sorted(name for name in names if name.isidentifier() and not name.startswith("_"))
    return UnsupportedOpError(
        f"no derivative is known of {what}",
        where="a derivative in a property",
        cure=f"build the network of {', '.join(known)}",
    )
