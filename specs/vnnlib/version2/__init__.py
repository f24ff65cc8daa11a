"""VNN-LIB 2.0 and 2.1: typed text with several networks, into declarations and a formula tree."""

from .declarations import Declarations, Network, Tensor
from .element_types import ELEMENT_TYPES, REAL, ElementType
from .property import Vnnlib2Property
from .reader import VERSIONS, Reader

__all__ = [
    "ELEMENT_TYPES",
    "REAL",
    "VERSIONS",
    "Declarations",
    "ElementType",
    "Network",
    "Reader",
    "Tensor",
    "Vnnlib2Property",
]
