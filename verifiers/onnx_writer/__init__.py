"""Writes graphs and torch modules as ONNX files: `write_onnx`. A new operator: a function in `exporters/`."""

from __future__ import annotations

from .write import write_onnx

__all__ = ["write_onnx"]
