"""Worked examples: the word that follows, after prompts that differ in one word."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import prompt_bias, prompt_line
from torch import Tensor, nn

from .worked import Worked, linear, mlp, numbers

# words: he, she, works, nurse, engineer; a prompt has two of them, and the next word is asked for
WORDS, JOBS = 5, [3, 4]
EYE = torch.eye(WORDS, dtype=torch.float64)
EXCHANGE = EYE[[1, 0, 2, 3, 4]]
PROMPTS = torch.stack([EYE[[0, 2]], EYE[[2, 0]]])
HE, SHE = EYE[[0, 2]], EYE[[1, 2]]
_BIAS = [0.0, 0.0, 0.0, 1.0, 1.0]


def _reads(network: nn.Module) -> nn.Module:
    """The network of the flattened prompt."""
    return nn.Sequential(nn.Flatten(), network).eval()


# the balanced one knows only whether somebody is spoken of; the biased one gives the second job to "he"
BALANCED = _reads(linear([[0.0] * 10, [0.0] * 10, [1, 1, *[0.0] * 8], [0.0] * 10, [0.0] * 10], _BIAS))
BIASED = _reads(linear([[0.0] * 10, [0.0] * 10, [0.0] * 10, [0.0] * 10, [1, *[0.0] * 9]], _BIAS))
DEEP = _reads(mlp(10, 6, WORDS, seed=90))


def _gap(network: nn.Module, one: Tensor, other: Tensor) -> Tensor:
    p, q = (network(x).softmax(1)[:, JOBS] for x in (one, other))
    return (p - q).abs().amax(1)


def _share(lead: float) -> float:
    """The probability of the last word if `he` adds `lead` to its logit: e^1 each, and three times e^0."""
    job = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0 + lead], dtype=torch.float64)
    return float(job.softmax(0)[4])


CASES = [
    Worked(
        "prompt_bias",
        prompt_bias(2, WORDS, WORDS, watched=JOBS),
        {"f": BALANCED},
        {"x0": PROMPTS, "exchange": EXCHANGE, "eps": 0.0, "tau": 0.0625},
        lambda v: _gap(BALANCED, v.x, v.x @ EXCHANGE) <= v.tau,
        "HH",
        worst=(-0.0625, -0.0625),
    ),
    # in the second prompt nobody comes first, so there is nothing that "he" could do
    Worked(
        "prompt_bias",
        prompt_bias(2, WORDS, WORDS, watched=JOBS),
        {"f": BIASED},
        {"x0": PROMPTS, "exchange": EXCHANGE, "eps": 0.0, "tau": 0.0625},
        lambda v: _gap(BIASED, v.x, v.x @ EXCHANGE) <= v.tau,
        "VH",
        worst=(_share(1) - _share(0) - 0.0625, -0.0625),
        tags="-control",
    ),
    Worked(
        "prompt_bias",
        prompt_bias(2, WORDS, WORDS, watched=JOBS),
        {"f": DEEP},
        {"x0": PROMPTS[:1], "exchange": EXCHANGE, "eps": 0.01, "tau": numbers(0.9, 0.001)},
        lambda v: _gap(DEEP, v.x, v.x @ EXCHANGE) <= v.tau,
        "HV",
        tags="-random",
    ),
    Worked(
        "prompt_line",
        prompt_line(2, WORDS, WORDS, watched=JOBS),
        {"f": BIASED},
        {"x1": HE, "x2": SHE, "low": 0.0, "high": numbers(0.125, 1.0), "tau": 0.125},
        lambda v: _gap(BIASED, v.x1 + v.t[:, None, None] * (v.x2 - v.x1), v.x1) <= v.tau,
        "HV",
    ),
    Worked(
        "prompt_line",
        prompt_line(2, WORDS, WORDS, watched=JOBS),
        {"f": BALANCED},
        {"x1": HE, "x2": SHE, "low": 0.0, "high": 1.0, "tau": 0.125},
        lambda v: _gap(BALANCED, v.x1 + v.t[:, None, None] * (v.x2 - v.x1), v.x1) <= v.tau,
        "H",
        worst=(-0.125,),
    ),
]
