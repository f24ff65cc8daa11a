"""From a property as it is written to the spec that it means."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from robustbench_local.errors import ShapeError

from ..expressions.balls import SparseBallDomain, WeightedBallDomain
from ..expressions.base import Formula
from ..expressions.choices import SegmentDomain
from ..expressions.domains import BallDomain, BoxDomain, Domain, Placed
from ..expressions.leaves import Var
from ..expressions.patches import PatchDomain
from ..joint import conjuncts
from ..spec import Spec, exists, forall
from .declared import BROKEN, Broken, attempt
from .evaluator import Evaluator
from .operators import described
from .quantifiers import Quantified
from .tokens import Token

__all__ = ["check_domain", "formula_of", "spec_of"]

_BUILD = {"forall": forall, "exists": exists}
_SHAPED = (BoxDomain, BallDomain, WeightedBallDomain, SparseBallDomain, PatchDomain, SegmentDomain)
"""Domains whose points have the variable's shape, or are numbers."""


def spec_of(evaluator: Evaluator, whole: Quantified, values: Mapping[str, object]) -> Spec | Broken:
    """One property, with the values of the indices."""
    bound = evaluator.begin()
    local = dict(values)
    variables: list[Var] = []
    domains: list[Domain | Formula] = []
    for one in whole.quantifiers:
        for name, new in one.variables:
            if name.text in local:
                what = f"`{name.text}` is declared twice in this property"
                evaluator.report.error(what, name, "choose another name", code="E-PARAM")
                continue
            local[name.text] = bound[name.text] = new
            variables += [] if isinstance(new, Broken) else [new]
        domain = _domain(evaluator, evaluator.value(one.domain, local), one.at)
        domains += [] if domain is None else [domain]
    body = formula_of(evaluator, evaluator.value(whole.body, local), whole.at)
    complete = len(variables) == sum(len(q.variables) for q in whole.quantifiers)
    if (
        not _one_kind(evaluator, whole)
        or body is None
        or not complete
        or len(domains) < len(whole.quantifiers)
    ):
        return BROKEN
    first = whole.quantifiers[0]
    if len(variables) > 1:
        counts = [len(q.variables) for q in whole.quantifiers]
        firsts = itertools.accumulate(counts, initial=0)
        groups = [variables[k : k + n] for k, n in zip(firsts, counts, strict=False)]
        domains = [_placed(d, group) for d, group in zip(domains, groups, strict=True)]

    def build() -> Spec:
        domain = domains[0]
        for part in domains[1:]:
            domain = domain & part
        return _BUILD[first.token.text](variables, domain, body)

    spec = attempt(evaluator.report, first.token, build)
    if isinstance(spec, Broken):
        return BROKEN
    return BROKEN if attempt(evaluator.report, first.at, lambda: check_domain(spec)) is BROKEN else spec


def _one_kind(evaluator: Evaluator, whole: Quantified) -> bool:
    outer = whole.quantifiers[0].token
    for one in whole.quantifiers[1:]:
        if one.token.text != outer.text:
            what = f"`{one.token.text}` inside `{outer.text}`: quantifiers do not alternate"
            evaluator.report.error(what, one.token, "make one domain finite, with `each`", code="E-ALT")
            return False
    return True


def _domain(evaluator: Evaluator, value: object, at: Token) -> Domain | Formula | None:
    if isinstance(value, Domain | Formula):
        return value
    if value is not BROKEN:
        cure = "use box(..), ball(..) or their `&`"
        evaluator.report.error(f"expected a domain, got {described(value)}", at, cure, code="E-SPEC")
    return None


def formula_of(evaluator: Evaluator, value: object, at: Token) -> Formula | None:
    """The value, which must be a formula; None after an error."""
    if isinstance(value, Formula):
        return value
    if value is not BROKEN:
        cure = "compare terms: f(x)[0] <= 1"
        evaluator.report.error(f"expected a formula, got {described(value)}", at, cure, code="E-SPEC")
    return None


def _placed(domain: Domain | Formula, group: Sequence[Var]) -> Domain | Formula:
    """The domain of a quantifier of one variable, placed on it."""
    return domain(group[0]) if isinstance(domain, Domain) and len(group) == 1 else domain


def check_domain(spec: Spec) -> None:
    """Raise where the domain is not placed on the variables, or has another shape than they."""
    for part in conjuncts(spec.domain, spec.variables):
        if isinstance(part, Placed) and isinstance(part.domain, _SHAPED):
            for bound in part.domain.children:
                shape = getattr(bound, "shape", ())
                if shape not in ((), part.variable.shape):
                    variable = part.variable
                    raise ShapeError(
                        f"`{bound.text}` has shape {shape}, the variable `{variable.name}` {variable.shape}",
                        cure="give numbers, or as many as the variable has",
                    )
