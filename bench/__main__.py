"""`python -m bench run` measures, `python -m bench compare` compares two runs."""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.core import core
from bench.creation import creation
from bench.engines import engines
from bench.latency import latency
from bench.overhead import overhead, together
from bench.parallel import parallel
from bench.peers import peers
from bench.results import KEYS, Part, Row, comparison, document, fits, load, machine, merged, save, table
from bench.scale import scale
from bench.steady import steady
from bench.takeover import takeover
from bench.workers import workers
from capkdev.managementcluster.engines import choose_engine

app = typer.Typer(add_completion=False, no_args_is_help=True)
console = Console(width=None if sys.stdout.isatty() else 160)


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.replace(",", " ").split()]


@app.command()
def run(
    parts: Annotated[str, typer.Option(help="Parts to run, in this order.")] = " ".join(KEYS),
    sizes: Annotated[str, typer.Option(help="Numbers of KINDClusters of the scale part.")] = "10 100 300 1000 3000",
    pairs: Annotated[int, typer.Option(help="Pairs of the overhead part.")] = 10,
    at_a_time: Annotated[int, typer.Option(help="Number of KINDClusters of the together part.")] = 3,
    at_once: Annotated[str, typer.Option(help="Numbers of KINDClusters of the parallel part.")] = "1 2 4 8",
    real_at_once: Annotated[str, typer.Option(help="The same with the real kind.")] = "1 2 4 8",
    rounds: Annotated[int, typer.Option(help="Rounds of the parts creation, takeover, peers and workers.")] = 3,
    peer_sizes: Annotated[str, typer.Option(help="Numbers of Clusters of the peers part.")] = "100 300 1000",
    steady_size: int = 1000,
    minutes: Annotated[float, typer.Option(help="Duration of the steady part in minutes.")] = 10,
    latency_size: int = 300,
    edits: Annotated[int, typer.Option(help="Edits of the latency part.")] = 300,
    core_size: Annotated[int, typer.Option(help="Number of Clusters of the core part.")] = 300,
    engine_sizes: Annotated[str, typer.Option(help="Numbers of KINDClusters of the engines part.")] = "100 300 1000",
    engine_minutes: Annotated[float, typer.Option(help="Rest of the engines part in minutes.")] = 10,
    creates: Annotated[int, typer.Option(help="Concurrent kind calls on the instant engine.")] = 8,
    out: Annotated[Path, typer.Option(help="File for the results.")] = Path("out/bench/latest.json"),
    plots: Annotated[Path, typer.Option(help="Directory for the plots.")] = Path("out/bench"),
) -> None:
    """Measure, print tables, and write results and plots."""
    wanted = parts.replace(",", " ").split()
    if unknown := set(wanted) - KEYS.keys():
        raise typer.BadParameter(f"unknown parts {', '.join(sorted(unknown))}; choose from {', '.join(KEYS)}")
    with_kind = {"overhead", "together", "creation", "workers", *(["parallel"] if _numbers(real_at_once) else [])}
    choice = choose_engine() if with_kind & set(wanted) else None
    if choice and choice.is_fake:
        console.print(f"Skipping measurements with the real kind: {choice.why.partition(':')[0]}.")
        choice = None
    measures: dict[str, Callable[[], Iterator[Row]]] = {
        "overhead": partial(overhead, pairs, choice),
        "together": partial(together, at_a_time, choice),
        "parallel": partial(parallel, _numbers(at_once), choice, _numbers(real_at_once)),
        "creation": partial(creation, rounds, choice),
        "scale": partial(scale, _numbers(sizes), creates),
        "steady": partial(steady, steady_size, minutes, creates),
        "latency": partial(latency, latency_size, edits, creates),
        "core": partial(core, core_size, creates),
        "takeover": partial(takeover, rounds),
        "peers": partial(peers, _numbers(peer_sizes), rounds, creates, console.print),
        "workers": partial(workers, rounds, choice),
        "engines": partial(engines, _numbers(engine_sizes), engine_minutes, creates),
    }
    found: dict[str, Part] = {}
    for part in wanted:
        rows: list[Row] = []
        found[part] = Part(machine(), rows)
        for row in measures[part]():
            console.print(f"{part}: {row}", soft_wrap=True, highlight=False)
            rows.append(row)
            save(out, found)
    _show(found, plots)


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(help="Results of the run to compare with.")],
    now: Annotated[Path, typer.Argument(help="Results to compare.")] = Path("out/bench/latest.json"),
) -> None:
    """Compare the common rows of two runs: before → after, and the factor."""
    before, after = load(base), load(now)
    for name in [part for part in after if part in before]:
        old, new = before[name], after[name]
        for fact, value in new.machine.items():
            if old.machine.get(fact) != value:
                console.print(f"{name}, {fact}: {old.machine.get(fact)} → {value}", highlight=False)
        if old.rows and new.rows:
            console.print(comparison(name, old.rows, new.rows))


@app.command()
def figures(
    results: Annotated[Path, typer.Argument(help="Results to write.")] = Path("out/bench/latest.json"),
    directory: Annotated[Path, typer.Option(help="Directory for page and plots.")] = Path("docs/performance"),
) -> None:
    """Write the page of figures and its plots; parts that the results lack keep their former figures."""
    from bench.plots import draw

    kept = directory / "results.json"
    run = merged(load(kept) if kept.exists() else {}, load(results))
    save(kept, run)
    drawn = draw({name: part.rows for name, part in run.items()}, directory)
    (directory / "figures.md").write_text(document(run, drawn))


def _show(run: Mapping[str, Part], plots: Path) -> None:
    found = {name: part.rows for name, part in run.items() if part.rows}
    for name, rows in found.items():
        console.print(table(name, rows))
        for line in fits(name, rows):
            console.print(line, highlight=False)
    try:
        from bench.plots import draw
    except ImportError:
        console.print("No plots: matplotlib is not installed (`make bench` installs it).")
        return
    for path in draw(found, plots):
        console.print(f"Drawn: {path}", highlight=False)


if __name__ == "__main__":
    app()
