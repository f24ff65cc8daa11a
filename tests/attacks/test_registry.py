"""The registry: one dropped-in file is one attack, and unknown names say what is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import robustbench_local.attacks as package
from robustbench_local.attacks import ATTACKS, AttackRegistry, attack, fgsm, pgd
from robustbench_local.errors import RobustBenchError, UnknownNameError

DROPPED_IN = """
from robustbench_local.attacks import AttackResult, Search, attack

@attack("start-only")
def start_only(query, *, start=None, seed=0, ids=None, deadline=None) -> AttackResult:
    search = Search(query, name="start-only", start=start, seed=seed, ids=ids, deadline=deadline)
    search.evaluate(search.start)
    return search.result()
"""


def test_names_lead_to_functions() -> None:
    assert ATTACKS["pgd"] is pgd
    assert ATTACKS["fgsm"] is fgsm


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'pgdd'.*Did you mean 'pgd'"):
        ATTACKS["pgdd"]
    assert "pgdd" not in ATTACKS
    assert ATTACKS.get("pgdd") is None


def test_a_name_that_is_taken_raises() -> None:
    with pytest.raises(RobustBenchError, match="two attacks are named 'pgd'"):
        attack("pgd")(pgd)
    assert isinstance(ATTACKS, AttackRegistry)


def test_a_file_dropped_into_the_folder_registers_itself(tmp_path: Path) -> None:
    """In a process of its own, with a second folder on the package's path in place of the real one."""
    (tmp_path / "start_only.py").write_text(DROPPED_IN, encoding="utf-8")
    folder = Path(str(package.__file__)).parent
    for file in folder.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    program = (
        "import sys, importlib.util as u\n"
        "import robustbench_local, robustbench_local.specs\n"
        f"spec = u.spec_from_file_location('robustbench_local.attacks', {str(tmp_path / '__init__.py')!r},"
        f" submodule_search_locations=[{str(tmp_path)!r}])\n"
        "module = u.module_from_spec(spec); sys.modules[spec.name] = module\n"
        "spec.loader.exec_module(module)\n"
        "sys.stdout.write(' '.join(sorted(module.ATTACKS)))\n"
    )
    root = str(folder.parent)
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == sorted([*ATTACKS, "start-only"])


def test_every_public_name_is_exported_and_described() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    for function in ATTACKS.values():
        assert function.__doc__
