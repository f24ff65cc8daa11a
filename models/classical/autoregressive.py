"""Row 11.01: pixels one after another: masked convolutions, and a masked perceptron as their twin.

A. van den Oord, N. Kalchbrenner, K. Kavukcuoglu, "Pixel recurrent neural networks", arXiv 1601.06759;
M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE", arXiv 1502.03509.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Net, Query, Var, ball, box, forall, sigmoid, vsum

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .flat import DATA, ETHICS, PIXELS
from .masked import SIDE, Nats, Perceptron, Pixels, binary, keep_masked, some_binary

__all__ = ["Autoregressive", "Paths", "autoregressive"]

NEAR = 2  # rows and columns away from a pixel that count as local
IMAGES = 10


class Autoregressive(nn.Module):
    """Images (B, 64) -> logits (B, 64) of the convolutions; beside them the perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels, self.made = Pixels(), Perceptron()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 64)."""
        logits: Tensor = self.pixels(x)
        return logits


class Paths(nn.Module):
    """How far each pixel of an image is moved, (B, 64) >= 0 -> how far, at most, each logit moves, (B, 64).

    The sum over all paths of the product of the weights' sizes, for both networks together: a ReLU moves no
    more than its input does, so this holds around any image.
    """

    def __init__(self, network: Autoregressive) -> None:
        super().__init__()
        self.pixels, self.made = Pixels(), Perceptron()
        for ours, theirs in ((self.pixels, network.pixels), (self.made, network.made)):
            sizes = {k: v.abs() if k.endswith("weight") else 0 * v for k, v in theirs.state_dict().items()}
            ours.load_state_dict(sizes)

    def forward(self, moved: Tensor) -> Tensor:
        """Bounds (B, 64)."""
        first, second = self.pixels.layers, self.made.layers
        mapped = first[4](first[2](first[0](moved.unflatten(1, (1, SIDE, SIDE))))).flatten(1)
        found: Tensor = mapped + second[2](second[0](moved))
        return found


def _ours(network: nn.Module) -> Autoregressive:
    assert isinstance(network, Autoregressive)
    return network


def _nats(network: nn.Module) -> float:
    ours, images = _ours(network), binary()
    with torch.inference_mode():
        return max(float(Nats(part)(images).double().mean()) for part in (ours.pixels, ours.made))


def _causal(limit: float) -> Claim:
    def query(network: nn.Module) -> Query:
        high, mask = Data("high", PIXELS), Data("mask", PIXELS)
        moved, f = Var("moved", like=high), Net("f", PIXELS, PIXELS)
        spec = forall(moved, box(0, high), vsum(mask * f(moved)) <= limit)
        one = torch.eye(PIXELS)
        return spec.query(Paths(_ours(network)).eval(), high=torch.ones(PIXELS, PIXELS).triu(), mask=one)

    return Claim(
        name="causal",
        says="For each of the 64 pixels and around any image: whatever is changed at the pixel and after it "
        f"moves its logit by at most {limit:g}, in the convolutions and in the perceptron together.",
        query=query,
        control=Autoregressive,
        control_is="both networks with first weights and without masks",
        methods=("clause-pgd", "ibp", "crown"),
    )


def _moves_at_most(pixels: Pixels, images: Tensor, eps: float, nats: float) -> Query:
    x0, f = Data("x0", PIXELS), Net("f", PIXELS, 1)
    x = Var("x", like=x0)
    spec = forall(x, ball(x0, eps) & box(0, 1), abs(f(x) - f(x0)) <= nats)
    return spec.query(Nats(pixels).eval(), x0=images)


def _band(eps: float, nats: float) -> Claim:
    def query(network: nn.Module) -> Query:
        return _moves_at_most(_ours(network).pixels, some_binary(IMAGES), eps, nats)

    return Claim(
        name=f"band-{eps:g}",
        says=f"Within {eps:g} of every pixel of {IMAGES} test images, the log-likelihood of the convolutions "
        f"moves by at most {nats:g} nats.",
        query=query,
        control=lambda: _far_reader(40.0),
        control_is="convolutions that look at one pixel, three rows above, and trust it beyond measure",
        methods=("clause-pgd", "ibp", "crown", "bab"),
        seconds=15.0,
    )


def _far_moves_at_most(pixels: Pixels, images: Tensor, places: Tensor, limit: float) -> Query:
    """What is near pixel `places` (B,) of images (B, 64) stays, the rest is free."""
    spots = torch.arange(PIXELS)
    rows = (spots // SIDE - (places // SIDE).unsqueeze(1)).abs()
    columns = (spots % SIDE - (places % SIDE).unsqueeze(1)).abs()
    far = (torch.maximum(rows, columns) > NEAR).float()
    mask = F.one_hot(places, PIXELS).float()
    x0, one = Data("x0", PIXELS), Data("one", PIXELS)
    low, high = Data("low", PIXELS), Data("high", PIXELS)
    x, f = Var("x", like=x0), Net("f", PIXELS, PIXELS)
    moved = sigmoid(vsum(one * f(x))) - sigmoid(vsum(one * f(x0)))
    spec = forall(x, box(low, high), abs(moved) <= limit)
    ends = {"low": images * (1 - far), "high": torch.maximum(images, far)}
    return spec.query(pixels, x0=images, one=mask, **ends)


_PLACES = (27, 36, 53)  # pixels in row 3, column 3; row 4, column 4; row 6, column 5


def _local(limit: float) -> Claim:
    def query(network: nn.Module) -> Query:
        images = some_binary(4).repeat_interleave(len(_PLACES), 0)
        return _far_moves_at_most(_ours(network).pixels, images, torch.tensor(_PLACES * 4), limit)

    return Claim(
        name="local",
        says=f"For three pixels of 4 test images: if all that is more than {NEAR} rows or columns away takes "
        f"any value in [0, 1], the probability of ink there moves by at most {limit:g}.",
        query=query,
        control=lambda: _far_reader(8.0),
        control_is="convolutions that look at one pixel only, three rows above",
        methods=("clause-pgd", "ibp", "crown", "bab"),
        seconds=15.0,
    )


def _far_reader(scale: float) -> Autoregressive:
    """Logits are `scale` times (the pixel three rows above - 1/2)."""
    network = Autoregressive()
    with torch.no_grad():
        for parameter in network.pixels.parameters():
            parameter.zero_()
        first, second, last = (network.pixels.get_submodule(f"layers.{k}") for k in (0, 2, 4))
        first.get_parameter("weight")[0, 0, 0, 3] = 1
        second.get_parameter("weight")[0, 0, 1, 1] = 1
        last.get_parameter("weight")[0, 0] = scale
        last.get_parameter("bias").fill_(-scale / 2)
    return network


_Bounds = Callable[[Tensor, Tensor], Tensor]
"""Images (B, 64) and one pixel of each -> the mean of the interval bounds of two claims, in nats."""


def _bounds(pixels: Pixels, tools: Tools, eps: float, share: float) -> _Bounds:
    images, places = binary("train")[:2], torch.tensor([0, 1])  # differ: what is equal becomes a constant
    band = tools.bounder(_moves_at_most(pixels, images, eps, 0.0))
    local = tools.bounder(_far_moves_at_most(pixels, images, places, 0.0))

    def bounds(images: Tensor, places: Tensor) -> Tensor:
        near = local(_far_moves_at_most(pixels, images, places, 0.0)).mean()
        return share * (band(_moves_at_most(pixels, images, eps, 0.0)).mean() + 10 * near)

    return bounds


def _fit(eps: float, share: float, steps: int) -> Fit:
    """Maximum likelihood on binary training images. Where eps > 0, the interval bounds of `band`, at that
    radius, and of `local` around training images take a share of the convolutions' objective."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        ours, images = _ours(network), binary("train")
        for part, rate in ((ours.made, 3e-3), (ours.pixels, 5e-3)):
            tools.initialise(part, generator)
            keep_masked(part)
            nats = Nats(part)
            extra = _bounds(ours.pixels, tools, eps, share) if eps > 0 and part is ours.pixels else None

            def loss(step: int, nats: Nats = nats, extra: _Bounds | None = extra) -> Tensor:
                chosen = images[minibatch(len(images), 64, generator)]
                found: Tensor = nats(chosen).mean()
                if extra is None:
                    return found
                places = torch.randint(PIXELS, (16,), generator=generator)
                return found + min(1.0, 2 * step / steps) * extra(chosen[:16], places)

            minimise(part, loss, steps=steps, learning_rate=rate)

    return fit


@model(
    ModelCard(
        name="autoregressive",
        family="classical",
        summary="Binary 8x8 digits pixel by pixel: masked convolutions, and a masked perceptron beside them.",
        paper="Pixel recurrent neural networks (van den Oord et al., 2016)",
        source="arXiv 1601.06759; MADE: Germain et al., 2015, arXiv 1502.03509",
        input_shape=(PIXELS,),
        outputs=PIXELS,
        task="density",
        dataset="binary digits",
        parameters=11_457,
        weights=("nominal", "spec"),
        recipes=("autoregressive-nominal", "autoregressive-spec"),
        faithful="Reading order, a first mask without and a second with the pixel itself, all "
        "conditionals in one pass, maximum of the exact likelihood. The perceptron is MADE with its "
        "natural order.",
        deviates="The convolutional variant (PixelCNN) at 8x8 with one bit per pixel: 16 channels, two "
        "layers "
        "of 7x7 and 3x3, no residual blocks, no gates, no rows of a recurrent network, so each pixel sees at "
        "most four rows and columns away. One mask of MADE, no averaging over orders. Masked weights are "
        "stored as zeros, and one claim checks them. The perceptron of 64 units is the better density at "
        "this size. `spec`: interval bounds of two claims, around training images, are part of the "
        "convolutions' objective, which costs about one nat.",
        intended_use="Exact likelihood, dependence on later pixels, and locality as claims over sets.",
        limits="Says nothing of grey values; pixels between 0 and 1 are a relaxation that no image takes.",
        licence="Apache-2.0",
    )
)
def autoregressive() -> nn.Module:
    """The untrained networks."""
    return Autoregressive()


add_row(
    Row(
        card=RowCard(
            id="11.01",
            section="Episode 11, types of generative models: autoregressive models",
            shows="A joint distribution as a chain of classifiers: likelihood is exact and training needs no "
            "sampling. What makes it one is that no conditional looks ahead; what it knows is more local "
            "than "
            "global. Both are stated here and decided.",
            data=DATA + " A pixel is ink where it has more than half of the greatest value.",
            ethics=ETHICS,
            parts=(
                "convolutions: image (64) -> logit of every pixel given those before it (64)",
                "nats: image (64) -> minus log-likelihood (1)",
                "paths: change of every pixel (64) -> largest change of every logit, both networks (64)",
            ),
            benefit="A proof that a model does not look ahead, from its stored weights, for every image.",
            risk="A leak of later pixels makes likelihoods look wonderful and compressors fail; a likelihood "
            "may also be read as how normal a person's writing is.",
            mitigation="The first claim excludes the leak; the card says what likelihood is not.",
            red_line="Likelihood of handwriting is not to judge who wrote it.",
            balance="The networks can write blurred digits and nothing else.",
            affected="The writers gave their digits for research; no digit of one of them can be told.",
            regret="That a local model is taken for one that understands what a digit is.",
        ),
        model="autoregressive",
        gate=Gate("test nats, of the worse network", _nats, 22.0, least=False),
        fits={"nominal": _fit(0.0, 0.0, 1500), "spec": _fit(0.02, 0.1, 900)},
        claims=(_causal(1e-6), _band(0.02, 4.5), _local(0.5)),
    )
)
