"""What is bound to declared networks: shapes of their samples, and names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor

from robustbench_local.errors import ShapeError, SpecError

from ...spec import Networks
from ..source import coded
from .declarations import Declarations, Network

__all__ = ["one_network", "sample_shapes", "unknown_network"]


def one_network(
    declared: Declarations, networks: Networks, shapes: Mapping[str, Sequence[int]], where: str
) -> tuple[Callable[[Tensor], Tensor], tuple[int, ...]]:
    """The network that is bound to the only declared one, and the shape of its samples."""
    (name,) = declared.networks
    if isinstance(networks, Mapping):
        if set(networks) != {name}:
            raise unknown_network([n for n in networks if n != name] or ["given"], [name], where)
        return networks[name], sample_shapes(shapes, declared, where)[name]
    return networks, sample_shapes(shapes, declared, where)[name]


def sample_shapes(
    shapes: Mapping[str, Sequence[int]], declared: Declarations, name: str
) -> dict[str, tuple[int, ...]]:
    """The shape of every network's samples: the given one, else the declared one."""
    unknown = [n for n in shapes if n not in declared.networks]
    if unknown:
        raise unknown_network(unknown, declared.networks, name)
    found: dict[str, tuple[int, ...]] = {}
    for network in declared.networks.values():
        for tensor in network.inputs:
            if tensor.type.integer or not tensor.type.arithmetic:
                what = f"input `{tensor.name}` is of type {tensor.type}"
                raise coded(SpecError(what, where=name, cure="inputs range over real numbers"), "E-OP")
            if tensor.initialized:
                what = f"input `{tensor.name}` takes a default value that is only in the ONNX file"
                cure = "leave out `initialized`, and assert its values by =="
                raise coded(SpecError(what, where=name, cure=cure), "E-OP")
        given = shapes.get(network.name, shapes.get(network.equal_to or ""))
        found[network.name] = _sample_shape(network) if given is None else tuple(given)
        size = sum(t.size for t in network.inputs)
        if math.prod(found[network.name]) != size:
            what = (
                f"network `{network.name}` is declared with {size} inputs, the shape is {found[network.name]}"
            )
            raise ShapeError(what, where=name, cure="give the network that the property was written for")
    return found


def unknown_network(names: Iterable[str], known: Iterable[str], where: str) -> SpecError:
    """The error for networks that are not declared."""
    cure = f"the property speaks of {', '.join(known)}"
    return coded(SpecError(f"no network {', '.join(names)}", where=where, cure=cure), "E-PARAM")


def _sample_shape(network: Network) -> tuple[int, ...]:
    """What one sample of the network's input is taken to be: the declared shape without a batch axis of 1.

    Several inputs are all of them, flat, one by one.
    """
    tensor, *others = network.inputs
    if others:
        return (sum(t.size for t in network.inputs),)
    first, *rest = tensor.shape or (1,)
    return tuple(rest) if first == 1 and rest else (first, *rest)
