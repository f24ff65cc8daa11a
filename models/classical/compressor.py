"""Row 11.18: an arithmetic coder that asks an autoregressive model how probable the next pixel is.

I. Witten, R. Neal, J. Cleary, "Arithmetic coding for data compression", Communications of the ACM 30, 1987.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from robustbench_local.specs import Data, Net, Query, Var, box, choice, forall, sigmoid, vsum

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .flat import DATA, ETHICS, PIXELS
from .masked import Nats, Pixels, binary, keep_masked, some_binary

__all__ = ["Compressor", "Decoder", "compress", "compressor", "decompress", "encode"]

PRECISION = 16  # bits of a probability
TOP = 1 << 32  # the coder's registers hold 0 .. TOP - 1
HALF, QUARTER = TOP >> 1, TOP >> 2
LARGEST_LOGIT = math.log(2**PRECISION - 1)


class Compressor(nn.Module):
    """Binary images (B, 64) -> logits (B, 64) of the next pixel, from which `compress` makes code."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = Pixels()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 64)."""
        logits: Tensor = self.pixels(x)
        return logits


def encode(symbols: Sequence[int], shares: Sequence[int]) -> list[int]:
    """The code, bits, of symbols 0 and 1; shares: of the interval that belong to 1, of 2**16, none and all
    excluded. No longer than the sum of -log2 of the symbols' shares, plus 1 and what integers round off.
    """
    low, high, pending, code = 0, TOP - 1, 0, list[int]()
    for symbol, share in zip(symbols, shares, strict=True):
        middle = low + ((high - low + 1) * share >> PRECISION)
        low, high = (low, middle - 1) if symbol else (middle, high)
        while True:
            if high < HALF or low >= HALF:
                bit = int(low >= HALF)
                code += [bit, *[1 - bit] * pending]
                low, high, pending = low - bit * HALF, high - bit * HALF, 0
            elif low >= QUARTER and high < HALF + QUARTER:
                low, high, pending = low - QUARTER, high - QUARTER, pending + 1
            else:
                break
            low, high = 2 * low, 2 * high + 1
    return [*code, 1]  # HALF lies in the interval, and a decoder reads zeros after the end


class Decoder:
    """Reads the code of `encode` symbol by symbol, given the same shares."""

    def __init__(self, code: Sequence[int]) -> None:
        self._bits = iter(code)
        self._low, self._high, self._value = 0, TOP - 1, 0
        for _ in range(32):
            self._value = 2 * self._value + next(self._bits, 0)

    def symbol(self, share: int) -> int:
        """The next symbol."""
        middle = self._low + ((self._high - self._low + 1) * share >> PRECISION)
        symbol = int(self._value < middle)
        self._low, self._high = (self._low, middle - 1) if symbol else (middle, self._high)
        while (base := self._base()) is not None:
            self._low, self._high = 2 * (self._low - base), 2 * (self._high - base) + 1
            self._value = 2 * (self._value - base) + next(self._bits, 0)
        return symbol

    def _base(self) -> int | None:
        """Where the half begins that the interval lies in; None where it lies in none."""
        if self._high < HALF:
            return 0
        if self._low >= HALF:
            return HALF
        return QUARTER if self._low >= QUARTER and self._high < HALF + QUARTER else None


def _shares(network: nn.Module, seen: Tensor, place: int) -> list[int]:
    """Of pixel `place` of images (B, 64) whose later pixels are erased: the same for coder and decoder.

    The whole image of zeros with what is seen goes through the network, so that coder and decoder compute
    the same floats.
    """
    prefix = seen.clone()
    prefix[:, place:] = 0
    with torch.inference_mode():
        ink = torch.sigmoid(network(prefix)[:, place].double())
    shares: list[int] = (ink * 2**PRECISION).round().long().clamp(1, 2**PRECISION - 1).tolist()
    return shares


def compress(network: nn.Module, images: Tensor) -> list[list[int]]:
    """The code of each binary image (B, 64)."""
    shares = zip(*(_shares(network, images, place) for place in range(PIXELS)), strict=True)
    symbols = images.long().tolist()
    return [encode(image, share) for image, share in zip(symbols, shares, strict=True)]


def decompress(network: nn.Module, codes: Sequence[Sequence[int]]) -> Tensor:
    """The images (B, 64) of codes that were made with the same network, as many at once as then."""
    decoders, images = [Decoder(code) for code in codes], torch.zeros(len(codes), PIXELS)
    for place in range(PIXELS):
        shares = _shares(network, images, place)
        found = [decoder.symbol(share) for decoder, share in zip(decoders, shares, strict=True)]
        images[:, place] = torch.tensor(found, dtype=images.dtype)
    return images


def _excess(network: nn.Module) -> float:
    """The largest number of bits of a test image's code above -log2 of its probability; infinite if one of
    them is not decoded exactly."""
    images = binary()
    codes = compress(network, images)
    if not torch.equal(decompress(network, codes), images):
        return math.inf
    with torch.inference_mode():
        bits = Nats(network)(images).double().flatten() / math.log(2)
    return float((torch.tensor([len(code) for code in codes]) - bits).max())


def _in_order(images: int) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, one = Data("x0", PIXELS), Data("one", PIXELS)
        low, high = Data("low", PIXELS), Data("high", PIXELS)
        x, f = Var("x", like=x0), Net("f", PIXELS, PIXELS)
        moved = sigmoid(vsum(one * f(x))) - sigmoid(vsum(one * f(x0)))
        spec = forall(x, box(low, high), abs(moved) <= 2.0 ** -(PRECISION + 1))
        start, later = some_binary(images), torch.ones(PIXELS, PIXELS).triu()
        ends = {"low": start * (1 - later), "high": torch.maximum(start, later)}
        return spec.query(network, x0=start, one=torch.eye(PIXELS), **ends)

    return Claim(
        name="in-order",
        says="For each of the 64 pixels, of another test image each: whatever is written there and after it, "
        "up to any grey, moves the probability of ink there by less than half a unit of the coder.",
        query=query,
        control=Compressor,
        control_is="first weights without masks, whose decoder would have to know what it is about to read",
        methods=("clause-pgd", "ibp", "crown"),
    )


def _floor() -> Claim:
    def query(network: nn.Module) -> Query:
        x, f = Var("x", PIXELS), Net("f", PIXELS, PIXELS)
        return forall(x, box(0, 1), abs(f(x)) <= LARGEST_LOGIT).query(network)

    return Claim(
        name="floor",
        says="For every image, also with greys, no pixel's probability leaves [2^-16, 1 - 2^-16]: the "
        "coder's "
        "integers can hold it, so it is never clipped.",
        query=query,
        control=lambda: _expecting(20.0),
        control_is="a model that is surer of ink than 16 bits can say",
        methods=("clause-pgd", "ibp", "crown", "bab"),
        seconds=15.0,
    )


def _length(images: int, bits: float) -> Claim:
    def query(network: nn.Module) -> Query:
        points, f = Data("points", (FLIPS, PIXELS)), Net("f", PIXELS, 1)
        x = Var("x", PIXELS)
        spec = forall(x, choice(points), f(x)[0] <= bits * math.log(2))
        return spec.query(Nats(network).eval(), points=_flipped(some_binary(images)))

    return Claim(
        name="length",
        says=f"{images} test images, and all that differ from one of them in one or two pixels, have at most "
        f"{bits:g} bits, -log2 of their probability: with the coder's two, no more than the 64 of the image.",
        query=query,
        control=lambda: _expecting(5.0),
        control_is="a model that expects ink everywhere",
        methods=("pgd", "ibp", "split"),
        seconds=20.0,
    )


FLIPS = 1 + PIXELS + PIXELS * (PIXELS - 1) // 2


def _flipped(images: Tensor) -> Tensor:
    """Images (B, 64) with none, one or two pixels exchanged, all ways: (B, 2081, 64)."""
    places = [(), *combinations(range(PIXELS), 1), *combinations(range(PIXELS), 2)]
    change = torch.zeros(FLIPS, PIXELS)
    for row, chosen in enumerate(places):
        change[row, list(chosen)] = 1
    return (images.unsqueeze(1) - change).abs()


def _expecting(logit: float) -> Compressor:
    """The logit of every pixel, whatever the image."""
    network = Compressor()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.get_parameter("pixels.layers.4.bias").fill_(logit)
    return network


def _fit(tries: int, steps: int) -> Fit:
    """Maximum likelihood. Where tries > 0: of the images with the worst of so many random pairs of flips,
    for half of the batch, and with the interval bound of `floor`."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, Compressor)
        tools.initialise(network, generator)
        keep_masked(network.pixels)
        images, nats, floor = binary("train"), Nats(network), _floor().query(network)
        bound = tools.bounder(floor)

        def loss(step: int) -> Tensor:
            chosen = images[minibatch(len(images), 64, generator)]
            if tries == 0:
                found: Tensor = nats(chosen).mean()
                return found
            changed = chosen[:32].repeat(tries, 1)
            places = torch.randint(PIXELS, (len(changed), 2), generator=generator)
            changed = (changed - torch.zeros_like(changed).scatter(1, places, 1.0)).abs()
            worst = nats(changed).view(tries, 32).amax(0).mean()
            over = torch.relu(bound(floor) + 0.1).mean()
            mixed: Tensor = 0.7 * nats(chosen).mean() + 0.3 * worst + over
            return mixed

        minimise(network, loss, steps=steps, learning_rate=5e-3)

    return fit


@model(
    ModelCard(
        name="compressor",
        family="classical",
        summary="Lossless code for binary 8x8 digits: an integer arithmetic coder and masked convolutions.",
        paper="Arithmetic coding for data compression (Witten et al., 1987)",
        source="Communications of the ACM 30(6); pixel model: arXiv 1601.06759",
        input_shape=(PIXELS,),
        outputs=PIXELS,
        task="compression",
        dataset="binary digits",
        parameters=3_137,
        weights=("nominal", "spec"),
        recipes=("compressor-nominal", "compressor-spec"),
        faithful="The coder of the paper: two integer registers, halves are put out as soon as they are "
        "known, a straddled middle is counted. The model is asked for one pixel after another, by coder "
        "and decoder alike.",
        deviates="Registers of 32 bits, probabilities of 16, two symbols. The end is one bit, since the "
        "decoder knows that there are 64 pixels. The pixel model is the convolutional part of row 11.01 with "
        "weights of its own. The coder is no network: that decoding gives back every test image is part of "
        "the gate, and the claims are what that rests on. `spec` is trained on the worst of four random "
        "pairs of flipped pixels too, and by interval bounds of its logits, at about two bits per image.",
        intended_use="What a code of any image near the data may cost, and when a decoder can follow.",
        limits="Coder and decoder must compute the same floats: same weights, same batch, same machine. No "
        "lossless code shortens every image; on noise this one is longer than the image.",
        licence="Apache-2.0",
    )
)
def compressor() -> nn.Module:
    """The untrained model."""
    return Compressor()


add_row(
    Row(
        card=RowCard(
            id="11.18",
            section="Episode 11, uses of generative models: data compression by arithmetic coding",
            shows="A likelihood is a code length: what a model finds probable it can write briefly. The "
            "coder "
            "loses nothing as long as no probability is out of its range and none depends on what the "
            "decoder has not read yet.",
            data=DATA + " A pixel is ink where it has more than half of the greatest value.",
            ethics=ETHICS + " Their code is longer, too.",
            parts=(
                "model: image (64) -> logit of every pixel given those before it (64)",
                "nats: image (64) -> minus log-likelihood (1)",
            ),
            benefit="Bounds of what storage may cost for a whole set of images, before they exist.",
            risk="Lengths of codes tell something about what is inside, even of an encrypted file; a model "
            "that is exchanged makes old files unreadable.",
            mitigation="The card names both; weights are identified by their hash.",
            red_line="No archive whose only key is a model that nobody keeps.",
            balance="It saves half of 64 bits; the point is the proof.",
            affected="The writers gave their digits for research, and lose nothing by a shorter file.",
            regret="That bits saved on some people's digits are bits spent on others'.",
        ),
        model="compressor",
        gate=Gate(
            "largest excess of a test image's code over -log2 p, all decoded", _excess, 2.0, least=False
        ),
        fits={"nominal": _fit(0, 800), "spec": _fit(4, 600)},
        claims=(_in_order(64), _floor(), _length(6, 62.0)),
    )
)
