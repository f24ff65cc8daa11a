"""Writing properties as VNN-LIB files whose unsafe set is never smaller than the property's.

So a tool that proves the file (`unsat`) has proved the property; what it finds (`sat`) must be replayed.
"""

from .files import write_vnnlib
from .head import atoms_as_outputs

__all__ = ["atoms_as_outputs", "write_vnnlib"]
