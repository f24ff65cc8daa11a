"""Properties in VNN-LIB 1.0, 2.0 and 2.1: reading and writing files (plain, gzip, xz), and their queries."""

from .files import parse_vnnlib, read_vnnlib
from .property import VnnlibProperty
from .rows import Clause
from .version2 import Vnnlib2Property
from .writing import atoms_as_outputs, write_vnnlib

__all__ = [
    "Clause",
    "Vnnlib2Property",
    "VnnlibProperty",
    "atoms_as_outputs",
    "parse_vnnlib",
    "read_vnnlib",
    "write_vnnlib",
]
