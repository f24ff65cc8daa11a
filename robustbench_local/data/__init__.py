"""Data sets as plain tensors with stable row numbers: `load_dataset("digits", split="test")`.

A data set is one function under `@dataset(name)` that returns the whole `Source`; how it is cut into
training and test rows is a rule shared by all of them (`stratified_test_rows`), so that a row number
means the same image on every machine and in every version of every library. Of tables of people,
`load_people("compas")` says which columns they have and which of them are protected.
"""

from .people_tables import PEOPLE, Flag, Number, People, Words, load_people
from .sets import DATASETS, Dataset, Source, Split, dataset, load_dataset, stratified_test_rows

__all__ = [
    "DATASETS",
    "PEOPLE",
    "Dataset",
    "Flag",
    "Number",
    "People",
    "Source",
    "Split",
    "Words",
    "dataset",
    "load_dataset",
    "load_people",
    "stratified_test_rows",
]
