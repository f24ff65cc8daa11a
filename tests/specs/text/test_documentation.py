"""The texts in the user guide are read as they stand, and its errors are those that it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robustbench_local.errors import SpecErrors
from robustbench_local.specs import parse_spec, read_spec

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "rbspec.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    pages = (path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md")))
    return [
        text for page in pages for text in re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.M | re.S)
    ]


@pytest.mark.parametrize("text", blocks("rbspec"))
def test_texts_of_the_guide(text: str) -> None:
    file = parse_spec(text)
    assert not file.warnings and parse_spec(file.text).text == file.text


@pytest.mark.parametrize("path", sorted((DOCS / "examples").glob("*.rbspec")), ids=lambda p: p.name)
def test_example_files(path: Path) -> None:
    file = read_spec(path)
    assert not file.warnings and parse_spec(file.text).text == file.text


def test_the_errors_of_the_guide() -> None:
    (text,), (shown, *_) = (
        blocks("rbspec-errors"),
        re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.M | re.S),
    )
    with pytest.raises(SpecErrors) as caught:
        parse_spec(text, name="wrong.rbspec")
    assert caught.value.report == shown.rstrip("\n")


def test_the_forms_of_properties_in_the_guide() -> None:
    """Every form in the table of properties is read, with declarations around it."""
    head = "spec t v1\nnet f: real[2] -> real[3]\nnet g: iso f\ndata x0: real[2]\n"
    head += "label group: class[2]\nprop rob: forall x: real[2] in box(0, 1): f(x)[0] <= 1\n"
    table = PAGE[PAGE.index("## Properties") : PAGE.index("## Expressions")]
    forms = [
        form
        for row in re.findall(r"^\| (`.*?) \|", table, flags=re.M)
        for form in re.findall(r"`(.*?)`", row)
    ]
    assert len(forms) == 13
    for k, form in enumerate(forms):
        line = form if form.startswith("prop ") else f"prop p{k}: {form}"
        for short, long in (
            ("FORMULA", "f(x)[0] <= 1"),
            ("DOMAIN", "box(0, 1)"),
            ("forall ..", "forall x: real[2] in box(0, 1): f(x)[0] <= 1"),
            (
                ": ..",
                ": f(x)[0] <= 1" if "cov" not in form else ": forall x: real[2] in box(0, 1): f(x)[0] <= 1",
            ),
            ("in ..", "in box(0, 1): f(s)[0] <= s.th"),
        ):
            line = line.replace(short, long)
        if line.endswith(") in box(0, 1): f(s)[0] <= s.th"):
            line = line.replace("<= s.th", "<= 1")
        head += line + "\n"
    assert len(parse_spec(head)) == 13
