"""One evaluation of terms by plain tensor operations: what a forward pass of a property's network does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robustbench_local.errors import SpecError

from ..differentiation import derivative

if TYPE_CHECKING:
    from .base import Term
    from .networks import Net

__all__ = ["Scope", "Tappable"]

Network = Callable[[Tensor], Tensor]


@runtime_checkable
class Tappable(Protocol):
    """A network that gives values of inner nodes by name itself; of other modules, submodules are read."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """What `taps` calls the outputs."""
        ...

    def taps(self, x: Tensor, names: Iterable[str]) -> Mapping[str, Tensor]:
        """Inner values and outputs (B, *shape) by name, from one evaluation at x (B, *in)."""
        ...


class Scope:
    """Values by name and networks by name; every term is computed once.

    values: tensors (b, *shape), b in {1, B}, of variables, data and parameters; labels as one-hot rows
    (b, classes). constants: tensors that stand for the constants of the terms, by text, where they have
    been moved to another dtype or device. taps: network name -> inner nodes that are read somewhere.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        networks: Mapping[str, Network],
        constants: Mapping[str, Tensor],
        taps: Mapping[str, Sequence[str]],
        like: Tensor,
    ) -> None:
        self._values, self._networks, self._constants, self._taps = values, networks, constants, taps
        self._like = like
        self._known: dict[int, tuple[Term, Tensor]] = {}
        self._calls: dict[tuple[int, str], tuple[Tensor, Mapping[str, Tensor]]] = {}

    def of(self, term: Term) -> Tensor:
        """The term's value, (b, *shape)."""
        if id(term) not in self._known:  # the term is kept, so that its id stays its own
            self._known[id(term)] = (term, term.run(self))
        return self._known[id(term)][1]

    def named(self, name: str) -> Tensor:
        """The variable, data, parameter or (one-hot) label of this name."""
        return self._values[name]

    def constant(self, text: str, number: Tensor) -> Tensor:
        """A constant of the property, (1, *shape), in the dtype of this evaluation."""
        if text in self._constants:
            return self._constants[text]
        return number.to(self._like).unsqueeze(0)

    def call(self, net: Net, argument: Term) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Output and tapped inner values of a network at a term; once per network and argument."""
        network = self._networks[net.name]
        key = (id(network), argument.text)
        if key not in self._calls:
            self._calls[key] = _tapped(network, self.of(argument), self._taps.get(net.name, ()))
        return self._calls[key]

    def slope(self, net: Net, argument: Term, place: tuple[int, ...]) -> Tensor:
        """The derivatives of a network's outputs by the coordinate at `place` of its input."""
        x = self.of(argument)
        index = sum(i * math.prod(net.inputs[axis + 1 :]) for axis, i in enumerate(place))
        here = torch.arange(math.prod(net.inputs), device=x.device) == index
        return derivative(self._networks[net.name], x, here.to(x.dtype).reshape(net.inputs))


def _tapped(network: Network, x: Tensor, names: Sequence[str]) -> tuple[Tensor, Mapping[str, Tensor]]:
    if not names:
        return network(x), {}
    if isinstance(network, Tappable):
        found = network.taps(x, [*names, *network.output_names])
        outputs = [found[name] for name in network.output_names]
        whole = outputs[0] if len(outputs) == 1 else torch.cat([y.flatten(1) for y in outputs], 1)
        return whole, found
    if not isinstance(network, nn.Module):
        raise SpecError(
            f"{network!r} has no inner nodes to tap", cure="bind a torch module or an ONNX network"
        )
    kept: dict[str, Tensor] = {}
    handles = []
    try:
        for name in names:
            handles.append(_submodule(network, name).register_forward_hook(_keep(kept, name)))
        return network(x), kept
    finally:
        for handle in handles:
            handle.remove()


def _submodule(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        known = ", ".join(name for name, _ in network.named_modules() if name)
        raise SpecError(
            f"no inner node {name!r}", where=type(network).__name__, cure=f"known: {known}"
        ) from error


def _keep(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, object], None]:
    def keep(module: nn.Module, args: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise SpecError(f"inner node {name!r} gives {type(output).__name__}, not a tensor")
        found[name] = output

    return keep


def spread(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A scalar (b,) as (b, 1, ..), so that it broadcasts over `shape`; anything else unchanged."""
    return value if value.ndim > 1 or not shape else value.reshape(-1, *[1] * len(shape))
