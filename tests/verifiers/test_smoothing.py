"""Randomised smoothing: exact confidence bounds, linear classifiers in closed form, repeatable noise."""

from __future__ import annotations

import math
import time
from statistics import NormalDist

import pytest
import torch
from robustbench_local.verifiers.smoothing import ABSTAIN
from torch import Tensor, nn

from robustbench_local.errors import NonFiniteError, ShapeError, SpecError
from robustbench_local.specs import SPECS, Query
from robustbench_local.verifiers import SMOOTHERS, Smoothing, Verifier, binomial_lower_bound, labels_of

from .networks import uniform

FEW = Smoothing(sigma=0.5, samples0=50, samples=600, alpha=0.01)


class Line(nn.Module):
    """Scores (0, <w, x> + b): class 1 on one side of a hyperplane."""

    def __init__(self, w: Tensor, b: float) -> None:
        super().__init__()
        self.w, self.b = w, b

    def forward(self, x: Tensor) -> Tensor:
        value = x.flatten(1) @ self.w + self.b
        return torch.stack((torch.zeros_like(value), value), 1)


def test_clopper_pearson_by_hand() -> None:
    """All of n: alpha^(1/n). One of n: 1 - (1 - alpha)^(1/n). 2 of 3: 3 p^2 - 2 p^3 = alpha."""
    assert binomial_lower_bound(10, 10, 0.05) == pytest.approx(0.05**0.1, rel=1e-12)
    assert binomial_lower_bound(1, 10, 0.05) == pytest.approx(1 - 0.95**0.1, rel=1e-12)
    p = binomial_lower_bound(2, 3, 0.1)
    assert 3 * p**2 - 2 * p**3 == pytest.approx(0.1, rel=1e-12)
    assert binomial_lower_bound(0, 10, 0.05) == 0.0
    # the tables of Clopper and Pearson: 95 of 100, two-sided 95 % interval starts at 0.887
    assert binomial_lower_bound(95, 100, 0.025) == pytest.approx(0.8872, abs=5e-5)


@pytest.mark.parametrize(("hits", "trials"), [(7, 9), (60, 100), (999, 1000)])
def test_the_bound_is_where_the_tail_has_alpha(hits: int, trials: int) -> None:
    p = binomial_lower_bound(hits, trials, 0.001)
    tail = sum(math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(hits, trials + 1))
    assert tail == pytest.approx(0.001, rel=1e-9)


def test_the_largest_radius() -> None:
    """The paper's example: 100,000 samples at alpha 0.001 certify at most 3.8 sigma."""
    settings = Smoothing(sigma=1.0, samples=100_000, alpha=0.001)
    assert settings.largest_radius == pytest.approx(NormalDist().inv_cdf(0.001**1e-5), rel=1e-9)
    assert 3.8 <= settings.largest_radius <= 3.82


def test_linear_classifiers_have_their_distance_as_radius() -> None:
    """The smoothed classifier of a half space is the half space itself: the radius is the distance."""
    w = torch.tensor([3.0, -4.0])
    network = Line(w, 0.5)
    x = torch.tensor([[0.3, 0.1], [0.6, 0.2], [-0.4, 0.3], [0.1, 0.25]])
    distance = (x @ w + 0.5).abs().double() / 5
    loose = Smoothing(sigma=0.25, samples=500, alpha=0.001).certify(network, x)
    tight = Smoothing(sigma=0.25, samples=20_000, alpha=0.001).certify(network, x)
    assert bool((loose.radius <= distance).all()) and bool((tight.radius <= distance).all())
    far = distance > 0.05
    assert torch.equal(tight.labels[far], (x @ w + 0.5 > 0)[far].long())
    within = distance < 0.5  # no more than 20,000 samples certify at most 0.85
    assert bool((tight.radius >= distance - 0.03)[within].all())
    assert loose.radius[within].sum() < tight.radius[within].sum()
    assert tight.alpha == 0.001 and bool(tight.complete.all())


def test_it_abstains_on_the_boundary() -> None:
    network, x = Line(torch.tensor([1.0, 0.0]), 0.0), torch.zeros(3, 2)
    found = FEW.certify(network, x)
    assert bool(found.abstained.all()) and found.labels.tolist() == [ABSTAIN] * 3
    assert found.radius.tolist() == [0.0] * 3 and bool((found.probability <= 0.5).all())
    assert bool(FEW.predict(network, x).abstained.all())
    sure = FEW.predict(network, x + 2.0)
    assert sure.labels.tolist() == [1, 1, 1] and not bool(sure.abstained.any()) and sure.alpha == 0.01


def test_errors_are_as_rare_as_alpha_says() -> None:
    """A share of 0.7 is bounded by more than that in about alpha of all runs, never far more often."""
    share, runs = 0.7, 300
    b = NormalDist().inv_cdf(share) * 0.5
    settings = Smoothing(sigma=0.5, samples0=20, samples=200, alpha=0.1)
    found = settings.certify(Line(torch.tensor([1.0]), b), torch.zeros(runs, 1))
    wrong = int((found.probability > share).sum())
    assert wrong <= 0.1 * runs + 4 * math.sqrt(0.09 * runs) and wrong > 0


def network_of_noise() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4)).double()
    with torch.no_grad():
        for k, p in enumerate(network.parameters()):
            p.copy_(uniform(k, tuple(p.shape)))
    return network


@pytest.mark.parametrize("batch", [1, 7, 64, 5000])
def test_results_do_not_depend_on_the_batch(batch: int) -> None:
    network, x = network_of_noise(), uniform(9, (5, 3, 4), 0, 1)
    settings = Smoothing(sigma=0.2, samples0=30, samples=300, alpha=0.01)
    want = settings.certify(network, x, seed=3)
    sized = Smoothing(sigma=0.2, samples0=30, samples=300, alpha=0.01, batch=batch)
    found = sized.certify(network, x, seed=3)
    assert torch.equal(found.labels, want.labels) and torch.equal(found.radius, want.radius)
    order = torch.tensor([4, 1])
    some = sized.certify(network, x[order], seed=3, ids=order)
    assert torch.equal(some.radius, want.radius[order])
    named = sized.certify(network, x[order], seed=3, ids=["4", "1"])
    assert torch.equal(named.radius, want.radius[order])


def test_seeds_and_purposes_differ() -> None:
    network, x = network_of_noise(), uniform(9, (5, 3, 4), 0, 1)
    one, other = (FEW.certify(network, x, seed=s).probability for s in (0, 1))
    assert not torch.equal(one, other)
    state = torch.random.get_rng_state()
    again = FEW.certify(network, x, seed=0).probability
    assert torch.equal(one, again) and torch.equal(torch.random.get_rng_state(), state)


def test_scores_that_are_not_finite_count_for_no_class() -> None:
    def broken(x: Tensor) -> Tensor:
        scores = torch.stack((x[:, 0] * 0 + 1, x[:, 0] * 0), 1)  # class 0 wherever there is a class
        return torch.where(x[:, :1] > 0.3, scores, scores * math.nan)  # for 27 % of the noise

    found = FEW.certify(broken, torch.zeros(2, 1))
    assert bool(found.abstained.all()) and bool((found.probability > 0.15).all())
    nothing = FEW.certify(lambda x: x * math.nan, torch.zeros(2, 3))
    assert nothing.probability.tolist() == [0.0, 0.0]


def test_out_of_time_it_abstains_and_says_so() -> None:
    found = FEW.certify(Line(torch.ones(2), 9.0), torch.zeros(3, 2), deadline=time.monotonic() - 1)
    assert bool(found.abstained.all()) and not bool(found.complete.any())

    def slow(x: Tensor) -> Tensor:
        time.sleep(0.05)
        return torch.eye(5)[:1].expand(len(x), 5)

    half = Smoothing(samples0=10, samples=10, batch=10).certify(
        slow, torch.zeros(40, 2), deadline=time.monotonic() + 0.3
    )
    assert not bool(half.complete.all()) and bool((half.radius[~half.complete] == 0).all())


def test_a_query_names_its_labels() -> None:
    for classes in (2, 3, 10):
        c = torch.arange(5) % classes
        spec = SPECS["robustness"]((4,), classes, p=2.0)
        query = spec.query(nn.Linear(4, classes), x0=torch.rand(5, 4), c=c, eps=0.1)
        assert torch.equal(labels_of(query), c)


@pytest.mark.parametrize("change", ["tree", "rows", "offset", "sign"])
def test_other_properties_are_refused(change: str) -> None:
    query = SPECS["robustness"]((4,), 3).query(
        nn.Linear(4, 3), x0=torch.rand(2, 4), c=torch.zeros(2).long(), eps=0.1
    )
    targeted = SPECS["targeted"]((4,), 3).query(
        nn.Linear(4, 3), x0=torch.rand(2, 4), t=torch.zeros(2).long(), eps=0.1
    )
    others = {
        "tree": Query(query.network, query.inputs, query.C, query.d, targeted.tree),
        "rows": targeted,
        "offset": Query(query.network, query.inputs, query.C, query.d - 1, query.tree),
        "sign": Query(query.network, query.inputs, -query.C, query.d, query.tree),
    }
    with pytest.raises(SpecError, match="smoothing"):
        labels_of(others[change])


def test_settings_and_shapes_are_checked() -> None:
    for bad in (
        {"sigma": 0.0},
        {"sigma": math.inf},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"samples": 0},
        {"batch": 0},
    ):
        with pytest.raises(NonFiniteError, match="smoothing"):
            Smoothing(**bad)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="scores"):
        FEW.certify(lambda x: x.sum(1), torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="3 ids"):
        FEW.certify(nn.Identity(), torch.zeros(2, 3), ids=[1, 2, 3])


def test_it_is_no_verifier() -> None:
    assert not any(isinstance(method, Verifier) for method in SMOOTHERS.values())
    assert SMOOTHERS["smoothing-0.5"].sigma == 0.5 and "sigma=0.5" in SMOOTHERS["smoothing-0.5"].text
