"""The README's commands and Python examples run as they are written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def test_the_readme_starts_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(text.splitlines()[:40])
    assert "$ make demo" in first_screen and "$ make test" in first_screen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("text", [pytest.param(t, id=i) for i, t in blocks("console")])
def test_commands(text: str, tmp_path: Path) -> None:
    """The commands of one block, in order, in one folder. Demo runs get fewer images."""
    for path in (ROOT / "docs" / "examples").glob("*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for command in commands(text):
        if command.startswith(OUTSIDE):
            continue
        words = shlex.split(command, comments=True)
        assert words[0] in {"rbl", "python"}, f"nobody knows how to test {command!r}"
        start = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "robustbench_local"]
        fewer = ["--images", "20"] if words[:2] == ["rbl", "demo"] else []
        done = subprocess.run(
            [*start, *words[1:], *fewer], cwd=tmp_path, env=environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("text", [pytest.param(t, id=i) for i, t in blocks("python")])
def test_examples(text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_page_is_linked_and_no_link_is_broken() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert all(page.name in index for page in PAGES if page.parent.name == "docs" and page.name != "index.md")
