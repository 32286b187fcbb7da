"""Writes docs/cli.md from the command line itself, or with --check reports that it is out of date.

`python -m hack.clidocs [--check]`
"""

import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from typer.main import get_command

from capk.cli import app
from hack.generated import keep

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "cli.md"
HEAD: Final = """# The `capk` command

Written by `make generate` from the command itself; `make verify` checks it. `capk COMMAND --help` shows the same.

Options can be written as `--name=value` or `--name value`. The exit status is 0 for success, 1 for a failure, and 2 for
an option, an argument or a value that is not valid.

## Shell completion

`capk --install-completion` sets up completion of commands, options and reasons for the shell that you use: bash, zsh,
fish or PowerShell. Open a new shell afterwards. `capk --show-completion` prints the script, if you would rather install
it yourself.
"""
GENERAL: Final = "Options"


def main(arguments: Sequence[str]) -> int:
    return keep({PAGE: render()}, ROOT, check="--check" in arguments)


def render() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_group(get_command(app), "capk")])


def _group(group: Any, name: str) -> Iterator[str]:
    for child, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _group(command, f"{name} {child}")
        else:
            yield from _command(command, f"{name} {child}")


def _command(command: Any, name: str) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *(_usage(one) for one in arguments)])
    yield f"## `{name}`\n\n{_text(command.help)}\n\n```\n{usage}\n```\n"
    if arguments:
        yield "| Argument | Meaning | Default |\n|---|---|---|"
        yield from (_row(f"`{_metavar(one)}`", one) for one in arguments)
        yield ""
    # The general options first, then the panels in the order of the help.
    panels = list(dict.fromkeys(_panel(one) for one in sorted(options, key=lambda one: _panel(one) != GENERAL)))
    options.sort(key=lambda one: panels.index(_panel(one)))
    for panel, members in groupby(options, _panel):
        yield f"### {panel}\n\n| Option | Meaning | Default |\n|---|---|---|"
        yield from (_row(_flag(one), one) for one in members)
        yield ""


def _panel(option: Any) -> str:
    return str(getattr(option, "rich_help_panel", None) or GENERAL)


def _usage(argument: Any) -> str:
    return _metavar(argument) if argument.required else f"[{_metavar(argument)}]"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _flag(option: Any) -> str:
    names = " ".join(f"`{one}`" for one in (*option.opts, *option.secondary_opts))
    if option.is_flag:
        return names
    if isinstance(option.default, Enum):
        return f"{names} {', '.join(f'`{one.value}`' for one in type(option.default))}"
    return f"{names} {option.metavar or 'TEXT'}"


def _row(name: str, parameter: Any) -> str:
    variable = f" Environment variable: `{parameter.envvar}`." if parameter.envvar else ""
    return f"| {name} | {_text(parameter.help)}{variable} | {_default(parameter)} |"


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    default = parameter.default
    if getattr(parameter, "is_flag", False):
        return "on" if default else ""
    return f"`{getattr(default, 'value', default)}`" if default not in (None, "") else ""


def _text(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
