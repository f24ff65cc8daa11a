"""Worked examples: frames and attention."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import attention_mass, frame_robustness, synonym_substitution
from torch import Tensor, nn

from .worked import Worked, numbers, points


class Counter(nn.Module):
    """A recurrent network: h_k = relu(h_k-1 / 2 + x_k), outputs (h, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, 0, 0] * 0
        for k in range(x.shape[1]):
            h = torch.relu(h / 2 + x[:, k, 0])
        return torch.stack([h, h * 0 + 1], 1)


class Attention(nn.Module):
    """One head over three tokens of two features; `weights` gives the probabilities (1, 3, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        scores = x @ x.transpose(1, 2)
        return self.weights(scores.unsqueeze(1)).squeeze(1) @ x


X3 = points(2, 3, 2, seed=50)
FRAMES = torch.tensor([[1.0], [1.0], [1.0]], dtype=torch.float64)  # h = 1.75
ATTENTION = Attention().eval()


# words of weight 0, 1, 2, 3; class 0 leads while the weights of a text sum up to more than 4
TABLE = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]], dtype=torch.float64)
TEXT = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
SYNONYMS = torch.tensor([[2.0, -1.0], [1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)


class Weight(nn.Module):
    """(sum of the first coordinates, 4) of texts (B, 3, 2)."""

    def forward(self, x: Tensor) -> Tensor:
        total = x[:, :, 0].sum(1)
        return torch.stack([total, total * 0 + 4], 1)


def _attention(x: Tensor) -> Tensor:
    return (x @ x.transpose(1, 2)).softmax(-1)


CASES = [
    # h falls by eps_0 / 4 + eps_1 / 2 + eps_2; class 0 needs h > 1
    Worked(
        "frame_robustness",
        frame_robustness((3, 1), 2, bounds=None),
        {"f": Counter().eval()},
        {
            "x0": FRAMES,
            "c": 0,
            "eps": torch.tensor([[0.25, 0.5, 0.0], [0.0, 0.5, 0.75]], dtype=torch.float64).unsqueeze(-1),
        },
        lambda v: v.x[:, 0, 0] / 4 + v.x[:, 1, 0] / 2 + v.x[:, 2, 0] > 1,
        "HV",
        worst=(1 - 1.75 + 0.25 / 4 + 0.25, 1 - 1.75 + 0.25 + 0.75),
    ),
    # 6 falls by 2 with one exchange (2 for 0), by 3 with two, by 4 with all
    Worked(
        "synonym_substitution",
        synonym_substitution(3, 2, vocabulary=4, width=2, synonyms_per_word=2),
        {"f": Weight().eval()},
        {"tokens": TEXT, "others": SYNONYMS, "table": TABLE, "c": 0, "k": numbers(0, 1, 2)},
        lambda v: v.w[:, :, 0].sum(1) > 4,
        "HVV",
        worst=(-2.0, 0.0, 1.0),
    ),
    Worked(
        "attention_mass",
        attention_mass((3, 2), (3, 2), node="weights", attention=(1, 3, 3), rows=(0, 0), keys=(1, 2)),
        {"f": ATTENTION},
        {"x0": X3, "eps": numbers(0.02, 0.3), "tau": numbers(0.75, 0.6)},
        lambda v: _attention(v.x)[:, 0, 1:].sum(1) <= v.tau,
        "HV",
    ),
]
