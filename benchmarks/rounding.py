"""What it costs to account for rounding: how much wider the bounds are, how long they take, and do they hold?

    python benchmarks/rounding.py --json rounding.json --markdown

On the digits networks of the zoo, robustness of test images in linf balls. `width`: by how much the mean
upper bound of the violation grows from CROWN in real arithmetic to its outward counterpart and to that for
float32 forward passes, relative to the mean of its absolute values. `seconds` are CPU time of all images
together, the peer is CROWN in float64. `nearest` is the largest share that a float32 forward pass with
permuted sums of every layer used up of its error bound; a share above 1 is an escape. Goal: no
escape.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from _rows import Row, machine, markdown, write_json
from robustbench_local.verifiers.rounding import SINGLE, forward_errors, in_format, outward_intervals
from torch import Tensor, nn

from robustbench_local.data import load_dataset
from robustbench_local.evaluation import Subject
from robustbench_local.named_models import find_model
from robustbench_local.specs import Box
from robustbench_local.suite import cases_of
from robustbench_local.verifiers import CROWN, Budget, Graph, Verifier, find_arithmetic

MODELS = tuple(
    f"digits-{kind}{weights}" for kind in ("mlp", "cnn", "resnet") for weights in ("", ":certified")
)
ARITHMETICS = ("float64-outward", "fp32")


def bounded(name: str, eps: float, images: int) -> list[Row]:
    """Widths and times of CROWN's bounds in every arithmetic."""
    data = load_dataset("digits", split="test").select(torch.arange(images))
    cases = cases_of(find_model(name), data, spec="robustness", norm="linf", eps=eps)
    network, graph = Subject.of(cases).exact()
    query = cases.query.with_network(network)

    def run(verifier: Verifier) -> tuple[Tensor, float, Tensor]:
        start = time.process_time()
        with torch.inference_mode():
            upper = verifier.bound(graph, query, Budget()).upper
        return upper, time.process_time() - start, query.holds(upper)

    run(CROWN())  # warm
    plain, seconds, held = run(CROWN())
    rows = []
    for arithmetic in ARITHMETICS:
        upper, own, now = run(find_arithmetic(arithmetic).verifier(CROWN()))
        wider = float((upper - plain).mean() / plain.abs().mean())
        case = f"{name}/{eps:g}/{arithmetic}"
        rows.append(Row("rounding", case, "width", wider, None, "", None, 0, True))
        lost = int((held & ~now).sum())
        rows.append(
            Row("rounding", case, "HOLDS lost", lost, int(held.sum()), "HOLDS by CROWN", None, 0, True)
        )
        rows.append(Row("rounding", case, "seconds", own, seconds, "CROWN, float64", seconds / own, 0, True))
    return rows


def permuted(graph: Graph, network: nn.Module, x: Tensor, seed: int) -> Tensor:
    """A float32 forward pass with the terms of every matrix product in another order, in pieces."""
    generator = torch.Generator().manual_seed(seed)
    handles = []

    def shuffled(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (h,) = inputs
        if isinstance(layer, nn.Linear):
            terms, weight, bias = h.flatten(1), layer.weight, layer.bias
        else:
            assert isinstance(layer, nn.Conv2d)
            folds = {"padding": layer.padding, "stride": layer.stride, "dilation": layer.dilation}
            terms = nn.functional.unfold(h, layer.kernel_size, **folds).transpose(1, 2)
            weight, bias = layer.weight.flatten(1), layer.bias
        place = torch.randperm(weight.shape[1], generator=generator)
        total = torch.zeros(*terms.shape[:-1], weight.shape[0])
        for piece in place.split(1 + seed % 7):
            total = total + terms[..., piece] @ weight[:, piece].T
        total = total if bias is None else total + bias
        return total if isinstance(layer, nn.Linear) else total.transpose(1, 2).reshape(output.shape)

    for layer in network.modules():
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1):
            handles.append(layer.register_forward_hook(shuffled))
    try:
        return network(x)
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def passes(name: str, eps: float, images: int, orders: int) -> list[Row]:
    """How near float32 forward passes come to their error bounds."""
    network = find_model(name).network
    data = load_dataset("digits", split="test").select(torch.arange(images))
    x = data.inputs.to(torch.float32)
    cases = cases_of(find_model(name), data, spec="robustness", norm="linf", eps=eps)
    exact = in_format(Subject.of(cases).graph().resolved(), SINGLE)
    box = Box(x - eps, x + eps)
    errors = forward_errors(exact, outward_intervals(exact, box), SINGLE)[exact.output]
    worst = 0.0
    for order in range(orders):
        noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(order))
        point = x + 0.999 * (2 * noise - 1) * eps  # inside, rounded or not
        found = (permuted(exact, network, point, order).double() - exact.run(point.double())).abs()
        worst = max(worst, float((found / errors).max()))
    case = f"{name}/{eps:g}"
    share = Row("rounding", case, "nearest float32 pass", worst, None, "", None, 1, worst <= 1)
    return [share, Row("rounding", case, "passes", orders * images, None, "", None, 0, True)]


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs everything and returns the rows."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--only", nargs="+", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--eps", type=float, default=0.02)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--orders", type=int, default=50, help="float32 passes of every image")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    for name in options.only:
        rows += bounded(name, options.eps, options.images)
        rows += passes(name, options.eps, options.images, options.orders)
    write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()
