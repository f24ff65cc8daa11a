"""Training losses, one file each; a file with a class under `@loss(name)` is found by itself."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .objective import LOSSES, Loss, Minibatch, Objective, Term, loss

__all__ = ["LOSSES", "Loss", "Minibatch", "Objective", "Term", "loss"]

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
