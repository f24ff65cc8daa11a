"""Tables of real people for properties of fairness: Adult, German credit and COMPAS, with their columns.

The rows are in `people/*.csv`, as published but for what would name anybody (docs/people.py makes them).
A row becomes features in [0, 1]: numbers by their range, yes or no as 1 or 0, words as one-hot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import UnknownNameError

from .sets import Source, dataset

__all__ = ["PEOPLE", "Flag", "Number", "People", "Words", "load_people"]

_FOLDER = Path(__file__).resolve().parent / "people"


@dataclass(frozen=True, slots=True)
class Number:
    """A column of numbers from low to high, which become 0 and 1."""

    name: str
    low: float
    high: float

    @property
    def features(self) -> tuple[str, ...]:
        """Its single feature."""
        return (self.name,)

    def encode(self, column: Sequence[str]) -> Tensor:
        """(N, 1) float32 in [0, 1]."""
        values = torch.from_numpy(np.asarray(column, dtype=np.float64))
        return ((values - self.low) / (self.high - self.low)).float()[:, None]


@dataclass(frozen=True, slots=True)
class Flag:
    """Whether a column has one of the words `yes`: 1 or 0. `of`: the column, where it has another name."""

    name: str
    yes: tuple[str, ...]
    of: str = ""

    @property
    def features(self) -> tuple[str, ...]:
        """Its single feature."""
        return (self.name,)

    def encode(self, column: Sequence[str]) -> Tensor:
        """(N, 1) float32, 0 or 1."""
        return torch.tensor([word in self.yes for word in column], dtype=torch.float32)[:, None]


@dataclass(frozen=True, slots=True)
class Words:
    """A column of words, one-hot; a word that is not listed is an error."""

    name: str
    words: tuple[str, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """One per word: "housing=A151"."""
        return tuple(f"{self.name}={word}" for word in self.words)

    def encode(self, column: Sequence[str]) -> Tensor:
        """(N, words) float32, a single 1 in every row."""
        places = torch.tensor([self.words.index(word) for word in column])
        return torch.nn.functional.one_hot(places, len(self.words)).float()


@dataclass(frozen=True, slots=True)
class People:
    """What the features of a table of people are.

    Attributes:
        name: of the data set: `load_dataset(name)` has the rows.
        columns: in the order of the features.
        protected: names of the columns that should not decide, each a `Flag`.
        label: column of the file, and the word that makes label 1.
        classes: what labels 0 and 1 mean.
        test_size: rows of the test split.
        licence, origin: where the rows come from.
    """

    name: str
    columns: tuple[Number | Flag | Words, ...]
    protected: tuple[str, ...]
    label: tuple[str, str]
    classes: tuple[str, str]
    test_size: int
    licence: str
    origin: str

    @property
    def features(self) -> tuple[str, ...]:
        """The name of every feature, in order."""
        return tuple(feature for column in self.columns for feature in column.features)

    def index(self, feature: str) -> int:
        """The number of a feature. Raises UnknownNameError."""
        if feature not in self.features:
            raise UnknownNameError.of(f"feature of {self.name!r}", feature, self.features)
        return self.features.index(feature)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The features that are numbers, and may be a little off."""
        return tuple(self.index(column.name) for column in self.columns if isinstance(column, Number))

    def twins(self, *names: str) -> dict[int, tuple[float, float]]:
        """Feature -> its values, of these protected columns, or of all of them without names.

        What `individual_fairness` and `counterfactual_fairness` take. Raises UnknownNameError.
        """
        for name in names:
            if name not in self.protected:
                raise UnknownNameError.of(f"protected column of {self.name!r}", name, self.protected)
        return {self.index(name): (0.0, 1.0) for name in names or self.protected}

    def source(self) -> Source:
        """All rows, in the order of the file."""
        import pandas as pd  # a single verdict needs no table

        table = pd.read_csv(_FOLDER / f"{self.name}.csv", dtype=str, keep_default_na=False)
        parts = []
        for column in self.columns:
            words = table[(column.of if isinstance(column, Flag) else "") or column.name]
            parts.append(column.encode(words.tolist()))
        where, word = self.label
        return Source(
            inputs=torch.cat(parts, dim=1),
            labels=torch.from_numpy((table[where] == word).to_numpy().astype(np.int64)),
            classes=self.classes,
            test_size=self.test_size,
            licence=self.licence,
            origin=self.origin,
        )


def _lettered(letter: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in numbers)


_ADULT = People(
    name="adult",
    columns=(
        Number("age", 17, 90),
        Number("education_years", 1, 16),
        Number("capital_gain", 0, 99_999),
        Number("capital_loss", 0, 4_356),
        Number("hours_per_week", 1, 99),
        Flag("male", ("Male",), of="sex"),
        Flag("white", ("White",), of="race"),
        Flag("from_us", ("United-States",), of="native_country"),
        Words(
            "workclass",
            (
                *("?", "Federal-gov", "Local-gov", "Never-worked", "Private", "Self-emp-inc"),
                *("Self-emp-not-inc", "State-gov", "Without-pay"),
            ),
        ),
        Words(
            "marital_status",
            (
                *("Divorced", "Married-AF-spouse", "Married-civ-spouse", "Married-spouse-absent"),
                *("Never-married", "Separated", "Widowed"),
            ),
        ),
        Words(
            "occupation",
            (
                *("?", "Adm-clerical", "Armed-Forces", "Craft-repair", "Exec-managerial", "Farming-fishing"),
                *("Handlers-cleaners", "Machine-op-inspct", "Other-service", "Priv-house-serv"),
                *("Prof-specialty", "Protective-serv", "Sales", "Tech-support", "Transport-moving"),
            ),
        ),
        Words(
            "relationship",
            ("Husband", "Not-in-family", "Other-relative", "Own-child", "Unmarried", "Wife"),
        ),
    ),
    protected=("male", "white"),
    label=("income", ">50K"),
    classes=("<=50K", ">50K"),
    test_size=1_500,
    licence="CC BY 4.0",
    origin="B. Becker and R. Kohavi, Adult, UCI, 1996: 5,000 rows of both parts, without the census weight",
)

_GERMAN = People(
    name="german",
    columns=(
        Number("months", 4, 72),
        Number("amount", 250, 18_424),
        Number("instalment_rate", 1, 4),
        Number("residence_years", 1, 4),
        Number("age", 19, 75),
        Number("credits", 1, 4),
        Number("dependants", 1, 2),
        Flag("male", ("A91", "A93", "A94"), of="status_sex"),
        Flag("telephone", ("A192",)),
        Flag("foreign_worker", ("A201",)),
        Words("checking_account", _lettered("A", 11, 12, 13, 14)),
        Words("credit_history", _lettered("A", 30, 31, 32, 33, 34)),
        Words("purpose", _lettered("A", 40, 41, 42, 43, 44, 45, 46, 48, 49, 410)),
        Words("savings", _lettered("A", 61, 62, 63, 64, 65)),
        Words("employment", _lettered("A", 71, 72, 73, 74, 75)),
        Words("other_debtors", _lettered("A", 101, 102, 103)),
        Words("property", _lettered("A", 121, 122, 123, 124)),
        Words("other_instalments", _lettered("A", 141, 142, 143)),
        Words("housing", _lettered("A", 151, 152, 153)),
        Words("job", _lettered("A", 171, 172, 173, 174)),
    ),
    protected=("male", "foreign_worker"),
    label=("risk", "1"),
    classes=("bad", "good"),
    test_size=300,
    licence="CC BY 4.0",
    origin="H. Hofmann, Statlog (German Credit Data), UCI, 1994, with its codes; 1,000 rows",
)

_COMPAS = People(
    name="compas",
    columns=(
        Flag("african_american", ("African-American",), of="race"),
        Flag("male", ("Male",), of="sex"),
        Number("age", 18, 96),
        Number("juv_fel_count", 0, 20),
        Number("juv_misd_count", 0, 13),
        Number("juv_other_count", 0, 9),
        Number("priors_count", 0, 38),
        Flag("felony", ("F",), of="c_charge_degree"),
    ),
    protected=("african_american", "male"),
    label=("two_year_recid", "1"),
    classes=("no new charge within two years", "new charge"),
    test_size=2_000,
    licence="none stated; public records of Broward County, Florida, that ProPublica published",
    origin="J. Larson et al., How we analyzed the COMPAS recidivism algorithm, ProPublica, 2016: the 6,172 "
    "rows of its analysis, sorted, without names, dates and case numbers",
)

PEOPLE: Mapping[str, People] = MappingProxyType(
    {people.name: people for people in (_ADULT, _GERMAN, _COMPAS)}
)
"""Registry: data set name -> its columns."""

for _people in PEOPLE.values():
    dataset(_people.name)(_people.source)


def load_people(name: str) -> People:
    """What the features of the table `name` are; `load_dataset(name)` has its rows. UnknownNameError."""
    if name not in PEOPLE:
        raise UnknownNameError.of("table of people", name, PEOPLE)
    return PEOPLE[name]
