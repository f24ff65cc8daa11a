"""Checkpoints: network and optimiser tensors in one safetensors file whose header holds the rest as JSON.

One file, replaced in one step, so that tensors and the record of how far they got can never disagree.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from robustbench_local.errors import CheckpointError, DataError

from .progress import EpochRecord
from .recipe import Recipe, recipe_from

__all__ = ["restore_checkpoint", "save_checkpoint"]

FORMAT = 1


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    history: Sequence[EpochRecord],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state after the epochs of `history` to `path`, replacing an older checkpoint in one step."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
    record = {
        "format": FORMAT,
        "recipe": recipe.as_dict(),
        "history": [asdict(epoch) for epoch in history],
    }
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(save(plain, metadata={"training": json.dumps(record)}))
    os.replace(temporary, path)


def restore_checkpoint(
    path: Path, recipe: Recipe, network: nn.Module, optimizer: torch.optim.Optimizer
) -> list[EpochRecord]:
    """Fill `network` and `optimizer` from `path` and return the records of the epochs already done.

    The checkpoint must come from an equal recipe; only `epochs` and `radii` may differ, since neither
    changes what an epoch does. Raises `CheckpointError` for a missing or broken file or another recipe.
    """
    record, tensors = _read(path)
    try:
        trained = recipe_from(record["recipe"], where=str(path))
        history = [EpochRecord(**row) for row in record["history"]]
    except (DataError, KeyError, TypeError) as error:
        raise CheckpointError(f"not a checkpoint of this version: {error}", where=str(path)) from error
    if replace(trained, epochs=recipe.epochs, radii=recipe.radii) != recipe:
        raise CheckpointError(
            f"the checkpoint comes from another recipe ({_difference(trained, recipe)} differs)",
            where=str(path),
            cure="start without resuming, or restore the recipe",
        )
    if len(history) > recipe.epochs:
        raise CheckpointError(
            f"the checkpoint has {len(history)} epochs, the recipe {recipe.epochs}", where=str(path)
        )
    try:
        network.load_state_dict(_under("network.", tensors))
        optimizer.load_state_dict(_optimizer_state(optimizer, _under("optimizer.", tensors)))
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"the tensors do not fit: {error}", where=str(path)) from error
    return history


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(
            "there is no checkpoint to resume from", where=str(path), cure="start without resuming"
        )
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"not a checkpoint: {error}", where=str(path)) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CheckpointError("the checkpoint has another format", where=str(path), cure="train anew")
    return record, tensors


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def _difference(one: Recipe, other: Recipe) -> str:
    left, right = one.as_dict(), other.as_dict()
    return ", ".join(key for key in left if left[key] != right[key] and key not in ("epochs", "radii"))
