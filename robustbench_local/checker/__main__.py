"""`python -m robustbench_local.checker [--json] FILE`: exit code 0 accepted, 1 rejected, 2 unreadable."""

import json
import sys

from . import check


def main(arguments: list[str]) -> int:
    """Checks the last argument, writes what was found, and returns the exit code."""
    found = check(arguments[-1])
    word = "accepted" if found.accepted else "rejected: " if found.readable else "unreadable: "
    sys.stdout.write(f"{json.dumps(found._asdict()) if '--json' in arguments else word + found.reason}\n")
    return 0 if found.accepted else 1 if found.readable else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [""]))
