"""The index of a folder of weights: which files it holds, their hashes, recipes, metrics; without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustbench_local.errors import WeightsError

__all__ = ["INDEX", "SHIPPED", "WeightsRecord", "read_index"]

SHIPPED = Path(__file__).resolve().parent / "weights"
"""The folder of the weights that come with the package."""

INDEX = "index.json"
"""The index file of every such folder."""


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """One weight set of an index: `model` and `weights` name it, `file` lies beside the index.

    `sha256` is the hash of the file, `recipe` the full recipe that trained it as plain JSON data (of a row of
    the zoo: its id, the seed and where the fit is), and `metrics` what was measured afterwards (accuracies
    in [0, 1]; of a row: the gate's value).
    """

    model: str
    weights: str
    file: str
    sha256: str
    recipe: Mapping[str, Any]
    metrics: Mapping[str, Any]


def read_index(folder: Path = SHIPPED) -> dict[str, WeightsRecord]:
    """The records of `folder` by "model:weights", in the order of the index; empty where it has no index.

    Raises `WeightsError` for an index that is no valid JSON or lacks a field.
    """
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        records = [WeightsRecord(**row) for row in rows]
    except (json.JSONDecodeError, TypeError) as error:
        raise WeightsError(f"not a weights index: {error}", where=str(path)) from error
    return {f"{record.model}:{record.weights}": record for record in records}
