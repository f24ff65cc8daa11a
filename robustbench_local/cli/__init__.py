"""The command line `rbl`. This folder is the only place of the package that prints.

One file per group of commands; what they need is imported inside them, so that `rbl --help` is quick.
"""

from __future__ import annotations

from .app import app, main, run

__all__ = ["app", "main", "run"]
