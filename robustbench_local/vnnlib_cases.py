"""A VNN-LIB property and a named model as batches of problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError
from robustbench_local.evaluation import Cases
from robustbench_local.models import MODELS, model_hash, split_name
from robustbench_local.specs import Vnnlib2Property, VnnlibProperty
from robustbench_local.verifiers import GraphNetwork

from .named_models import NamedModel

__all__ = ["vnnlib_cases"]


def vnnlib_cases(
    model: NamedModel,
    found: VnnlibProperty | Vnnlib2Property,
    *,
    input_shape: Sequence[int] | None = None,
) -> list[Cases]:
    """The problems of a property for one model, as one batch per query; all of them must hold.

    `input_shape` is that of one sample, without the batch axis; X_i fill it in row-major order. Default:
    the shape that an ONNX file or the card of a zoo model gives, one axis with all inputs for other models.
    Raises ShapeError
    where property and network do not fit.
    """
    if isinstance(found, Vnnlib2Property):
        found = found.flat()
    shape = tuple(input_shape) if input_shape is not None else _shape(model, found.inputs)
    if math.prod(shape) != found.inputs:
        raise ShapeError(
            f"the property has {found.inputs} inputs, {model.name} takes shape {shape}",
            where=found.name,
            cure="give the network that the property was written for, or the shape of its input",
        )
    outputs = _outputs(model, found.boxes.centre()[:1].reshape(1, *shape))
    queries = found.queries(model.network, shape, outputs, device=model.device)
    batches: list[Cases] = []
    first = 0
    for query in queries:
        batches.append(
            Cases(
                model=model.name,
                network=model.network,
                model_hash=model_hash(model.network),
                family=model.family,
                dataset="",
                ids=range(first, first + query.batch),
                query=query,
                spec=Path(found.name).name,
                norm="",
                eps=math.nan,
            )
        )
        first += query.batch
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
