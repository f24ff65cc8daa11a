"""What users and readers meet: complete `__all__`s, docstrings, house-style sizes, light imports."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import robustbench_local as rbl

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("robustbench_local", "specs", "verifiers", "attacks", "models")
FILES = [p for top in FOLDERS for p in sorted((ROOT / top).rglob("*.py"))]

MOST_FILE_LINES, MOST_FUNCTION_LINES, MOST_CLASS_LINES, MOST_PARAMETERS = 350, 50, 150, 6


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "robustbench_local" else ("robustbench_local", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted({name_of(p) for p in FILES} - {"robustbench_local.__main__"})


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_public_names_exist_and_have_docstrings(module: ModuleType) -> None:
    missing = []
    for name in getattr(module, "__all__", []):
        value = getattr(module, name)
        if (inspect.isfunction(value) or inspect.isclass(value)) and not (value.__doc__ or "").strip():
            missing.append(name)
    assert missing == [] and (module.__doc__ or "").strip()


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=name_of)
def test_all_of_a_folder_is_complete(path: Path) -> None:
    """Every public name that the folder's root imports from inside is in `__all__`: the stubs read it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level > 0
        for alias in node.names
    }
    module = importlib.import_module(name_of(path))
    assert {n for n in imported if not n.startswith("_") and n.isidentifier()} <= set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_sizes(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    too_long = [f"file: {n} lines"] if (n := source.count("\n")) > MOST_FILE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            limit = MOST_CLASS_LINES if isinstance(node, ast.ClassDef) else MOST_FUNCTION_LINES
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines(node)
            if lines > limit:
                too_long.append(f"{node.name}: {lines} lines without docstrings, at most {limit}")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            positional = [a for a in node.args.posonlyargs + node.args.args if a.arg not in {"self", "cls"}]
            if (
                len(positional) > MOST_PARAMETERS and "cli" not in path.parts
            ):  # typer's options are parameters
                too_long.append(f"{node.name}: {len(positional)} parameters, at most {MOST_PARAMETERS}")
    assert too_long == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_everything_is_annotated(path: Path) -> None:
    bare = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare += [
                f"{node.name}({a.arg})"
                for a in arguments
                if a.annotation is None and a.arg not in {"self", "cls"}
            ]
            bare += [f"{node.name} ->"] if node.returns is None else []
    assert bare == []


def test_the_root_offers_what_it_lists() -> None:
    assert all(getattr(rbl, name) is not None for name in rbl.__all__)
    assert sorted(rbl.__all__) == dir(rbl)
    with pytest.raises(AttributeError, match="no attribute 'verfy'"):
        _ = rbl.verfy


def test_report_stays_callable_after_its_folder_is_imported() -> None:
    code = "import robustbench_local as r, robustbench_local.report; assert callable(r.report)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def loaded_by(*modules: str) -> set[str]:
    code = f"import sys, {', '.join(modules)}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_specs_import_is_light() -> None:
    """torch itself loads parts of torch.export; the specs must add nothing to it, and no heavy package."""
    ours, torch_alone = loaded_by("robustbench_local.specs"), loaded_by("torch")
    assert not any(name.startswith("torch.export") for name in ours - torch_alone)
    heavy = {"plotly", "cvxpy", "pandas", "sklearn", "onnx", "typer", "jinja2", "pyarrow"}
    assert not heavy & ours


def test_the_root_and_the_command_line_start_without_torch() -> None:
    assert not {"torch", "numpy", "pandas", "rich"} & loaded_by("robustbench_local")
    assert not {"torch", "numpy", "pandas", "sklearn", "plotly"} & loaded_by("robustbench_local.cli")


def docstring_lines(node: ast.AST) -> int:
    """Lines of the docstrings of a class or function and of everything defined inside it."""
    total = 0
    for inner in ast.walk(node):
        if isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            inner
        ):
            text = inner.body[0]
            total += (text.end_lineno or text.lineno) - text.lineno + 1
    return total
