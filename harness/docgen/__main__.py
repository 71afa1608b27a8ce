"""``python -m harness.docgen``: write the pages; ``--check`` only lists those that are stale.

``--seen RUN…`` first adds runs, by their folders, to the track record.
"""

from __future__ import annotations

import sys
from pathlib import Path

from harness.docgen.pages import add_runs, stale, write
from harness.errors import HarnessError


def main(argv: list[str]) -> int:
    """Write or check; return 1 when a page is stale, 2 when one cannot be generated."""
    try:
        if argv == ["--check"]:
            for name in (found := stale()):
                print(f"{name} is stale: `make reference` writes it")
            return 1 if found else 0
        if argv[:1] == ["--seen"]:
            add_runs(map(Path, argv[1:]))
        for name in write():
            print(f"wrote {name}")
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
