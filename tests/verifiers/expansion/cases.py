"""Networks whose composite operators are expanded: name -> (sample shape, function, parts)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

__all__ = ["CASES"]

Function = Callable[..., Tensor]
CASES: dict[str, tuple[tuple[int, ...], Function, tuple[nn.Module, ...]]] = {}


def case(name: str, shape: tuple[int, ...], function: Function, *parts: nn.Module) -> None:
    CASES[name] = (shape, function, parts)


STEPS = (3, 4)
LSTM, GRU, RNN = (partial(kind, 4, 3, batch_first=True) for kind in (nn.LSTM, nn.GRU, nn.RNN))


def _two_steps(x: Tensor, cell: nn.Module) -> Tensor:
    h, c = cell(x)
    return torch.cat(cell(2 * x, (h, c)), 1)


case("lstm, two layers and ways", STEPS, lambda x, m: m(x)[0], LSTM(num_layers=2, bidirectional=True))
case("lstm, time first", STEPS, lambda x, m: m(x.transpose(0, 1))[0][-1], nn.LSTM(4, 3))
case("lstm, last state", STEPS, lambda x, m: m(x.permute(1, 0, 2))[1][0][-1], nn.LSTM(4, 3, bias=False))
case("lstm, all cells", STEPS, lambda x, m: m(x)[1][1].transpose(0, 1).flatten(1), LSTM(num_layers=2))
case("gru", STEPS, lambda x, m: m(x)[1].squeeze(0), GRU())
case("gru without bias", STEPS, lambda x, m: m(x)[0], GRU(num_layers=2, bias=False))
case("gru from a state", STEPS, lambda x, m, n: m(x, n(x[:, 0])[None])[0], GRU(), nn.Linear(4, 3))
case("rnn from a constant", STEPS, lambda x, m: m(x, torch.full((1, x.shape[0], 3), 0.3))[0], RNN())
case("rnn of relu", STEPS, lambda x, m: m(x)[0], RNN(nonlinearity="relu", bidirectional=True))
case("lstm cell", (4,), _two_steps, nn.LSTMCell(4, 3))
case("gru cell", (4,), lambda x, m: m(x, m(x)), nn.GRUCell(4, 3))
case("rnn cell", (4,), lambda x, m: m(x, m(x)), nn.RNNCell(4, 3, nonlinearity="relu"))


def _three(equation: str, x: Tensor) -> Tensor:
    """The equation on x, flipped x, and x plus one, with the last axes dropped that it does not name."""
    ranks = [len(term) for term in equation.split("->")[0].split(",")]
    tensors = (x, x.flip(1), x + 1)
    return torch.einsum(equation, *(t[(..., *[0] * (4 - r))] for t, r in zip(tensors, ranks, strict=True)))


TOKENS, HEADS = (5, 4), (2, 5, 4)
LATER, KEYS = torch.ones(5, 5).triu(1).bool(), torch.tensor([[True, False, True, False, True]])
SDPA, ATTENTION = F.scaled_dot_product_attention, partial(nn.MultiheadAttention, 4, 2, batch_first=True)
ENCODER = partial(nn.TransformerEncoderLayer, 4, 2, 8, batch_first=True)


def _self(x: Tensor, m: nn.Module) -> Tensor:
    return m(x, x, x)[0]


def _causal(x: Tensor, m: nn.Module) -> Tensor:
    return m(x, x, x, attn_mask=LATER, need_weights=False)[0]


def _time_first(x: Tensor, m: nn.Module) -> Tensor:
    x = x.transpose(0, 1)
    return m(x, x, x, need_weights=False)[0].transpose(0, 1)


def _padded(x: Tensor, m: nn.Module) -> Tensor:
    return m(x, x, x, key_padding_mask=~KEYS.expand(x.shape[0], 5))[0]


case("attention", TOKENS, lambda x, m: m(x, x, x, need_weights=False)[0], ATTENTION())
case("attention with weights", TOKENS, _self, ATTENTION())
case("attention's weights", TOKENS, lambda x, m: m(x, x, x)[1], ATTENTION())
case("attention, time first", TOKENS, _time_first, nn.MultiheadAttention(4, 2))
case("attention with its own keys", TOKENS, _self, ATTENTION(add_bias_kv=True))
case("cross attention", TOKENS, lambda x, m: m(x[:, :2], x[:, 2:], x[:, 2:])[0], ATTENTION())
case("causal attention", TOKENS, _causal, ATTENTION())
case("causal attention's weights", TOKENS, lambda x, m: m(x, x, x, attn_mask=LATER)[1], ATTENTION())
case("attention, keys left out", TOKENS, _padded, ATTENTION())
case("sdpa", HEADS, lambda x: SDPA(x, x + 1, x, scale=0.3))
case("sdpa, causal", HEADS, lambda x: SDPA(x, x, x, is_causal=True))
case("sdpa, masked", HEADS, lambda x: SDPA(x, x, x, attn_mask=KEYS))
case("sdpa with a bias", HEADS, lambda x: SDPA(x, x, x, attn_mask=torch.ones(5, 5).cumsum(1) / 5))
case("masked softmax", (5,), lambda x: torch.where(KEYS[0], x, -torch.inf).softmax(-1))
case("masked scores", TOKENS, lambda x: (x @ x.mT).masked_fill(LATER, -torch.inf).softmax(-1) @ x)
case("encoder layer", TOKENS, lambda x, m: m(x), ENCODER(activation="gelu"))
case("encoder", STEPS, lambda x, m: m(x), nn.TransformerEncoder(ENCODER(norm_first=True), 2, None, False))
case("decoder layer", STEPS, lambda x, m: m(x, x), nn.TransformerDecoderLayer(4, 2, 8, batch_first=True))

IMAGE = (4, 3, 2)
case("layer norm", TOKENS, lambda x, m: m(x), nn.LayerNorm(4))
case("layer norm over all", TOKENS, lambda x, m: m(x), nn.LayerNorm(TOKENS, bias=False))
case("rms norm", TOKENS, lambda x, m: m(x), nn.RMSNorm(4, eps=1e-5))
case("group norm", IMAGE, lambda x, m: m(x), nn.GroupNorm(2, 4))
case("instance norm", IMAGE, lambda x, m: m(x), nn.InstanceNorm2d(4, affine=True))
case("instance norm by statistics", IMAGE, lambda x, m: m(x), nn.InstanceNorm2d(4, track_running_stats=True))
case("local response norm", IMAGE, lambda x: F.local_response_norm(x, 2))
case("normalize", (4,), lambda x: F.normalize(x + 2, dim=1))
case("cosine similarity", (4,), lambda x: F.cosine_similarity(x + 2, x.flip(1) + 1, dim=1)[:, None])
case("var", (4,), lambda x: x.var(1, keepdim=True))
case("std over two axes", TOKENS, lambda x: x.std((1, 2), unbiased=False, keepdim=True))
case("var and mean", TOKENS, lambda x: torch.add(*torch.var_mean(x, 1)))
case("std and mean", TOKENS, lambda x: torch.add(*torch.std_mean(x, 1)))

case("glu", (4,), lambda x: F.glu(x, 1))
case("softmin", (4,), lambda x: F.softmin(x, 1))
case("addcmul", (4,), lambda x: torch.addcmul(x, x, x.flip(1), value=2))
case("addcdiv", (4,), lambda x: torch.addcdiv(x, x, x.square() + 1, value=2))
case("lerp", (4,), lambda x: torch.lerp(x, x.flip(1), 0.3))
case("lerp by a constant", (4,), lambda x: torch.lerp(x, x.flip(1), torch.arange(4.0) / 4))
case("lerp from a constant", (4,), lambda x: torch.lerp(torch.ones(4), x, x.sigmoid()))
case("stack and select", (4,), lambda x: torch.stack([x, 2 * x], 1)[:, 1])

for _equation in ("bij,bkj->bik", "bij,bij->bi", "bij,bkl->bjkil", "b...i,b...i->b...", "bji,bjk->bik"):
    case(f"einsum {_equation}", (3, 4), lambda x, e=_equation: torch.einsum(e, x, x.flip(1)))
case("einsum of one", (3, 4), lambda x: torch.einsum("bij->bj", x))
case("einsum of weights", (3, 4), lambda x, m: torch.einsum("bij,kj->bik", x, m.weight), nn.Linear(4, 5))
case("einsum, moved", (3, 4), lambda x, m: torch.einsum("kj,bij->bki", m.weight, x), nn.Linear(4, 5))
case("einsum by group", (3, 4), lambda x: torch.einsum("bhi,hij->bhj", x, torch.ones(3, 4, 2).cumsum(0)))
case("einsum of a diagonal", (3, 3), lambda x: torch.einsum("bii->bi", x))
case("einsum of two diagonals", (2, 2, 2), lambda x: torch.einsum("biij,bjj->bi", x, x[..., 0]))
for _equation in ("bi,bj,bk->bijk", "bij,bjk,bkl->bil", "bij,bij,bij->bi", "bij,bi,bj->b"):
    case(f"einsum {_equation}", (2, 2, 2), lambda x, e=_equation: _three(e, x))
case(
    "einsum of two and weights",
    (3, 4),
    lambda x, m: torch.einsum("bij,ij,bkj->bik", x, m.weight, x),
    nn.Linear(4, 3),
)
case(
    "einsum with two weights",
    (4,),
    lambda x, m, n: torch.einsum("ij,kj,bi->bk", m.weight, n.weight, x),
    nn.Linear(3, 4),
    nn.Linear(3, 2),
)
case(
    "einsum, weights apart",
    (2,),
    lambda x, m: torch.einsum("bi,jk,bi->bjk", x, m.weight, x + 1),
    nn.Linear(2, 3),
)
case("einsum by coordinate", (3, 4), lambda x: torch.einsum("bij,ij->bij", x, torch.ones(3, 4).cumsum(1)))
case("tensordot", (3, 4), lambda x: torch.tensordot(x, torch.ones(4, 5).cumsum(0), 1))
case("bilinear", (4,), lambda x, m: m(x, x + 1), nn.Bilinear(4, 4, 3))
case("baddbmm", (3, 4), lambda x: torch.baddbmm(x @ x.mT, x, x.mT, beta=0.5, alpha=2))
case("spectral norm", (4,), lambda x, m: m(x), parametrizations.spectral_norm(nn.Linear(4, 3)))
case("weight norm", (4,), lambda x, m: m(x), parametrizations.weight_norm(nn.Linear(4, 3)))
case("soft tokens", TOKENS, lambda x, m: x.softmax(2) @ m.weight, nn.Embedding(4, 6))
case("fft, real part", (3, 4), lambda x: torch.fft.rfft(x).real)
case("fft, imaginary part", (3, 4), lambda x: torch.fft.fft(x, dim=1, norm="ortho").imag)
case("fft, power", (5,), lambda x: torch.fft.rfft(x + 1, n=8).abs() ** 2)
case("fft of images", (2, 3, 4), lambda x: torch.view_as_real(torch.fft.rfft2(x)))
case(
    "filter", (6,), lambda x: torch.fft.irfft(torch.fft.rfft(x) * torch.tensor([1, 0.5j, 0.1 + 2j, 0.3]), n=6)
)
case("low pass", (2, 4), lambda x: torch.fft.ifft(torch.fft.fft(x) * torch.tensor([1.0, 0.5, 0.1, 0.5])).real)


def _by_head(x: Tensor) -> Tensor:
    heads = x.transpose(1, 2).reshape(-1, 2, 5)
    return torch.bmm(heads, heads.mT).reshape(-1, 8)


def _step_by_step(x: Tensor, m: nn.Module) -> Tensor:
    return m(x.reshape(-1, 4)).relu().reshape(x.shape[0], 5, 3).sum(1)


def _cut(x: Tensor) -> Tensor:
    _, rest = (x * 1).relu_().split([2, 3])
    return rest.unbind(0)[0] * rest[1]


def _moved(function: Function) -> Function:
    return lambda x, *parts: function(x.transpose(0, 1), *parts)


case("steps as a batch", TOKENS, _step_by_step, nn.Linear(4, 3))
case("heads as a batch", TOKENS, _by_head)
case("time first, constants", TOKENS, _moved(lambda x: (x * torch.arange(5.0)[:, None, None] + 1).sum(0)))
case("time first, joined", TOKENS, _moved(lambda x: torch.cat([x[1:], x[:1], torch.ones_like(x)])[4]))
case("time first, stacked", TOKENS, _moved(lambda x: torch.stack([x, x + 1], 2).amax(0).flatten(1)))
case("time first, largest", TOKENS, _moved(lambda x: x.max(0)[0]))
case("time first, split", TOKENS, _moved(_cut))
case("time first, layer norm", TOKENS, _moved(lambda x, m: m(x).transpose(0, 1)), nn.LayerNorm(4))
