"""Row 10.08: one view of a street for two tasks, crossing it and finding a taxi, as the lecture's example."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Net, Query, Var, argmax, box, exists, forall

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["crossing", "decide", "scenes"]

STREET = 20.0  # metres, the unit of distances
CAR = ("distance", "speed", "red", "blue", "yellow", "sign")
SEEN = 2 * len(CAR)
TASKS = ("cross", "taxi")
INPUTS = SEEN + len(TASKS)
WAIT, ACT = 0, 1
SAFE, PER_SPEED, GAP = 0.3, 0.2, 0.05  # in units of STREET
NEAR = 0.1
COLOURS = (2, 3, 4)  # of a car's six numbers


class Crossing(nn.Module):
    """What is seen of two cars (12) and the task, one-hot (2) -> scores of waiting and acting (2).

    The task opens and closes eight features of the view by gates between 0 and 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.view = nn.Sequential(nn.Linear(SEEN, 24), nn.ReLU(), nn.Linear(24, 8))
        self.gate = nn.Linear(len(TASKS), 8)
        self.policy = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 2) of x (B, 14)."""
        features = self.view(x[:, :SEEN])
        open_ = torch.sigmoid(self.gate(x[:, SEEN:]))
        scores: Tensor = self.policy(open_ * features)
        return scores


class Rule(nn.Module):
    """A control: acts where a weighted sum of the inputs is positive."""

    def __init__(self, weights: dict[int, float], bias: float) -> None:
        super().__init__()
        self.layer = nn.Linear(INPUTS, 2)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.copy_(torch.tensor([0.0, bias]))
            for place, weight in weights.items():
                self.layer.weight[ACT, place] = weight

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 2) of x (B, 14)."""
        scores: Tensor = self.layer(x)
        return scores


def decide(x: Tensor) -> Tensor:
    """The right action (N,) for x (N, 14): cross when both cars are far for their speed, and hail when a car
    is yellow and has a sign."""
    cars = x[:, :SEEN].reshape(len(x), 2, len(CAR))
    far = (_room(x) > 0).all(1)
    taxi = ((cars[:, :, 4] > 0.5) & (cars[:, :, 5] > 0.5)).any(1)
    return torch.where(x[:, SEEN] > 0.5, far, taxi).long()


def scenes(rows: int, seed: int) -> Tensor:
    """Scenes (N, 14): distances and speeds uniform in [0, 1] but not within GAP of the rule's limit, a colour
    of three and a sign or none for each car, and one task of two, each as likely as the other."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.zeros(0, INPUTS)
    while len(found) < rows:
        cars = torch.rand(rows, 2, len(CAR), generator=generator)
        cars[:, :, 2:5] = F.one_hot(torch.randint(3, (rows, 2), generator=generator), 3).float()
        cars[:, :, 5] = cars[:, :, 5].round()
        task = F.one_hot(torch.randint(2, (rows,), generator=generator), 2).float()
        x = torch.cat((cars.flatten(1), task), 1)
        found = torch.cat((found, x[(_room(x).abs() > GAP).all(1)]))
    return found[:rows]


def _room(x: Tensor) -> Tensor:
    """How far each car is beyond the limit for its speed, (N, 2)."""
    cars = x[:, :SEEN].reshape(len(x), 2, len(CAR))
    return cars[:, :, 0] - PER_SPEED * cars[:, :, 1] - SAFE


def _accuracy(network: nn.Module) -> float:
    x = scenes(2000, 2)
    with torch.inference_mode():
        return float((network(x).argmax(1) == decide(x)).float().mean())


def _places(of: tuple[int, ...]) -> list[int]:
    """The places of some of a car's numbers, for both cars."""
    return [car * len(CAR) + k for car in range(2) for k in of]


def _focus_query(network: nn.Module, x: Tensor) -> Query:
    low, high = (x - 0.01).clamp(0, 1), (x + 0.01).clamp(0, 1)
    low[:, SEEN:], high[:, SEEN:] = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])
    free = _places((*COLOURS, 5))
    low[:, free], high[:, free] = 0.0, 1.0
    centre = (low + high) / 2
    low_, high_ = Data("low", INPUTS), Data("high", INPUTS)
    q, f, sign = Var("q", INPUTS), Net("f", INPUTS, 2), Data("sign", ())
    spec = forall(q, box(low_, high_), sign * (f(q)[ACT] - f(q)[WAIT]) > 0)
    return spec.query(network, low=low, high=high, sign=2.0 * decide(centre) - 1)


def _focus(number: int = 20) -> Claim:
    return Claim(
        name="focus",
        says=f"Crossing, in each of {number} scenes, with distances and speeds known to 0.01, the action "
        f"stays "
        f"right whatever colours and signs the cars have.",
        query=lambda network: _focus_query(network, scenes(number, 2)),
        control=lambda: Rule({0: 10.0, 6: 10.0, 2: -20.0}, -3.0),
        control_is="a rule that does not cross in front of red cars",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _safe_query(network: nn.Module) -> Query:
    low, high = torch.zeros(2, INPUTS), torch.ones(2, INPUTS)
    low[:, SEEN:], high[:, SEEN:] = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])
    high[0, 0], high[1, len(CAR)] = NEAR, NEAR
    q, f = Var("q", INPUTS), Net("f", INPUTS, 2)
    spec = forall(q, box(Data("low", INPUTS), Data("high", INPUTS)), argmax(f(q)) == WAIT)
    return spec.query(network, low=low, high=high)


def _safe() -> Claim:
    return Claim(
        name="safe",
        says=f"With either car within {NEAR * STREET:g} m, whatever else is seen, nobody crosses.",
        query=_safe_query,
        control=lambda: Rule({0: 10.0, 6: 10.0}, -6.0),
        control_is="a rule that lets one car's distance make up for the other's",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _needs(number: int = 10) -> Claim:
    def query(network: nn.Module) -> Query:
        x = scenes(2000, 3)
        cars = x[:, :SEEN].reshape(len(x), 2, len(CAR))
        x = x[(x[:, SEEN + 1] > 0.5) & (cars[:, 0, 5] > 0.5) & (cars[:, 1, 5] < 0.5)][:number].clone()
        x[:, list(COLOURS)] = 0.0
        paint = torch.zeros(INPUTS, 3)
        paint[list(COLOURS), range(3)] = 1.0
        c, d, f = Var("c", 3), Var("d", 3), Net("f", INPUTS, 2)
        scene, brush = Data("scene", INPUTS), Data("paint", (INPUTS, 3))
        one, other = f(scene + brush @ c), f(scene + brush @ d)
        spec = exists([c, d], box(0, 1)(c) & box(0, 1)(d), (argmax(one) == ACT) & (argmax(other) == WAIT))
        return spec.query(network, scene=x, paint=paint)

    return Claim(
        name="needs-colour",
        says=f"Looking for a taxi, in each of {number} scenes where only the first car has a sign, some "
        f"colour "
        f"of it is hailed and some other is not.",
        query=query,
        control=lambda: Rule({5: 10.0, 11: 10.0}, -5.0),
        control_is="a rule that looks at the signs alone",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _fit(steps: int, price: float) -> Fit:
    """Cross-entropy to the right action; with a price, interval bounds of safety and focus as well."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        x = scenes(8000, 1)
        right = decide(x)
        extra = _bounds(network, tools, x) if price else None

        def loss(step: int) -> Tensor:
            rows = minibatch(len(x), 128, generator)
            exact = F.cross_entropy(network(x[rows]), right[rows])
            return exact if extra is None else exact + price * min(1.0, 2 * step / steps) * extra(rows)

        minimise(network, loss, steps=steps, learning_rate=5e-3)

    return fit


def _bounds(network: nn.Module, tools: Tools, x: Tensor) -> Callable[[Tensor], Tensor]:
    safe = _safe_query(network)
    bound_safe, bound_focus = tools.bounder(safe), tools.bounder(_focus_query(network, x[:2]))

    def extra(rows: Tensor) -> Tensor:
        focus = bound_focus(_focus_query(network, x[rows[:32]]))
        return F.softplus(focus).mean() + F.softplus(bound_safe(safe)).mean()

    return extra


@model(
    ModelCard(
        name="crossing",
        family="physics",
        summary="One view of a street with two cars, opened and closed by the task: crossing or finding a "
        "taxi.",
        paper="example of the lecture, no paper known",
        source="DeepMind x UCL deep learning lectures, unsupervised representation learning",
        input_shape=(INPUTS,),
        outputs=2,
        task="control",
        dataset="made-up street scenes",
        parameters=714,
        weights=("nominal", "spec"),
        recipes=("crossing-nominal", "crossing-spec"),
        faithful="Two tasks share one world and need different parts of it: presence of cars for one, their "
        "looks for the other.",
        deviates="No paper belongs to the example, which speaks of two decision processes without numbers. "
        "Scenes are twelve numbers, actions are learned by imitation, and there is one step in time.",
        intended_use="What a task must ignore, what it must look at and what must never happen, each "
        "decided.",
        limits="Two cars, exact rules, no pictures: says nothing about seeing.",
        licence="Apache-2.0",
    )
)
def crossing() -> nn.Module:
    """The untrained network."""
    return Crossing()


add_row(
    Row(
        card=RowCard(
            id="10.08",
            section="Episode 10, what makes a good representation: how to cross a street",
            shows="Which parts of a view matter depends on the task. A network that makes no mistake on test "
            "scenes still lets the colour of a car decide about crossing at inputs between them; a task that "
            "closes what it does not need can be proved not to.",
            data="8,000 made-up scenes from a seeded generator for training, 2,000 others for the gate; "
            "scenes within 1 m of the rule's limit are left out. Generated here, no licence needed.",
            ethics="No person's data. The rule knows one kind of walker only: who needs more time to cross "
            "is "
            "not represented. Labels come from the rule.",
            parts=(
                "the whole network: view and task (14) -> scores (2)",
                "two paintings of one scene -> scores",
            ),
            benefit="Shows attention to what matters as three properties, one of which asks for sensitivity.",
            risk="Safety proved for two cars given as numbers may be taken for safety in a street.",
            mitigation="The claims name what is seen and how exactly; limits exclude perception.",
            red_line="Never the eyes or the judgement of a vehicle or of a person who cannot see.",
            balance="It crosses no street; the pattern of claims is what a real one would need.",
            affected="Walkers would agree with the claims and ask for many more, slow walkers first.",
            regret="That the rule's distances, picked for the example, are quoted as safe ones.",
        ),
        model="crossing",
        gate=Gate("test accuracy", _accuracy, 0.98, least=True),
        fits={"nominal": _fit(2000, 0.0), "spec": _fit(1500, 1.0)},
        claims=(_focus(), _safe(), _needs()),
    )
)
