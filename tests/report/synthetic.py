"""A made-up but lifelike results table: three digit classifiers, six radii, 600 samples, four methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from robustbench_local.store import COLUMNS, WitnessStore, validate

MODELS = {
    "digits-cnn:nominal": (6.0, 60.0, 9.0),
    "digits-cnn:pgd": (5.0, 22.0, 3.5),
    "digits-cnn:certified": (3.0, 8.5, 1.1),
}
RADII = (0.01, 0.03, 0.05, 0.1, 0.15, 0.2)


def synthetic(samples: int = 600, *, clean: bool = True, seed: int = 0) -> tuple[pd.DataFrame, WitnessStore]:
    """The table and the witnesses of its VIOLATED rows; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    points = WitnessStore()
    parts: list[pd.DataFrame] = []
    images = _digits(samples, rng)
    for name, (margin, slope, looseness) in MODELS.items():
        base = (
            -np.abs(rng.normal(margin, margin / 2.5, samples))
            + 0.6 * (rng.random(samples) < 0.04) * margin * 2
        )
        steep = slope * rng.uniform(0.6, 1.4, samples)
        for eps in RADII:
            worst = base + steep * eps
            found = worst - 0.02 * steep * eps * rng.random(samples)
            crown = worst + looseness * steep * eps * (0.05 + 4 * eps) * rng.uniform(0.5, 1.5, samples)
            ibp = crown + looseness**2 * steep * eps * (0.02 if looseness < 2 else 0.3 + 10 * eps)
            fields = {"model": name, "model_hash": f"{abs(hash_of(name)):064x}", "eps": eps}
            if clean:
                parts.append(_rows(fields, "clean", "attack", base, None, base, images, eps, 1e-5))
            parts.append(_rows(fields, "pgd", "attack", found, points, base, images, eps, 1.4e-3))
            parts.append(_rows(fields, "ibp", "verifier", ibp, None, base, images, eps, 8e-6))
            parts.append(_rows(fields, "crown", "verifier", crown, None, base, images, eps, 3.1e-4))
    return validate(pd.concat(parts, ignore_index=True)), points


def hash_of(text: str) -> int:
    return sum((i + 1) * ord(c) * 7919**3 for i, c in enumerate(text)) ** 5


def _digits(samples: int, rng: np.random.Generator) -> torch.Tensor:
    yy, xx = np.mgrid[0:8, 0:8]
    radius = np.hypot(yy - 3.5, xx - 3.5)
    ring = np.exp(-((radius - rng.uniform(1.5, 3, (samples, 1, 1))) ** 2))
    return torch.tensor(np.round(ring * 16) / 16, dtype=torch.float32)[:, None]


def _rows(
    fields: dict[str, Any],
    method: str,
    kind: str,
    values: np.ndarray,
    points: WitnessStore | None,
    base: np.ndarray,
    images: torch.Tensor,
    eps: float,
    seconds: float,
) -> pd.DataFrame:
    attack = kind == "attack"
    n = len(values)
    verdict = (
        np.where(values > 0, "VIOLATED", "UNKNOWN") if attack else np.where(values < 0, "HOLDS", "UNKNOWN")
    )
    frame = pd.DataFrame(index=range(n), columns=list(COLUMNS))
    generator = torch.Generator().manual_seed(int(eps * 1000))
    noise = torch.randint(0, 2, images.shape, generator=generator) * 2 - 1
    witness: list[str | None] = [None] * n
    if points is not None:
        moved = (images + eps * noise).clamp(0, 1)
        for i in np.flatnonzero((values > 0) & (base < 0)):
            scores = torch.zeros(2, 10)
            scores[0, i % 10], scores[1, (i * 7 + 3) % 10] = 5.0, 5.0
            witness[i] = points.add(moved[i], images[i], scores=scores)
    constants = {
        "run_id": "2026-11-25T22-33-09-7f3a",
        "family": "digits",
        "dataset": "digits/test",
        "spec": "robustness",
        "spec_hash": f"{int(eps * 1e6) * 7919**15:064x}"[:64],
        "norm": "linf",
        "method": method,
        "kind": kind,
        "stage": method,
        "seconds_load": 0.0,
        "forwards": 41 if attack else 0,
        "backwards": 40 if attack else 0,
        "domains": 0,
        "device": "cpu",
        "dtype": "float32",
        "arithmetic": "real",
        "seed": 0,
        "version": "0.1.0",
    } | fields
    for name, value in constants.items():
        frame[name] = value
    nan = np.full(n, np.nan)
    frame["case"] = [str(3 * i) for i in range(n)]
    frame["verdict"], frame["witness"] = verdict, witness
    frame["lower"], frame["upper"] = (values, nan) if attack else (nan, values)
    frame["seconds"], frame["peak_mb"] = seconds, nan
    return frame.astype(COLUMNS)
