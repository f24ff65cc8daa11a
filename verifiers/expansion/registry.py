"""The table of expansions: one function per composite operator, entered by `@expansion(op)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["EXPANSIONS", "Expansion", "expansion"]

Expansion = Callable[..., Any]
EXPANSIONS: dict[Callable[..., Any], Expansion] = {}

E = TypeVar("E", bound=Expansion)


def expansion(*operators: Callable[..., Any]) -> Callable[[E], E]:
    """Enters a function as the expansion of these operators.

    It is called with the `Build` and the operator's own arguments, where nodes stand for tensors that depend
    on the network's input, with the batch axis in front, and tensors or `Computed` for constants. It adds
    nodes by `build.call` and returns the resulting node; a tuple for an operator with several results;
    None to leave the operator as it is.
    """

    def enter(function: E) -> E:
        for op in operators:
            EXPANSIONS[op] = function
        return function

    return enter
