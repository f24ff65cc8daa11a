"""Hashes that name a network and a property by what they compute, not by where they came from."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_local.errors import RobustBenchError, SearchStateError
from robustbench_local.evaluation import Subject
from robustbench_local.models import model_hash
from robustbench_local.specs import Query

__all__ = ["network_fingerprint", "query_fingerprint"]

_PACKAGE = "robustbench_local."
_DERIVED = frozenset({"_casts", "_centre", "_hull", "_inners", "_middles"})
"""What sets keep of what they have computed once: it follows from their other fields."""

_PLAIN = (str, int, float, complex, bool, bytes, Fraction, torch.dtype, torch.Size, slice, type(None))


def network_fingerprint(subject: Subject) -> str:
    """The sha256, in hex, of the network's operations and constants; of its text and weights where it has no
    graph.
    """
    try:
        nodes = subject.graph().nodes
    except RobustBenchError:
        return _digest((repr(subject.network), model_hash(subject.network)))
    facts = [(n.op, [p.index for p in n.inputs], n.args, n.kwargs, n.shape) for n in nodes]
    return _digest((facts, str(subject.dtype)))


def query_fingerprint(query: Query) -> str:
    """The sha256, in hex, of the query's sets, rows, tree and quantifier.

    Raises SearchStateError for a set that holds what has no hash.
    """
    return _digest((query.inputs, query.C, query.d, query.tree, query.quantifier, query.text))


def _digest(value: object) -> str:
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()


def _feed(into: Any, value: object) -> None:
    """Adds a value to a hash: its type and its parts, so that different values differ in what is added."""
    name = type(value).__qualname__
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        _mark(into, "tensor", (str(plain.dtype), tuple(plain.shape)))
        into.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Enum):
        _mark(into, name, value.name)
    elif isinstance(value, _PLAIN):
        _mark(into, name, value)
    elif isinstance(value, nn.Module):
        _mark(into, "module", repr(value))
        _feed(into, value.state_dict())
    elif isinstance(value, Mapping):
        _mark(into, name, len(value))
        for key in sorted(value, key=repr):
            _feed(into, (key, value[key]))
    elif isinstance(value, Sequence):
        _mark(into, "sequence", len(value))
        for part in value:
            _feed(into, part)
    elif is_dataclass(value) and not isinstance(value, type):
        shown = [f.name for f in fields(value) if f.init]
        _mark(into, name, shown)
        for field in shown:
            _feed(into, getattr(value, field))
    elif type(value).__module__.startswith(_PACKAGE):
        shown = [slot for kind in type(value).__mro__ for slot in kind.__dict__.get("__slots__", ())]
        shown = sorted({*shown, *getattr(value, "__dict__", {})} - _DERIVED)
        _mark(into, name, shown)
        for slot in shown:
            _feed(into, getattr(value, slot, None))
    else:
        _feed_callable(into, value)


def _feed_callable(into: Any, value: object) -> None:
    if isinstance(value, functools.partial):
        _mark(into, "partial", "")
        _feed(into, (value.func, value.args, value.keywords))
    elif isinstance(value, FunctionType):
        _mark(into, value.__module__, value.__qualname__)
        _feed(into, [cell.cell_contents for cell in value.__closure__ or ()])
    elif isinstance(value, type | BuiltinFunctionType | torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        _mark(into, "name", str(value))
    else:
        raise SearchStateError(
            f"a {type(value).__qualname__} has no hash, so that no saved search can be bound to it",
            cure="verify without a state file",
        )


def _mark(into: Any, name: str, value: object) -> None:
    into.update(f"{name}|{value!r}|".encode())
