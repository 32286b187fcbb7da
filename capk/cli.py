"""The `capk` command: arguments in, settings out, exit codes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from capk.errors import CapkError
from capk.localplane.cli import app as local_app
from capk.settings import (
    Endpoint,
    LogFormat,
    Settings,
    command_line,
    default_concurrent_creates,
    machine,
    paths,
    seconds,
)

app = typer.Typer(
    help="Cluster API infrastructure provider for kind clusters.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(local_app, name="local")

_CONNECTION, _SCOPE, _ENGINE, _LIMITS, _PROCESS = "Management cluster", "Scope", "Engine", "Limits", "Process"


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong


def _option(
    panel: str, help: str, *flags: str, env: str | None = None, parser: Callable[[str], Any] | None = None
) -> Any:
    return typer.Option(
        *flags, help=help, rich_help_panel=panel, envvar=env, parser=parser, show_envvar=env is not None
    )


@app.callback()
def _capk() -> None:
    """Cluster API infrastructure provider for kind clusters."""


@app.command()
def run(
    kubeconfig: Annotated[
        str | None, _option(_CONNECTION, "Default: the pod's account, else $KUBECONFIG, else ~/.kube/config.")
    ] = None,
    context: Annotated[str | None, _option(_CONNECTION, "Context of the kubeconfig.")] = None,
    namespace: Annotated[str | None, _option(_SCOPE, "Watch this namespace only. Default: all.")] = None,
    watch_filter: Annotated[
        str | None, _option(_SCOPE, "Only objects whose label cluster.x-k8s.io/watch-filter has this value.")
    ] = None,
    kind_command: Annotated[
        str, _option(_ENGINE, "The kind command, or anything that answers like it.", env="CAPK_KIND_COMMAND")
    ] = "kind",
    engine_command: Annotated[
        str | None,
        _option(
            _ENGINE,
            "The container engine's command. Default: the one that kind uses; empty: none.",
            env="CAPK_ENGINE_COMMAND",
        ),
    ] = None,
    node_image: Annotated[
        str | None,
        _option(_ENGINE, "Node image where an object names neither image nor version.", env="CAPK_NODE_IMAGE"),
    ] = None,
    endpoint: Annotated[
        Endpoint,
        _option(
            _ENGINE,
            "Address given to Cluster API: the node container's (internal), the published port (external), "
            "or auto: internal in a pod, else external.",
        ),
    ] = Endpoint.AUTO,
    allowed_host_paths: Annotated[
        str | None,
        _option(
            _ENGINE,
            "Paths of the engine's host that nodes may mount, separated by commas. Default: none in a pod, else all.",
        ),
    ] = None,
    wait_for_nodes: Annotated[
        str, _option(_ENGINE, "How long kind waits for control plane nodes to be Ready; 0 for not at all.")
    ] = "2m",
    max_concurrent_creates: Annotated[
        int | None, _option(_LIMITS, "Kind clusters created at once. Default: one a core and GiB, at least two.")
    ] = None,
    create_timeout: Annotated[str, _option(_LIMITS, "A creation is ended after that time.")] = "15m",
    delete_timeout: Annotated[str, _option(_LIMITS, "A deletion is ended, and tried again, after that time.")] = "5m",
    workers: Annotated[int, _option(_LIMITS, "Objects looked at at once.")] = 16,
    sync_period: Annotated[str, _option(_LIMITS, "Look at every object that often even if nothing happened.")] = "10m",
    inventory_period: Annotated[str, _option(_LIMITS, "Ask the engine that often what it has.")] = "10s",
    work_dir: Annotated[
        Path | None, _option(_PROCESS, "Private files of running kind calls.", env="CAPK_WORK_DIR")
    ] = None,
    log_format: Annotated[LogFormat, _option(_PROCESS, "How log lines look.")] = LogFormat.TEXT,
    log_level: Annotated[str, _option(_PROCESS, "debug, info, warning or error.")] = "info",
    health_addr: Annotated[
        str, _option(_PROCESS, "Where /healthz, /readyz and /metrics answer; empty: nowhere.")
    ] = ":9440",
    diagnostics_address: Annotated[str, _option(_PROCESS, "Where else /metrics answers.")] = "",
    leader_elect: Annotated[bool, _option(_PROCESS, "Act only while holding a Lease.", "--leader-elect")] = False,
    leader_election_namespace: Annotated[
        str | None, _option(_PROCESS, "Where the Lease lives. Default: the pod's namespace, else default.")
    ] = None,
) -> None:
    """Run the provider until it is told to stop (SIGTERM or Ctrl-C)."""
    from capk.manager.process import run_provider

    settings = Settings(
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        watch_filter=watch_filter,
        kind_command=command_line(kind_command),
        engine_command=None if engine_command is None else command_line(engine_command),
        node_image=node_image or None,
        endpoint=endpoint,
        allowed_host_paths=None if allowed_host_paths is None else paths(allowed_host_paths),
        wait_for_nodes_seconds=int(_duration(wait_for_nodes)),
        max_concurrent_creates=max_concurrent_creates or default_concurrent_creates(*machine()),
        create_timeout_seconds=_duration(create_timeout),
        delete_timeout_seconds=_duration(delete_timeout),
        workers=workers,
        sync_period_seconds=_duration(sync_period),
        inventory_period_seconds=_duration(inventory_period),
        log_format=log_format,
        log_level=log_level,
        health_address=health_addr,
        diagnostics_address=diagnostics_address,
        leader_elect=leader_elect,
        leader_election_namespace=leader_election_namespace,
        **({"work_dir": work_dir} if work_dir else {}),
    )
    try:
        asyncio.run(run_provider(settings))
    except CapkError as error:
        typer.echo(f"capk: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Run the command line."""
    app()
