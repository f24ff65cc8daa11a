"""Arrays of a text: a file beside it for each, named by its content, read without running any code."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robustbench_local.atomic import write_atomically
from robustbench_local.errors import DataError

from ..expressions.constants import Constant

__all__ = ["array_path", "read_array", "write_array"]

_ENTRY = "values"
_LARGEST = 2**28  # elements: 2 GiB


def array_path(folder: Path, digest: str) -> Path:
    """The file of the array with this sha256."""
    return folder / f"{digest}.npz"


def write_array(folder: Path, constant: Constant) -> Path:
    """Write the numbers of a constant, as float64, to the file that is named by them."""
    stream = io.BytesIO()
    numbers = constant.number.cpu().contiguous().numpy().astype("<f8")
    np.lib.format.write_array(stream, numbers, version=(1, 0), allow_pickle=False)

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:  # of equal bytes for equal numbers
            entry = zipfile.ZipInfo(f"{_ENTRY}.npy")
            archive.writestr(entry, stream.getvalue(), zipfile.ZIP_DEFLATED)

    return write_atomically(array_path(folder, constant.digest), write)


def read_array(folder: Path, digest: str, shape: tuple[int, ...]) -> Tensor:
    """The numbers with this sha256 and shape, float64. Raises DataError where the file does not hold them."""
    path = array_path(folder, digest)
    if math.prod(shape) > _LARGEST:
        raise DataError(f"an array of {math.prod(shape)} elements, at most {_LARGEST} are read")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{_ENTRY}.npy") as stream:
            found = _numbers(stream.read(8 * math.prod(shape) + 4096), shape)  # and no byte more
    except FileNotFoundError:
        cure = "write_spec puts arrays beside the text: copy both"
        raise DataError(f"no file {path.name} beside the text", cure=cure) from None
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path.name} cannot be read: {reason}") from error
    if Constant(found).digest != digest:
        raise DataError(f"the content of {path.name} does not have its sha256", cure="write it anew")
    return found


def _numbers(data: bytes, shape: tuple[int, ...]) -> Tensor:
    """The float64 numbers in the bytes of a .npy file; ValueError for others."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("another version of the format .npy")
    dims, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dims != shape or dtype != np.dtype("<f8"):
        raise ValueError(f"it holds {dtype} of shape {dims}, declared are float64 of shape {shape}")
    stream.seek(0)
    return torch.from_numpy(np.lib.format.read_array(stream, allow_pickle=False).copy())
