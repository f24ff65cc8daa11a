"""Models by the name a user gives: a zoo name, an ONNX file, or a function in a Python file."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from robustbench_local.errors import DataError, RobustBenchError
from robustbench_local.models import MODELS, load_model, split_name
from robustbench_local.verifiers import GraphNetwork, from_onnx

__all__ = ["NamedModel", "find_model"]


@dataclass(frozen=True, slots=True, eq=False)
class NamedModel:
    """A network in eval mode with the name and family it has in tables, and the device it is on."""

    name: str
    family: str
    network: nn.Module
    device: torch.device


def find_model(source: str | Path | nn.Module, *, device: torch.device | None = None) -> NamedModel:
    """The model that `source` names, on `device` (default: the CPU, or where a module already is).

    `source` is a zoo name ("digits-cnn", "digits-cnn:certified"), an ONNX file (.onnx, .onnx.gz),
    "file.py:function" where the function takes no arguments and returns a module, or a module itself. A
    Python file is run; an ONNX file runs no code.

    Raises UnknownNameError for an unknown zoo name, DataError for a file or function that is not there or
    does not return a module, and what `from_onnx` raises.
    """
    if isinstance(source, nn.Module):
        place = device or next((p.device for p in source.parameters()), torch.device("cpu"))
        return NamedModel(type(source).__name__, "custom", source.to(place).eval(), place)
    text, place = str(source), device or torch.device("cpu")
    if text.endswith((".onnx", ".onnx.gz")):
        return NamedModel(Path(text).name, "onnx", GraphNetwork(from_onnx(text)).to(place).eval(), place)
    path, colon, function = text.rpartition(":")
    if colon and path.endswith(".py"):
        return NamedModel(text, "custom", _from_file(Path(path), function).to(place).eval(), place)
    if text.endswith(".py"):
        raise DataError("no function named", where=text, cure=f"write {text}:function")
    architecture, weights = split_name(text)
    network = load_model(text)
    family = MODELS[architecture].card.family
    return NamedModel(f"{architecture}:{weights or 'nominal'}", family, network.to(place).eval(), place)


def _from_file(path: Path, function: str) -> nn.Module:
    if not path.is_file():
        raise DataError("no such file", where=str(path), cure="check the path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise DataError("not a Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        build = vars(module).get(function)
        if not callable(build):
            names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            raise DataError(
                f"no function {function!r}", where=str(path), cure=f"it has: {', '.join(names) or 'none'}"
            )
        network = build()
    except RobustBenchError:
        raise
    except Exception as error:  # whatever the user's own code raises is the user's to see, in one line
        raise DataError(f"{type(error).__name__}: {error}", where=str(path)) from error
    if not isinstance(network, nn.Module):
        raise DataError(
            f"{function} returned a {type(network).__name__}, not a torch module", where=str(path)
        )
    return network
