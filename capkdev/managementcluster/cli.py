"""`capkdev`: starts, stops and shows a local management cluster."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capk.errors import ApiError, CapkError

if TYPE_CHECKING:
    from capkdev.managementcluster.cluster import LocalManagementCluster

app = typer.Typer(
    help="Run a local management cluster as processes on this machine, without a container engine.",
    no_args_is_help=True,
)

DIRECTORY = Path(".capk")
_KIND_CLUSTERS = "/apis/infrastructure.cluster.x-k8s.io/v1alpha1/kindclusters"

DirectoryOption = Annotated[
    Path, typer.Option("--directory", "-d", help="Directory of its data, logs and kubeconfig.", envvar="CAPK_DIRECTORY")
]
CallerOption = Annotated[
    str | None,
    typer.Option(
        help="The command that runs `up` and, when it ends, `down`; messages name it.",
        envvar="CAPKDEV_CALLER",
        hidden=True,
    ),
]


@app.command()
def up(
    directory: DirectoryOption = DIRECTORY,
    core: Annotated[bool, typer.Option(help="Run Cluster API's core manager, and install its CRDs.")] = True,
    provider: Annotated[bool, typer.Option(help="Run the provider.")] = True,
    engine: Annotated[
        str,
        typer.Option(
            help="Command that creates kind clusters: kind, fake-kind, or auto (kind if it works, otherwise fake-kind)."
        ),
    ] = "auto",
    provider_arguments: Annotated[
        list[str] | None, typer.Argument(help="Further arguments of `capk run`, after `--`.", metavar="-- ARGUMENTS")
    ] = None,
    caller: CallerOption = None,
) -> None:
    """Start the management cluster and return when it is ready. It runs until `capkdev down`."""
    from capkdev.managementcluster.cluster import LocalManagementCluster
    from capkdev.managementcluster.options import LEADER_ELECTION, WITHOUT_RATE_LIMIT, Options

    if LocalManagementCluster(directory).is_running:
        typer.echo(
            f"The management cluster in {directory} is already running; `capkdev status{_same(directory)}` shows it."
        )
        return
    arguments = [*_engine_arguments(engine), *LEADER_ELECTION, *(provider_arguments or [])] if provider else None
    options = Options(core=core, core_feature_gates=WITHOUT_RATE_LIMIT, provider=arguments)
    management = LocalManagementCluster(directory, options)
    try:
        management.start(on_progress=typer.echo)
    except CapkError as failure:
        raise _failed(failure) from failure
    typer.echo(
        f"Ready. Look around with:\n\n  export KUBECONFIG={management.kubeconfig}\n  kubectl get kindclusters -A\n"
    )
    typer.echo(f"Ctrl-C ends `{caller}` and stops it." if caller else f"Stop it with `capkdev down{_same(directory)}`.")


@app.command()
def down(
    directory: DirectoryOption = DIRECTORY,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Remove its objects, logs and keys as well.")
    ] = False,
    caller: CallerOption = None,
) -> None:
    """Stop all processes of the management cluster. Keep its data for the next `up`, and keep all kind clusters."""
    from capkdev.files import remove_tree
    from capkdev.managementcluster.cluster import LocalManagementCluster

    management = LocalManagementCluster(directory)
    left = _kind_clusters(management) if management.is_running else []
    if left and delete_data:
        typer.echo(f"capkdev: no provider could delete these KINDClusters later: {', '.join(left)}", err=True)
        typer.echo("Delete them first, with `kubectl delete`. Nothing was changed.", err=True)
        raise typer.Exit(1)
    ended = (
        f"The management cluster in {directory} has stopped."
        if management.is_running
        else f"No management cluster runs in {directory}."
    )
    management.stop()
    typer.echo(ended)
    if left:
        typer.echo(f"These KINDClusters remain, but no provider manages them now: {', '.join(left)}.")
        typer.echo(f"To manage or delete them, run `{caller or f'capkdev up{_same(directory)}'}` again.")
    if delete_data and (management.directory / "options.json").exists():
        remove_tree(management.directory)
        typer.echo(f"{directory} was removed.")


@app.command()
def status(directory: DirectoryOption = DIRECTORY) -> None:
    """Show the processes of the management cluster; the exit status is 1 unless all of them run."""
    from capkdev.managementcluster.cluster import LocalManagementCluster

    management = LocalManagementCluster(directory)
    typer.echo(f"{directory}: {management.state.phase} {management.state.message}".rstrip())
    if not _print_members(management) or management.state.phase != "ready":
        raise typer.Exit(1)


def _print_members(management: "LocalManagementCluster") -> bool:
    """Print a table of the processes and return whether all of them run."""
    from capkdev import processes

    rows = [("PROCESS", "PID", "STATE", "RESTARTS", "ADDRESS", "LOG")]
    pids = [processes.running_pid(member.log.parent, member.name) for member in management.state.members]
    for member, pid in zip(management.state.members, pids, strict=True):
        state = "running" if pid else "ended"
        log = os.path.relpath(member.log)
        rows.append((member.name, str(pid or ""), state, str(member.restarts), member.address, log))
    # Not folded to the terminal's width: a path in pieces cannot be copied.
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return all(pids)


def _engine_arguments(engine: str) -> list[str]:
    from capkdev.managementcluster.engines import choose_engine, fake_kind

    if engine == "kind":
        return []
    if engine not in {"auto", "fake-kind"}:
        raise typer.BadParameter(f"{engine} is not one of auto, kind, fake-kind", param_hint="--engine")
    choice = choose_engine() if engine == "auto" else fake_kind("you asked for it")
    typer.echo(f"Engine: {choice.why}.")
    return choice.provider_arguments


def _kind_clusters(management: "LocalManagementCluster") -> list[str]:
    try:
        with management.rest() as rest:
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
