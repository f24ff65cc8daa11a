"""The README's commands and Python examples run as they are written."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from robustbench_local.cli import run
from robustbench_local.models import ROWS, read_index

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OUTSIDE = (
    "git clone",
    "cd ",
    "pip install",
    "make setup",
    "make demo",
    "make test",
    "make check",
    "make bench",
)
"""Commands that set up, or that contain this very test: what they run is tested by itself."""


def blocks(language: str) -> list[tuple[str, str]]:
    """(page and number, text) of every fenced block of this language."""
    found = []
    for page in PAGES:
        texts = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        found += [(f"{page.name}-{k}", text) for k, text in enumerate(texts)]
    return found


def commands(text: str) -> list[str]:
    return [line[2:] for line in text.splitlines() if line.startswith("$ ")]


def test_the_readme_starts_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(text.splitlines()[:40])
    assert "$ make demo" in first_screen and "$ make test" in first_screen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("text", [pytest.param(t, id=i) for i, t in blocks("console")])
def test_commands(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of one block, in order, in one folder. Demo runs get fewer images."""
    monkeypatch.chdir(tmp_path)
    for path in (ROOT / "docs" / "examples").glob("*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for command in commands(text):
        if command.startswith(OUTSIDE):
            continue
        words = shlex.split(command, comments=True)
        assert words[0] == "rbl", f"nobody knows how to test {command!r}"
        fewer = ["--images", "20"] if words[1] == "demo" else []
        assert run([*words[1:], *fewer]) == 0, command


@pytest.mark.timeout(300)
@pytest.mark.parametrize("text", [pytest.param(t, id=i) for i, t in blocks("python")])
def test_examples(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(text, encoding="utf-8")
    runpy.run_path("example.py", run_name="__main__")


def test_the_result_table_agrees_with_the_shipped_measurements() -> None:
    """Verified shares are those in the weights' index; attacked ones differ by what more restarts find."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    header = text[text.index("| one CNN") :].splitlines()[0]
    radii = [float(radius) for radius in re.findall(r"eps ([0-9.]+)", header)]
    for line in re.findall(r"^\| .*`digits-cnn:\w+`.*$", text, flags=re.M):
        _, name, clean, *brackets, _ = line.split("|")
        metrics = read_index()[name.split("`")[1]].metrics
        measured = {row["eps"]: row for row in metrics["robust"]}
        assert float(clean) == round(100 * metrics["clean"], 1)
        for eps, bracket in zip(radii, brackets, strict=True):
            verified, empirical = (float(number) for number in bracket.split("to"))
            row = measured[eps]
            assert abs(verified - 100 * max(row["ibp"], row["crown-ibp"], row["crown"])) < 0.2
            assert verified <= empirical and -0.2 < empirical - 100 * row["pgd"] < 5


def test_every_page_is_linked_and_no_link_is_broken() -> None:
    for page in PAGES:
        prose = re.sub(
            r"^```.*?^```|`[^`\n]*`(?!\])", "", page.read_text(encoding="utf-8"), flags=re.M | re.S
        )
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert all(page.name in index for page in PAGES if page.parent.name == "docs" and page.name != "index.md")


def test_the_readme_counts_the_rows_of_the_zoo() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"[{len(ROWS)} of 133 exist](docs/zoo.md)" in text
