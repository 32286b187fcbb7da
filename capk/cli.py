"""The `capk` command: arguments in, settings out, exit codes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from capk.errors import CapkError
from capk.settings import (
    Endpoint,
    InvalidSetting,
    LogFormat,
    LogLevel,
    Settings,
    checked,
    command_line,
    paths,
    seconds,
    whole_seconds,
)

T = TypeVar("T")

app = typer.Typer(
    help="Cluster API infrastructure provider for kind clusters.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

_CONNECTION, _SCOPE, _ENGINE, _LIMITS, _PROCESS = "Management cluster", "Scope", "Engine", "Limits", "Process"
INVALID_USE = 2
"""Exit status for values that make no sense, as for flags that do not exist."""


def _option(panel: str, help: str, *flags: str, env: str | None = None, **options: Any) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel=panel, envvar=env, show_envvar=env is not None, **options)


def _print_version(wanted: bool) -> None:
    if wanted:
        from capk.version import version

        typer.echo(f"capk {version()}")
        raise typer.Exit


@app.callback()
def _capk(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Cluster API infrastructure provider for kind clusters."""


def _reasons_like(incomplete: str) -> list[str]:
    from capk.api.names import Reason

    return [str(reason) for reason in Reason if reason.casefold().startswith(incomplete.casefold())]


@app.command()
def run(
    kubeconfig: Annotated[
        str | None,
        _option(
            _CONNECTION,
            "Kubeconfig of the management cluster. Default: $KUBECONFIG, else the service account of the pod, "
            "else ~/.kube/config.",
        ),
    ] = None,
    context: Annotated[
        str | None, _option(_CONNECTION, "Context of the kubeconfig. Default: its current context.")
    ] = None,
    namespace: Annotated[
        str | None, _option(_SCOPE, "Namespace in which to manage objects. Default: all namespaces.")
    ] = None,
    watch_filter: Annotated[
        str | None,
        _option(
            _SCOPE,
            "Manage only objects with this value of the label cluster.x-k8s.io/watch-filter. Default: all objects.",
        ),
    ] = None,
    kind_command: Annotated[
        str, _option(_ENGINE, "Command that runs kind, with any arguments that come first.", env="CAPK_KIND_COMMAND")
    ] = "kind",
    engine_command: Annotated[
        str | None,
        _option(
            _ENGINE,
            "Command of the container engine. Default: the command that kind chooses. Empty: use kind alone.",
            env="CAPK_ENGINE_COMMAND",
        ),
    ] = None,
    node_image: Annotated[
        str | None,
        _option(
            _ENGINE,
            "Node image for objects that specify neither an image nor a version. Default: kind's own.",
            env="CAPK_NODE_IMAGE",
        ),
    ] = None,
    endpoint: Annotated[
        Endpoint,
        _option(
            _ENGINE,
            "Address of a workload cluster that Cluster API receives: that of the node container (internal) or the "
            "published port (external). auto: internal in a pod, otherwise external.",
        ),
    ] = Endpoint.AUTO,
    allowed_host_paths: Annotated[
        str | None,
        _option(
            _ENGINE,
            "Paths of the engine's host that nodes may mount, separated by commas. Default: none in a pod, "
            "otherwise all.",
        ),
    ] = None,
    wait_for_nodes: Annotated[
        str, _option(_ENGINE, "How long a creation waits for Ready control plane nodes. 0: do not wait.")
    ] = "2m",
    max_concurrent_creates: Annotated[
        int | None,
        _option(
            _LIMITS,
            "Kind clusters to create in parallel. Default: one per core and per GiB of memory, at least two, "
            "and no more than the memory limit of the provider's container allows.",
        ),
    ] = None,
    create_timeout: Annotated[
        str, _option(_LIMITS, "Deadline of a creation. A creation that exceeds it is cleaned up and retried.")
    ] = "15m",
    delete_timeout: Annotated[
        str, _option(_LIMITS, "Deadline of a deletion. A deletion that exceeds it is retried.")
    ] = "5m",
    workers: Annotated[int, _option(_LIMITS, "Objects to reconcile in parallel.")] = 16,
    sync_period: Annotated[str, _option(_LIMITS, "Interval between full resyncs.")] = "10m",
    inventory_period: Annotated[str, _option(_LIMITS, "Interval between inventories of the container engine.")] = "10s",
    health_period: Annotated[
        str, _option(_LIMITS, "Interval between health checks of each workload cluster's API server.")
    ] = "30s",
    work_dir: Annotated[
        str | None,
        _option(
            _PROCESS,
            "Directory for private files of running kind commands. Default: capk-UID in the temporary directory.",
            env="CAPK_WORK_DIR",
        ),
    ] = None,
    log_format: Annotated[LogFormat, _option(_PROCESS, "Format of log lines.")] = LogFormat.TEXT,
    log_level: Annotated[
        LogLevel, _option(_PROCESS, "Least severe messages to log.", case_sensitive=False)
    ] = LogLevel.INFO,
    health_addr: Annotated[
        str, _option(_PROCESS, "Address that serves /healthz, /readyz and /metrics. Empty: none.")
    ] = ":9440",
    diagnostics_address: Annotated[str, _option(_PROCESS, "Further address that serves /metrics. Empty: none.")] = "",
    leader_elect: Annotated[
        bool, _option(_PROCESS, "Act only while this replica holds the Lease.", "--leader-elect")
    ] = False,
    leader_election_namespace: Annotated[
        str | None, _option(_PROCESS, "Namespace of the Lease. Default: that of the pod, otherwise default.")
    ] = None,
) -> None:
    """Run the provider until it receives SIGTERM or Ctrl-C."""
    from capk.manager.process import run_provider

    optional: dict[str, Any] = {
        "max_concurrent_creates": max_concurrent_creates,
        "work_dir": Path(work_dir) if work_dir else None,
    }
    try:
        # An empty value means the same as no flag: manifests substitute variables that may be unset.
        settings = Settings(
            kubeconfig=kubeconfig or None,
            context=context or None,
            namespace=namespace or None,
            watch_filter=watch_filter or None,
            kind_command=checked("--kind-command", command_line, kind_command),
            engine_command=_if_given("--engine-command", command_line, engine_command),
            node_image=node_image or None,
            endpoint=endpoint,
            allowed_host_paths=_if_given("--allowed-host-paths", paths, allowed_host_paths),
            wait_for_nodes_seconds=checked("--wait-for-nodes", whole_seconds, wait_for_nodes),
            create_timeout_seconds=checked("--create-timeout", seconds, create_timeout),
            delete_timeout_seconds=checked("--delete-timeout", seconds, delete_timeout),
            workers=workers,
            sync_period_seconds=checked("--sync-period", seconds, sync_period),
            inventory_period_seconds=checked("--inventory-period", seconds, inventory_period),
            health_period_seconds=checked("--health-period", seconds, health_period),
            log_format=log_format,
            log_level=log_level.value,
            health_address=health_addr,
            diagnostics_address=diagnostics_address,
            leader_elect=leader_elect,
            leader_election_namespace=leader_election_namespace or None,
            **{name: value for name, value in optional.items() if value is not None},
        )
    except InvalidSetting as error:
        typer.echo(f"capk: {error}", err=True)
        raise typer.Exit(INVALID_USE) from None
    try:
        asyncio.run(run_provider(settings))
    except CapkError as error:
        typer.echo(f"capk: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def explain(
    reason: Annotated[
        str | None,
        typer.Argument(
            help="Reason of a condition, as `kubectl describe` shows it; in any case. Default: list all.",
            autocompletion=_reasons_like,
        ),
    ] = None,
) -> None:
    """Explain the reason of a condition: what it means, why it comes about, and what to do."""
    from rich.console import Console

    from capk import explain as explaining
    from capk.diagnosis import reasons

    if reason is None:
        explaining.print_list(Console())
    elif page := reasons.find(reason):
        explaining.print_page(page, Console())
    else:
        typer.echo(f"capk: {explaining.unknown(reason)}", err=True)
        raise typer.Exit(INVALID_USE)


def _if_given(flag: str, parse: Callable[[str], T], text: str | None) -> T | None:
    return None if text is None else checked(flag, parse, text)


def main() -> None:
    """Run the command line."""
    app()
