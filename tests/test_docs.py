"""The reference pages say what the registries say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from robustbench_local.verifiers.onnx_reader import CONVERTERS

from robustbench_local.verifiers import VERIFIERS

DOCS = Path(__file__).resolve().parent.parent / "docs"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_operators_is_up_to_date() -> None:
    script = _script("operators")
    written = script.PAGE.read_text(encoding="utf-8")
    assert written == script.page(), "run: python docs/operators.py"


def test_the_page_of_properties_is_up_to_date() -> None:
    script = _script("properties")
    written = script.PAGE.read_text(encoding="utf-8")
    assert written == script.page(), "run: python docs/properties.py"


def test_the_pages_of_the_zoo_are_up_to_date() -> None:
    script = _script("zoo")
    for name, made in (("zoo.md", script.page()), ("zoo-cards.md", script.cards())):
        assert (DOCS / name).read_text(encoding="utf-8") == made, "run: python docs/zoo.py"


def test_the_page_of_properties_runs() -> None:
    text = (DOCS / "properties.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    assert names["query"].batch == 20 and set(names["spec"].nets) == {"f", "g"}


def test_the_operators_of_onnx_files_are_listed() -> None:
    page = (DOCS / "onnx.md").read_text(encoding="utf-8")
    assert page.split("```text\n")[1].split("```")[0].split() == sorted(CONVERTERS)


def test_every_verifier_is_explained() -> None:
    page = (DOCS / "verifiers.md").read_text(encoding="utf-8")
    table = page[page.index("|---") : page.index("```")]
    for name in VERIFIERS:
        short = "`-" + name.removeprefix("auto-lirpa-") + "`"
        assert f"`{name}`" in table or short in table, name


def test_the_audit_of_the_guide_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Some people are treated alike, not all, and the groups are not."""
    text = (DOCS / "data.md").read_text(encoding="utf-8")
    exec(text.split("```python\n")[1].split("```")[0], {})
    alike, fair = capsys.readouterr().out.splitlines()
    held, people = (int(word) for word in alike.split() if word.isdigit())
    assert 0 < held < people == 50 and "VIOLATED" in fair
