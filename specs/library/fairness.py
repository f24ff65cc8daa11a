"""Protected attributes do not decide: fairness of tabular models and of rankings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import product
from operator import and_

from robustbench_local.errors import SpecError

from ..expressions import (
    Data,
    Formula,
    Net,
    Param,
    Term,
    Var,
    argmax,
    at_least,
    box,
    choice,
    implies,
    put,
)
from ..spec import Spec, forall
from .registry import spec

__all__ = ["counterfactual_fairness", "individual_fairness", "keeps_places"]

Protected = Mapping[int, Sequence[float]]
"""Number of a feature -> the values that it takes."""


@spec("individual_fairness", numbers=(19,), form="RF", suits="tabular scores")
def individual_fairness(features: int, outputs: int = 1, *, protected: Protected) -> Spec:
    """forall x, low <= x <= high, and d, |d| <= drift: |f(x) - f(y)| <= tolerance, for all twins y of x.

    A twin is x + d with any of the given values in the protected features, {SEX: (0, 1)} say; x itself has
    any values between low and high there. Bind low, high, drift (B, features) and tolerance; drift where a
    feature is protected does not matter. Violation: the largest difference of the scores minus the tolerance,
    strict atoms. Source: C. Dwork et al., Fairness through awareness, ITCS 2012; as verified by S. Biswas, H.
    Rajan, Fairify, ICSE 2023, arXiv 2212.06140.
    """
    x, d = Var("x", features), Var("d", features)
    f, drift = Net("f", features, outputs), Data("drift", features)
    claims = [abs(f(x) - f(y)) <= Param("tolerance") for y in _twins(x + d, protected)]
    domain = box(Data("low", features), Data("high", features))(x) & box(-drift, drift)(d)
    return forall([x, d], domain, reduce(and_, claims))


@spec("counterfactual_fairness", numbers=(20,), form="RF", suits="tabular classifiers")
def counterfactual_fairness(features: int, classes: int, *, protected: Protected) -> Spec:
    """forall x, low <= x <= high: argmax f(y) = argmax f(y'), for all pairs of twins y, y' of x.

    Twins are x with any of the given values in the protected features, {SEX: (0, 1)} say: only those change,
    and the decision does not. Bind low, high (B, features). Violation: for the pair where the decisions
    differ most, how far each class is from leading in both; closed atoms, ties count against the property.
    Source: the dependency fairness of C. Urban et al., Perfectly parallel fairness certification of neural
    networks, OOPSLA 2020, arXiv 1912.02499.
    """
    x, f = Var("x", features), Net("f", features, classes)
    first, *others = _twins(x, protected)
    same: list[Formula] = [argmax(f(first)) == argmax(f(other)) for other in others]
    if not same:
        raise SpecError("the protected features have one value each", cure="give at least two of one feature")
    return forall(x, box(Data("low", features), Data("high", features)), reduce(and_, same))


@spec("keeps_places", numbers=(57,), form="RF", suits="rankers of applications")
def keeps_places(features: int, *, rivals: int, variants: int, lost: int = 0) -> Spec:
    """forall x in variants: f(x) > f(pool_k) for all rivals k with f(x0) > f(pool_k), but at most `lost`.

    The score f ranks a pool, the higher first. x0 is one candidate and the variants say the same of him or
    her in other words: with gendered words exchanged, say. Bind x0 (B, features), pool (B, rivals, features)
    and variants (B, variants, features). Violation: of lost = 0, the largest f(pool_k) - f(x) over rivals
    that x0 leads; closed atoms, a tie loses the place. Source: J. Dastin, Reuters, 10 October 2018, on a
    ranking that marked down a word; M. Raghavan et al., Mitigating bias in algorithmic hiring, FAT* 2020,
    arXiv 1906.09208.
    """
    if not 0 <= lost < rivals:
        raise SpecError(f"{lost} of {rivals} places are lost", cure=f"give 0 to {rivals - 1}")
    x0, f = Data("x0", features), Net("f", features, 1)
    x, pool = Var("x", like=x0), Data("pool", (rivals, features))
    kept: list[Formula] = [implies(f(x0) > f(pool[k]), f(x) > f(pool[k])) for k in range(rivals)]
    claim = at_least(rivals - lost, *kept) if lost else reduce(and_, kept)
    return forall(x, choice(Data("variants", (variants, features))), claim)


def _twins(x: Term, protected: Protected) -> Iterator[Term]:
    """x with every combination of values in the protected features."""
    if not protected or not all(protected.values()):
        raise SpecError("no protected feature, or one without values", cure="give {feature: (0, 1)}")
    for values in product(*protected.values()):
        twin = x
        for feature, value in zip(protected, values, strict=True):
            twin = put(twin, feature, value)
        yield twin
