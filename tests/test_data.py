"""Data sets: the split is a rule, pixels are exact, and broken tables are refused."""

from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustbench_local.data import DATASETS, Dataset, Source, dataset, load_dataset, stratified_test_rows
from robustbench_local.errors import DataError, LabelError, NonFiniteError, ShapeError, UnknownNameError


def test_digits_split_sizes_and_coverage() -> None:
    train, test = load_dataset("digits", split="train"), load_dataset("digits")
    assert (len(train), len(test)) == (1197, 600)
    assert torch.equal(torch.cat([train.ids, test.ids]).sort().values, torch.arange(1797))
    assert (train.split, test.split, test.name) == ("train", "test", "digits")


def test_digits_rows_are_the_original_rows() -> None:
    from sklearn.datasets import load_digits

    raw = load_digits()
    test = load_dataset("digits")
    assert test.inputs.shape == (600, 1, 8, 8) and test.inputs.dtype == torch.float32
    assert torch.equal(test.inputs[:, 0] * 16, torch.from_numpy(raw.images)[test.ids].float())
    assert torch.equal(test.labels, torch.from_numpy(raw.target)[test.ids])


def test_digits_pixels_are_sixteenths() -> None:
    inputs = load_dataset("digits", split="train").inputs
    assert torch.equal((inputs * 16).round() / 16, inputs)
    assert float(inputs.min()) == 0 and float(inputs.max()) == 1


def test_digits_split_never_changes() -> None:
    """The rule's outcome, frozen: published numbers refer to these rows."""
    ids = load_dataset("digits").ids.tolist()
    assert ids[:5] == GOLDEN_FIRST
    assert hashlib.sha256(str(ids).encode()).hexdigest() == GOLDEN_HASH


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_split_is_stratified(labels: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(labels)))
    classes = torch.tensor(labels)
    rows = stratified_test_rows(classes, size, key="any")
    assert len(rows) == size == len(set(rows.tolist()))
    for c in set(labels):
        share = labels.count(c) * size / len(labels)
        assert abs(int((classes[rows] == c).sum()) - share) < 1


def test_split_by_hand() -> None:
    """Two rows of class 0 and one of class 1, one test row: class 0 has the larger share."""
    rows = stratified_test_rows(torch.tensor([0, 1, 0]), 1, key="k")
    first = min((0, 2), key=lambda row: hashlib.sha256(f"k:{row}".encode()).digest())
    assert rows.tolist() == [first]


def test_split_size_out_of_range() -> None:
    with pytest.raises(DataError, match="4 rows from 3"):
        stratified_test_rows(torch.tensor([0, 1, 0]), 4, key="k")


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data set 'digit'.*Did you mean 'digits'"):
        load_dataset("digit")
    with pytest.raises(UnknownNameError, match="unknown split 'validation'"):
        load_dataset("digits", split="validation")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set(name: str) -> None:
    source = DATASETS[name]()
    assert source.licence and source.origin
    test, train = load_dataset(name), load_dataset(name, split="train")
    assert len(test) == source.test_size and len(train) + len(test) == len(source.labels)
    assert torch.equal(test.inputs, load_dataset(name).inputs)
    assert set(train.labels.tolist()) == set(range(len(source.classes)))


def test_a_data_set_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_local.data.sets._DATASETS", dict(DATASETS))

    @dataset("tiny")
    def tiny() -> Source:
        return Source(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]), ("a", "b"), 2, "CC0", "here")

    monkeypatch.setattr("robustbench_local.data.sets.DATASETS", {"tiny": tiny})
    assert load_dataset("tiny").labels.tolist() == [0, 1]


def test_select_keeps_rows_together() -> None:
    part = load_dataset("digits").select(torch.tensor([3, 1]))
    whole = load_dataset("digits")
    assert part.ids.tolist() == [int(whole.ids[3]), int(whole.ids[1])] and part.shape == (1, 8, 8)
    assert torch.equal(part.inputs[1], whole.inputs[1])


def test_broken_data_sets_are_refused() -> None:
    zeros, ids = torch.zeros(2, 3), torch.arange(2)
    with pytest.raises(ShapeError, match="2 inputs, labels"):
        Dataset("d", "test", zeros, torch.zeros(3, dtype=torch.int64), ids, ("a",))
    with pytest.raises(LabelError, match="labels from 0 to 1 for 1 classes"):
        Dataset("d", "test", zeros, torch.tensor([0, 1]), ids, ("a",))
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        Dataset("d", "test", zeros / 0, torch.tensor([0, 0]), ids, ("a",))


GOLDEN_FIRST = [0, 1, 2, 3, 6]
GOLDEN_HASH = "cb9e99c104b01c97474f85553f02080adef881f7f8b1907b5730e1b0cdd3440c"
