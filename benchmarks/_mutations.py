"""Certificates changed at random so that they prove nothing any more, or prove something else than they say.

Changes that may leave a proof valid (a little larger multiplier, other slopes) are left out: whatever the
checker says of these is right.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_local.checker import digest, read

Arrays = dict[str, NDArray[Any]]
Change = Callable[[np.random.Generator, dict[str, Any], Arrays], None]

_FAR = 1e6  # beyond all outputs of the networks that are measured


def _claim_bit(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    names = sorted(n for n in arrays if n.startswith(("network/", "spec/")) and arrays[n].size)
    raw = arrays[str(rng.choice(names))].reshape(-1).view(np.uint8)
    raw[rng.integers(len(raw))] ^= np.uint8(1 << rng.integers(8))


def _no_number(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    names = [n for n in ("points", "weights", "multipliers") if arrays[f"proof/{n}"].size]
    flat = arrays[f"proof/{rng.choice(names)}"].reshape(-1)
    flat[rng.integers(len(flat))] = rng.choice([np.nan, np.inf, -np.inf])


def _negative(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    names = [n for n in ("weights", "multipliers") if arrays[f"proof/{n}"].size]
    flat = arrays[f"proof/{rng.choice(names)}"].reshape(-1)
    flat[rng.integers(len(flat))] = -rng.uniform(0.01, 10)


def _leaf_gone(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    at = rng.choice(np.flatnonzero(arrays["proof/nodes"] < 0))
    leaf = int((arrays["proof/nodes"][:at] < 0).sum())
    for name, row in (("nodes", at), ("coordinates", at), ("points", at), ("weights", leaf), ("sets", leaf)):
        arrays[f"proof/{name}"] = np.delete(arrays[f"proof/{name}"], row, 0)
    arrays["proof/about"] = np.delete(arrays["proof/about"], leaf, 0)


def _idle_leaf(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    arrays["proof/weights"][rng.integers(len(arrays["proof/weights"]))] = 0.0


def _out_of_range(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    name = rng.choice(["nodes", "about"])
    flat = arrays[f"proof/{name}"].reshape(-1)
    flat[rng.integers(len(flat))] = rng.integers(10**6, 10**9)


def _false_claim(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    """All atoms true everywhere, with hashes that fit."""
    arrays["spec/d"] = np.abs(arrays["spec/d"]) + _FAR * (1 + np.abs(arrays["spec/C"]).max())
    header["sha256"]["spec"] = digest(header["spec"], arrays, "spec")


def _other_hash(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    part, place = str(rng.choice(["network", "spec"])), int(rng.integers(64))
    old = header["sha256"][part]
    header["sha256"][part] = old[:place] + ("0" if old[place] != "0" else "1") + old[place + 1 :]


def _other_claim(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    clauses = header["spec"]["clauses"]
    clauses.pop(int(rng.integers(len(clauses))))


def _broken_sum(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    """A sum or maximum of nothing, itself or what comes later, with hashes that fit; or a leaf less."""
    nodes = header["network"]["nodes"]
    some = [k for k, about in enumerate(nodes) if about["op"] in ("add", "max")]
    if not some:
        return _leaf_gone(rng, header, arrays)
    k = int(rng.choice(some))
    nodes[k]["inputs"] = [[], [k], [0, len(nodes)], [-1, 0], [0.5]][int(rng.integers(5))]
    header["sha256"]["network"] = digest(header["network"], arrays, "network")


def _false_lemma(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    """A lemma that no value of its neuron fulfils, or a lemma less; where there are none, a leaf less."""
    count = len(arrays["proof/bounds"])
    if not count:
        return _leaf_gone(rng, header, arrays)
    k = int(rng.integers(count))
    if rng.random() < 0.5:
        arrays["proof/bounds"][k] = arrays["proof/lemmas"][k, 3] * _FAR
    else:
        arrays.update({f"proof/{n}": np.delete(arrays[f"proof/{n}"], k, 0) for n in ("lemmas", "bounds")})


def _other_kind(rng: np.random.Generator, header: dict[str, Any], arrays: Arrays) -> None:
    header[str(rng.choice(["format", "version", "arithmetic"]))] = "other"


_CHANGES: tuple[Change, ...] = (
    _claim_bit,
    _no_number,
    _negative,
    _leaf_gone,
    _idle_leaf,
    _out_of_range,
    _false_claim,
    _other_hash,
    _other_claim,
    _broken_sum,
    _false_lemma,
    _other_kind,
)


def mutated(path: Path, place: Path, seed: int) -> str:
    """Writes a changed copy of the certificate at `path` to `place`; what was done to it."""
    rng = np.random.default_rng(seed)
    kind = seed % (len(_CHANGES) + 1)
    if kind == len(_CHANGES):
        whole = path.read_bytes()
        place.write_bytes(whole[: rng.integers(len(whole))])
        return "cut off"
    header, found = read(path)
    arrays = {name: array.copy() for name, array in found.items()}
    _CHANGES[kind](rng, header, arrays)
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array))
            archive.writestr(f"{name}.npy", buffer.getvalue())
    return _CHANGES[kind].__name__.strip("_").replace("_", " ")
