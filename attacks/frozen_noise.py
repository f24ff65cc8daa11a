"""Random networks at given random numbers: what a network draws becomes a function of a seed.

The mean over draws is the network that expectation over transformation attacks: A. Athalye, L. Engstrom,
A. Ilyas, K. Kwok, "Synthesizing robust adversarial examples", ICML 2018, arXiv 1707.07397.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robustbench_local.errors import RobustBenchError

from .random_numbers import derive_seed

__all__ = ["MeanNetwork", "drawn"]

Network = Callable[[Tensor], Tensor]

_SHAPED = {"rand", "randn", "randint"}
_LIKE = {"rand_like", "randn_like", "randint_like"}
_FILLED = {"normal_", "uniform_", "bernoulli_", "random_", "exponential_"}
_DROPPED = {"dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"}


class MeanNetwork(nn.Module):
    """x -> the mean of `draws` outputs of a random network: a deterministic function, equal for equal seeds.

    Draw k of a row does not depend on the batch: all rows share the numbers of (seed, k), as far as
    they come from torch's own generator and have the batch in front or not at all. The global generator is
    left as it was. A network that draws nothing runs once, and its output is returned as it is. `random` says
    whether it has drawn something so far. Raises `RobustBenchError` for draws < 1.
    """

    def __init__(self, network: Network, draws: int = 20, seed: int = 0) -> None:
        super().__init__()
        if draws < 1:
            raise RobustBenchError(f"draws is {draws}", where="draws", cure="give 1 or more")
        self.network, self.draws, self.seed, self.random = network, draws, seed, False

    def forward(self, x: Tensor) -> Tensor:
        """The mean output (B, *out) at x (B, *in)."""
        total, random = drawn(self.network, x, self.seed, 0)
        if not random:
            return total
        self.random = True
        for number in range(1, self.draws):
            total = total + drawn(self.network, x, self.seed, number)[0]
        return total / self.draws


def drawn(network: Network, x: Tensor, seed: int, number: int) -> tuple[Tensor, bool]:
    """The output (B, *out) at x (B, *in) with the random numbers of a draw, and whether it used any."""
    with _generator_at(derive_seed(seed, "draw", number) % 2**63, x.device) as used:
        with _Shared(x.shape[0]):
            y = network(x.clone())  # a network may overwrite its input
        return y, used()


class _Shared(TorchFunctionMode):
    """Random numbers of `batch` rows are drawn for one row, and all rows share them."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._batch = batch

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The function's value, of random functions that of one row for all."""
        del types
        named, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name in _SHAPED and named.get("generator") is None:
            return self._shaped(func, args, named)
        first = args[0] if args else None
        if not isinstance(first, Tensor) or first.ndim == 0 or first.shape[0] != self._batch:
            return func(*args, **named)
        row = first[:1].detach()
        if name in _LIKE:
            return func(row, *args[1:], **named).expand_as(first).clone()
        if name in _FILLED:
            return first.copy_(func(row.clone(), *args[1:], **named).expand_as(first))
        if name in _DROPPED:
            named.pop("inplace", None)
            return first * func(torch.ones_like(row), *args[1:3], **named)
        if name == "bernoulli" and len(args) == 1:
            return (torch.rand_like(row) < first).to(first.dtype)
        if name == "normal":
            std = args[1] if len(args) > 1 else named.get("std", 1.0)
            return first + std * torch.randn_like(row)
        return func(*args, **named)

    def _shaped(self, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
        """`func` of a shape, given as numbers, as a tuple among the arguments, or as `size`."""

        def short(shape: Any) -> Any:
            rows = isinstance(shape, (tuple, list)) and len(shape) > 0 and shape[0] == self._batch
            return (1, *shape[1:]) if rows else shape

        if "size" in named:
            named["size"] = short(named["size"])
        elif args and isinstance(args[-1], int):
            args = short(args)
        else:
            args = tuple(short(arg) for arg in args)
        out: Tensor = func(*args, **named)
        shared = out.ndim > 0 and out.shape[0] == 1 and self._batch > 1
        return out.expand(self._batch, *out.shape[1:]).clone() if shared else out


@contextmanager
def _generator_at(seed: int, device: torch.device) -> Iterator[Callable[[], bool]]:
    """Torch's generators of the CPU and of `device` at a seed, for a while; says whether they have moved."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)

        def state() -> list[Tensor]:
            return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if cuda else [])]

        before = state()
        yield lambda: not all(torch.equal(a, b) for a, b in zip(before, state(), strict=True))
