"""Points that violate a property, in memory and on disk: `WitnessStore`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .atomic import write_atomically
from .columns import RERUN
from .errors import ResultsError

if TYPE_CHECKING:  # works without torch; only `WitnessStore.save` and `load` import it
    from torch import Tensor

__all__ = ["WitnessStore"]


class WitnessStore:
    """Points that violate a property, by the hex sha256 that the table's `witness` column holds.

    A mapping in memory (`store[key]`, `key in store`, `len`, iteration over keys) that is saved as one
    `witnesses.safetensors`: the witness under its key, the unperturbed input, where known, under
    `<key>.centre`, the network's outputs at both under `<key>.scores`. Tensors are kept detached, on the
    CPU, without a batch axis.
    """

    FILE = "witnesses.safetensors"

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}

    def add(self, witness: Tensor, centre: Tensor | None = None, *, scores: Tensor | None = None) -> str:
        """Store one point (*shape), with the input (*shape) it was found from, and return its key.

        `scores` (2, n_out) are the outputs at the input and at the point; a report names the classes by
        them. The key is the sha256 over type, shape and bytes of point and input: equal ones are stored once.
        """
        given = {"": witness, ".centre": centre, ".scores": scores}
        parts = {name: t.detach().cpu().contiguous().clone() for name, t in given.items() if t is not None}
        key = _digest(parts[""], parts.get(".centre"))
        self._tensors.update({f"{key}{name}": tensor for name, tensor in parts.items()})
        return key

    def centre(self, key: str) -> Tensor | None:
        """The input (*shape) that the witness `key` was found from, or None where it was not stored."""
        return self._tensors.get(f"{key}.centre")

    def scores(self, key: str) -> Tensor | None:
        """The outputs (2, n_out) at the input and at the witness `key`, or None where not stored."""
        return self._tensors.get(f"{key}.scores")

    def __getitem__(self, key: str) -> Tensor:
        """The witness (*shape) stored under `key`; `ResultsError` where there is none."""
        try:
            return self._tensors[key]
        except KeyError as error:
            cure = "keep witnesses.safetensors beside the results it was written with"
            raise ResultsError(f"no witness {key!r}", cure=cure) from error

    def __contains__(self, key: object) -> bool:
        return key in self._tensors

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._tensors if "." not in key)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def update(self, other: WitnessStore) -> None:
        """Add every witness of `other`, as resuming a run does with those of the first part."""
        self._tensors.update(other._tensors)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `witnesses.safetensors` into `folder` (made if needed), complete or not at all."""
        from safetensors.torch import save_file

        return write_atomically(Path(folder) / self.FILE, lambda path: save_file(self._tensors, path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WitnessStore:
        """The store in a folder or file; an empty one where the folder has none.

        Raises `ResultsError` for a broken file, and for a tensor that does not match its hash.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        store = cls()
        place = Path(path)
        if place.is_dir():
            place = place / cls.FILE
            if not place.is_file():
                return store
        try:
            store._tensors = load_file(place)
        except (SafetensorError, OSError) as error:
            what = f"cannot read the witnesses: {error}"
            raise ResultsError(what, where=str(place), cure=RERUN) from error
        for key in store:
            if _digest(store[key], store.centre(key)) != key:
                raise ResultsError(f"witness {key!r} does not match its hash", where=str(place), cure=RERUN)
        return store


def _digest(witness: Tensor, centre: Tensor | None) -> str:
    digest = hashlib.sha256()
    for tensor in (witness,) if centre is None else (witness, centre):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
