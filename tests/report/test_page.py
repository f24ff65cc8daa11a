"""The page and its Markdown twin: the numbers of `brackets`, nothing fetched, odd tables survived."""

from __future__ import annotations

import base64
import functools
import importlib
import math
import re
import subprocess
import sys
import time
import zlib
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from robustbench_local.errors import ResultsError
from robustbench_local.report import brackets, curves_data, deciders, report, worst_counterexamples
from robustbench_local.store import WitnessStore

from .synthetic import synthetic


class Reader(HTMLParser):
    """Collects the exact numbers of the tables' cells, and every attribute that could fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[list[float]]] = {}
        self.references: list[tuple[str, str]] = []
        self.images: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self._table = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if attributes.get("id"):
            self.ids.append(str(attributes["id"]))
        if tag == "table":
            self._table = str(attributes["id"])
            self.values[self._table] = []
        if tag == "tr" and self._table:
            self.values[self._table].append([])
        if tag in {"td", "th"} and attributes.get("data-value") is not None:
            self.values[self._table][-1].append(float(str(attributes["data-value"])))
        if tag == "img":
            self.images.append(attributes)
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            if attributes.get(name) is not None:
                self.references.append((tag, str(attributes[name])))


def read(page: Path) -> Reader:
    text = page.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
    return reader


@pytest.fixture(scope="module")
def small() -> tuple[pd.DataFrame, WitnessStore]:
    return synthetic(60)


@pytest.fixture(scope="module")
def page(small: tuple[pd.DataFrame, WitnessStore], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(small[0], tmp_path_factory.mktemp("page"), witnesses=small[1])


def test_the_accuracy_table_holds_the_numbers_of_brackets(
    page: Path, small: tuple[pd.DataFrame, WitnessStore]
) -> None:
    expected = brackets(small[0])[["eps", "clean", "verified", "empirical", "gap", "n"]].to_numpy().tolist()
    assert [row for row in read(page).values["table-accuracy"] if row] == expected


def test_the_deciders_table_holds_every_sample(page: Path, small: tuple[pd.DataFrame, WitnessStore]) -> None:
    rows = np.array([row for row in read(page).values["table-decided"] if row])
    expected = deciders(small[0]).groupby("eps")["n"].sum()
    assert rows.sum(axis=0).tolist() == expected.tolist() == [180] * 6


def test_the_markdown_holds_the_same_numbers(page: Path, small: tuple[pd.DataFrame, WitnessStore]) -> None:
    text = (page.parent / "report.md").read_text(encoding="utf-8")
    for row in brackets(small[0]).to_dict("records"):
        shares = " | ".join(f"{100 * row[name]:.1f}" for name in ("clean", "verified", "empirical", "gap"))
        assert f"| {row['model']} | {row['eps']:g} | {shares} | {row['n']} |" in text


def test_the_plots_hold_the_numbers_of_brackets(small: tuple[pd.DataFrame, WitnessStore]) -> None:
    rows = brackets(small[0])
    for curve in curves_data(small[0])["curves"]:
        expected = rows[rows["model"] == curve["label"]]
        assert curve["eps"] == [0.0, *expected["eps"]]
        assert curve["accuracy"]["verified"][1:] == pytest.approx(expected["verified"].tolist(), rel=1e-3)
        assert curve["accuracy"]["verified"][0] == pytest.approx(expected["clean"].iloc[0], rel=1e-3)
        lower, upper = (series["statistics"]["mean"] for series in curve["bracket"])
        assert lower[1:] == pytest.approx(expected["mean_lower"].tolist(), rel=1e-3)
        assert upper[1:] == pytest.approx(expected["mean_upper"].tolist(), rel=1e-3)
        assert lower[0] == upper[0]


def test_statistics_are_ordered_and_bracketed(small: tuple[pd.DataFrame, WitnessStore]) -> None:
    for curve in curves_data(small[0])["curves"]:
        lower, upper = curve["bracket"]
        names = ["q10", "q25", "q50", "q75", "q90", "max"]
        for low, high in (
            (lower["statistics"][name], upper["statistics"][name]) for name in ["mean", *names]
        ):
            assert all(a <= b + 1e-3 * abs(b) for a, b in zip(low, high, strict=True))
        assert all(np.diff([upper["statistics"][name][2] for name in names]) >= 0)
        assert len(lower["samples"]) == len(curve["cases"]) == 60


def test_nothing_is_fetched(page: Path) -> None:
    reader = read(page)
    outside = [
        (tag, to) for tag, to in reader.references if not to.startswith(("#", "data:image/png;base64,"))
    ]
    assert outside == []
    anchors = {to[1:] for tag, to in reader.references if tag == "a"}
    assert anchors <= set(reader.ids) and len(reader.ids) == len(set(reader.ids))
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text and text.count("plotly.js v") == 1
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert not list(page.parent.glob(".*")) and {p.name for p in page.parent.iterdir()} == {
        "index.html",
        "report.md",
    }


def test_pictures_are_whole_png_files_with_texts(page: Path) -> None:
    images = read(page).images
    assert len(images) == 3 * 3 * 6
    for image in images:
        assert image["alt"]
        data = base64.b64decode(str(image["src"]).partition(",")[2])
        assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")


def test_a_picture_shows_the_pixels() -> None:
    from robustbench_local.report.counterexamples import _image, _png

    pixels = _image(torch.tensor([[[0.0, 0.5], [1.0, 0.25]]]).numpy(), 0.0, 1.0)
    data = base64.b64decode(_png(pixels).partition(",")[2])
    start = data.index(b"IDAT")
    length = int.from_bytes(data[start - 4 : start], "big")
    raw = zlib.decompress(data[start + 4 : start + 4 + length])
    assert list(raw) == [0, 0, 0, 0, 128, 128, 128, 0, 255, 255, 255, 64, 64, 64]


def test_the_smallest_radius_comes_first_and_samples_once(small: tuple[pd.DataFrame, WitnessStore]) -> None:
    table, witnesses = small
    wrong = set(table.loc[(table["method"] == "clean") & (table["verdict"] == "VIOLATED"), "case"])
    for _, found in worst_counterexamples(table, witnesses):
        assert [(e.eps, -e.violation) for e in found] == sorted((e.eps, -e.violation) for e in found)
        assert len({e.case for e in found}) == len(found) == 6
        assert wrong.isdisjoint(e.case for e in found) or len(set(table["model"])) > 1
        assert all(re.fullmatch(r"class \d → \d", e.classes) for e in found)


def test_witnesses_from_a_folder_give_the_same_page(
    small: tuple[pd.DataFrame, WitnessStore], tmp_path: Path
) -> None:
    table, witnesses = small
    witnesses.save(tmp_path)
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
    pages = [
        report(table, tmp_path / name, witnesses=source, written=moment).read_bytes()
        for name, source in (("a", witnesses), ("b", tmp_path), ("c.html", None))
    ]
    assert pages[0] == pages[1] == pages[2]
    for source in (tmp_path, tmp_path / WitnessStore.FILE):
        assert worst_counterexamples(table, source) == worst_counterexamples(table, witnesses)


@pytest.mark.parametrize("shape", [(3, 4, 5), (7,), (200,), (2, 3), (2, 4, 4)], ids=str)
def test_inputs_of_any_shape_are_drawn(
    shape: tuple[int, ...], small: tuple[pd.DataFrame, WitnessStore]
) -> None:
    table, _ = small
    witnesses = WitnessStore()
    key = witnesses.add(torch.full(shape, 1.5), torch.zeros(shape))
    row = int(np.flatnonzero(table["witness"].notna())[0])
    changed = table.copy()
    changed.loc[row, "witness"] = key
    found = worst_counterexamples(changed, witnesses)
    assert [len(e.pictures) for _, es in found for e in es] == [3]


@functools.cache
def odd_tables() -> dict[str, pd.DataFrame]:
    table, _ = synthetic(5)
    attacks, verifiers = table[table["kind"] == "attack"], table[table["kind"] == "verifier"]
    return {
        "no clean rows": table[table["method"] != "clean"],
        "attacks only": attacks,
        "verifiers only": verifiers,
        "clean only": table[table["method"] == "clean"],
        "one row": table.iloc[:1],
        "no radius": table[table["eps"] == 0.1].assign(eps=float("nan")),
        "infinite bounds": table.assign(upper=table["upper"].where(table["eps"] < 0.1, math.inf)),
        "missing names": table.assign(dataset=pd.NA, norm=pd.NA, spec=pd.NA, family=pd.NA),
        "two norms": pd.concat([table, table.assign(norm="l2", eps=table["eps"] * 4)]),
        "two weights": pd.concat([table, table.assign(model_hash="f" * 64)]),
        "hostile names": table.assign(model="</script><b>|&\"'", error="<img src=x onerror=alert(1)>"),
        "contradictions": table.assign(lower=table["lower"] + 100),
    }


@pytest.mark.parametrize("name", list(odd_tables()))
def test_odd_tables_give_a_page(name: str, tmp_path: Path) -> None:
    table = odd_tables()[name]
    reader = read(report(table, tmp_path))
    assert [row[-1] for row in reader.values["table-accuracy"] if row] == brackets(table)["n"].tolist()
    assert ("contradict themselves" in (tmp_path / "report.md").read_text()) == (name == "contradictions")


def test_names_are_escaped(tmp_path: Path) -> None:
    text = report(odd_tables()["hostile names"], tmp_path).read_text(encoding="utf-8")
    assert "<img src=x" not in text and "<b>|" not in text


def test_refusals(small: tuple[pd.DataFrame, WitnessStore], tmp_path: Path) -> None:
    table, _ = small
    (tmp_path / "taken").write_text("")
    (tmp_path / "witnesses.safetensors").write_bytes(b"broken")
    with pytest.raises(ResultsError, match="no rows"):
        report(table.iloc[:0], tmp_path)
    with pytest.raises(ResultsError, match="lacks the columns eps"):
        report(table.drop(columns="eps"), tmp_path)
    with pytest.raises(ResultsError, match="cannot write"):
        report(table, tmp_path / "taken" / "deep")
    with pytest.raises(ResultsError, match="cannot read the witnesses"):
        report(table, tmp_path / "out", witnesses=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_path_to_a_page_is_taken_as_it_is(small: tuple[pd.DataFrame, WitnessStore], tmp_path: Path) -> None:
    path = report(small[0], str(tmp_path / "deep" / "digits.html"), title="Two & three")
    assert path == tmp_path / "deep" / "digits.html" and path.with_suffix(".md").is_file()
    assert "<h1>Two &amp; three</h1>" in path.read_text(encoding="utf-8")


def test_the_folder_can_be_called(small: tuple[pd.DataFrame, WitnessStore], tmp_path: Path) -> None:
    folder = importlib.import_module("robustbench_local.report")
    assert folder(small[0], tmp_path) == tmp_path / "index.html"


def test_the_report_imports_no_torch() -> None:
    code = "import sys, robustbench_local.report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_demo_sized_report_is_fast_and_small(tmp_path: Path) -> None:
    table, witnesses = synthetic(600, clean=False)
    assert len(table) == 32_400
    start = time.process_time()  # not the clock on the wall: other work may share the machine
    path = report(table, tmp_path, witnesses=witnesses)
    assert time.process_time() - start < 6
    assert path.stat().st_size < 7e6


def test_alarms_of_diagnostics_are_shown_beside_the_attack(tmp_path: Path) -> None:
    """Only where diagnostics were run; counts of samples that share an answer."""
    table, points = synthetic(30)
    report(table, tmp_path, witnesses=points)
    assert "believed" not in (tmp_path / "report.md").read_text()
    of_attack = (table["method"] == "pgd") & (table["eps"] == 0.1)
    masked = of_attack & (table["model"] == "digits-cnn:pgd")
    told = table.assign(believable="").astype({"believable": "object"})
    told.loc[of_attack, "believable"] = "yes"
    told.loc[masked, "believable"] = "no: D3 D14"
    report(told, tmp_path, witnesses=points)
    text = (tmp_path / "report.md").read_text()
    lines = [line for line in text.splitlines() if "D3 D14" in line]
    assert len(lines) == 1 and lines[0].split("|")[1:4] == [" digits-cnn:pgd ", " 0.1 ", " pgd "]
    assert sum("| yes | 30 |" in line for line in text.splitlines()) == 2
    assert 'id="believed"' in (tmp_path / "index.html").read_text()
