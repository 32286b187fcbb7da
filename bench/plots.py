"""Draws the figures of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.results import Row

# Makes equal figures give equal files.
mpl.rcParams["svg.hashsalt"] = "capk"


def draw(parts: Mapping[str, Sequence[Row]], directory: Path) -> list[Path]:
    """Write an SVG file for each part with enough rows, and return the files."""
    drawn = []
    for part, plot in PLOTS.items():
        if rows := parts.get(part):
            figure = plot(rows)
            directory.mkdir(parents=True, exist_ok=True)
            drawn.append(directory / f"{part}.svg")
            figure.savefig(drawn[-1], metadata={"Date": None})
    return drawn


def _scale(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(10, 4), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for axes, column, unit in ((time, "seconds", "seconds"), (memory, "peak_mib", "MiB")):
        for phase in dict.fromkeys(row["phase"] for row in rows):
            found = [row for row in rows if row["phase"] == phase]
            axes.plot([row["objects"] for row in found], [row[column] for row in found], "o-", label=phase)
        _label(axes, "KINDClusters", unit)
    time.set_title("until all are done")
    memory.set_title("peak memory of the provider")
    return figure


def _parallel(rows: Sequence[Row]) -> Figure:
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    figure = Figure(figsize=(5 * len(engines), 4), layout="constrained")
    for axes, engine in zip(figure.subplots(1, len(engines), squeeze=False)[0], engines, strict=True):
        for controller in ("blocking", "provider"):
            found = [row for row in rows if (row["engine"], row["controller"]) == (engine, controller)]
            axes.plot([row["objects"] for row in found], [row["seconds"] for row in found], "o-", label=controller)
        _label(axes, "concurrent KINDClusters", "seconds")
        axes.set_title(f"until all are Ready, engine: {engine}")
    return figure


def _overhead(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    pairs = [row["pair"] for row in rows]
    axes.bar([pair - 0.2 for pair in pairs], [row["bare_s"] for row in rows], 0.4, label="kind create cluster")
    axes.bar([pair + 0.2 for pair in pairs], [row["ready_s"] for row in rows], 0.4, label="apply → Ready")
    _label(axes, "pair", "seconds")
    return figure


def _peers(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(12, 4), layout="constrained")
    shown = (("cpu_ms_each", "ms of processor time per Cluster"), ("resident_mib", "MiB"), ("seconds", "seconds"))
    for axes, (column, unit) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        for provider in dict.fromkeys(row["provider"] for row in rows):
            found = [row for row in rows if row["provider"] == provider]
            sizes = sorted({row["objects"] for row in found})
            middles = [median(row[column] for row in found if row["objects"] == size) for size in sizes]
            axes.plot(sizes, middles, "o-", label=provider)
        _label(axes, "Clusters", unit)
    return figure


def _engines(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(12, 4), layout="constrained")
    shown = (
        ("create", "cpu_ms_each", "ms per KINDCluster", "processor time of the provider, creation"),
        ("rest", "cpu_percent", "% of a core", "processor time of the provider, at rest"),
        ("rest", "resident_mib", "MiB", "memory of the provider, at rest"),
    )
    for axes, (phase, column, unit, title) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        for engines in dict.fromkeys(row["engines"] for row in rows):
            found = [row for row in rows if (row["engines"], row["phase"]) == (engines, phase)]
            axes.plot([row["objects"] for row in found], [row[column] for row in found], "o-", label=engines)
        _label(axes, "KINDClusters", unit)
        axes.set_title(title)
    return figure


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()


PLOTS = {"scale": _scale, "parallel": _parallel, "overhead": _overhead, "peers": _peers, "engines": _engines}
"""What draws the rows of a part."""
