"""Small networks of the families of the model zoo: plain torch modules with weights from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .networks import uniform


class Transformer(nn.Module):
    """Two encoder layers on 4 tokens of width 16 with 2 heads and learned positions; a head on the mean."""

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(4, 16))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True, norm_first=causal)
            for _ in range(2)
        )
        self.head = nn.Linear(16, 3)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:  # (B, 4, 16) -> (B, 3)
        mask = nn.Transformer.generate_square_subsequent_mask(4, dtype=x.dtype) if self.causal else None
        x = x + self.position
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=self.causal)
        logits: Tensor = self.head(x.mean(1))
        return logits


class Recurrent(nn.Module):
    """A recurrent layer over 16 steps of 4 features, a head on its last output."""

    def __init__(self, kind: Callable[..., nn.Module], hidden: int = 16) -> None:
        super().__init__()
        self.cells = kind(4, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 3)

    def forward(self, x: Tensor) -> Tensor:  # (B, 16, 4) -> (B, 3)
        outputs, _ = self.cells(x)
        logits: Tensor = self.head(outputs[:, -1])
        return logits


class Generator(nn.Module):
    """Latent 8 -> image 3 x 16 x 16 in the manner of DCGAN (Radford et al. 2016, arXiv 1511.06434)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(8, 16, 4, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:  # (B, 8) -> (B, 3, 16, 16)
        image: Tensor = self.layers(z[:, :, None, None])
        return image


class Flow(nn.Module):
    """Two affine couplings: z and log |det J| (RealNVP, Dinh et al. 2017, arXiv 1605.08803)."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, 4) -> (B, 5)
        log_det = torch.zeros_like(x[:, :1])
        one, two = x.chunk(2, 1)
        for net in self.nets:
            scale, shift = net(one).chunk(2, 1)
            scale = torch.tanh(scale)
            one, two = two * torch.exp(scale) + shift, one
            log_det = log_det + scale.sum(1, keepdim=True)
        return torch.cat([one, two, log_det], 1)


class VAE(nn.Module):
    """Reconstruction and KL divergence at a fixed noise (Kingma and Welling 2014, arXiv 1312.6114)."""

    noise: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(8, 2), nn.Linear(8, 2)
        self.decoder = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 6), nn.Sigmoid())
        self.register_buffer("noise", uniform(5, (2,)).float())

    def forward(self, x: Tensor) -> Tensor:  # (B, 6) -> (B, 7)
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(log_variance / 2) * self.noise
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1, keepdim=True)
        return torch.cat([self.decoder(z), divergence], 1)


class Mixture(nn.Module):
    """Three experts, mixed by a softmax gate (Jacobs et al. 1991)."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 3)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, 4) -> (B, 2)
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        return torch.einsum("be,beo->bo", F.softmax(self.gate(x), 1), outputs)


class HyperNetwork(nn.Module):
    """A layer whose weights another network makes from the input (Ha et al. 2017, arXiv 1609.09106)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 9))

    def forward(self, x: Tensor) -> Tensor:  # (B, 5) -> (B, 3)
        matrix = self.weights(x[:, :2]).reshape(-1, 3, 3)
        return torch.bmm(matrix, x[:, 2:, None]).squeeze(2).relu()


class Mixer(nn.Module):
    """Tokens and channels mixed in turn, with gates and norms (Tolstikhin et al. 2021, arXiv 2105.01601)."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.RMSNorm(6, eps=1e-5), nn.GroupNorm(2, 4)])
        self.tokens, self.channels = nn.Linear(4, 4), nn.Linear(6, 12)
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:  # (B, 4, 6) -> (B, 3)
        x = x + F.silu(self.tokens(self.norms[0](x).mT).mT)
        x = x + F.glu(self.channels(self.norms[1](x)), 2)
        logits: Tensor = self.head(x.mean(1))
        return logits


@dataclass(frozen=True)
class Family:
    """A network of a family, one sample's shape, and a radius at which bounds of all engines are finite."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    radius: float


FAMILIES: dict[str, Family] = {
    "transformer": Family(Transformer, (4, 16), 0.02),
    "causal transformer": Family(lambda: Transformer(causal=True), (4, 16), 0.02),
    "lstm": Family(lambda: Recurrent(nn.LSTM), (16, 4), 0.02),
    "gru": Family(lambda: Recurrent(nn.GRU), (16, 4), 0.02),
    "rnn": Family(lambda: Recurrent(nn.RNN), (16, 4), 0.02),
    "generator": Family(Generator, (8,), 0.05),
    "flow": Family(Flow, (4,), 0.1),
    "vae": Family(VAE, (6,), 0.1),
    "mixture of experts": Family(Mixture, (4,), 0.1),
    "hyper network": Family(HyperNetwork, (5,), 0.1),
    "mixer": Family(Mixer, (4, 6), 0.05),
}


def family(name: str, seed: int = 0) -> nn.Module:
    """The network in evaluation mode, with weights as torch initialises them from a seed."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(seed)
        network = FAMILIES[name].build().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics as after training
            module.running_mean.copy_(uniform(seed, (module.num_features,), -0.2, 0.2))
            module.running_var.copy_(uniform(seed + 1, (module.num_features,), 0.5, 1.5))
    return network
