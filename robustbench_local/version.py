"""The version of this package, importable from every module without the package root."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
