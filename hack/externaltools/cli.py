"""The command line of hack/tools.py."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from hack.externaltools.bindir import BinDir
from hack.externaltools.catalogue import MANIFESTS, Catalogue, load
from hack.externaltools.errors import ToolError
from hack.externaltools.golang import GoToolchain
from hack.externaltools.installer import WAYS, Installer, Outcome
from hack.externaltools.progress import Progress, seconds_text
from hack.externaltools.release import Publishers

ROOT = Path(__file__).resolve().parents[2]


def arguments(catalogue: Catalogue, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hack/tools.py",
        description="Bring the external programs that tools/versions.toml pins into bin/: taken as they are when "
        "there at that version, else downloaded with a verified checksum, else built with Go.",
        epilog=f"Programs: {', '.join([*catalogue.programs, MANIFESTS])}. Groups: "
        + "; ".join(f"{name} = {' '.join(members)}" for name, members in catalogue.groups.items()),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a program or a group")
    parser.add_argument("--bin", type=Path, default=ROOT / "bin", help="the folder to fill (default: %(default)s)")
    parser.add_argument(
        "--from", dest="way", choices=WAYS, default=WAYS[0], help="limit how a missing program may come (default: any)"
    )
    parser.add_argument("--list", action="store_true", help="tell what is wanted and what is there, and end")
    parser.add_argument(
        "--module", choices=sorted(catalogue.modules), help="print the folder of this Go module's files, and end"
    )
    options = parser.parse_args(argv)
    if not (options.names or options.list or options.module):
        parser.error("name what to bring, for example: all")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = Progress(sys.stderr)
    catalogue = load(ROOT / "tools")
    options = arguments(catalogue, argv)
    toolchain = GoToolchain(catalogue, options.bin.absolute() / ".go", progress)
    installer = Installer(catalogue, BinDir(options.bin), Publishers(progress), toolchain, progress, options.way)
    try:
        if options.list:
            listing(installer)
        elif options.module:
            print(toolchain.module(catalogue.modules[options.module]))
        else:
            report(installer.bring(catalogue.expand(options.names)), progress)
    except ToolError as error:
        progress.say(f"tools: {error.problem}")
        if error.remedy:
            progress.say(f"What to do: {error.remedy}")
        return 1
    except KeyboardInterrupt:
        progress.say("tools: interrupted; run it again to go on, what is compiled already is kept")
        return 130
    return 0


def listing(installer: Installer) -> None:
    catalogue = installer.catalogue
    rows = [("program", "wanted", "in bin/")]
    for name in catalogue.expand(["all"]):
        there = installer.present(name)
        rows.append((name, catalogue.version(name), f"{there.version}, {there.how}" if there else "missing"))
    Progress(sys.stdout).table(rows)


def report(outcomes: Sequence[Outcome], progress: Progress) -> None:
    if not any(outcome.seconds for outcome in outcomes):
        progress.say("tools: all there: " + ", ".join(f"{outcome.name} {outcome.version}" for outcome in outcomes))
        return
    rows = [("program", "version", "how it came", "time")]
    rows += [
        (outcome.name, outcome.version, outcome.how, seconds_text(outcome.seconds) if outcome.seconds else "was there")
        for outcome in outcomes
    ]
    progress.table(rows)
