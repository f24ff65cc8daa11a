"""Derivatives of networks as networks: a forward pass on pairs of a value and its derivative.

Every file enters the rules of its functions; one that is dropped in here is imported with the others.
"""

from __future__ import annotations

import importlib as _importlib
import pkgutil as _pkgutil

from .dual import Dual, derivative
from .jump import jump

__all__ = ["Dual", "derivative", "jump"]

for _module in _pkgutil.iter_modules(__path__):
    _importlib.import_module(f"{__name__}.{_module.name}")
