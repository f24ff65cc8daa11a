"""The worst counterexamples of a results table as small pictures inside the page."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from robustbench_local.errors import ResultsError
from robustbench_local.store import WitnessStore

from .summary import CLEAN, CURVE, case_bounds
from .tables import curve_labels, norm_symbol

__all__ = ["Counterexample", "Picture", "worst_counterexamples"]

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
_BLUE, _WHITE, _ORANGE = (
    np.array(c, dtype=np.float64) for c in ([0, 90, 160], [255, 255, 255], [200, 80, 0])
)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a `data:` address, with the text that stands for it."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class Counterexample:
    """One point that breaks the property, with its pictures: the input, the point, their difference."""

    case: str
    eps: float
    norm: str
    method: str
    violation: float
    classes: str
    pictures: tuple[Picture, ...]


def worst_counterexamples(
    table: pd.DataFrame,
    witnesses: WitnessStore | str | os.PathLike[str],
    *,
    most: int = 6,
    cases: pd.DataFrame | None = None,
) -> list[tuple[str, list[Counterexample]]]:
    """Per curve (by its label) up to `most` samples, those that break at the smallest radius first.

    Among equal radii the largest violation comes first. Samples that are wrong without any perturbation
    are left out, and so are rows whose witness is not stored. `witnesses` is a store, its file or its
    folder. `cases` is `case_bounds(table)`, for a caller who has it. Raises `ResultsError` for a broken file.
    """
    get, stored = _reader(witnesses)
    rows = table[(table["verdict"] == "VIOLATED") & (table["method"] != CLEAN)]
    rows = rows[rows["witness"].isin(stored)]
    if rows.empty:
        return []
    bounds: pd.DataFrame = case_bounds(table) if cases is None else cases
    known = bounds[[*CURVE, "eps", "case", "clean"]].assign(label=curve_labels(bounds))
    rows = rows.merge(known, on=[*CURVE, "eps", "case"], how="left")
    rows = rows[rows["clean"] != 0].sort_values(["eps", "lower"], ascending=[True, False], kind="stable")
    worst = rows.drop_duplicates(subset=[*CURVE, "case"])
    found = {
        str(label): [_counterexample(row, get) for row in group.head(most).to_dict("records")]
        for label, group in worst.groupby("label", sort=False)
    }
    return [(label, found[label]) for label in known["label"].unique() if label in found]


def _reader(
    witnesses: WitnessStore | str | os.PathLike[str],
) -> tuple[Callable[[str], Array | None], frozenset[str]]:
    """A function from a tensor's name to its array (None where there is none), and all witnesses' keys."""
    if isinstance(witnesses, WitnessStore):
        return lambda name: _from_store(witnesses, name), frozenset(witnesses)
    place = Path(witnesses)
    if place.is_dir():
        place = place / WitnessStore.FILE
        if not place.is_file():
            return lambda _name: None, frozenset()
    try:
        file: Any = safe_open(place, framework="numpy")  # reads single tensors: the rest stays on disk
    except (SafetensorError, OSError) as error:
        cure = "run the evaluation again, or leave the witnesses out"
        raise ResultsError(f"cannot read the witnesses: {error}", where=str(place), cure=cure) from error
    names = frozenset(file.keys())
    return lambda name: np.asarray(file.get_tensor(name)) if name in names else None, names


def _from_store(store: WitnessStore, name: str) -> Array | None:
    key, _, part = name.partition(".")
    tensor = {"": store[key], "centre": store.centre(key), "scores": store.scores(key)}[part]
    return None if tensor is None else np.asarray(tensor.double().numpy())


def _counterexample(row: Mapping[Any, Any], get: Callable[[str], Array | None]) -> Counterexample:
    key = str(row["witness"])
    point, centre, scores = get(key), get(f"{key}.centre"), get(f"{key}.scores")
    assert point is not None
    name = f"sample {row['case']}"
    if centre is None:
        low, high = _range(point)
        pictures = [Picture(_png(_image(point, low, high)), f"{name}, perturbed", "perturbed")]
    else:
        low, high = _range(centre)
        change = point.astype(np.float64) - centre.astype(np.float64)
        largest = float(np.abs(change).max())
        pictures = [
            Picture(_png(_image(centre, low, high)), f"{name}, unperturbed", "input"),
            Picture(_png(_image(point, low, high)), f"{name}, perturbed", "perturbed"),
            Picture(
                _png(_signed(change, largest)),
                f"{name}, difference: at most {largest:.3g} per coordinate",
                f"±{largest:.2g}",
            ),
        ]
    classes = ""
    if scores is not None and scores.ndim == 2 and scores.shape[1] > 1:
        before, after = (int(np.argmax(row_scores)) for row_scores in scores)
        classes = f"class {before} → {after}"
    norm = norm_symbol(str(row["norm"])) if row["norm"] else ""
    violation = float(row["lower"])
    return Counterexample(
        str(row["case"]), float(row["eps"]), norm, str(row["method"]), violation, classes, tuple(pictures)
    )


def _range(values: Array) -> tuple[float, float]:
    """[0, 1], widened to the values where they leave it."""
    return min(0.0, float(values.min())), max(1.0, float(values.max()))


def _plane(values: Array) -> Array:
    """Any per-sample shape as (height, width, 1 or 3): images as they are, the rest as a strip."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 3 and values.shape[0] in (1, 3):
        return np.moveaxis(values, 0, -1)
    if values.ndim == 2:
        return values[:, :, None]
    flat = values.reshape(-1)
    width = len(flat) if len(flat) <= 64 else int(np.ceil(np.sqrt(len(flat))))
    padded = np.pad(flat, (0, -len(flat) % width))
    return padded.reshape(-1, width, 1)


def _image(values: Array, low: float, high: float) -> Array:
    plane = (_plane(values) - low) / (high - low)
    return np.repeat(plane, 3, axis=2) * 255 if plane.shape[2] == 1 else plane * 255


def _signed(change: Array, largest: float) -> Array:
    """Blue where the value fell, white where it stayed, orange where it rose; mean over the channels."""
    plane = _plane(change).mean(axis=2, keepdims=True) / (largest or 1.0)
    towards = np.where(plane < 0, _BLUE, _ORANGE)
    pixels: Array = _WHITE + np.abs(plane) * (towards - _WHITE)
    return pixels


def _png(pixels: Array) -> str:
    """`pixels` (height, width, 3) in [0, 255] as a PNG in a `data:` address (8-bit RGB, no filter)."""
    rgb = np.clip(np.rint(np.nan_to_num(pixels)), 0, 255).astype(np.uint8)
    height, width, _ = rgb.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rgb.reshape(height, width * 3)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
