"""Random nested formulas about two networks and two variables, with products and nonlinear terms.

RBL_FORMULAS=5000 raises the number of formulas; `pytest -s` then prints what became of them.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from fractions import Fraction

import torch
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from robustbench_local.specs.tree import count_clauses
from torch import Tensor, nn

from robustbench_local.specs import Net, Query, Spec, box, forall
from robustbench_local.verifiers import find_verifier, from_torch

from .random_formulas import Claim, K, Values
from .random_relations import F, U, Unclear, X, relations

FORMULAS = int(os.environ.get("RBL_FORMULAS", "150"))
B = 6
COUNTS: Counter[str] = Counter()


class Integers(nn.Module):
    """relu(A x) W with small integers: outputs on a grid of integers hit ties and boundaries often."""

    def __init__(self, inputs: int, source: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("A", torch.randint(-2, 3, (inputs, 3), generator=source).double())
        self.register_buffer("W", torch.randint(-1, 2, (3, K), generator=source).double())

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.get_buffer("A")).relu() @ self.get_buffer("W")


def networks(number: int) -> dict[str, nn.Module]:
    source = torch.Generator().manual_seed(number)
    return {"f": Integers(2, source), "g": Integers(K, source)}


def bound(claim: Claim, given_networks: dict[str, nn.Module], values: dict[str, object]) -> Query | None:
    """The query of the claim over [-2, 2]^4; None where it speaks of no network."""
    body = claim.formula
    nets = {node.name for node in _nets(body.text)}
    if not nets:
        return None
    spec: Spec = forall([X, U], box(-2, 2)(X) & box(-2, 2)(U), body)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # == and != hit nothing by chance
        used = {k: v for k, v in values.items() if k in spec.slots}
        return spec.unchecked().query({name: given_networks[name] for name in nets}, **used)


def _nets(text: str) -> list[Net]:
    return [net for net in (F, Net("g", K, K)) if f"{net.name}(" in text]


@seed(1)
@given(relations(), st.integers(0, 10_000), st.sampled_from([0.5, -1.0, 0.0]))
@settings(max_examples=FORMULAS, phases=[Phase.generate])  # large formulas shrink slowly
def test_the_sign_of_the_violation_is_the_truth(claim: Claim, number: int, t: float) -> None:
    source, nets = torch.Generator().manual_seed(number), networks(number)
    x, u = (torch.randint(-2, 3, (B, 2), generator=source).double() for _ in range(2))
    c = torch.randint(0, K, (B,), generator=source)
    query = bound(claim, nets, {"c": c, "t": t})
    if query is None:
        COUNTS["no network"] += 1
        return
    if query.batch == 1:
        query = query.select(torch.zeros(B, dtype=torch.int64))
    z = query.point(x=x, u=u)
    violation, violated = query.violation(z), query.violated(z)
    COUNTS["formulas"] += 1
    COUNTS["boundary points"] += int((violation == 0).sum())
    for b, values in enumerate(_values(nets, x, u, c, t)):
        try:
            truth = claim.at(values)
        except Unclear:
            COUNTS["unclear point"] += 1
            continue
        COUNTS["decided point"] += 1
        assert bool(violated[b]) == (not truth)
        assert violation[b] == 0 or bool(violation[b] > 0) == (not truth)
    e = query.atoms(query.network(z))
    assert torch.equal(query.combine(e), violation)
    if count_clauses(query.tree) <= 200:  # the clauses say the same: OR of ANDs is max of min
        COUNTS["clauses compared"] += 1
        y = query.network(z).unsqueeze(-1)
        clauses = [((C @ y).squeeze(-1) + d).amin(1) for C, d in query.clauses()]
        assert torch.allclose(torch.stack(clauses).amax(0), violation)
    raised = query.combine(e + torch.rand(e.shape, generator=source, dtype=torch.float64))
    assert (raised >= violation).all() and not (query.holds(raised) & violated).any()


@seed(2)
@given(relations(), st.integers(0, 10_000), st.sampled_from([0.5, -1.0, 0.0]))
@settings(max_examples=max(25, FORMULAS // 10), phases=[Phase.generate], deadline=None)
def test_bounds_enclose_and_never_prove_what_is_false(claim: Claim, number: int, t: float) -> None:
    nets = networks(number)
    query = bound(claim, nets, {"c": torch.tensor([number % K]), "t": t})
    if query is None:
        COUNTS["no network"] += 1
        return
    many = query.select(torch.zeros(300, dtype=torch.int64))
    source = torch.Generator().manual_seed(number)
    uniform = torch.rand(300, *query.inputs.shape, generator=source, dtype=torch.float64)
    uniform[:100] = uniform[:100].round()  # corners, nearly
    z = many.inputs.sample(uniform, torch.rand(300, generator=source, dtype=torch.float64))
    worst, broken = many.violation(z).max(), bool(many.violated(z).any())
    graph = from_torch(query.network, query.inputs.centre())
    for name in ("ibp", "crown"):
        with torch.no_grad():
            upper = find_verifier(name).bound(graph, query).upper
        assert bool(worst <= upper + 1e-9 * (1 + worst.abs())) or bool(upper.isnan())
        held = bool(query.holds(upper))
        COUNTS[f"{name}: " + ("holds" if held else "broken" if broken else "open")] += 1
        assert not (held and broken)


def test_most_formulas_were_decided() -> None:
    print(dict(COUNTS))
    if COUNTS["formulas"]:  # else the test above did not run
        assert COUNTS["decided point"] > 5 * COUNTS["formulas"] > 3 * FORMULAS
        assert COUNTS["boundary points"] and COUNTS["clauses compared"] > FORMULAS / 2


def _values(nets: dict[str, nn.Module], x: Tensor, u: Tensor, c: Tensor, t: float) -> list[Values]:
    tensors = {"x": x, "u": u, "f(x)": nets["f"](x), "f(u)": nets["f"](u)}
    tensors["g(f(x))"] = nets["g"](tensors["f(x)"])
    rows = {name: [[Fraction(v) for v in row] for row in value.tolist()] for name, value in tensors.items()}
    return [
        {**{name: value[b] for name, value in rows.items()}, "c": int(c[b]), "t": Fraction(t)}
        for b in range(len(x))
    ]
