"""Weights on disk: safetensors files, and beside them one `index.json` with hashes, metrics and recipes.

A folder of weights is shipped (`SHIPPED`) or written by a training run; both have the same form, so a
run's folder can be given to `load_model` as it is. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from robustbench_local.errors import UnknownNameError, WeightsError

from .index import INDEX, SHIPPED, WeightsRecord, read_index
from .registry import MODELS, build_model, split_name

__all__ = ["load_model", "model_hash", "save_weights"]


def model_hash(module: nn.Module) -> str:
    """SHA-256, in hex, over names, shapes, dtypes and bytes of all parameters and buffers, sorted by name.

    Equal for equal networks wherever they live: device and memory layout do not count.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(value.shape)}|{value.dtype}|".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_model(name: str, weights: str | None = None, *, folder: Path = SHIPPED) -> nn.Module:
    """The network `name` with its weight set `weights`, on the CPU, in evaluation mode.

    `name` may carry the weight set ("digits-cnn:certified"); without either it is "nominal". `folder`
    holds the files and their index. Raises `UnknownNameError` for an unknown model or weight set, and
    `WeightsError` where the file is missing, does not have the recorded hash, or does not fit the model.
    """
    architecture, named = split_name(name)
    if named is not None and weights is not None and named != weights:
        raise UnknownNameError(
            f"two weight sets, {named!r} and {weights!r}", where=f"model {name!r}", cure="give one of them"
        )
    if architecture not in MODELS:
        raise UnknownNameError.of("model", architecture, MODELS)
    wanted = named or weights or "nominal"
    records = {r.weights: r for r in read_index(folder).values() if r.model == architecture}
    if wanted not in records:
        raise UnknownNameError.of(f"weight set of {architecture!r}", wanted, records)
    module = build_model(architecture)
    _fill(module, _read(folder / records[wanted].file, records[wanted].sha256), folder / records[wanted].file)
    return module


def save_weights(
    module: nn.Module,
    name: str,
    *,
    recipe: Mapping[str, Any],
    metrics: Mapping[str, Any],
    folder: Path,
) -> WeightsRecord:
    """Write the weights of `module` as the weight set `name` ("model:weights") and record them in the index.

    Each file is replaced in one step, the index last: between the two the old hash makes loading fail
    rather than pass for the old weights. Raises `UnknownNameError` or `WeightsError` for a bad name.
    """
    architecture, weights = split_name(name)
    if architecture not in MODELS:
        raise UnknownNameError.of("model", architecture, MODELS)
    if not weights:
        raise WeightsError(f"{name!r} names no weight set", cure="write model:weights, as digits-cnn:nominal")
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    blob = save(state)
    record = WeightsRecord(
        model=architecture,
        weights=weights,
        file=f"{architecture}-{weights}.safetensors",
        sha256=hashlib.sha256(blob).hexdigest(),
        recipe=recipe,
        metrics=metrics,
    )
    records = {**read_index(folder), name: record}
    rows = [
        {field: getattr(records[key], field) for field in WeightsRecord.__slots__} for key in sorted(records)
    ]
    _replace(folder / record.file, blob)
    _replace(folder / INDEX, (json.dumps(rows, indent=1) + "\n").encode())
    return record


def _read(path: Path, expected: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError("the weights file is missing", where=str(path), cure="train the model's recipe")
    blob = path.read_bytes()
    got = hashlib.sha256(blob).hexdigest()
    if got != expected:
        raise WeightsError(
            f"expected sha256 {expected}, got {got}",
            where=str(path),
            cure="restore the file, or train its recipe again",
        )
    try:
        return load(blob)
    except SafetensorError as error:
        raise WeightsError(f"not a safetensors file: {error}", where=str(path)) from error


def _fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    own = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in state.items()}
    if own != got:
        different = sorted(set(own.items()) ^ set(got.items()))
        raise WeightsError(
            f"the weights do not fit the model: {different[0]} on one side only", where=str(path)
        )
    broken = [key for key, value in state.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise WeightsError(f"the tensor {broken[0]!r} holds NaN or infinity", where=str(path))
    module.load_state_dict(state)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
