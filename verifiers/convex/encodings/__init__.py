"""Exact encodings of piecewise linear operators with integer columns: one file per family, one table."""

from __future__ import annotations

from . import breakpoints as _breakpoints  # enters the families
from . import extrema as _extrema
from .encoding import ENCODINGS, Encoding, encodes

__all__ = ["ENCODINGS", "Encoding", "encodes"]

del _breakpoints, _extrema
