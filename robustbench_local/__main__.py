"""`python -m robustbench_local` is the command line `rbl`."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
