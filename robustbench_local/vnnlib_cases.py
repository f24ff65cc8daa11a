"""A VNN-LIB property and a named model as batches of problems."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from robustbench_local.errors import EmptySetError, ShapeError, SpecError
from robustbench_local.evaluation import Cases
from robustbench_local.models import MODELS, model_hash, split_name
from robustbench_local.specs import Box, Query, Vnnlib2Property, VnnlibProperty
from robustbench_local.verifiers import GraphNetwork

from .named_models import NamedModel

__all__ = ["vnnlib_cases"]


def vnnlib_cases(
    model: NamedModel | Mapping[str, NamedModel],
    found: VnnlibProperty | Vnnlib2Property,
    *,
    input_shape: Sequence[int] | None = None,
) -> list[Cases]:
    """The problems of a property for its models, as one batch per query; all of them must hold.

    Where an input is bounded so narrowly that no number of the network's dtype lies between (fixed to 0.1,
    say), the problems are those of the same network in float64.

    A property of VNN-LIB 2 with several networks takes name -> model, without networks that are `equal-to`
    another. `input_shape` is that of one sample of a single model, without the batch axis; X_i fill it in
    row-major order. Default: the shape that an ONNX file or the card of a zoo model gives, one axis with all
    inputs for other models.
    Raises ShapeError where property and network do not fit, SpecError where networks are missing or unknown.
    """
    models = {"": model} if isinstance(model, NamedModel) else dict(model)
    batches = _batches(models, found, input_shape)
    if not _has_points(batches, models):
        wide = {slot: replace(m, network=copy.deepcopy(m.network).double()) for slot, m in models.items()}
        batches = _batches(wide, found, input_shape)
    return batches


def _has_points(batches: Sequence[Cases], models: Mapping[str, NamedModel]) -> bool:
    """Whether every box has points in the dtype that attacks move in."""
    dtypes = {t.dtype for m in models.values() for t in (*m.network.parameters(), *m.network.buffers())}
    small = dtypes & {torch.float16, torch.bfloat16, torch.float32}
    try:
        for cases in batches:
            if isinstance(cases.query.inputs, Box):
                for dtype in small:
                    cases.query.inputs.inner(dtype)
    except EmptySetError:
        return False
    return True


def _batches(
    models: Mapping[str, NamedModel],
    found: VnnlibProperty | Vnnlib2Property,
    input_shape: Sequence[int] | None,
) -> list[Cases]:
    first = next(iter(models.values()))
    if isinstance(found, Vnnlib2Property):
        flat = found.flat_or_none()
        if flat is None:
            return _cases(models, _queries(models, found, input_shape), found.name)
        if models.keys() - {"", found.networks[0].name}:
            found.queries({slot: part.network for slot, part in models.items()})  # says what is wrong
        found = flat
    elif len(models) > 1:
        raise SpecError(
            f"the property speaks of one network, {len(models)} are given", where=found.name, cure="give one"
        )
    shape = tuple(input_shape) if input_shape is not None else _shape(first, found.inputs)
    if math.prod(shape) != found.inputs:
        raise ShapeError(
            f"the property has {found.inputs} inputs, {first.name} takes shape {shape}",
            where=found.name,
            cure="give the network that the property was written for, or the shape of its input",
        )
    outputs = _outputs(first, found.boxes.centre()[:1].reshape(1, *shape))
    queries = found.queries(first.network, shape, outputs, device=first.device)
    return _cases(models, queries, found.name)


def _queries(
    models: Mapping[str, NamedModel], found: Vnnlib2Property, input_shape: Sequence[int] | None
) -> list[Query]:
    """The queries of a property without flat form."""
    declared = {network.name: network for network in found.networks if network.equal_to is None}
    if "" in models:
        if len(declared) > 1:
            raise SpecError(
                f"the property speaks of {len(declared)} networks, one is given",
                where=found.name,
                cure=f"give {', '.join(f'{name}=..' for name in declared)}",
            )
        models = dict.fromkeys(declared, models[""])
    shapes = {
        slot: _shape(part, sum(t.size for t in declared[slot].inputs)) if input_shape is None else input_shape
        for slot, part in models.items()
        if slot in declared
    }
    networks = {slot: part.network for slot, part in models.items()}
    return found.queries(networks, shapes=shapes, device=next(iter(models.values())).device)


def _cases(models: Mapping[str, NamedModel], queries: Sequence[Query], source: str) -> list[Cases]:
    """One batch per query; ids go on over all of them."""
    first, *others = models.values()
    names = [f"{slot}={part.name}" if slot else part.name for slot, part in models.items()]
    batches: list[Cases] = []
    start = 0
    for query in queries:
        network = query.network if isinstance(query.network, nn.Module) else first.network
        batches.append(
            Cases(
                model=", ".join(names),
                network=network,
                model_hash=model_hash(network),
                family="composed" if others else first.family,
                dataset="",
                ids=range(start, start + query.batch),
                query=query,
                spec=Path(source).name,
                norm="",
                eps=math.nan,
            )
        )
        start += query.batch
    return batches


def _shape(model: NamedModel, inputs: int) -> tuple[int, ...]:
    if isinstance(model.network, GraphNetwork):
        return model.network.graph.input_shape
    name = model.name
    architecture = split_name(name)[0] if name and ".py:" not in name else ""
    return MODELS[architecture].card.input_shape if architecture in MODELS else (inputs,)


def _outputs(model: NamedModel, point: Tensor) -> int:
    """The number of the network's outputs, by running it on one point."""
    tensors = (*model.network.parameters(), *model.network.buffers())
    dtype = next((w.dtype for w in tensors if w.is_floating_point()), torch.float32)
    try:
        with torch.inference_mode():
            found = model.network(point.to(model.device, dtype))
    except RuntimeError as error:
        text = " ".join(str(error).split())[:200]
        raise ShapeError(
            f"{model.name} cannot take inputs of shape {tuple(point.shape[1:])}: {text}",
            where="model",
            cure="give the shape of one sample (input_shape, --input-shape)",
        ) from error
    return int(found.flatten(1).shape[1])
