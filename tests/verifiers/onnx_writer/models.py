"""What a written file computes: by onnxruntime, or by onnx's reference implementation."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor

from ..onnx_reader.models import session

__all__ = ["computed", "referenced"]


def computed(path: Path, x: Tensor) -> Tensor:
    """onnxruntime's output on a whole batch."""
    run = session(path.read_bytes())
    return torch.from_numpy(run.run(None, {run.get_inputs()[0].name: x.numpy()})[0])


def referenced(path: Path, x: Tensor) -> Tensor:
    """The reference implementation's output on a whole batch."""
    from onnx.reference import ReferenceEvaluator

    model = onnx.load(path)
    found = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x.numpy()})
    return torch.from_numpy(found[0])
