"""The hand-written package list of pyproject.toml against the tree, and what a wheel would hold."""

from __future__ import annotations

import fnmatch
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("specs", "verifiers", "attacks", "models")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return table


def packages_in_tree() -> dict[str, Path]:
    """Import name -> folder, of every folder with an `__init__.py`."""
    found = {}
    for top in ("robustbench_local", *FOLDERS):
        for init in (ROOT / top).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            name = parts if top == "robustbench_local" else ("robustbench_local", *parts)
            found[".".join(name)] = init.parent
    return found


def test_package_list_is_the_tree(project: dict[str, Any]) -> None:
    listed = project["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(packages_in_tree())
    assert len(listed) == len(set(listed))


def test_package_dir_maps_the_top_level_folders(project: dict[str, Any]) -> None:
    expected = {"robustbench_local": "robustbench_local", **{f"robustbench_local.{f}": f for f in FOLDERS}}
    assert project["tool"]["setuptools"]["package-dir"] == expected


def test_every_data_file_is_shipped(project: dict[str, Any]) -> None:
    """Weights, templates and recipes lie in folders without code: each must match a package-data pattern."""
    packages = packages_in_tree()
    patterns = project["tool"]["setuptools"]["package-data"]
    missing = []
    for top in ("robustbench_local", *FOLDERS):
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_dir() or path.suffix in {".py", ".pyi", ".pyc", ".tmp"} or path.name.startswith("."):
                continue
            owner = max(
                (n for n, d in packages.items() if path.is_relative_to(d)),
                key=lambda n: len(packages[n].parts),
            )
            inside = path.relative_to(packages[owner]).as_posix()
            if not any(fnmatch.fnmatch(inside, pattern) for pattern in patterns.get(owner, [])):
                missing.append(f"{owner}: {inside}")
    assert missing == []


def test_stubs_are_for_type_checkers_only(project: dict[str, Any]) -> None:
    for folder in FOLDERS:
        assert (ROOT / "robustbench_local" / f"{folder}.pyi").read_text().strip() == f"from {folder} import *"
    assert project["tool"]["setuptools"]["exclude-package-data"] == {"robustbench_local": ["*.pyi"]}


def test_constraints_fit_the_ranges(project: dict[str, Any]) -> None:
    """Every requirement, required or optional, that the set-up installs has an exact version."""
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    exact = {pin.name.lower().replace("_", "-"): str(next(iter(pin.specifier)).version) for pin in pins}
    assert exact["torch"] == "2.13.0"
    extras = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *(r for e in ("auto-lirpa", "onnxruntime", "testing", "dev") for r in extras[e]),
    ]
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        name = requirement.name.lower().replace("_", "-")
        assert name in exact, f"{name} has no line in constraints.txt"
        assert requirement.specifier.contains(exact[name]), (
            f"{name} {exact[name]} is outside {requirement.specifier}"
        )


def test_a_bare_checkout_imports_from_another_folder(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import robustbench_local.specs as s;"
        f"print(s.__name__, s.__file__.startswith({str(ROOT / 'specs')!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["robustbench_local.specs", "True"]
