"""Bounds of hidden neurons by slopes of their own: what the writer finds, and what changed files prove."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robustbench_local.verifiers.certificates import hidden_search

from robustbench_local.checker import check

from .samples import Parts, certificate, parts, write


@pytest.fixture(params=["dense", "residual", "sigmoid"])
def tuned(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate whose hidden rows were tuned before the first split."""
    monkeypatch.setattr(hidden_search, "_PATIENCE", 0)
    monkeypatch.setattr(hidden_search.HiddenSearch, "_quick", _all_open)
    return certificate(tmp_path / "proof", request.param, share=0.4, seed=3)


_quick = hidden_search.HiddenSearch._quick


def _all_open(search: hidden_search.HiddenSearch) -> list[Any]:
    """Nothing is refuted before the rows are tuned."""
    enough, search.enough = search.enough, search.enough + 1e9
    open_ = _quick(search)
    search.enough = enough
    return open_


def rows_of(found: Parts) -> tuple[list[int], str]:
    """The first entry of a way whose rows have slopes of their own, and the name of its rows."""
    entry = next(e for way in found[0]["proof"]["ways"] for e in way["refined"] if e[3] > 0)
    return entry, f"proof/{entry[0]}.rows"


def test_rows_of_their_own_are_accepted_and_tighter(tuned: Path) -> None:
    found = parts(tuned)
    entry, name = rows_of(found)
    assert check(tuned).accepted and found[1][name].size >= entry[3] > 0
    assert (found[1]["proof/about"][:, 1] == 1).any()


def test_changed_rows_are_rejected(tuned: Path, tmp_path: Path) -> None:
    def rows(change: Callable[[Any], Any]) -> Callable[[Parts], None]:
        return lambda p: p[1].update({rows_of(p)[1]: change(p[1][rows_of(p)[1]])})

    def entry(place: int, value: Any) -> Callable[[Parts], None]:
        return lambda p: rows_of(p)[0].__setitem__(place, value)

    changes = {
        "row that is not there": rows(lambda r: r + 20_000),
        "row below zero": rows(lambda r: r - 20_000),
        "rows gone": lambda p: p[1].pop(rows_of(p)[1]),
        "rows of another form": rows(lambda r: np.stack([r] * 2)[:, :, None]),
        "fractions": rows(lambda r: r + 0.5),
        "too few rows": rows(lambda r: r[:-1]),
        "set that is not there": entry(2, 10_000),
        "set below all": entry(2, -2),
        "more rows than there are": entry(3, 10_000),
        "negative count": entry(3, -2),
        "first row below all": entry(1, -2),
        "no number": entry(1, "0"),
        "true": entry(3, True),
        "fraction": entry(2, 0.5),
        "another entry": lambda p: rows_of(p)[0].append(0),
    }
    for name, change in changes.items():
        changed = parts(tuned)
        change(changed)
        found = check(write(tmp_path / "changed", changed))
        assert not found.accepted and found.readable, name


def test_no_slopes_of_rows_prove_what_is_false(tuned: Path, tmp_path: Path) -> None:
    """Whatever slopes, sets and rows are: a claim that all thresholds are too low stays unproved."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        changed = parts(tuned)
        for name, array in changed[1].items():
            if name.endswith((".below", ".above")):
                changed[1][name] = rng.normal(0, 10.0 ** rng.integers(-2, 4), array.shape)
            if name.endswith(".rows"):
                array[:] = rng.permutation(array)
        checked = check(write(tmp_path / "changed", changed))
        assert checked.accepted or checked.reason
        changed[1]["spec/d"] += 2.0 * np.abs(changed[1]["spec/d"]).max()
        assert not check(write(tmp_path / "false", changed, rehash=True)).accepted
