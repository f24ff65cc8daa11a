"""The page of anytime curves: the share of cases that stands, against what attacks spent on each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from robustbench_local.store import write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["curves_page"]

_TITLES = {"forwards": "forward passes", "backwards": "backward passes", "seconds": "seconds"}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito


def curves_page(table: pd.DataFrame, out: str | os.PathLike[str], *, title: str) -> Path:
    """Write the curves of `anytime` as one self-contained HTML page and return its path.

    One plot per budget, all attacks in each; the share of cases that no point of the attack has broken.
    OSError for a place that cannot be written to.
    """
    from robustbench_local.anytime import BUDGETS, unbroken  # with attacks and torch, which pages do without

    figure = make_subplots(rows=1, cols=len(BUDGETS), shared_yaxes=True)
    for column, budget in enumerate(BUDGETS, 1):
        shares = unbroken(table, budget)
        least = shares.loc[shares[budget] > 0, budget].min() / 2  # where a logarithmic axis puts the start
        for k, (name, line) in enumerate(shares.groupby("attack", sort=False)):
            figure.add_trace(
                go.Scatter(
                    x=line[budget].clip(lower=least),
                    y=100 * line["share"],
                    name=str(name),
                    legendgroup=str(name),
                    showlegend=column == 1,
                    mode="lines",
                    line={"shape": "hv", "color": _COLOURS[k % len(_COLOURS)]},
                ),
                row=1,
                col=column,
            )
        figure.update_xaxes(title_text=f"{_TITLES[budget]} per case", type="log", row=1, col=column)
    figure.update_yaxes(title_text="cases not broken, %", row=1, col=1)
    figure.update_layout(title=title, template="plotly_white", legend={"title": "attack"})
    html = figure.to_html(include_plotlyjs=True, full_html=True)
    return write_atomically(Path(out), lambda path: path.write_text(html, encoding="utf-8"))
