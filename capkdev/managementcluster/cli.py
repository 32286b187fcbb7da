"""`capkdev`: a management plane without a cluster and without a container engine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capk.errors import ApiError, CapkError

if TYPE_CHECKING:
    from capkdev.managementcluster.plane import LocalPlane

app = typer.Typer(help="A management plane of local processes: no cluster, no container engine.", no_args_is_help=True)

DIRECTORY = Path(".capk")
_KIND_CLUSTERS = "/apis/infrastructure.cluster.x-k8s.io/v1alpha1/kindclusters"

DirectoryOption = Annotated[
    Path, typer.Option("--directory", "-d", help="Where its data, logs and kubeconfig are.", envvar="CAPK_DIRECTORY")
]


@app.command()
def up(
    directory: DirectoryOption = DIRECTORY,
    core: Annotated[bool, typer.Option(help="Run Cluster API's core manager, with its definitions.")] = True,
    provider: Annotated[bool, typer.Option(help="Run the provider.")] = True,
    engine: Annotated[
        str,
        typer.Option(help="What makes kind clusters: kind, stand-in, or auto: kind where it works, else the stand-in."),
    ] = "auto",
    provider_arguments: Annotated[
        list[str] | None, typer.Argument(help="Further arguments of `capk run`, after `--`.", metavar="-- ARGUMENTS")
    ] = None,
) -> None:
    """Start the plane and return when it is ready; it stays until `capkdev down`."""
    from capkdev.managementcluster.options import Options
    from capkdev.managementcluster.plane import LocalPlane

    if LocalPlane(directory).is_running:
        typer.echo(f"The plane in {directory} runs already; `capkdev status{_same(directory)}` shows it.")
        return
    arguments = [*_engine_arguments(engine), *(provider_arguments or [])] if provider else None
    plane = LocalPlane(directory, Options(core=core, provider=arguments))
    try:
        plane.start(on_progress=typer.echo)
    except CapkError as failure:
        raise _failed(failure) from failure
    typer.echo(f"Ready. Look around with:\n\n  export KUBECONFIG={plane.kubeconfig}\n  kubectl get kindclusters -A\n")
    typer.echo(f"End it with `capkdev down{_same(directory)}`.")


@app.command()
def down(
    directory: DirectoryOption = DIRECTORY,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Also remove all its objects, logs and keys.")
    ] = False,
) -> None:
    """End all processes of the plane. Its data stays for the next `up`; kind clusters are not touched."""
    from capkdev.files import remove_tree
    from capkdev.managementcluster.plane import LocalPlane

    plane = LocalPlane(directory)
    left = _kind_clusters(plane) if plane.is_running else []
    if left and delete_data:
        typer.echo(f"capkdev: these would be left without anybody who can delete them: {', '.join(left)}", err=True)
        typer.echo("Delete them first, with `kubectl delete`; nothing was changed.", err=True)
        raise typer.Exit(1)
    ended = f"The plane in {directory} has ended." if plane.is_running else f"No plane runs in {directory}."
    plane.stop()
    typer.echo(ended)
    if left:
        typer.echo(f"Still there, without anybody who looks after them: {', '.join(left)}.")
        typer.echo(f"`capkdev up{_same(directory)}` takes care of them again, so that they can be deleted.")
    if delete_data and (plane.directory / "plane.json").exists():
        remove_tree(plane.directory)
        typer.echo(f"{directory} is removed.")


@app.command()
def status(directory: DirectoryOption = DIRECTORY) -> None:
    """Show the processes of the plane; the exit status is 1 unless all of them run."""
    from capkdev.managementcluster.plane import LocalPlane

    plane = LocalPlane(directory)
    typer.echo(f"{directory}: {plane.state.phase} {plane.state.message}".rstrip())
    if not _print_members(plane) or plane.state.phase != "ready":
        raise typer.Exit(1)


def _print_members(plane: "LocalPlane") -> bool:
    """Print a table of the processes and tell whether all of them run."""
    from rich.console import Console
    from rich.table import Table

    from capkdev import processes

    table = Table(box=None, pad_edge=False)
    for column in ("PROCESS", "PID", "STATE", "RESTARTS", "ADDRESS", "LOG"):
        table.add_column(column, overflow="fold")
    pids = [processes.running_pid(member.log.parent, member.name) for member in plane.state.members]
    for member, pid in zip(plane.state.members, pids, strict=True):
        state = "running" if pid else "ended"
        table.add_row(
            member.name, str(pid or ""), state, str(member.restarts), member.address, os.path.relpath(member.log)
        )
    Console().print(table)
    return all(pids)


def _engine_arguments(engine: str) -> list[str]:
    from capkdev.managementcluster.engines import choose_engine, stand_in

    if engine == "kind":
        return []
    if engine not in {"auto", "stand-in"}:
        raise typer.BadParameter(f"{engine} is none of auto, kind, stand-in", param_hint="--engine")
    choice = choose_engine() if engine == "auto" else stand_in("as you asked")
    typer.echo(f"Engine: {choice.why}.")
    return choice.provider_arguments


def _kind_clusters(plane: "LocalPlane") -> list[str]:
    try:
        with plane.rest() as rest:
            found = rest.request("GET", _KIND_CLUSTERS)["items"]
    except (ApiError, OSError):
        return []
    return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in found]


def _same(directory: Path) -> str:
    return "" if directory == DIRECTORY else f" --directory {directory}"


def _failed(failure: CapkError) -> typer.Exit:
    typer.echo(f"capkdev: {failure}", err=True)
    return typer.Exit(1)


def main() -> None:
    """Run the command line."""
    app()
