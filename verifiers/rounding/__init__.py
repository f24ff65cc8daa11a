"""Rounding errors: of the network's own forward pass, and of the bounds computed here."""

from __future__ import annotations

import importlib as _importlib

from .arithmetic import ARITHMETICS, Arithmetic, arithmetic_of, find_arithmetic
from .deployed import Deployed
from .formats import BFLOAT16, DOUBLE, FORMATS, HALF, SINGLE, Format
from .forward import forward_errors, in_format, outward_intervals
from .outward import Outward, outward
from .rule import ROUNDINGS, Rounding, Step, find_rounding, register_rounding

__all__ = [
    "ARITHMETICS",
    "BFLOAT16",
    "DOUBLE",
    "FORMATS",
    "HALF",
    "ROUNDINGS",
    "SINGLE",
    "Arithmetic",
    "Deployed",
    "Format",
    "Outward",
    "Rounding",
    "Step",
    "arithmetic_of",
    "find_arithmetic",
    "find_rounding",
    "forward_errors",
    "in_format",
    "outward",
    "outward_intervals",
    "register_rounding",
]

_importlib.import_module(f"{__name__}.operators")  # entries register themselves
