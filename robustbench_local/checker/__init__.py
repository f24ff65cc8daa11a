"""A checker of certificates that shares no code with the engine, and needs neither torch nor a solver.

`python -m robustbench_local.checker FILE`; docs/certificates.md specifies the file. NumPy in float64, every
rounding error accounted for outwards: what it accepts is true in exact arithmetic.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .bounds import Bounds
from .curves import Rejected
from .network import Network
from .replay import replay as _replay

__all__ = ["FORMAT", "Bounds", "Check", "Network", "Rejected", "Unreadable", "check", "digest", "read"]
FORMAT = {"format": "robustbench_local certificate", "version": 4, "arithmetic": "real"}


class Unreadable(Exception):
    """The file is missing, cut short, or no certificate of a known version."""


class Check(NamedTuple):
    """What the checker says of a file: `reason` if not accepted, else what was proved and how narrowly."""

    accepted: bool
    reason: str = ""
    readable: bool = True
    problems: int = 0
    clauses: int = 0
    leaves: int = 0
    margin: float = 0.0
    network: str = ""
    spec: str = ""
    seconds: float = 0.0


def check(path: str | Path, seconds: float = np.inf) -> Check:
    """Whether the file proves the claim that it states; not accepted where that takes much over `seconds`."""
    start = time.monotonic()
    try:
        header, arrays = read(Path(path))
        exact = {k: a.astype(np.int64 if a.dtype.kind == "i" else np.float64) for k, a in arrays.items()}
        exact |= {key: exact[key] / 255 for key, array in arrays.items() if array.dtype == np.uint8}
        with np.errstate(all="ignore"):  # what overflows is not finite, and rejected
            leaves, margin = _replay(header, exact, start + seconds)
        known = (len(arrays["spec/d"]), len(header["spec"]["clauses"]), leaves, margin)
        return Check(True, "", True, *known, **header["sha256"], seconds=time.monotonic() - start)
    except (Unreadable, Rejected) as error:
        return Check(False, str(error), isinstance(error, Rejected))
    except Exception as error:  # an entry of another kind, form or size than it should have
        return Check(False, f"malformed: {type(error).__name__}: {error}")


def digest(about: Any, arrays: Mapping[str, Any], part: str) -> str:
    """SHA-256 of one part: its entry of the header as canonical JSON, then its arrays sorted by name."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(key for key in arrays if key.startswith(part + "/")):
        found.update(f"\n{name} {arrays[name].dtype.str} {list(arrays[name].shape)}\n".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays. Unreadable: it is no certificate; Rejected: its hashes differ from its contents."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            members = archive.zip.infolist()
            names = {member.filename.removesuffix(".npy") for member in members}
            if sum(member.file_size for member in members) > 2**33 or len(names) != len(members):
                raise Unreadable("the archive is too large, or names a member twice")
            header = json.loads(archive["header.json"])
            arrays = {name: archive[name] for name in names - {"header.json"}}
        if {array.dtype.str for array in arrays.values()} - {"<f2", "<f4", "<f8", "<i4", "<i8", "|u1"}:
            raise Unreadable("a member is no array of a known kind")
    except Exception as error:  # zipfile, zlib, json and numpy raise many kinds for a damaged file
        raise Unreadable(str(error) or type(error).__name__) from error
    if not isinstance(header, dict) or any(header.get(k) != v for k, v in FORMAT.items()):
        raise Unreadable("the header is none of a certificate of version 4")
    if header.get("sha256") != {part: digest(header.get(part), arrays, part) for part in ("network", "spec")}:
        raise Rejected("a hash of the network or the specification differs from its contents")
    return header, arrays
