"""Tables of people: features are what the files say, labels belong to their rows, nobody is named."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import robustbench_local as rbl
from robustbench_local.data import PEOPLE, Flag, Number, Words, load_dataset, load_people
from robustbench_local.errors import UnknownNameError
from robustbench_local.specs import SPECS, library

FILES = Path(rbl.__file__).parent / "data" / "people"
ROWS = {"adult": 5000, "german": 1000, "compas": 6172}
AREAS = {"adult": 0.87, "german": 0.77, "compas": 0.71}  # of a logistic regression on the test split


def raw(name: str) -> list[dict[str, str]]:
    with (FILES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", PEOPLE)
def test_features_are_what_the_file_says(name: str) -> None:
    people, rows = load_people(name), raw(name)
    source = people.source()
    assert len(rows) == len(source.inputs) == ROWS[name] and source.inputs.dtype == torch.float32
    assert source.inputs.shape[1] == len(people.features) == len(set(people.features))
    assert float(source.inputs.min()) == 0 and float(source.inputs.max()) == 1
    for row in (0, 17, len(rows) - 1):
        features = dict(zip(people.features, source.inputs[row].tolist(), strict=True))
        for column in people.columns:
            if isinstance(column, Number):
                wanted = (float(rows[row][column.name]) - column.low) / (column.high - column.low)
                assert features[column.name] == pytest.approx(wanted, abs=1e-6)
            elif isinstance(column, Flag):
                assert features[column.name] == float(rows[row][column.of or column.name] in column.yes)
            else:
                chosen = [feature for feature in column.features if features[feature] == 1]
                assert chosen == [f"{column.name}={rows[row][column.name]}"]
        assert bool(source.labels[row]) == (rows[row][people.label[0]] == people.label[1])


@pytest.mark.parametrize("name", PEOPLE)
def test_every_word_of_the_file_is_a_feature(name: str) -> None:
    rows = raw(name)
    for column in load_people(name).columns:
        words = {row[(column.of if isinstance(column, Flag) else "") or column.name] for row in rows}
        if isinstance(column, Words):
            assert words <= set(column.words)
        elif isinstance(column, Flag):
            assert words & set(column.yes)


@pytest.mark.parametrize("name", PEOPLE)
def test_labels_belong_to_their_rows(name: str) -> None:
    """A classifier of others' rows ranks these: shuffled labels would leave it at one half."""
    train, test = load_dataset(name, split="train"), load_dataset(name)
    assert (len(train) + len(test), len(test)) == (ROWS[name], load_people(name).test_size)
    model = LogisticRegression(max_iter=2000).fit(train.inputs.numpy(), train.labels.numpy())
    scores = model.predict_proba(test.inputs.numpy())[:, 1]
    assert roc_auc_score(test.labels.numpy(), scores) > AREAS[name]
    shuffled = np.random.default_rng(0).permutation(test.labels.numpy())
    assert abs(roc_auc_score(shuffled, scores) - 0.5) < 0.1


def test_published_figures() -> None:
    """ProPublica: 52 % of African-American and 39 % of white defendants charged again; German: 70 % good."""
    rows = raw("compas")

    def share(race: str) -> float:
        again = [row["two_year_recid"] == "1" for row in rows if row["race"] == race]
        return sum(again) / len(again)

    assert share("African-American") == pytest.approx(0.52, abs=0.01)
    assert share("Caucasian") == pytest.approx(0.39, abs=0.01)
    assert float(PEOPLE["german"].source().labels.float().mean()) == pytest.approx(0.7)
    assert float(PEOPLE["adult"].source().labels.float().mean()) == pytest.approx(0.239, abs=0.001)


def test_nobody_is_named() -> None:
    columns = {column for name in PEOPLE for column in raw(name)[0]}
    assert not columns & {"name", "first", "last", "dob", "id", "c_case_number", "fnlwgt"}
    rows = [tuple(row.values()) for row in raw("compas")]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_twins_fit_the_ready_properties() -> None:
    people, data = load_people("compas"), load_dataset("compas")
    spec = library.individual_fairness(len(people.features), protected=people.twins("african_american"))
    network = torch.nn.Linear(len(people.features), 1).eval()
    torch.nn.init.constant_(network.weight, 0.01)
    drift = torch.zeros(len(people.features))
    rows = data.inputs[:5]
    values = {"low": rows, "high": rows, "drift": drift.expand(5, -1), "tolerance": 0.02}
    assert rbl.verify(network, spec, values=values).verdict == "HOLDS"
    assert rbl.verify(network, spec, values={**values, "tolerance": 0.005}).verdict == "VIOLATED"
    assert "individual_fairness" in SPECS and people.numbers == (2, 3, 4, 5, 6)
    with pytest.raises(UnknownNameError, match="protected column"):
        people.twins("age")
    with pytest.raises(UnknownNameError, match="table of people"):
        load_people("compass")
    with pytest.raises(UnknownNameError, match="feature of"):
        people.index("prior_count")
