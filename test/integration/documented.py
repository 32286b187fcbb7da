"""The commands of the documentation, run exactly as written: blocks below `<!-- run: JOURNEY -->`."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- run: (?P<journey>[\w-]+) -->\n```sh\n(?P<commands>.*?)```", re.DOTALL)


def commands(journey: str) -> list[str]:
    """Return the blocks of a journey, in their order."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = (block for page in pages for block in BLOCK.finditer(page.read_text()))
    return [block["commands"] for block in blocks if block["journey"] == journey]


def run_commands(script: str, kubeconfig: Path, directory: Path = ROOT, **variables: str) -> str:
    """Run commands in a directory and return their output, which an AssertionError contains too."""
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=_environment({"KUBECONFIG": str(kubeconfig), **variables}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def start_commands(script: str, log: Path, directory: Path = ROOT, **variables: str) -> subprocess.Popen[bytes]:
    """Start commands in a directory, as their own process group; a log gets commands and output."""
    with log.open("wb") as output:
        return subprocess.Popen(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=directory,
            env=_environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # If tests run in the background, Ctrl-C is ignored, and children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PATH": f"{ROOT / 'bin'}{os.pathsep}{os.environ['PATH']}", **variables}


def link_checkout(folder: Path, *without: str) -> None:
    """Reproduce this checkout with links, without some top-level entries; its environment counts as up to date."""
    (folder / ".venv").mkdir(parents=True)
    for path in (*ROOT.iterdir(), *(ROOT / ".venv").iterdir()):
        if path.name not in {*without, ".venv", ".installed"}:
            (folder / path.relative_to(ROOT)).symlink_to(path)
    (folder / ".venv" / ".installed").touch()
