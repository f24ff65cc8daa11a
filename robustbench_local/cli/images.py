"""The images of a data set that a command is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustbench_local.data import Dataset

__all__ = ["images"]


def images(dataset: str, positions: Sequence[int], first: int | None) -> Dataset:
    """The test images at these positions, or the first ones instead; DataError for one there is not."""
    import torch

    from robustbench_local.data import load_dataset
    from robustbench_local.errors import DataError

    data = load_dataset(dataset, split="test")
    chosen = list(positions) if first is None else list(range(min(first, len(data))))
    for k in chosen:
        if not 0 <= k < len(data):
            raise DataError(
                f"no image {k}", where="--image", cure=f"{dataset} has test images 0 to {len(data) - 1}"
            )
    return data.select(torch.tensor(chosen))
