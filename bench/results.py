"""Rows of figures as tables and as a file, with the facts of the machine that was measured."""

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

Row = dict[str, Any]

KEYS: Final[Mapping[str, Sequence[str]]] = {
    "overhead": ("pair",),
    "together": ("cluster",),
    "parallel": ("engine", "controller", "objects"),
    "creation": ("setting", "objects", "round"),
    "scale": ("objects", "phase"),
    "steady": ("objects", "minutes"),
    "latency": ("objects", "edits"),
    "core": ("objects",),
    "takeover": ("round",),
    "peers": ("objects", "round", "provider"),
    "workers": ("workers", "round"),
    "engines": ("objects", "engines", "phase"),
}
"""The parts of the bench, and the columns that identify the rows of each."""

FITTED: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "scale": (("seconds", "ms"), ("peak_mib", "KiB")),
    "engines": (("provider_cpu_s", "ms"), ("resident_mib", "KiB")),
}
"""The parts with rows for several numbers of objects: columns to which lines are fitted, and their units per object."""


@dataclass(frozen=True)
class Part:
    """The rows of a part of the bench, and the facts of the machine at its beginning."""

    machine: Mapping[str, Any]
    rows: Sequence[Row]


def machine() -> dict[str, Any]:
    """Return the facts on which figures depend."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "cores": os.cpu_count(),
        "cpu": cpu[1] if cpu else platform.machine(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "taken": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "load_before": round(os.getloadavg()[0], 2),
    }


def save(path: Path, run: Mapping[str, Part]) -> None:
    """Write a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: vars(part) for name, part in run.items()}, indent=1) + "\n")


def load(path: Path) -> dict[str, Part]:
    """Read a run."""
    return {name: Part(**part) for name, part in json.loads(path.read_text()).items()}


def merged(kept: Mapping[str, Part], run: Mapping[str, Part]) -> dict[str, Part]:
    """Return all parts, in the order of the bench: those that a run lacks stay as they were."""
    found = {**kept, **run}
    return {name: found[name] for name in KEYS if name in found}


def table(title: str, rows: Sequence[Row]) -> Table:
    """Return rows as a table."""
    shown = Table(title=title, title_justify="left")
    for column in rows[0]:
        shown.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        shown.add_row(*map(_shown, row.values()))
    return shown


def document(run: Mapping[str, Part], drawn: Iterable[Path]) -> str:
    """Return a run as a page of Markdown; drawn: the plots, beside the page."""
    lines = [
        "# Figures",
        "",
        "Written by `make bench-figures`; [performance.md](../performance.md) explains them. Each part names the code,",
        "the day and the machine of its run, and the load before it.",
    ]
    plots = {path.stem: path.name for path in drawn}
    for name, part in run.items():
        if part.rows:
            lines += ["", f"## {name.capitalize()}", "", _origin(part.machine), "", *_markdown(part.rows)]
            lines += ["", *(f"- {line}" for line in fitted)] if (fitted := fits(name, part.rows)) else []
            lines += ["", f"![{name}]({plots[name]})"] if name in plots else []
    return "\n".join(lines) + "\n"


def _origin(facts: Mapping[str, Any]) -> str:
    hardware = f"{facts['cores']} cores ({facts['cpu']}), {facts['memory_gib']} GiB, Python {facts['python']}"
    return f"Commit {facts['commit']}, {facts['taken'][:10]}, {hardware}, load {facts['load_before']}."


def _markdown(rows: Sequence[Row]) -> list[str]:
    heads = [column.replace("_", " ") for column in rows[0]]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return lines + [f"| {' | '.join(map(_shown, row.values()))} |" for row in rows]


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def fits(part: str, rows: Iterable[Row]) -> list[str]:
    """Return how costs grow with the number of objects: one line per column of FITTED and kind of row."""
    told = []
    kinds: dict[str, list[Row]] = {}
    for row in rows if part in FITTED else ():
        kinds.setdefault(", ".join(str(row[key]) for key in KEYS[part] if key != "objects"), []).append(row)
    for kind, found in kinds.items():
        sizes = [row["objects"] for row in found]
        for column, unit in FITTED[part] if len(sizes) >= 3 else ():
            values = [row[column] for row in found]
            slope, start = statistics.linear_regression(sizes, values)
            square = statistics.correlation(sizes, values) ** 2 if len(set(values)) > 1 else 1.0
            factor = 1024 if unit == "KiB" else 1000
            told.append(f"{kind}, {column}: {slope * factor:.1f} {unit} per object + {start:.1f} (R² {square:.3f})")
    return told


def comparison(part: str, base: Sequence[Row], now: Sequence[Row]) -> Table:
    """Return a table of the common rows of two runs: each figure before → after, and the factor."""
    keys = KEYS[part]
    before = {tuple(row[key] for key in keys): row for row in base}
    columns = [column for column in now[0] if column not in keys]
    shown = Table(*keys, *columns, title=part, title_justify="left")
    for row in now:
        identity = tuple(row[key] for key in keys)
        if (old := before.get(identity)) is not None:
            shown.add_row(*map(str, identity), *(_change(old.get(column), row[column]) for column in columns))
    return shown


def _change(before: object, after: object) -> str:
    if not isinstance(before, int | float) or not isinstance(after, int | float):
        return str(after)
    ratio = f" ({after / before:.2f} x)" if before else ""
    return f"{before:g} → {after:g}{ratio}"
