"""Maxima in a certificate's operators: of two vectors at a time."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from ..graph import Node
from ..rule import find_rule
from ..rules.windowed import MaxPool
from .lowered import Lowered

__all__ = ["max_pool2d", "maximum"]


def maximum(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    """The larger one of two values of a shape."""
    both = len(node.inputs) == 2 and all(p.shape == node.shape for p in node.inputs)
    return made.add("max", inputs, node.numel) if both else None


def max_pool2d(made: Lowered, node: Node, inputs: list[int]) -> int:
    """The maxima of a window's entries, two by two; what a window at the rim lacks is one of its others."""
    table = cast(MaxPool, find_rule(node)).table(node, torch.device("cpu")).flatten(1).numpy()
    table = np.where(table < 0, table.max(0), table)
    channels = np.arange(node.shape[0])[:, None] * (node.inputs[0].numel // node.shape[0])
    parts = [made.pick(inputs[0], (channels + entries).reshape(-1)) for entries in table]
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [made.add("max", pair, node.numel) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]
