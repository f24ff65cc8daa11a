"""Texts with exchanged words in the language: sets, numbers, networks that embed, and refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from robustbench_local.errors import (
    EmptySetError,
    LabelError,
    RadiusError,
    RobustBenchError,
    ShapeError,
    SpecError,
)
from robustbench_local.specs import (
    Data,
    Domain,
    Label,
    Net,
    Param,
    Query,
    TokenSet,
    Var,
    argmax,
    box,
    forall,
    one_hot,
    synonyms,
)

TABLE = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [-1.0, 2.0]])
TOKENS, AMONG, THESAURUS = Data("toks", 3), Data("near", (3, 2)), Data("thesaurus", (4, 1))
E, K = Data("table", (4, 2)), Param("k", 1)
ROWS, ONE_HOT = Var("w", (3, 2)), Var("w", (3, 4))
VALUES = {
    "toks": torch.tensor([[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]]),
    "near": torch.tensor([[1.0, -1.0], [2.0, 3.0], [0.0, -1.0]]),
    "thesaurus": torch.tensor([[2.0], [-1.0], [3.0], [0.0]]),
    "table": TABLE,
}


def query(domain: Domain, variable: Var = ROWS, **values: object) -> Query:
    size = variable.shape[0] * variable.shape[1]
    f = Net("f", variable.shape, 2)
    spec = forall(variable, domain, f(variable)[0] <= f(variable)[1] + 100)
    needed = {name: VALUES[name] for name in spec.slots if name in VALUES}
    network = nn.Sequential(nn.Flatten(), nn.Linear(size, 2)).eval()
    return spec.query(network, **{**needed, **values})


def built(domain: Domain, variable: Var = ROWS, **values: object) -> TokenSet:
    inputs = query(domain, variable, **values).inputs
    assert isinstance(inputs, TokenSet)
    return inputs


def test_candidates_by_position_by_token_and_all() -> None:
    near = built(synonyms(TOKENS, E, among=AMONG, swaps=K), k=2)
    assert near.swaps.tolist() == [2, 2] and near.mask.sum(2).tolist() == [[2, 3, 2], [2, 3, 2]]
    assert torch.equal(near.centre().float(), TABLE[VALUES["toks"].long()])
    assert near.candidates[0, 1].tolist() == TABLE[[1, 2, 3]].tolist()
    words = built(synonyms(TOKENS, E, thesaurus=THESAURUS))
    assert words.swaps.tolist() == [1, 1] and words.mask.sum(2).tolist() == [[2, 1, 2], [2, 2, 2]]
    assert words.candidates[0, 2].tolist() == TABLE[[3, 0]].tolist()
    every = built(synonyms([0, 1, 2], TABLE, swaps=3))
    assert every.batch == 1 and every.mask.all() and every.candidates.shape == (1, 3, 5, 2)
    assert built(synonyms(TOKENS, E, among=AMONG, swaps=K), k=torch.tensor([0, 3])).swaps.tolist() == [0, 3]


def test_one_hot_texts() -> None:
    inputs = built(one_hot(TOKENS, 4, among=AMONG, swaps=2), ONE_HOT)
    assert inputs.shape == (3, 4) and inputs.centre().argmax(2).tolist() == VALUES["toks"].tolist()
    assert inputs.contains(torch.eye(4)[torch.tensor([[0, 3, 0], [1, 2, 2]])]).all()


def test_texts_print_themselves() -> None:
    assert synonyms(TOKENS, E, among=AMONG, swaps=K).text == "synonyms(toks, table, among=near, swaps=k)"
    assert one_hot(TOKENS, 4).text == "one_hot(toks, 4, swaps=1)"
    text = one_hot([0, 1], 2, thesaurus=[[1], [0]], swaps=2).text
    assert text == "one_hot([0, 1], 2, thesaurus=[[1], [0]], swaps=2)"


def test_a_box_takes_words_out() -> None:
    inputs = built(synonyms(TOKENS, E, among=AMONG) & box(-0.5, 5), toks=torch.tensor([[0.0, 1.0, 1.0]]))
    assert inputs.mask[0, 1].tolist() == [True, True, False]  # the last word has a coordinate of -1
    assert inputs.contains(torch.tensor([[[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]]))


def test_a_network_that_embeds() -> None:
    """The design's example: whatever three words are exchanged, the class stays."""
    torch.manual_seed(0)
    w, f, c = Var("w", (3, 4)), Net("f", (3, 4), 2), Label("c", 2)
    spec = forall(w, one_hot(TOKENS, 4, among=AMONG, swaps=3), argmax(f(w)) == c)

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Parameter(TABLE.clone()), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head((x @ self.table).relu().mean(1))
            return logits

    network = Classifier().eval()
    bound = spec.query(network, c=0, **{k: VALUES[k] for k in ("toks", "near")})
    texts = torch.cartesian_prod(torch.tensor([0, 1]), torch.tensor([1, 2, 3]), torch.tensor([3, 0]))
    rows = torch.eye(4)[texts]
    first = bound.select(torch.zeros(len(rows), dtype=torch.int64))
    assert first.inputs.contains(rows).all()
    assert torch.allclose(first.violation(rows), (network(rows) @ torch.tensor([-1.0, 1.0])))


REFUSALS: list[tuple[Callable[[], object], type[RobustBenchError], str]] = [
    (
        lambda: built(synonyms(TOKENS, E), toks=torch.tensor([[0.0, 1.5, 3.0]])),
        LabelError,
        "is 1.5 at",
    ),
    (lambda: built(synonyms(TOKENS, E), toks=torch.tensor([[0.0, 4.0, 3.0]])), LabelError, "from 0 to 3"),
    (
        lambda: built(synonyms(TOKENS, E), Var("w", (3, 5))),
        ShapeError,
        "variable with shape (3, 2)",
    ),
    (lambda: built(synonyms(TOKENS, E, swaps=K), k=0.5), RadiusError, "swaps is 0.5"),
    (lambda: synonyms(E, E), ShapeError, "the tokens `table` have shape (4, 2)"),
    (lambda: synonyms(TOKENS, TOKENS), ShapeError, "the table `toks` has shape (3,)"),
    (
        lambda: synonyms(TOKENS, E, among=THESAURUS),
        ShapeError,
        "has shape (4, 1). Give 3 rows",
    ),
    (lambda: synonyms(TOKENS, E, among=AMONG, thesaurus=THESAURUS), SpecError, "both among= and thesaurus="),
    (lambda: synonyms(TOKENS, E, swaps=TOKENS), ShapeError, "swaps `toks` has shape (3,)"),
    (lambda: synonyms(ROWS[0], E), SpecError, "the tokens `w[0]` depends on the variable"),
    (lambda: one_hot(TOKENS, 0), SpecError, "the vocabulary is 0. Give the number of tokens"),
    (
        lambda: built(synonyms(TOKENS, E), table=torch.stack([TABLE, TABLE + 1])),
        ShapeError,
        "`table` differs between samples",
    ),
]


@pytest.mark.parametrize(("build", "kind", "message"), REFUSALS)
def test_what_is_refused(build: Callable[[], object], kind: type[RobustBenchError], message: str) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert message.lower() in str(caught.value).lower()


def test_a_vector_that_the_points_cannot_hold() -> None:
    third = query(synonyms([0], [[1 / 3]]), Var("w", (1, 1)))
    with pytest.raises(EmptySetError, match=r"none of torch\.float32"):
        third.inputs.project(torch.zeros(1, 1, 1))
