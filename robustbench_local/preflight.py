"""`supports`: what stands between a model, a property and the verifiers, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from robustbench_local.errors import RobustBenchError, ShapeError
from robustbench_local.evaluation import Cases
from robustbench_local.models import MODELS, split_name
from robustbench_local.specs import Composed, Query, SpecFile
from robustbench_local.verifiers import Graph, GraphNetwork, Support, from_torch, support_of, unsupported

from .device import find_device
from .named_models import NamedModel, find_model
from .problems import Model, Property, problems_of, single_model
from .text_claims import bound_claims, is_text, text_of

__all__ = ["preflight", "supports"]


def supports(
    model: Model,
    spec: Property | SpecFile | None = None,
    *,
    values: Mapping[str, object] | None = None,
    prop: str | None = None,
    input_shape: Sequence[int] | None = None,
    device: str | torch.device | None = None,
) -> Support:
    """The preflight report: every node that no rule handles and, for each verifier, whether it applies.

    Args:
        model: a module, a zoo name, an ONNX file or "file.py:function"; for a property of several networks
            name of slot -> model.
        spec: a query, a property with its `values`, a VNN-LIB property or file, or a text of properties or
            its file (.rbspec), of which the first is looked at; None: the model alone.
        values: name -> value of what the spec leaves open, as in `verify`.
        prop: name of the property of a text that is looked at instead.
        input_shape: of one sample, where neither the spec nor the model tells it.
        device: where the model goes; default: the CPU, or where it is.

    What is wrong with model or spec is in the report; nothing is raised for a RobustBenchError.
    """
    place = None if device is None else find_device(device)
    named: NamedModel | None = None
    if spec is None or isinstance(model, str | Path | nn.Module):
        try:  # what is wrong with the model is no fault of the property
            named = find_model(single_model(model), device=place)
        except RobustBenchError as error:
            return unsupported(error)
        if spec is None:
            return _report(named, None, input_shape)
    try:
        cases = _first_cases(
            model if named is None else named.network, spec, values, prop, place, input_shape
        )
    except RobustBenchError as error:
        return unsupported(error, spec=True)
    family = cases.family if named is None else named.family
    if isinstance(cases.network, Composed):
        family = "custom"  # with an input of its own
    name = cases.model if named is None else named.name
    found = NamedModel(name, family, cases.network, cases.query.d.device)
    return _report(found, cases.query, input_shape)


def _first_cases(
    model: Model,
    spec: Property | SpecFile,
    values: Mapping[str, object] | None,
    prop: str | None,
    device: torch.device | None,
    input_shape: Sequence[int] | None,
) -> Cases:
    if isinstance(spec, SpecFile) or (isinstance(spec, str | Path) and is_text(spec)):
        first = bound_claims(text_of(spec), model, values, prop)[0]
        return problems_of(first.model, first.spec, first.own, device=device)[0]
    return problems_of(model, spec, values, device=device, input_shape=input_shape)[0]


def preflight(named: NamedModel, batches: Sequence[Cases], input_shape: Sequence[int] | None) -> Support:
    """The report of a model for the first of some batches of problems; of the model alone without any."""
    return _report(named, batches[0].query if batches else None, input_shape)


def _report(named: NamedModel, query: Query | None, input_shape: Sequence[int] | None) -> Support:
    try:
        graph = _graph(named, query, input_shape)
    except RobustBenchError as error:
        report = unsupported(error)
        return report if query is None else replace(report, inputs=repr(query.inputs))
    return support_of(graph, query)


def _graph(named: NamedModel, query: Query | None, input_shape: Sequence[int] | None) -> Graph:
    network = named.network
    if isinstance(network, GraphNetwork):
        return network.graph
    shape = _shape(named, query, input_shape)
    weights = (*network.parameters(), *network.buffers())
    like = next((w for w in weights if w.is_floating_point()), torch.empty(0, device=named.device))
    return from_torch(network, torch.zeros(1, *shape, dtype=like.dtype, device=like.device))


def _shape(named: NamedModel, query: Query | None, input_shape: Sequence[int] | None) -> tuple[int, ...]:
    """The model's own shape of one sample where it tells one, so that a spec of another shape is seen."""
    if input_shape is not None:
        return tuple(input_shape)
    architecture = split_name(named.name)[0] if named.family != "custom" else ""
    if architecture in MODELS:
        return MODELS[architecture].card.input_shape
    if query is None:
        raise ShapeError(
            f"the shape of an input of {named.name} is not known",
            where="model",
            cure="give the shape of one sample (input_shape, --input-shape), or a spec",
        )
    return query.inputs.shape
