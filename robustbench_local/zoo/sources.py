"""The files of models/ that a row is made of: its own, and those of the zoo that it imports."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

from robustbench_local.models import SHIPPED, Row

__all__ = ["sources_of"]

FOLDER = SHIPPED.parent
FRAME = ("card.py", "registry.py", "row.py")  # what every row imports and none depends on


def sources_of(row: Row) -> tuple[str, ...]:
    """Paths relative to models/, sorted: the file of the builder and of the claims, and their imports."""
    functions: list[Callable[..., object]] = [row.entry.build, row.gate.measure, *row.fits.values()]
    functions += [f for claim in row.claims for f in (claim.query, claim.control)]
    functions += [claim.groups.members for claim in row.claims if claim.groups is not None]
    todo = {path for f in functions if (path := _file(f)) is not None}
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        seen.add(path)
        todo |= _imports(path) - seen
    return tuple(sorted(str(path.relative_to(FOLDER)) for path in seen))


def _file(function: Callable[..., object]) -> Path | None:
    inner = function.func if isinstance(function, partial) else function
    source = inspect.getsourcefile(inner)
    path = Path(source or "").resolve()
    return path if path.is_relative_to(FOLDER) else None


def _imports(path: Path) -> set[Path]:
    """The files of models/ that `path` imports by relative imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = path.parents[node.level - 1]
        stem = base.joinpath(*(node.module or "").split("."))
        candidates = [stem.with_suffix(".py"), *(stem / f"{alias.name}.py" for alias in node.names)]
        found |= {file for file in candidates if file.is_file() and file.name not in FRAME}
    return found
