"""From a file to a checked ONNX model: plain or gzip, with external data; no code of the file ever runs."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_local.errors import DataError, GraphError

from .external import read_external

if TYPE_CHECKING:
    import onnx

__all__ = ["OLDEST", "load_model", "opset_of"]

OLDEST = 7  # earlier operators broadcast by attributes
_LARGEST = 2**31  # bytes: the limit of protobuf itself


def load_model(source: str | Path | onnx.ModelProto) -> onnx.ModelProto:
    """The model of a `.onnx` or `.onnx.gz` file, external data read; a model object as it is.

    DataError: the file is missing, is not ONNX, or its external data are missing or lie outside its folder;
    a model object has data elsewhere.
    """
    import onnx

    if isinstance(source, onnx.ModelProto):
        return _complete(source, None)
    path = Path(source)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(_read(path))
    except Exception as error:  # protobuf's DecodeError has no public name in all its versions
        if isinstance(error, DataError):
            raise
        raise DataError(
            "the file is not an ONNX model", where=str(path), cure="export it again, or copy it anew"
        ) from error
    if not _is_text(model.graph):
        raise DataError("names in the ONNX file are no text", where=str(path), cure="export it again")
    if not model.HasField("graph") or not model.graph.node:
        raise DataError("the ONNX file holds no network", where=str(path), cure="export it again")
    return _complete(model, path)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators; GraphError where it is too old or too new."""
    import onnx

    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    newest = onnx.defs.onnx_opset_version()
    if not versions or not OLDEST <= min(versions) <= max(versions) <= newest:
        found = ", ".join(map(str, versions)) or "none"
        raise GraphError(
            f"the file's opset is {found}; readable are {OLDEST} to {newest}",
            cure="convert it with onnx.version_converter.convert_version, or export it again",
        )
    return int(max(versions))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size >= _LARGEST:
            raise DataError("the file exceeds 2 GB", where=str(path), cure="use external data")
        raw = path.read_bytes()
        if raw[:2] != b"\x1f\x8b":
            return raw
        with gzip.open(path) as stream:
            unpacked = stream.read(_LARGEST)
    except FileNotFoundError as error:
        raise DataError("no such network file", where=str(path), cure="check the path") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"the network's file cannot be read: {error}", where=str(path), cure="copy it anew"
        ) from error
    if len(unpacked) == _LARGEST:
        raise DataError("the unpacked file exceeds 2 GB", where=str(path), cure="use external data")
    return unpacked


def _is_text(graph: onnx.GraphProto) -> bool:
    """Whether the names of values and operators are Unicode: protobuf gives bytes for those that are not."""
    names = [part.name for part in (*graph.input, *graph.output, *graph.initializer, *graph.node)]
    for node in graph.node:
        names += [*node.input, *node.output, node.op_type, node.domain, *(a.name for a in node.attribute)]
    return all(isinstance(name, str) for name in names)


def _complete(model: onnx.ModelProto, path: Path | None) -> onnx.ModelProto:
    """The model with everything it needs inside: functions inlined, external data read."""
    inlined = _inlined(model)
    read_external(inlined, path)
    return inlined


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own: each call replaced by what the function does."""
    if not model.functions:
        return model
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # onnx's own C++ errors share no public base
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise GraphError(
            f"the model's own functions cannot be inlined: {reason}", cure="export it again, inlined"
        ) from error
