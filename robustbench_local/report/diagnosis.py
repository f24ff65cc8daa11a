"""The page of a diagnosis: the findings, the violation on a plane around a case, and along the walks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from robustbench_local.errors import ResultsError
from robustbench_local.store import write_atomically
from robustbench_local.version import __version__

__all__ = ["diagnosis_page"]

_TEMPLATES = Path(__file__).parent / "templates"


def diagnosis_page(diagnosis: Mapping[str, Any], out: str | os.PathLike[str]) -> Path:
    """Write a diagnosis as one self-contained HTML page and return its path.

    Args:
        diagnosis: `Diagnosis.as_dict()`, or the same read from JSON.
        out: a folder, which gets `diagnosis.html` and is made if needed, or a path that ends in `.html`.

    Raises `ResultsError` where something is missing in the diagnosis, OSError for a place that cannot be
    written to.
    """
    place = Path(out)
    page = place if place.suffix == ".html" else place / "diagnosis.html"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    try:
        html = environment.get_template("diagnosis.html.j2").render(
            found=diagnosis,
            version=__version__,
            style=(_TEMPLATES / "report.css").read_text(encoding="utf-8"),
            plotly=get_plotlyjs(),
        )
    except jinja2.UndefinedError as error:
        raise ResultsError(f"no diagnosis: {error}", cure="write one with `rbl diagnose --json`") from error
    return write_atomically(page, lambda path: path.write_text(html, encoding="utf-8"))
