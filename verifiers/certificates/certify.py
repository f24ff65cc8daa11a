"""From a property that holds to a file that proves it to anybody: search, write, and have it checked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from robustbench_local.checker import check, digest
from robustbench_local.errors import GraphError
from robustbench_local.specs import Query

from ..graph import Graph
from ..verifier import prepared
from .claim import Claim, save
from .hidden_search import HiddenSearch
from .input_search import InputSearch
from .lowering import lowered
from .rebuilt import rebuilt
from .record import TreeRecord
from .trees import Proof, tree_arrays

__all__ = ["Certified", "certify", "network_hash"]

_FEW, _SHARE = 20, 0.8  # inputs that vary: up to here their box is split, in this part of the time
_TRIAL = 0.3  # the part that the whole box may take by the checker's own bounds
_CUSHIONS = (1e-7, 1e-4)  # relative to the outputs' sizes: how far above zero the search must come


@dataclass(frozen=True, slots=True)
class Certified:
    """A file that the checker accepted; or None and the reason why there is none.

    leaves: parts that the proof consists of. seconds: of the search and of the check.
    """

    path: Path | None
    reason: str = ""
    leaves: int = 0
    search_seconds: float = 0.0
    check_seconds: float = 0.0


def certify(
    graph: Graph,
    query: Query,
    path: str | Path,
    *,
    seconds: float = 60.0,
    source: Mapping[str, str] | None = None,
    record: TreeRecord | None = None,
) -> Certified:
    """Proves the query anew in about `seconds`, by means that the checker can replay, and writes that.

    record: of the run that decided this query of this graph, whose trees are taken over then.

    All problems of the query must hold; their sets are boxes. `source` is kept in the header for readers:
    names and hashes of the files that model and property came from. A file appears at `path` only if the
    checker accepts it. UnsupportedOpError for a network, SpecError for a set or formula that certificates
    cannot say.
    """
    start = time.monotonic()
    with torch.inference_mode(False), torch.no_grad():
        graph, query = prepared(graph, query)
        graph = graph.replaced(Tensor.detach, (graph.dtype, graph.device)).to("cpu")
        claim = Claim.of(graph, query)
        _check_same(claim, graph)
        varying = int((claim.lower < claim.upper).sum(1).max())
        found = Certified(None)
        for cushion in _CUSHIONS:
            proof = _proof(claim, start + seconds, cushion, record, few=varying <= _FEW)
            found = replace(found, leaves=proof.leaves, search_seconds=time.monotonic() - start)
            if not proof.complete:
                return replace(found, reason=found.reason or f"no complete proof within {seconds:g} s")
            reason, checked = _written(claim, proof, Path(path), source, start + seconds)
            found = replace(found, check_seconds=checked, reason=reason)
            if not reason:
                return replace(found, path=Path(path))
    return replace(found, reason=f"the checker rejects the proof: {found.reason}")


def network_hash(graph: Graph) -> str:
    """The hash by which a certificate names this network. UnsupportedOpError where it has none."""
    with torch.inference_mode(False), torch.no_grad():
        made = lowered(graph.resolved().to("cpu"))
    return digest({"nodes": made.nodes}, made.arrays, "network")


def _proof(claim: Claim, deadline: float, cushion: float, record: TreeRecord | None, *, few: bool) -> Proof:
    """A proof by splits of the inputs where few of them vary, or by splits of hidden coordinates, which come
    first where they decided the property.
    """
    hidden = HiddenSearch(claim, deadline, cushion=cushion, record=record)
    if few and hidden.kept:
        now = time.monotonic()
        hidden.deadline = now + (1 - _SHARE) * (deadline - now)
        proof = hidden.run()
        if proof.complete:
            return proof
        hidden = HiddenSearch(claim, deadline, cushion=cushion)
    maxima = any(about["op"] == "max" for about in claim.network.nodes)  # whose lines are the checker's own
    if few or maxima:
        now = time.monotonic()
        share = _SHARE if few else _TRIAL
        proof = InputSearch(claim, now + share * (deadline - now), cushion=cushion).run()
        if proof.complete:
            return proof
    return hidden.run()


def _written(
    claim: Claim, proof: Proof, path: Path, source: Mapping[str, str] | None, deadline: float
) -> tuple[str, float]:
    """Why the checker rejects the file, "" where it accepts it, and the seconds that it took."""
    entry, arrays = tree_arrays(proof, max(len(clause) for clause in claim.clauses))
    draft = path.with_name(f".{path.name}.draft")
    try:
        save(draft, claim, entry, arrays, dict(source or {}))
        found = check(draft, max(0.0, deadline - time.monotonic()))
        if found.accepted:
            draft.replace(path)
        return found.reason, found.seconds
    finally:
        draft.unlink(missing_ok=True)


def _check_same(claim: Claim, graph: Graph) -> None:
    """Raise GraphError where what is written computes something else than the network."""
    graph = graph.to(torch.float64)
    again, _ = rebuilt(claim.network)
    lower, upper = (torch.from_numpy(end)[:1] for end in (claim.lower, claim.upper))
    noise = torch.rand(16, lower.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.cat((lower + noise * (upper - lower), 4 * noise - 2))
    one, other = graph.run(x.reshape(-1, *graph.input_shape)).flatten(1), again.run(x)
    if not torch.allclose(one, other, rtol=1e-9, atol=1e-9 * max(1.0, float(one.abs().max()))):
        raise GraphError("the certificate's network computes something else than the model")
