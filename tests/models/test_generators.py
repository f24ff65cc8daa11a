"""Simulators and generators of the zoo's rows: laws, rules and causes that they must obey."""

from __future__ import annotations

import torch
from robustbench_local.models.fairness.justice import EFFECTS, NAMES, consequences
from robustbench_local.models.fairness.ranking import FEATURES as CV
from robustbench_local.models.fairness.ranking import applications, swapped
from robustbench_local.models.fairness.scores import area_under_curve
from robustbench_local.models.physics.crossing import decide, scenes
from robustbench_local.models.physics.grid_world import STEPS, codes, moved, turns
from robustbench_local.models.physics.spring import OMEGA, STEP, follow
from sklearn.linear_model import LinearRegression

from robustbench_local.data import load_dataset


def test_a_spring_keeps_energy_and_obeys_its_equation() -> None:
    state = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    after = follow(state)

    def energy(s: torch.Tensor) -> torch.Tensor:
        return s[:, 1] ** 2 / 2 + OMEGA**2 * (s[:, 0] - state[:, 2]) ** 2 / 2

    assert torch.allclose(energy(after), energy(state))
    pull = -(OMEGA**2) * (state[:, 0] - state[:, 2])
    expected = torch.stack((state[:, 0] + STEP * state[:, 1], state[:, 1] + STEP * pull), 1)
    expected[:, 0] += STEP**2 / 2 * pull
    expected[:, 1] -= STEP**2 / 2 * OMEGA**2 * state[:, 1]  # Taylor to the second order
    assert torch.allclose(after, expected, atol=STEP**3 * 20)


def test_being_of_a_group_has_the_consequences_of_the_equations() -> None:
    """Sex and age stay; what follows is what the equations say one after the other."""
    shift = dict(zip(NAMES, consequences().tolist(), strict=True))
    assert shift["african_american"] == 1 and shift["male"] == shift["age"] == 0
    assert 0.03 < shift["priors_count"] < 0.1 and all(size >= 0 for size in shift.values())
    rows = load_dataset("compas", split="train").inputs.double()
    changed = torch.zeros(len(NAMES), dtype=torch.float64)
    changed[NAMES.index("african_american")] = 1
    for effect, causes in EFFECTS:
        places = [NAMES.index(cause) for cause in causes]
        regression = LinearRegression().fit(rows[:, places].numpy(), rows[:, NAMES.index(effect)].numpy())
        before, after = regression.predict([[0.0] * len(places), changed[places].tolist()])
        changed[NAMES.index(effect)] = after - before
    assert torch.allclose(changed.float(), consequences(), atol=1e-5)


def test_streets_are_judged_by_their_rule() -> None:
    near, far = [0.05, 0.0], [0.9, 0.0]
    red, yellow, cross, taxi = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0], [0.0, 1.0]
    x = torch.tensor(
        [
            far + red + [0.0] + far + red + [0.0] + cross,
            far + red + [0.0] + near + red + [0.0] + cross,
            near + yellow + [1.0] + far + red + [0.0] + taxi,
            near + yellow + [0.0] + far + red + [1.0] + taxi,
        ]
    )
    assert decide(x).tolist() == [1, 0, 1, 0]
    x = scenes(300, 4)
    assert torch.equal(x, scenes(300, 4)) and bool(((x >= 0) & (x <= 1)).all())
    assert bool((x[:, [2, 3, 4]].sum(1) == 1).all()) and 50 < int(decide(x).sum()) < 250


def test_area_under_the_curve() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    assert area_under_curve(torch.tensor([0.0, 1.0, 2.0, 3.0]), labels) == 1.0
    assert area_under_curve(torch.tensor([3.0, 2.0, 1.0, 0.0]), labels) == 0.0
    assert area_under_curve(torch.zeros(4), labels) == 0.5


def test_the_exact_code_of_a_grid_turns_with_every_move() -> None:
    grids, code = torch.eye(75), codes()
    for step in (*STEPS, (2, 4, 3), (0, 0, 0)):
        assert torch.allclose(grids[:, moved(step)] @ code, code @ turns(step).T, atol=1e-6)
    assert not torch.allclose(grids[:, moved(STEPS[0])] @ code, code, atol=0.1)


def test_exchanging_words_twice_changes_nothing_and_merits_never() -> None:
    x, seen = applications(500, 3)
    assert torch.equal(swapped(swapped(x)), x) and torch.equal(swapped(x)[:, :6], x[:, :6])
    assert x.shape == (500, CV) and not torch.equal(swapped(x), x)
    men = x[:, 7] > x[:, 6]
    women = x[:, 6] > x[:, 7]
    assert float(seen[men].mean()) > float(seen[women].mean())  # past choices preferred men
