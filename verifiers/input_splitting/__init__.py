"""Branch and bound over the input box, for queries with few inputs that vary."""

from __future__ import annotations

from .splitting import InputSplitting

__all__ = ["InputSplitting"]
