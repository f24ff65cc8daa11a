"""`python -m robustbench_local.zoo DIR`: the records of an evaluation become those that the package ships."""

from __future__ import annotations

import sys
from pathlib import Path

from .records import EVALUATION, SHIPPED_EVALUATION, read_records, write_records


def main(folder: Path) -> int:
    """Takes over the records in `folder` row by row; 2 where there are none."""
    found = read_records(folder / EVALUATION)
    if not found:
        sys.stderr.write(
            f"no records in {folder / EVALUATION}: run `rbl zoo evaluate --out {folder}` first\n"
        )
        return 2
    write_records({**read_records(SHIPPED_EVALUATION), **found}, SHIPPED_EVALUATION)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
