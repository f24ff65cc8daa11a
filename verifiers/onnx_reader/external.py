"""Weights in files beside the model, as ONNX's external data: read from the model's own folder only.

A model names such a file itself, so a model from anywhere could name any file. Here a location is a path
below the model's folder, links followed; a plain file; and as large as the tensor says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from robustbench_local.errors import DataError

if TYPE_CHECKING:
    import onnx

__all__ = ["read_external"]


def read_external(model: onnx.ModelProto, path: Path | None) -> None:
    """Put all external data into the model, which was read from `path`; None: from no file.

    DataError: a file is missing, lies outside the model's folder, or is smaller than the tensor.
    """
    from onnx import TensorProto

    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        if path is None:
            raise DataError(
                f"the data of {tensor.name!r} are in another file",
                cure="give the model's path instead of the model, or load the data (onnx.load does)",
            )
        facts = {entry.key: entry.value for entry in tensor.external_data}
        try:
            tensor.raw_data = _bytes(tensor, facts, path.parent)
        except (OSError, ValueError) as error:
            raise DataError(
                f"the external data of {tensor.name!r} cannot be read: {error}",
                where=str(path),
                cure="keep the data file beside the model, under the name it was exported with",
            ) from error
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _bytes(tensor: Any, facts: dict[str, str], folder: Path) -> bytes:
    """The tensor's bytes; ValueError or OSError with the reason why not."""
    place = _inside(facts.get("location", ""), folder)
    expected = _size(tensor)
    offset = _whole(facts.get("offset", "0"))
    length = _whole(facts.get("length", str(expected)))
    if length != expected:
        raise ValueError(f"{length} bytes are given for a tensor of {expected}")
    if not place.is_file():
        raise ValueError(f"{place.name} is no file")
    if place.stat().st_size < offset + length:
        raise ValueError(f"{place.name} has fewer than {offset + length} bytes")
    with place.open("rb") as stream:
        stream.seek(offset)
        found = stream.read(length)
    if len(found) != length:
        raise ValueError(f"{place.name} became shorter while it was read")
    return found


def _inside(location: str, folder: Path) -> Path:
    """The file `location`, a relative path within `folder`, both with links followed."""
    parts = PurePosixPath(location).parts
    foreign = PureWindowsPath(location)
    if not location or "\0" in location or ".." in parts or ".." in foreign.parts:
        raise ValueError(f"the location {location!r} is not a path below the model's folder")
    if PurePosixPath(location).is_absolute() or foreign.drive or foreign.root:
        raise ValueError(f"the location {location!r} is not relative to the model's folder")
    root = folder.resolve()
    place = (root / location).resolve()
    if not place.is_relative_to(root):
        raise ValueError(f"the location {location!r} leads out of the model's folder")
    return place


def _size(tensor: Any) -> int:
    """Bytes of a tensor of its shape and type."""
    width = next((w for w, kinds in _WIDTHS.items() if tensor.data_type in kinds), None)
    if width is None or any(size < 0 for size in tensor.dims):
        raise ValueError(f"a tensor of type {tensor.data_type} and shape {list(tensor.dims)} has none")
    return int(math.prod(tensor.dims)) * width


#: Bytes of one number, and the types of ONNX's TensorProto that have as many.
_WIDTHS = {
    1: (2, 3, 9, 17, 18, 19, 20),  # UINT8, INT8, BOOL, FLOAT8...
    2: (4, 5, 10, 16),  # UINT16, INT16, FLOAT16, BFLOAT16
    4: (1, 6, 12),  # FLOAT, INT32, UINT32
    8: (7, 11, 13),  # INT64, DOUBLE, UINT64
}


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is no number of bytes")
    return int(text)


def _tensors(graph: Any) -> Iterator[Any]:
    """The tensors of an ONNX graph: weights, and attributes of its operators and of graphs inside."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _tensors(inner)
