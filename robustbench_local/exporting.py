"""Any model as an ONNX file, read again to see that it computes the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from robustbench_local.errors import GraphError, ShapeError
from robustbench_local.models import MODELS, split_name
from robustbench_local.verifiers import GraphNetwork, from_onnx, write_onnx

from .device import find_device
from .named_models import NamedModel, find_model

__all__ = ["export_onnx", "largest_difference"]

_SAMPLES = 4
_TOLERANCE = 1e-3  # of the largest output: far above rounding, far below another function


def export_onnx(
    model: nn.Module | str | Path,
    path: str | Path,
    *,
    input_shape: Sequence[int] | None = None,
    input_name: str = "input",
    output_name: str = "output",
    opset: int = 17,
    device: str | torch.device | None = None,
) -> Path:
    """Writes the model as an ONNX file for any batch size, and returns the file's path.

    Args:
        model: a module, a zoo name ("digits-cnn:certified"), an ONNX file, or "file.py:function".
        path: of the file to write; missing folders are made, and the file appears complete or not at all.
        input_shape: of one sample, e.g. (3, 32, 32), where it is neither that of a zoo model nor of a file.
        input_name, output_name: names in the file.
        opset: version of ONNX's operators, 13 to 25.
        device: where to compute; default: the CPU, or where the module is.

    Raises RobustBenchError for a model that cannot be used, or an operator that cannot be written.
    """
    named = find_model(model, device=None if device is None else find_device(device))
    shape = _shape(named, input_shape)
    _try(named, shape)
    return write_onnx(
        named.network, path, input_shape=shape, input_name=input_name, output_name=output_name, opset=opset
    )


def largest_difference(
    model: nn.Module | str | Path,
    path: str | Path,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> tuple[float, str]:
    """How much model and file differ at most on random inputs within [0, 1], by the largest output.

    And what ran the file: "onnxruntime" where it is installed, else "from_onnx". GraphError: the difference
    is more than rounding explains, so the file is of another network.
    """
    named = find_model(model, device=None if device is None else find_device(device))
    again = from_onnx(path)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(_SAMPLES, *again.input_shape, generator=generator, dtype=again.dtype)
    with torch.inference_mode():
        wanted = named.network(x.to(named.device)).cpu().reshape(_SAMPLES, -1)
        found = _by_onnxruntime(path, x)
        by = "from_onnx" if found is None else "onnxruntime"
        found = (again.run(x) if found is None else found).reshape(_SAMPLES, -1)
    if found.shape != wanted.shape:
        numbers = f"{wanted.shape[1]} numbers, the file {found.shape[1]}"
        raise GraphError(f"the model gives {numbers}", where=str(path), cure="export it again")
    difference = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6))
    if not difference <= _TOLERANCE:
        raise GraphError(
            f"the file differs from the model by {difference:.2g} of the largest output",
            where=str(path),
            cure="give the model that the file was made of; else report this network",
        )
    return difference, by


def _by_onnxruntime(path: str | Path, x: Tensor) -> Tensor | None:
    """The file's output; None where onnxruntime is not installed, or has no kernel for it."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        run = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return torch.from_numpy(run.run(None, {run.get_inputs()[0].name: x.numpy()})[0])
    except Exception:  # its own errors share no public base; double precision lacks many kernels
        return None


def _try(named: NamedModel, shape: tuple[int, ...]) -> None:
    """Raise ShapeError where the model does not take such inputs."""
    tensors = (*named.network.parameters(), *named.network.buffers())
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
    try:
        with torch.inference_mode():
            named.network(torch.zeros(1, *shape, dtype=dtype, device=named.device))
    except RuntimeError as error:
        raise ShapeError(
            f"{named.name} cannot take inputs of shape {shape}: {' '.join(str(error).split())[:200]}",
            where="input_shape",
            cure="give the shape of one sample, without the batch axis",
        ) from error


def _shape(named: NamedModel, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is not None:
        return tuple(given)
    if isinstance(named.network, GraphNetwork):
        return named.network.graph.input_shape
    architecture = split_name(named.name)[0] if named.family != "custom" else ""
    if architecture in MODELS:
        return MODELS[architecture].card.input_shape
    raise ShapeError(
        f"the shape of one input of {named.name} is not known",
        where="input_shape",
        cure="give it: input_shape=(3, 32, 32), --input-shape 3,32,32",
    )
