"""Installs one tool in bin/, for the rules of hack/tools.mk. Make decides what is missing or outdated."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hack.externaltools.catalogue import Program, load
from hack.externaltools.command import ToolError, console
from hack.externaltools.download import Unavailable, fetch
from hack.externaltools.golang import Go

ROOT = Path(__file__).resolve().parents[2]


def bring_program(program: Program, go: Go, *, build: bool) -> str:
    """Install a program in the folder atomically, and return how. build: always build from source."""
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=go.bin) as folder:
        made, how = Path(folder) / program.name, "release binary, checksum verified"
        try:
            if build or program.release is None:
                raise Unavailable("as requested" if build else "its publisher offers no binary with a checksum")
            made = fetch(program.release, Path(folder))
        except Unavailable as reason:
            console.print(f"  building {program.name} from source: {reason}")
            go.build(program, made)
            how = "built with Go"
        made.chmod(0o755)
        os.utime(made)
        os.replace(made, go.bin / program.name)
    return f"{program.version}, {how}"


def main(argv: Sequence[str] | None = None) -> int:
    """Install one tool and return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    catalogue = load(ROOT / "tools")
    parser = argparse.ArgumentParser(prog="hack.externaltools", description=__doc__)
    parser.add_argument("name", choices=["go", *catalogue.programs])
    parser.add_argument("--bin", type=Path, default=ROOT / "bin", help="the folder to fill (default: %(default)s)")
    parser.add_argument("--build", action="store_true", help="build from source even if there is a release binary")
    options = parser.parse_args(argv)
    options.bin.mkdir(parents=True, exist_ok=True)
    go = Go(catalogue, options.bin.absolute())
    try:
        if options.name == "go":
            how = f"a link to {go.command().readlink()}"
        else:
            how = bring_program(catalogue.programs[options.name], go, build=options.build)
    except ToolError as error:
        console.print(f"{options.name}: {error}\nWhat to do: {error.remedy}")
        return 1
    console.print(f"{options.name}: {how}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
