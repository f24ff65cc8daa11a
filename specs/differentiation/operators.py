"""The same rules for operators by their own names, of which networks that were read from files are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from . import affine, curves
from .dual import Dual, by_sample, linear, refused, rule, rule_of

Function = Callable[..., Any]

assert affine and curves  # whose rules stand for those of operators
aten = torch.ops.aten
rule(
    *(aten.reshape.default, aten.view.default, aten.permute.default, aten.transpose.int),
    *(aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default, aten.expand.default),
    *(aten.select.int, aten.slice.Tensor, aten.index_select.default, aten.flip.default),
    *(aten.sum.dim_IntList, aten.mean.dim, aten.unflatten.int),
)(linear)
rule(aten.neg.default, aten.clone.default, aten.avg_pool2d.default)(by_sample)
for _of_torch, _overloads in {
    F.linear: (aten.linear.default,),
    F.conv2d: (aten.conv1d.default, aten.conv2d.default, aten.conv_transpose2d.input),
    torch.flatten: (aten.flatten.using_ints,),
    torch.add: (aten.add.Tensor,),
    torch.rsub: (aten.rsub.Scalar,),
    torch.mul: (aten.mul.Tensor, aten.matmul.default, aten.mm.default),
    torch.div: (aten.div.Tensor,),
    torch.cat: (aten.cat.default, aten.stack.default),
    torch.relu: (aten.relu.default,),
    torch.abs: (aten.abs.default,),
    torch.maximum: (aten.maximum.default,),
    torch.tanh: (aten.tanh.default,),
    torch.sigmoid: (aten.sigmoid.default,),
    torch.exp: (aten.exp.default,),
    torch.sin: (aten.sin.default,),
    torch.cos: (aten.cos.default,),
    torch.softmax: (aten.softmax.int,),
    torch.log_softmax: (aten.log_softmax.int,),
    F.leaky_relu: (aten.leaky_relu.default,),
}.items():
    rule(*_overloads)(rule_of(_of_torch))


@rule(aten.sub.Tensor)
def _difference(function: Function, left: object, right: object, *, alpha: float = 1) -> Any:
    del function
    return rule_of(torch.sub)(torch.sub, left, right, alpha=alpha)


@rule(aten.addmm.default)
def _affine(function: Function, bias: Tensor, of: object, weight: Tensor) -> Dual:
    if not isinstance(of, Dual) or isinstance(weight, Dual) or isinstance(bias, Dual):
        raise refused("a layer whose weights move")
    return Dual(function(bias, of.value, weight), of.tangent @ weight)
