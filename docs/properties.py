"""Writes docs/properties.md: every ready property, and every kind of the catalogue, from the registry.

python docs/properties.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from textwrap import fill

from robustbench_local.specs import library

PAGE = Path(__file__).with_name("properties.md")
EXAMPLES = Path(__file__).with_name("examples") / "properties.py"
HEAD = """# Ready properties

Written by `python docs/properties.py` from the docstrings; a test compares. Each is a function that returns
a `Spec`:

```python
import torch
from robustbench_local.specs import library

spec = library.equivalence((8,), 3)  # or SPECS["equivalence"]((8,), 3)
f, g = torch.nn.Linear(8, 3), torch.nn.Linear(8, 3)
query = spec.query({"f": f.eval(), "g": g.eval()}, x0=torch.rand(20, 8), eps=0.05, delta=0.1)
```

A property of one network takes it as it is, one of several takes them by name. Values bind by name: `B`
problems with a leading axis of `B`, or one value for all. Those about an image and its class also go by name
on the command line, `rbl verify digits-mlp:certified topk --eps 0.02 --set k=3`; `--set` gives arguments and
values beyond image, class and radius.

"""


def _paragraphs(name: str) -> list[str]:
    text = inspect.getdoc(library.SPECS[name]) or ""
    return [" ".join(part.split()) for part in text.split("\n\n")]


def _arguments(name: str) -> str:
    shown = []
    for argument in inspect.signature(library.SPECS[name]).parameters.values():
        default = argument.default
        has = default is not inspect.Parameter.empty
        shown.append(f"{argument.name}={default!r}" if has else argument.name)
    return f"{name}({', '.join(shown)})"


def _row(number: int, title: str, names: list[str]) -> str:
    links = ", ".join(f"[{name}](#{name})" for name in names)
    forms = ", ".join(dict.fromkeys(letter for name in names for letter in library.KINDS[name].form))
    suits = "; ".join(dict.fromkeys(library.KINDS[name].suits for name in names))
    return f"| {number} | {title} | {links} | {forms} | {suits} |"


def _escaped(text: str) -> str:
    return re.sub(r"([*_])", r"\\\1", text)


def page() -> str:
    """The page's text."""
    legend = [f"- **{letter}** {meaning}" for letter, meaning in library.FORMS.items()]
    names = sorted(library.SPECS, key=lambda name: (library.KINDS[name].numbers, name))
    rows, missing = [], []
    for entry in library.CATALOGUE:
        stated = [name for name in names if entry.number in library.KINDS[name].numbers]
        if stated:
            rows.append(_row(entry.number, entry.title, stated))
        else:
            missing.append(f"| {entry.number} | {entry.title} | {entry.reason} |")
    details = []
    for name in names:
        claim, *rest = _paragraphs(name)
        details.append(f"### {name}\n\n`{_arguments(name)}`\n\n```\n{fill(claim, 110)}\n```\n")
        details.extend(f"{_escaped(part)}\n" for part in rest)
    parts = [
        HEAD + "## By kind\n\n" + "\n".join(legend),
        "\n| kind | | functions | form | suits |\n|---|---|---|---|---|\n" + "\n".join(rows),
        "\nNot stated by a function:\n\n| kind | | why |\n|---|---|---|\n" + "\n".join(missing),
        "\n## In the language\n\nYour own, written out; [the file](examples/properties.py) runs.\n",
        "```python\n" + EXAMPLES.read_text(encoding="utf-8").rstrip() + "\n```",
        "\n## One by one\n\n" + "\n".join(details).rstrip(),
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
