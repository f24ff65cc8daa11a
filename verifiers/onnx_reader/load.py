"""From a file to a checked ONNX model: plain or gzip, with external data; no code of the file ever runs."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_local.errors import DataError, GraphError

if TYPE_CHECKING:
    import onnx

__all__ = ["OLDEST", "load_model", "opset_of"]

OLDEST = 7  # earlier operators broadcast by attributes
_LARGEST = 2**31  # bytes: the limit of protobuf itself


def load_model(source: str | Path | onnx.ModelProto) -> onnx.ModelProto:
    """The model of a `.onnx` or `.onnx.gz` file, external data read; a model object as it is.

    DataError: the file is missing, is not ONNX, or its external data are missing or lie outside its folder.
    """
    import onnx

    if isinstance(source, onnx.ModelProto):
        return source
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
    if not model.HasField("graph") or not model.graph.node:
        raise DataError("the ONNX file holds no network", where=str(path), cure="export it again")
    _read_external(model, path)
    return model


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


def _read_external(model: onnx.ModelProto, path: Path) -> None:
    import onnx
    from onnx import external_data_helper

    for tensor in model.graph.initializer:
        if not external_data_helper.uses_external_data(tensor):
            continue
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        except Exception as error:  # its failures range from OSError to onnx's own C++ errors
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
            raise DataError(
                f"the external data of {tensor.name!r} cannot be read: {reason}",
                where=str(path),
                cure="keep the data file beside the model, under the name it was exported with",
            ) from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
