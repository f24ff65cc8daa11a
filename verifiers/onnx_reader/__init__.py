"""Reads ONNX files into the project's own graph: `from_onnx`. A new operator is one file in `converters/`."""

from __future__ import annotations

from . import converters as _converters  # enters every converter
from .reader import from_onnx
from .registry import CONVERTERS, converter

__all__ = ["CONVERTERS", "converter", "from_onnx"]

del _converters
