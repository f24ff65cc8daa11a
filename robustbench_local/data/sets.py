"""The registry of data sets, and the rule that cuts them into training and test rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import DataError, LabelError, NonFiniteError, ShapeError, UnknownNameError

__all__ = ["DATASETS", "Dataset", "Source", "Split", "dataset", "load_dataset", "stratified_test_rows"]

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A whole data set before it is cut: inputs (N, *shape) float32, labels (N,) int64, in original order.

    `test_size` rows go to the test split. `licence` and `origin` say where the data come from.
    """

    inputs: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    test_size: int
    licence: str
    origin: str


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """One split: `inputs` (N, *shape) float32, `labels` (N,) int64, `ids` (N,) int64 rows of the original.

    Ids are unique and ascending. Raises `ShapeError` where the three lengths differ, `LabelError` for a
    label outside `classes`, `NonFiniteError` for NaN or infinite inputs.
    """

    name: str
    split: Split
    inputs: Tensor
    labels: Tensor
    ids: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.inputs)
        if self.labels.shape != (n,) or self.ids.shape != (n,):
            raise ShapeError(
                f"{n} inputs, labels {tuple(self.labels.shape)}, ids {tuple(self.ids.shape)}",
                where=f"data set {self.name!r}",
                cure="give one label and one id per input",
            )
        first, last = (int(self.labels.min()), int(self.labels.max())) if n else (0, -1)
        if first < 0 or last >= len(self.classes):
            raise LabelError(
                f"labels from {first} to {last} for {len(self.classes)} classes",
                where=f"data set {self.name!r}",
            )
        if not bool(torch.isfinite(self.inputs).all()):
            raise NonFiniteError("inputs hold NaN or infinity", where=f"data set {self.name!r}")

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch axis."""
        return tuple(self.inputs.shape[1:])

    def select(self, index: Tensor) -> Dataset:
        """The rows of `index` (n,) positions in this split (int64 or bool), in that order."""
        return Dataset(
            self.name, self.split, self.inputs[index], self.labels[index], self.ids[index], self.classes
        )


_DATASETS: dict[str, Callable[[], Source]] = {}
DATASETS: Mapping[str, Callable[[], Source]] = MappingProxyType(_DATASETS)
"""Registry: data set name -> the function that loads the whole of it."""


def dataset(name: str) -> Callable[[Callable[[], Source]], Callable[[], Source]]:
    """Decorator that registers a function returning a `Source` under `name` (replaces an older one)."""

    def register(load: Callable[[], Source]) -> Callable[[], Source]:
        _DATASETS[name] = load
        return load

    return register


def load_dataset(name: str, *, split: Split = "test") -> Dataset:
    """One split of the data set `name` on the CPU; the same rows in the same order every time.

    Raises `UnknownNameError` for an unknown name or split.
    """
    if name not in DATASETS:
        raise UnknownNameError.of("data set", name, DATASETS)
    if split not in SPLITS:
        raise UnknownNameError.of("split", split, SPLITS)
    source = DATASETS[name]()
    test = stratified_test_rows(source.labels, source.test_size, key=name)
    chosen = torch.zeros(len(source.labels), dtype=torch.bool)
    chosen[test] = True
    rows = torch.nonzero(chosen if split == "test" else ~chosen).flatten()
    return Dataset(name, split, source.inputs[rows], source.labels[rows], rows, source.classes)


def stratified_test_rows(labels: Tensor, size: int, *, key: str) -> Tensor:
    """`size` row numbers, ascending int64, holding each class in its share of `labels` (N,).

    Classes get their shares by largest remainder (ties: the smaller class number first); within a class the
    rows with the smallest SHA-256 of "key:row" are taken. No random generator takes part, so the split
    depends on nothing but `key`, and a row's place is easy to check by hand.
    Raises `DataError` unless 0 <= size <= N.
    """
    if not 0 <= size <= len(labels):
        raise DataError(f"a test split of {size} rows from {len(labels)}", where=key)
    counts = torch.bincount(labels) if len(labels) else torch.zeros(0, dtype=torch.int64)
    shares = [divmod(int(count) * size, len(labels)) for count in counts]
    quota = [whole for whole, _ in shares]
    by_remainder = sorted(range(len(shares)), key=lambda c: (-shares[c][1], c))
    for c in by_remainder[: size - sum(quota)]:
        quota[c] += 1
    rows: list[int] = []
    for c, take in enumerate(quota):
        members = torch.nonzero(labels == c).flatten().tolist()
        rows += sorted(members, key=lambda row: hashlib.sha256(f"{key}:{row}".encode()).digest())[:take]
    return torch.tensor(sorted(rows), dtype=torch.int64)


@dataset("digits")
def _digits() -> Source:
    """1,797 handwritten digits, 1x8x8, pixels k/16 for k = 0..16, which float32 holds exactly.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part).
    """
    from sklearn.datasets import load_digits  # takes most of a second: only when the data are asked for

    pixels, digits = load_digits(return_X_y=True)
    return Source(
        inputs=torch.from_numpy(np.asarray(pixels, dtype=np.float32) / 16).reshape(-1, 1, 8, 8),
        labels=torch.from_numpy(np.asarray(digits, dtype=np.int64)),
        classes=tuple(str(digit) for digit in range(10)),
        test_size=600,
        licence="CC BY 4.0",
        origin="scikit-learn's load_digits: UCI Optical Recognition of Handwritten Digits (1998), test part",
    )
