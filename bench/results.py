"""Rows of figures as tables and as a file, with the facts of the machine that was measured."""

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

Row = dict[str, Any]

KEYS: Final[Mapping[str, Sequence[str]]] = {
    "overhead": ("pair",),
    "parallel": ("engine", "controller", "objects"),
    "creation": ("setting", "objects", "round"),
    "scale": ("objects", "phase"),
    "steady": ("objects", "minutes"),
    "latency": ("objects", "edits"),
    "core": ("objects",),
    "takeover": ("round",),
    "peers": ("objects", "round", "provider"),
    "workers": ("workers", "round"),
}
"""The parts of the bench, and the columns that identify the rows of each."""


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


def save(path: Path, machine: Mapping[str, Any], parts: Mapping[str, Sequence[Row]]) -> None:
    """Write a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "parts": parts}, indent=1) + "\n")


def table(title: str, rows: Sequence[Row]) -> Table:
    """Return rows as a table."""
    shown = Table(title=title, title_justify="left")
    for column in rows[0]:
        shown.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        shown.add_row(*map(_shown, row.values()))
    return shown


def document(machine: Mapping[str, Any], parts: Mapping[str, Sequence[Row]], drawn: Iterable[Path]) -> str:
    """Return a run as a page of Markdown; drawn: the plots, beside the page."""
    facts = f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, Python {machine['python']}"
    lines = [
        "# Figures",
        "",
        f"Taken at commit {machine['commit']} on {facts}, load before the run {machine['load_before']}.",
        "Written by `make bench-figures`; [performance.md](../performance.md) explains them.",
    ]
    plots = {path.stem: path.name for path in drawn}
    for part, rows in parts.items():
        if rows:
            lines += ["", f"## {part.capitalize()}", "", *_markdown(rows)]
            lines += ["", *(f"- {line}" for line in fits(rows))] if part == "scale" and fits(rows) else []
            lines += ["", f"![{part}]({plots[part]})"] if part in plots else []
    return "\n".join(lines) + "\n"


def _markdown(rows: Sequence[Row]) -> list[str]:
    heads = [column.replace("_", " ") for column in rows[0]]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return lines + [f"| {' | '.join(map(_shown, row.values()))} |" for row in rows]


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def fits(rows: Iterable[Row]) -> list[str]:
    """Return the growth of time and memory of each phase of the scale part: one line each."""
    told = []
    phases: dict[str, list[Row]] = {}
    for row in rows:
        phases.setdefault(row["phase"], []).append(row)
    for phase, found in phases.items():
        sizes = [row["objects"] for row in found]
        if len(sizes) < 3:
            continue
        for column, unit in (("seconds", "ms"), ("peak_mib", "KiB")):
            values = [row[column] for row in found]
            slope, start = statistics.linear_regression(sizes, values)
            square = statistics.correlation(sizes, values) ** 2 if len(set(values)) > 1 else 1.0
            factor = 1024 if unit == "KiB" else 1000
            told.append(f"{phase}, {column}: {slope * factor:.1f} {unit} per object + {start:.1f} (R² {square:.3f})")
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
