"""What a certificate claims: the header and arrays of network and specification, and the file around them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_local.atomic import write_atomically
from robustbench_local.checker import FORMAT, digest
from robustbench_local.errors import SpecError
from robustbench_local.specs import Box, Query, count_clauses, disjuncts

from ..graph import Graph
from .lowered import Lowered
from .lowering import lowered

__all__ = ["Claim", "save"]

_MOST_CLAUSES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """B problems of one network: lower, upper (B, n), C (B, m, out), d (B, m), all float64.

    clauses: (atom, strict) pairs; the property is violated where all atoms of one clause are true.
    """

    network: Lowered
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    C: NDArray[np.float64]
    d: NDArray[np.float64]
    clauses: tuple[tuple[tuple[int, bool], ...], ...]

    @staticmethod
    def of(graph: Graph, query: Query) -> Claim:
        """The claim that a query holds; its input sets are boxes.

        UnsupportedOpError for a network, SpecError for a set or formula that certificates cannot say.
        """
        if not isinstance(query.inputs, Box) or count_clauses(query.tree) > _MOST_CLAUSES:
            raise SpecError(
                "certificates are about boxes, and violations of at most 4096 clauses",
                where="certificate",
                cure="use an linf ball or a box",
            )
        box = query.inputs
        arrays = (box.lower.flatten(1), box.upper.flatten(1), query.C, query.d)
        clauses = tuple(tuple((atom.index, atom.strict) for atom in c) for c in disjuncts(query.tree))
        lower, upper, C, d = (_float64(array) for array in arrays)
        return Claim(lowered(graph.to("cpu")), lower, upper, C, d, clauses)

    @property
    def batch(self) -> int:
        """B."""
        return len(self.d)

    def header(self) -> dict[str, Any]:
        """The header's entries for network and specification."""
        clauses = [[[atom, int(strict)] for atom, strict in clause] for clause in self.clauses]
        return {"network": {"nodes": self.network.nodes}, "spec": {"clauses": clauses}}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of network and specification."""
        spec = {"lower": self.lower, "upper": self.upper, "C": self.C, "d": self.d}
        return {**self.network.arrays, **{f"spec/{name}": value for name, value in spec.items()}}


def _float64(tensor: Tensor) -> NDArray[np.float64]:
    return np.ascontiguousarray(tensor.detach().to("cpu", torch.float64).numpy())


def save(
    path: Path, claim: Claim, proof: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], source: Any
) -> Path:
    """Writes the certificate; `proof` and `arrays` are its third part, `source` notes where it comes from."""
    header, held = claim.header(), {**claim.arrays(), **arrays}
    hashes = {part: digest(header[part], held, part) for part in ("network", "spec")}
    whole = {**FORMAT, **header, "proof": proof, "sha256": hashes, "source": source}

    def write(place: Path) -> None:
        with zipfile.ZipFile(place, "w") as archive:
            _enter(archive, "header.json", json.dumps(whole, indent=1).encode())
            for name, value in sorted(held.items()):
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.ascontiguousarray(value), allow_pickle=False)
                _enter(archive, f"{name}.npy", buffer.getvalue())

    return write_atomically(path, write)


def _enter(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """A member without a date: the same proof gives the same bytes."""
    member = zipfile.ZipInfo(name)
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, data)
