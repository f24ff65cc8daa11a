"""Row 10.03: independent component analysis: three voices from three microphones.

P. Comon, "Independent component analysis, a new concept?", Signal Processing 36, 1994; A. Bell, T. Sejnowski,
"An information-maximization approach to blind separation and blind deconvolution", Neural Computation 7,
1995.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Net, Query, Var, box, forall, library, vsum

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["Separation", "Turned", "amari_error", "ica"]

VOICES = 3
MIXING = ((1.0, 0.5, 0.3), (0.4, 1.0, 0.4), (0.2, 0.6, 1.0))  # microphones x voices
FIRST, LAST = 0.35, math.pi / 2 - 0.35  # of the angles in the claim on rotations


class Separation(nn.Module):
    """What three microphones hear, (B, 3), -> three voices, (B, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.unmix = nn.Linear(VOICES, VOICES, bias=False)
        self.mix = nn.Linear(VOICES, VOICES, bias=False)  # the inverse

    def forward(self, x: Tensor) -> Tensor:
        """The voices."""
        voices: Tensor = self.unmix(x)
        return voices

    def log_prior(self, voices: Tensor) -> Tensor:
        """Log-density of each voice, -log(pi cosh), elementwise; heavier tails than a normal's."""
        return voices - F.softplus(2 * voices) + (math.log(2) - math.log(math.pi))

    @torch.no_grad()
    def settle(self) -> None:
        """Gives voices the order and the sign in which they are nearest to the true ones, and sets `mix`."""
        found = self.unmix.weight @ _mixing()
        order = found.abs().argmax(0)
        if len(set(order.tolist())) == VOICES:
            signs = found[order, torch.arange(VOICES)].sign()
            self.unmix.weight.copy_(self.unmix.weight[order] * signs.unsqueeze(1))
        self.mix.weight.copy_(torch.linalg.inv(self.unmix.weight.double()))


class Normal(Separation):
    """A control: the same with normal voices, where whitening is all that the likelihood asks for."""

    def log_prior(self, voices: Tensor) -> Tensor:
        """Log-density of each voice, standard normal."""
        return -0.5 * voices.square() - 0.5 * math.log(2 * math.pi)


class Heard(nn.Module):
    """True voices (B, 3) -> what the network makes of their mixture, (B, 3)."""

    def __init__(self, network: Separation) -> None:
        super().__init__()
        self.room, self.network = nn.Linear(VOICES, VOICES, bias=False), network
        with torch.no_grad():
            self.room.weight.copy_(_mixing())

    def forward(self, s: Tensor) -> Tensor:
        """The voices after mixing and separation."""
        voices: Tensor = self.network(self.room(s))
        return voices


class Turned(nn.Module):
    """Angle (B, 1) -> mean log-prior, (B, 1), of voices (N, 3) of which two are turned into each other."""

    voices: Tensor

    def __init__(self, network: Separation, voices: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("voices", voices)

    def forward(self, angle: Tensor) -> Tensor:
        """The mean over the moments, summed over the two voices."""
        cos, sin = torch.cos(angle), torch.sin(angle)
        first, second = self.voices[:, 0], self.voices[:, 1]
        turned = torch.stack((cos * first - sin * second, sin * first + cos * second), 2)
        prior: Tensor = self.network.log_prior(turned)
        return prior.mean((1, 2)).unsqueeze(1) * 2


def _mixing() -> Tensor:
    return torch.tensor(MIXING)


def record(rows: int, seed: int) -> Tensor:
    """What is heard of `rows` moments of three independent Laplacian voices of scale 1, (rows, 3)."""
    uniform = torch.rand(rows, VOICES, generator=torch.Generator().manual_seed(seed)) - 0.5
    voices = -uniform.sign() * torch.log1p(-2 * uniform.abs().clamp_max(0.4999999))
    return voices @ _mixing().T


def amari_error(product: Tensor) -> float:
    """How far separation times mixing, (N, N), is from a permutation with scales: 0 at best, 1 at worst.

    S. Amari, A. Cichocki, H. Yang, "A new learning algorithm for blind signal separation", NIPS 1995.
    """
    size = product.abs().double()
    rows = (size / size.amax(1, keepdim=True)).sum(1) - 1
    columns = (size / size.amax(0, keepdim=True)).sum(0) - 1
    return float((rows.sum() + columns.sum()) / (2 * len(size) * (len(size) - 1)))


def _error(network: nn.Module) -> float:
    return amari_error(_separation(network).unmix.weight.detach() @ _mixing())


def _separation(network: nn.Module) -> Separation:
    assert isinstance(network, Separation)
    return network


def _silent(limit: float) -> Claim:
    def query(network: nn.Module) -> Query:
        low, high, mask = Data("low", VOICES), Data("high", VOICES), Data("mask", VOICES)
        s, f = Var("s", like=low), Net("f", VOICES, VOICES)
        spec = forall(s, box(low, high), abs(vsum(mask * f(s))) <= limit)
        others = 1 - torch.eye(VOICES)
        heard = Heard(_separation(network)).eval()
        return spec.query(heard, low=-others, high=others, mask=torch.eye(VOICES))

    return Claim(
        name="separates",
        says=f"While one voice is silent and the others say anything up to 1, its channel stays within "
        f"{limit:g}; for each voice.",
        query=query,
        control=_rotated,
        control_is="the maximum of the likelihood of normal voices, which leaves a rotation undetermined",
        methods=("clause-pgd", "ibp", "crown"),
    )


def _inverts() -> Claim:
    def query(network: nn.Module) -> Query:
        ours = _separation(network)
        spec = library.inverse((VOICES,), (VOICES,))
        return spec.query({"f": ours.unmix, "g": ours.mix}, x0=torch.zeros(1, VOICES), eps=10.0, delta=1e-4)

    return Claim(
        name="inverts",
        says="Whatever the microphones hear up to 10, separated and mixed again, comes back to within 1e-4.",
        query=query,
        control=Separation,
        control_is="first weights, where mixing has nothing to do with separation",
        methods=("pgd", "ibp", "crown"),
    )


def _unique(nats: float) -> Claim:
    def query(network: nn.Module) -> Query:
        ours = _separation(network)
        with torch.no_grad():
            voices = ours(record(200, 3))
            best = float(Turned(ours, voices)(torch.zeros(1, 1)))
        t, f = Var("angle", 1), Net("f", 1, 1)
        spec = forall(t, box(FIRST, LAST), f(t)[0] <= best - nats)
        return spec.query(Turned(ours, voices).eval())

    return Claim(
        name="unique",
        says=f"Turning two of the separated voices into each other by {FIRST:.2f} to {LAST:.2f} rad costs at "
        f"least {nats:g} nats of mean log-likelihood on 200 test moments.",
        query=query,
        control=_rotated,
        control_is="the same with normal voices, whose likelihood no rotation changes",
        methods=("pgd", "ibp", "crown", "split"),
    )


def _rotated() -> Normal:
    """Whitens what is heard: W with W C W' = 1, symmetric."""
    values, axes = torch.linalg.eigh(torch.cov(record(4000, 1).T))
    network = Normal()
    with torch.no_grad():
        network.unmix.weight.copy_(axes @ torch.diag(values.rsqrt()) @ axes.T)
        network.mix.weight.copy_(torch.linalg.inv(network.unmix.weight))
    return network


def _fit(calibrated: bool) -> Fit:
    """Maximum likelihood on 4,000 moments; `calibrated` also by the interval bound of `separates`."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        ours, heard = _separation(network), record(4000, 1)
        with torch.no_grad():
            ours.unmix.weight.copy_(_rotated().unmix.weight)

        def likelihood(step: int) -> Tensor:
            voices: Tensor = ours(heard[minibatch(len(heard), 1000, generator)])
            found: Tensor = torch.linalg.slogdet(ours.unmix.weight)[1] + ours.log_prior(voices).sum(1).mean()
            return -found

        minimise(ours, likelihood, steps=600, learning_rate=2e-2)
        ours.settle()
        if calibrated:
            query = _silent(0.0).query(ours)
            bound = tools.bounder(query)
            minimise(
                ours,
                lambda step: likelihood(step) + F.relu(bound(query)).mean(),
                steps=200,
                learning_rate=5e-3,
            )
            ours.settle()

    return fit


@model(
    ModelCard(
        name="ica",
        family="classical",
        summary="Three voices separated from three microphones by a square matrix.",
        paper="Independent component analysis, a new concept? (Comon, 1994)",
        source="Signal Processing 36(3); A. Bell, T. Sejnowski, Neural Computation 7(6), 1995",
        input_shape=(VOICES,),
        outputs=VOICES,
        task="separation",
        dataset="three Laplacian voices",
        parameters=18,
        weights=("nominal", "spec"),
        recipes=("ica-nominal", "ica-spec"),
        faithful="Maximum likelihood with the prior 1 / (pi cosh s), which is the information-maximising "
        "rule.",
        deviates="Voices are Laplacian noise, one moment at a time, not recorded speech. After the fit, "
        "order "
        "and sign of the voices are taken from the truth, as likelihood cannot know them. `spec` hears "
        "calibration signals too: the interval bound of the first claim is part of its objective.",
        intended_use="A linear model whose independence can be stated, decided, and shown to fail for normal "
        "voices.",
        limits="As many microphones as voices, no echo, no noise.",
        licence="Apache-2.0",
    )
)
def ica() -> nn.Module:
    """The untrained model."""
    return Separation()


add_row(
    Row(
        card=RowCard(
            id="10.03",
            section="Episode 10, dimensionality reduction by independence (ICA); Episode 11, invertible "
            "models",
            shows="Independence finds the causes of a mixture where orthogonality cannot, provided that the "
            "causes are not normal: then a rotation of the answer is as likely as the answer.",
            data="4,000 moments of three independent Laplacian signals and a fixed mixing matrix for the "
            "fit, "
            "200 others in a claim, from fixed seeds. Generated here, no licence needed.",
            ethics="No person's data: the voices are random numbers. Nobody was recorded.",
            parts=(
                "separation: microphones (3) -> voices (3)",
                "room and separation: voices (3) -> voices (3)",
                "mixing after separation: microphones (3) -> microphones (3)",
                "angle (1) -> mean log-prior of turned voices (1)",
            ),
            benefit="Shows what makes a decomposition unique, as a property of a likelihood on an interval.",
            risk="Separated voices can be listened to: the method serves eavesdropping as well as hearing "
            "aids.",
            mitigation="Only random numbers are separated; the mixing matrix is in the code.",
            red_line="Never to be used on recordings of people who did not agree.",
            balance="The textbook method is known to everybody; here it gains only a proof.",
            affected="Nobody was recorded; people in a room with microphones would want to be asked.",
            regret="That clean separation here makes anybody trust it in rooms with echo.",
        ),
        model="ica",
        gate=Gate("Amari error", _error, 0.1, least=False),
        fits={"nominal": _fit(calibrated=False), "spec": _fit(calibrated=True)},
        claims=(_silent(0.03), _inverts(), _unique(0.02)),
    )
)
