"""Every function of the language can be written in a text, and prints as what is read back.

A function that is new to the language fails here until it has an example.
"""

from __future__ import annotations

import pytest
from robustbench_local.specs.vocabulary import FUNCTIONS

from robustbench_local.specs import parse_spec

HEAD = """spec t v1
net f: real[3,4,4] -> real[4]
net g: real[2] -> real[2]
data x0: real[3,4,4]
label c: class[4]
param eps: real = 1/3
"""
DOMAINS = {
    "ball": "ball(x0, eps * 2, p=2) & ball(x0, 3, p=0, grouped=0) & ball(x0, x0 * x0) & box(0, 1)",
    "box": "box(x0 - eps, [1, 2][0])",
    "choice": "choice(concat(reshape(x0, [1, 3, 4, 4]), reshape(x0 + 1, [1, 3, 4, 4])), count=2)",
    "patch": "patch(x0, size=(2, 2), where=[(0, 0), (1, 2)]) & patch(x0, size=(1, 1), stride=2) & box(0, 1)",
    "one_hot": "one_hot([1, 2], 4, thesaurus=[[0], [1], [2], [-1]], swaps=eps)",
    "segment": "segment(x0, x0 + eps)",
    "synonyms": "synonyms([1, 2], [[0, 1], [1, 0], [2, 2]], among=[[0], [1]], swaps=2)",
}
FORMULAS = {
    "abs": "abs(f(x)[0]) <= 1",
    "add": "f(x) <= add(f(x0), 2, y[0])",
    "affine": "argmax(f(affine(x, angle=y[0], right=eps, border=True))) == c",
    "all": "all(f(x) <= 1)",
    "all_": "all_(f(x) <= 1)",
    "any": "any(f(x) <= 1)",
    "any_": "any_(f(x) <= 1) | any_(1 > f(x))",
    "at_least": "at_least(2, f(x) <= 1) and at_least(1, f(x)[0] <= 1, argmax(f(x)) == c)",
    "argmax": "argmax(f(x)) == argmax(f(x0)) and 2 != argmax(f(x))",
    "between": "between(-1, f(x), [1, 2, 3, 4])",
    "bias_field": "argmax(f(bias_field(x, concat(y, [1])))) == c",
    "brightness": "argmax(f(brightness(x, eps))) == c",
    "close": "close(f(x), f(x0), 0.5, except_=[1]) and close(y, g(y), eps)",
    "concat": "concat(f(x), g(y), [1, 2]) <= 1",
    "conf": "conf(f(x)) >= 0.9",
    "contrast": "argmax(f(contrast(x, y[0], pivot=1/4))) == c",
    "cos": "cos(f(x)) <= 1",
    "dot": "dot(f(x), [1, 1/2, -1/4, 0]) <= 1",
    "drop": "f(x)[c] >= max(drop(f(x), c)) and sum(drop(f(x), 0)) <= 1",
    "exp": "exp(f(x)[c]) <= 1",
    "flip": "flip(f(x)) <= f(flip(x, 1))",
    "gamma": "argmax(f(gamma(x, y[0] + 1, toe=0.01))) == c",
    "gaussian_blur": "argmax(f(gaussian_blur(x, 1 + y[0], radius=1))) == c",
    "hue": "argmax(f(hue(x, 10 * y[0]))) == c",
    "implies": "implies(f(x)[0] > 0, f(x)[1] > 0)",
    "iou": "iou(f(x), f(x0)) >= 0.5",
    "log": "log(1 + exp(f(x))) <= 9",
    "log_softmax": "log_softmax(f(x))[c] >= -1",
    "max": "max(f(x)) <= max(f(x)[0], 1)",
    "min": "min(f(x), 0)[1] <= 1",
    "motion_blur": "argmax(f(motion_blur(x, 1 + y[0], direction=(1, 0), radius=1))) == c",
    "norm": "norm(f(x), 1) + norm(f(x), inf) + norm(f(x)) <= 9",
    "pick": "pick(f(x), [2, 0]) <= pick(f(x0), [-1, 0], axis=0)",
    "put": "put(f(x), 0, y[1]) <= 1",
    "rank": "rank(f(x), c) <= 2 and 3 >= rank(f(x), 0)",
    "relu": "relu(f(x)) <= 1",
    "reshape": "reshape(f(x), [2, 2])[0] <= reshape(f(x), (2, 2))[1, 0] + reshape(f(x)[0], [])",
    "rotate": "argmax(f(rotate(x, y[0]))) == c",
    "saturation": "argmax(f(saturation(x, y[0]))) == c",
    "scale": "argmax(f(scale(x, 1 + y[0]))) == c",
    "shear": "argmax(f(shear(x, y[0]))) == c",
    "sigmoid": "sigmoid(f(x)) <= 1",
    "sin": "sin(f(x)) <= 1",
    "softmax": "max(softmax(f(x))) <= 0.9",
    "sqrt": "sqrt(1 + abs(f(x))) <= 9",
    "stack": "vsum(stack(f(x), f(x0))[1]) <= stack(f(x)[0], eps)[0]",
    "sum": "sum(f(x)) <= 1",
    "tanh": "tanh(f(x)) <= 1",
    "translate": "argmax(f(translate(x, y[0], y[1]))) == c",
    "vmax": "vmax(f(x)) <= 1",
    "vmin": "vmin(f(x)) <= 1",
    "vsum": "vsum(f(x)) <= 1",
}
LAWS = {
    "normal": "normal(x0, 0.1 + eps)",
    "uniform": "uniform(x0 - 1, 1)",
}


def test_every_function_has_an_example() -> None:
    assert {*DOMAINS, *FORMULAS, *LAWS} == set(FUNCTIONS)


TEXTS = {
    **{name: f"forall x: real[3,4,4] in {text}: argmax(f(x)) == c" for name, text in DOMAINS.items()},
    **{
        name: f"forall x: real[3,4,4], y: real[2] in box(0, 1)(x) & box(0, 1)(y): {text}"
        for name, text in FORMULAS.items()
    },
    **{name: f"chance >= 0.9 x: real[3,4,4] ~ {text}: argmax(f(x)) == c" for name, text in LAWS.items()},
}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_call_is_printed_as_what_reads_back(name: str) -> None:
    file = parse_spec(HEAD + TEXTS[name])
    again = parse_spec(file.text)
    assert again.text == file.text and again.id == file.id
    assert again["main"].text == file["main"].text and again["main"].id == file["main"].id
