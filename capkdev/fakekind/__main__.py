"""Runs the fake kind, also as `python -m capkdev.fakekind`."""

import os
import sys

from capkdev.fakekind.listing import answer


def main() -> None:
    """Answer a repeated call immediately; load further modules only for other calls."""
    lines = answer(sys.argv[1:], dict(os.environ))
    if lines is None:
        from capkdev.fakekind.cli import main as run

        run()
    else:
        print("".join(f"{line}\n" for line in lines), end="")


if __name__ == "__main__":
    main()
