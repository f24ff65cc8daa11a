"""Where the gradient of a network ends: the functions that take tensors with one and return none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from robustbench_local.errors import RobustBenchError

__all__ = ["last_cut"]

_FOLDERS = tuple(str(Path(module.__file__).parent) for module in (torch,) if module.__file__)


class _Cuts(TorchFunctionMode):
    """Remembers each function that returns tensors without a gradient, given some with one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        out = func(*args, **(kwargs or {}))
        read = args[:1] if getattr(func, "__name__", "") in ("to", "type_as", "copy_") else args
        given, got = ([t for t in pytree.tree_leaves(x) if isinstance(t, Tensor)] for x in (read, out))
        outward = getattr(func, "__name__", "") in ("numpy", "tolist", "item")
        if (got or outward) and any(t.requires_grad for t in given) and not any(t.requires_grad for t in got):
            name = getattr(func, "__name__", str(func))
            if name == "__get__":
                name = "data"
            shielded = "" if torch.is_grad_enabled() else " under no_grad"
            self.found.append(f"{name}{shielded}{_caller()}")
        return out


def last_cut(network: Callable[[Tensor], Tensor], x: Tensor) -> str | None:
    """The last function that cuts the gradient on a forward pass at x (B, *in), with its place in the code.

    None where no function of torch does; the network then leaves torch, or does not depend on x.
    """
    with torch.enable_grad(), _Cuts() as cuts:
        try:
            network(x.detach().clone().requires_grad_())
        except (RuntimeError, TypeError, RobustBenchError):  # the pass ends here: what came before counts
            pass
    return cuts.found[-1] if cuts.found else None


def _caller() -> str:
    """The file and line outside of torch from which the present function of torch was called."""
    frame = inspect.currentframe()
    while frame is not None:
        name = frame.f_code.co_filename
        if name != __file__ and not name.startswith(_FOLDERS):
            return f" ({Path(name).name}:{frame.f_lineno})"
        frame = frame.f_back
    return ""
