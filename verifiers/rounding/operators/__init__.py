"""What is known of the operators' rounding, one file per family; every module here is imported."""

from __future__ import annotations

import importlib as _importlib
import pkgutil as _pkgutil

for _module in _pkgutil.iter_modules(__path__):
    _importlib.import_module(f"{__name__}.{_module.name}")

__all__: list[str] = []
