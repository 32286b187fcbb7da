"""Records the terminal session in README: `make recording`, or `python -m hack.record`.

Runs the quickstart and a few commands on a terminal and writes docs/quickstart.svg. Writes commands and their output
into the block of README below `<!-- recorded: COMMAND; COMMAND -->`. It first removes a running quickstart, and finally
its own.
"""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "quickstart.svg"
README = ROOT / "README.md"
COLUMNS = 120
ERASED = re.compile(r"[^\n]*\n?(?:\x1b\[\?25h)?\r(?:\x1b\[1A)?\x1b\[2K")
"""A line that a program erases again, such as a spinner."""
LONGEST = 12
"""Maximum lines of one paragraph in the picture; a longer one is shortened visibly."""
SESSION = ("make quickstart", "kubectl get kindclusters")
BLOCK = re.compile(r"(?<=<!-- recorded: )(?P<commands>[^>]+)(?P<open> -->\n```\n)(?P<output>.*?)(?=```)", re.DOTALL)


def main() -> int:
    """Record everything. Raises RuntimeError with the output of a command that fails."""
    quickstart = ROOT / ".capk" / "quickstart"
    os.environ["KUBECONFIG"] = str(quickstart / "kubeconfig")
    os.environ["PATH"] = os.pathsep.join([*(str(ROOT / name) for name in (".venv/bin", "bin")), os.environ["PATH"]])
    run_on_terminal("make quickstart-down")
    try:
        PICTURE.write_text(picture([(command, run_on_terminal(command)) for command in SESSION]), encoding="utf-8")
        README.write_text(with_output(README.read_text(encoding="utf-8"), run_on_terminal), encoding="utf-8")
    finally:
        run_on_terminal("make quickstart-down")
    return 0


def run_on_terminal(command: str) -> str:
    """Return the output of a shell command on a terminal of COLUMNS columns, with colours. Raises RuntimeError."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(COLUMNS)}
    with subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as child:
        os.close(theirs)
        output = b"".join(_chunks(ours)).decode(errors="replace").replace("\r\n", "\n")
    os.close(ours)
    if child.returncode != 0:
        raise RuntimeError(f"{command} ended with status {child.returncode}:\n{output}")
    return what_stays(output)


def what_stays(output: str) -> str:
    """Return the output without lines that the program erased."""
    return ERASED.sub("", output)


def _chunks(terminal: int) -> Iterator[bytes]:
    """Yield the output on a terminal until its last writer closes it, which Linux reports as an error."""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            return
        if not chunk:
            return
        yield chunk


def picture(session: Sequence[tuple[str, str]]) -> str:
    """Return the SVG of a session: commands with their output."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for command, output in session:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi("\n".join(shortened(output.strip("\n").split("\n")))), soft_wrap=False)
        console.print()
    svg = console.export_svg(title="cluster-api-provider-kind", unique_id="quickstart")
    # Trailing blanks differ from run to run; editors and git complain about them.
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def shortened(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines with each paragraph cut to LONGEST lines; a line in the middle counts the omitted ones."""
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line)
            continue
        if len(paragraph) > LONGEST:
            left_out = len(paragraph) - LONGEST + 1
            paragraph[LONGEST - 3 : -2] = [f"   \x1b[2m⋮ {left_out} more lines\x1b[0m"]
        yield from [*paragraph, line]
        paragraph = []


def with_output(page: str, run: Callable[[str], str]) -> str:
    """Return a page whose recorded blocks contain their commands and current output, without colours."""

    def renewed(block: re.Match[str]) -> str:
        shown = (f"$ {command}\n{_plain(run(command))}\n" for command in block["commands"].split("; "))
        return f"{block['commands']}{block['open']}" + "\n".join(shown)

    return BLOCK.sub(renewed, page)


def _plain(output: str) -> str:
    lines = Text.from_ansi(output).plain.strip("\n").split("\n")
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
