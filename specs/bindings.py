"""From the values of a call to tensors with one batch axis, with every problem of the call in one error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError, SpecError, SpecErrors

from .expressions.base import spec_error
from .expressions.leaves import Data, Label, Param
from .expressions.networks import Net

__all__ = ["Bound", "Slot", "bind", "bind_networks"]

Slot = Param | Data | Label
"""What a query binds by name."""


class Bound(NamedTuple):
    """Bound values, each with a leading axis of 1 or `batch`, on one device."""

    values: dict[str, Tensor]
    batch: int
    device: torch.device
    dtype: torch.dtype


def bind(slots: Mapping[str, Slot], values: Mapping[str, object]) -> Bound:
    """Check and normalise `values`; a single problem raises its own error, several one SpecError of all."""
    problems: list[RobustBenchError] = []
    bound: dict[str, Tensor] = {}
    for name in values:
        if name not in slots:
            near = get_close_matches(name, slots, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            cure = f"{hint}known: {', '.join(slots) or 'none'}"
            problems.append(spec_error("E-PARAM", f"the property has no value named {name!r}", cure))
    for name, slot in slots.items():
        given = values.get(name)
        if given is None and isinstance(slot, Param):
            given = slot.default
        if given is None:
            cure = f"pass {name}=... to query()"
            problems.append(spec_error("E-PARAM", f"no value for `{name}` ({slot.declaration})", cure))
            continue
        try:
            bound[name] = slot.bind(given)
        except RobustBenchError as error:
            problems.append(error)
    problems.extend(_batch_problems(bound))
    if problems:
        raise _joined(problems)
    data = [name for name, slot in slots.items() if isinstance(slot, Data)]
    device = next((bound[name].device for name in data), torch.device("cpu"))
    types = {bound[name].dtype for name in data if isinstance(values.get(name), (Tensor, np.ndarray))}
    return Bound(
        {name: tensor.to(device) for name, tensor in bound.items()},
        next((t.shape[0] for t in bound.values() if t.shape[0] != 1), 1),
        device,
        torch.float64 if torch.float64 in types else next(iter(types), torch.get_default_dtype()),
    )


def bind_networks(nets: Mapping[str, Net], network: object) -> dict[str, Callable[[Tensor], Tensor]]:
    """The network of every slot; SpecError where one is missing, left over, or no network."""
    given = dict(network) if isinstance(network, Mapping) else None
    if given is None:
        if len(nets) > 1:
            raise spec_error(
                "E-PARAM",
                f"the property speaks of {len(nets)} networks, one is given",
                f"pass {{{', '.join(f'{name!r}: ..' for name in nets)}}}",
            )
        given = dict.fromkeys(nets, network)
    if set(given) != set(nets):
        raise spec_error(
            "E-PARAM",
            f"networks are given for {', '.join(map(str, given)) or 'none'}",
            f"the property speaks of {', '.join(nets)}",
        )
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    for name in nets:
        value: Any = given[name]
        if not _is_network(value):
            raise SpecError(
                f"the network {name!r} is {value!r}" if len(nets) > 1 else f"the network is {value!r}",
                cure="give a module or a function of x (B, *shape)",
            )
        found[name] = value
    return found


def _is_network(value: object) -> bool:
    return callable(value)


def _batch_problems(bound: Mapping[str, Tensor]) -> Iterable[RobustBenchError]:
    sizes = {name: tensor.shape[0] for name, tensor in bound.items() if tensor.shape[0] != 1}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} has {n}" for name, n in sizes.items())
        yield spec_error(
            "E-DATA", f"batch sizes differ: {listed} samples", "give one value per sample, or one for all"
        )


def _joined(problems: list[RobustBenchError]) -> RobustBenchError:
    if len(problems) == 1:
        return problems[0]
    return SpecErrors(problems)
