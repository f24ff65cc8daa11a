"""The direction of imports: errors <- specs <- {models, attacks, verifiers} <- {evaluation, ...}."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "robustbench_local"
FOLDERS = ("specs", "models", "attacks", "verifiers")  # top-level folders that import as robustbench_local.*
RANK = {
    "errors": 0,
    "version": 0,
    "atomic": 1,
    "checker": 0,
    "specs": 1,
    "models": 2,
    "attacks": 2,
    "verifiers": 2,
    "columns": 2,
    "data": 2,
    "store": 2,
    "witnesses": 2,
}
TOP = 3  # evaluation, training, report, api, cli: whatever is not named above
FRONT = {"api": 4, "cli": 5, "__main__": 6, "__init__": 6}


def sources() -> list[Path]:
    return [p for top in (PACKAGE, *FOLDERS) for p in sorted((ROOT / top).rglob("*.py"))]


def part_of(path: Path) -> str:
    """The layer that a file belongs to: "specs", "errors", "evaluation", ..."""
    place = path.relative_to(ROOT).parts
    return place[0] if place[0] in FOLDERS else Path(place[1]).stem


def imported_parts(tree: ast.AST, path: Path) -> Iterator[tuple[str, int]]:
    """(layer, line) of every import of the project in a file, relative ones resolved."""
    own = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            inner = tuple(node.module.split(".")) if node.module else ()
            base = ".".join((own[: len(own) - node.level + 1] if node.level else ()) + inner)
            names = [f"{base}.{alias.name}" for alias in node.names] if base == PACKAGE else [base]
        for name in names:
            parts = name.split(".")
            if parts[0] == PACKAGE and len(parts) > 1:
                yield parts[1], node.lineno
            elif parts[0] in FOLDERS:
                yield parts[0], node.lineno


def rank(part: str) -> int:
    return FRONT.get(part, RANK.get(part, TOP))


def violations(source: str, path: Path) -> list[str]:
    me = part_of(path)
    return [
        f"{path.relative_to(ROOT)}:{line}: {me} imports {part}"
        for part, line in imported_parts(ast.parse(source), path)
        if part != me
        and (rank(part) > rank(me) or (rank(part) == rank(me) == 2 and {part, me} <= {*FOLDERS}))
    ]


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_other_folders_are_imported_from_their_root(path: Path) -> None:
    deep = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and (node.module or "").startswith(PACKAGE + ".")
        ):
            parts = (node.module or "").split(".")
            if len(parts) > 2 and parts[1] != part_of(path):
                deep.append(f"{node.lineno}: {node.module}")
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == PACKAGE
            and part_of(path) not in {"cli", "__main__"}
        ):
            deep.append(f"{node.lineno}: a name of the package root")
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and (node.module or "").split(".")[0] in FOLDERS
        ):
            deep.append(f"{node.lineno}: a second module object of {node.module}")
        if isinstance(node, ast.Import):
            deep += [f"{node.lineno}: import {a.name}" for a in node.names if a.name.split(".")[0] in FOLDERS]
    assert deep == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("specs/x.py", "from robustbench_local.attacks import pgd"),
        ("attacks/x.py", "from robustbench_local.verifiers import IBP"),
        ("verifiers/rules/x.py", "from robustbench_local.models import MODELS"),
        ("models/x.py", "from robustbench_local import evaluation"),
        ("robustbench_local/errors.py", "import robustbench_local.specs"),
        ("robustbench_local/store.py", "from .evaluation import evaluate"),
        ("robustbench_local/training/x.py", "from ..cli import main"),
    ],
)
def test_planted_violations_are_found(file: str, line: str) -> None:
    assert violations(line, ROOT / file)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("attacks/x.py", "from robustbench_local.specs import Query"),
        ("verifiers/rules/x.py", "from ..graph import Graph"),
        ("robustbench_local/training/losses/x.py", "from robustbench_local.attacks import pgd"),
        ("robustbench_local/evaluation/run.py", "from robustbench_local.store import COLUMNS"),
    ],
)
def test_legal_imports_pass(file: str, line: str) -> None:
    assert violations(line, ROOT / file) == []


def test_only_the_command_line_prints() -> None:
    found = []
    for path in sources():
        if part_of(path) == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"print", "eval", "exec"}
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_no_file_is_named_after_nothing() -> None:
    vague = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert [str(p) for p in sources() if p.name in vague] == []
