"""Properties in VNN-LIB 1.0: reading files (plain, gzip, xz) into unsafe sets, and those into queries."""

from .files import parse_vnnlib, read_vnnlib
from .property import Clause, VnnlibProperty

__all__ = ["Clause", "VnnlibProperty", "parse_vnnlib", "read_vnnlib"]
