"""From what a user names (models, specs, files, values) to batches of problems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from robustbench_local.errors import DataError
from robustbench_local.evaluation import Cases
from robustbench_local.models import model_hash
from robustbench_local.specs import Composed, Query, Spec, Vnnlib2Property, VnnlibProperty, read_vnnlib

from .device import find_device
from .named_models import NamedModel, find_model
from .vnnlib_cases import vnnlib_cases

__all__ = ["Model", "Property", "loaded", "problems_of", "single_model"]

Model = nn.Module | str | Path | Mapping[str, nn.Module | str | Path] | None
"""A module, a zoo name, a file; name of slot -> such; None where the property has its network."""

Property = Query | Spec | VnnlibProperty | Vnnlib2Property | str | Path
"""A property, or the file of one."""


def problems_of(
    model: Model,
    spec: Property,
    values: Mapping[str, object] | None,
    *,
    device: str | torch.device | None,
    input_shape: Sequence[int] | None = None,
) -> list[Cases]:
    """The problems of one call, without a data set. Raises RobustBenchError for what cannot be used."""
    place = None if device is None else find_device(device)
    if isinstance(spec, str | Path):
        spec = read_vnnlib(spec)
    if isinstance(spec, VnnlibProperty | Vnnlib2Property):
        if isinstance(model, Mapping):
            models = {slot: find_model(one, device=place) for slot, one in model.items()}
            return vnnlib_cases(models, spec, input_shape=input_shape)
        return vnnlib_cases(find_model(single_model(model), device=place), spec, input_shape=input_shape)
    named, query = _bound(model, spec, values, place)
    cases = Cases(
        model=named.name,
        network=named.network,
        model_hash=model_hash(named.network),
        family=named.family,
        dataset="",
        ids=range(query.batch),
        query=query,
        spec="query",
        norm="",
        eps=math.nan,
    )
    return [cases]


def _bound(
    model: Model, spec: Query | Spec, values: Mapping[str, object] | None, device: torch.device | None
) -> tuple[NamedModel, Query]:
    """The query, and its network (which may be composed of several) under the name that tables give it."""
    if isinstance(spec, Query):
        if model is None:
            network = spec.network
            if not isinstance(network, nn.Module):
                raise DataError("the query's network is no module", where="model", cure="give the model")
            return find_model(network, device=device), spec
        named = find_model(single_model(model), device=device)
        if isinstance(spec.network, Composed) and named.network is not spec.network:
            raise DataError(
                "the query has a network that is composed for its property",
                where="model",
                cure="give None as the model, or the property and its values",
            )
        return named, spec.with_network(named.network)
    if isinstance(model, Mapping):
        known: dict[int | str, NamedModel] = {}  # one file under two names is one network
        parts: dict[str, NamedModel] = {}
        for slot, one in model.items():
            key = id(one) if isinstance(one, nn.Module) else str(one)
            if key not in known:
                known[key] = find_model(one, device=device)
            parts[slot] = known[key]
        name = ", ".join(f"{slot}={part.name}" for slot, part in parts.items())
        query = spec.query({slot: part.network for slot, part in parts.items()}, **values or {})
        first = next(iter(parts.values()))
        named = replace(first, name=name, family="composed") if len(parts) > 1 else first
    else:
        named = find_model(single_model(model), device=device)
        query = spec.query(named.network, **values or {})
    if isinstance(query.network, nn.Module):
        named = replace(named, network=query.network)
    return named, query


def loaded(model: Model, *, device: str | torch.device | None) -> Model:
    """The model with names and files read, for calls that pose many problems of it."""
    place = None if device is None else find_device(device)
    if isinstance(model, Mapping):
        return {slot: find_model(one, device=place).network for slot, one in model.items()}
    return None if model is None else find_model(model, device=place).network


def single_model(model: Model) -> nn.Module | str | Path:
    """The model, which must be a single one."""
    if isinstance(model, nn.Module | str | Path):
        return model
    raise DataError(f"the model is {model!r}", where="model", cure="give a single model")
