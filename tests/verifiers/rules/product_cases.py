"""Cases of products, quotients, matrix products and softmax of perturbed tensors."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from .cases import case

aten = torch.ops.aten

MUL, DIV = aten.mul.Tensor, aten.div.Tensor
case("mul of two", MUL, (3,), lambda x: x * x.flip(1))
case("mul of broadcast", MUL, (2, 3), lambda x: (x - 1) * x[:, :, :1])
case("mul of lower rank", MUL, (2, 3), lambda x: x * x[:, :1].sum(2, keepdim=True))
case("mul of two numbers", MUL, (3,), lambda x: x[:, 0] * x[:, 1])
case("mul with itself", MUL, (3,), lambda x: x * x)
case("div of two", DIV, (3,), lambda x: x / (2 + x.sigmoid()).flip(1))
case("div by negative", DIV, (2, 3), lambda x: x[:, :, :1] / (-2 - x.sigmoid()))
case("div of constant", DIV, (3,), lambda x, b: b / (2 + x.sigmoid())[:, None], (1, 2, 3))
case("multiply", aten.multiply.Tensor, (3,), lambda x: torch.multiply(x, x.roll(1, 1)))
case("divide", aten.divide.Tensor, (3,), lambda x: torch.divide(x, -2 - x.sigmoid()))
case("true_divide", aten.true_divide.Tensor, (3,), lambda x: torch.true_divide(x, 2 + x.sigmoid()))

MATMUL = aten.matmul.default
case(
    "addmm scaled",
    aten.addmm.default,
    (4,),
    lambda x, w: torch.addmm(x[:, :3], x, w, beta=2, alpha=-0.5),
    (4, 3),
)
case("matmul from left", MATMUL, (4, 2), lambda x, w: w @ x, (3, 4))
case("matmul of stacks", MATMUL, (2, 3, 4), lambda x, w: x @ w, (2, 4, 3))
case("matmul of stacks from left", MATMUL, (2, 3, 4), lambda x, w: w @ x, (2, 2, 3))
case("matmul with vector", MATMUL, (2, 4), lambda x, w: x @ w, (4,))
case("matmul with vector from left", MATMUL, (4, 2), lambda x, w: w @ x, (4,))
case("mv", aten.mv.default, (4,), lambda x, w: torch.mv(x, w), (4,))
case("matmul with expression", MATMUL, (2, 3), lambda x, w: (w.exp() @ x) @ w.tanh(), (3, 2))
case("matmul with a batch of one", MATMUL, (2, 3), lambda x, w: (w @ x) @ w, (1, 3, 2))
case("matmul of two", MATMUL, (2, 3), lambda x: x @ x.transpose(1, 2))
case("matmul of two stacks", MATMUL, (2, 3, 2), lambda x: x @ (1 - 2 * x[:, :1]).transpose(2, 3))
case(
    "convolution by weights of the input's",
    MATMUL,
    (1, 3, 4),
    lambda x, m: m(x.flatten(1)).view(-1, 2, 4) @ F.unfold(x, 2),
    partial(nn.Linear, 12, 8),
)
case("linalg_matmul", aten.linalg_matmul.default, (2, 2), lambda x: torch.linalg.matmul(x, x.flip(1)))
case("bmm", aten.bmm.default, (2, 3), lambda x: torch.bmm(x.transpose(1, 2), x + 1))

SOFTMAX = aten.softmax.int
case("softmax", SOFTMAX, (4,), lambda x: torch.softmax(x, -1))
case("softmax of two", SOFTMAX, (2,), lambda x: torch.softmax(3 * x, 1))
case("softmax of one", SOFTMAX, (1, 3), lambda x: torch.softmax(x, 1) + x)
case("softmax along the first axis", SOFTMAX, (3, 2), lambda x: F.softmax(x, 1))
case("_softmax", aten._softmax.default, (3, 2), lambda x: aten._softmax(x, 1, False))

LOGSUMEXP, LOG_SOFTMAX = aten.logsumexp.default, aten.log_softmax.int
case("logsumexp", LOGSUMEXP, (4,), lambda x: x.logsumexp(-1))
case("logsumexp kept", LOGSUMEXP, (3, 2), lambda x: x.logsumexp(1, keepdim=True))
case("logsumexp of two", LOGSUMEXP, (3, 2), lambda x: x.logsumexp(2))
case("logsumexp of one", LOGSUMEXP, (1, 2), lambda x: x.logsumexp(1))
case("logsumexp over two axes", LOGSUMEXP, (2, 3, 2), lambda x: x.logsumexp((3, 1)))
case("logsumexp over two axes kept", LOGSUMEXP, (2, 2, 3), lambda x: x.logsumexp((-2, 1), keepdim=True))
case("log_softmax", LOG_SOFTMAX, (4,), lambda x: F.log_softmax(x, -1))
case("log_softmax along the first axis", LOG_SOFTMAX, (3, 2), lambda x: (2 * x).log_softmax(1))
case("log_softmax of one", LOG_SOFTMAX, (1, 2), lambda x: x.log_softmax(1))
case("_log_softmax", aten._log_softmax.default, (2, 3), lambda x: aten._log_softmax(x, 2, False))

NORM = aten.linalg_vector_norm.default
case("norm", NORM, (3,), lambda x: x.norm(dim=1))
case("norm kept", NORM, (3, 2), lambda x: torch.linalg.vector_norm(x - 0.5, dim=1, keepdim=True))
case("norm over two axes", NORM, (2, 2, 2), lambda x: torch.linalg.vector_norm(x, dim=(3, 1)))
case("norm of order one", NORM, (3, 2), lambda x: x.norm(p=1, dim=2))
case("norm of order infinity", NORM, (3, 2), lambda x: x.norm(p=float("inf"), dim=1))
case("linalg_norm", aten.linalg_norm.default, (3, 2), lambda x: torch.linalg.norm(x + 0.2, dim=1))
