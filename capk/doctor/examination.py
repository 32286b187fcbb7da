"""The command: gather, check, print."""

import asyncio
import contextlib

from rich.console import Console

from capk.doctor.checks import findings, has_failed
from capk.doctor.gather import gather
from capk.doctor.show import print_findings, to_json
from capk.settings import Settings
from capk.version import version


def examine(settings: Settings, *, machine_only: bool, as_json: bool) -> bool:
    """Print the findings of all checks; return whether none failed."""
    console = Console()
    waiting = console.status("Checking …") if console.is_terminal and not as_json else contextlib.nullcontext()
    with waiting:
        found = list(findings(asyncio.run(gather(settings, machine_only=machine_only))))
    if as_json:
        console.print(to_json(found, version()), markup=False, highlight=False, soft_wrap=True)
    else:
        print_findings(found, console)
    return not has_failed(found)
