"""Backward pass differentiable approximation: gradient attacks on networks with steps in them.

A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", ICML 2018, arXiv
1802.00420. The forward pass stays the network's own, so every verdict is about the network itself; only the
direction that the search takes comes from a smooth stand-in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from robustbench_local.errors import UnknownNameError
from robustbench_local.specs import Query

from .apgd import apgd
from .attack import Attack, AttackResult, attack
from .random_numbers import Ids
from .straight_through import StraightThrough, as_twin, exchange_gradient, pass_through

__all__ = ["SurrogateGradient", "bpda", "with_surrogate_gradient"]

Network = Callable[[Tensor], Tensor]


class SurrogateGradient(nn.Module):
    """The network x -> y with the same values, bit for bit, and a gradient that its steps do not cut.

    twins: submodule names of `network` (as in `named_modules`), each with a smooth function of its input that
    gives the gradient in its place; "" is the whole network. All else passes gradients straight through where
    it would have none: rounding, signs, comparisons, argmax, detached tensors, and modules that return a
    tensor of their input's shape (see `StraightThrough`). Without gradients the network runs untouched.
    Raises `UnknownNameError` for a name that is no submodule.
    """

    def __init__(self, network: Network, twins: Mapping[str, Network] | None = None) -> None:
        super().__init__()
        self.network, self._twins = network, dict(twins or {})
        names = dict(network.named_modules()) if isinstance(network, nn.Module) else {"": network}
        for name in self._twins:
            if name not in names:
                raise UnknownNameError.of("submodule", name, names)

    def forward(self, x: Tensor) -> Tensor:
        """y (B, *out) at x (B, *in)."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            return self.network(x)
        with self._hooks():
            with StraightThrough():
                y = self.network(x)
            if "" in self._twins:
                y = exchange_gradient(self._twins[""](x), y)
            return y

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        """Hooks on the network's modules, for one pass."""
        with ExitStack() as stack:
            if isinstance(self.network, nn.Module):
                for name, module in self.network.named_modules():
                    twin = self._twins.get(name) if name else None
                    hook = pass_through if twin is None else as_twin(twin)
                    stack.enter_context(module.register_forward_hook(hook))
            yield


def with_surrogate_gradient(inner: Attack, twins: Mapping[str, Network] | None = None) -> Attack:
    """The attack `inner` led by the gradients of `SurrogateGradient(network, twins)`.

    Everything else is as with `inner`: the points' violation and verdict are the network's own.
    """

    def run(
        query: Query,
        *,
        start: Tensor | None = None,
        seed: int = 0,
        ids: Ids | None = None,
        deadline: float | None = None,
    ) -> AttackResult:
        smooth = query.with_network(SurrogateGradient(query.network, twins))
        return inner(smooth, start=start, seed=seed, ids=ids, deadline=deadline)

    return run


@attack("bpda")
def bpda(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 100,
    restarts: int = 1,
    twins: Mapping[str, Network] | None = None,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """`apgd` with gradients that pass through the network's steps, for networks with rounding, signs, argmax.

    twins: as for `SurrogateGradient`, smooth functions in place of submodules. Of a smooth network it is
    `apgd`. Other arguments, and errors, as there.
    """
    inner = partial(apgd, steps=steps, restarts=restarts, early_stop=early_stop)
    led = with_surrogate_gradient(inner, twins)
    return led(query, start=start, seed=seed, ids=ids, deadline=deadline)
