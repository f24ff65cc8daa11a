"""Writing properties as VNN-LIB files whose unsafe set is never smaller than the property's.

So a tool that proves the file (`unsat`) has proved the property; what it finds (`sat`) must be replayed.
"""

from .files import write_vnnlib

__all__ = ["write_vnnlib"]
