"""The `capk` command: turns flags into settings, and results into exit codes. Commands import only what they need."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from capk import options
from capk.errors import CapkError
from capk.settings import (
    InvalidSetting,
    LogLevel,
    Settings,
    as_duration,
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

FAILED = 1
INVALID_USE = 2
"""Exit status for invalid values, the same as for unknown flags."""
_DEFAULT_KIND = " ".join(Settings.kind_command)


class Output(StrEnum):
    """Format in which `capk doctor` prints its findings."""

    TEXT = "text"
    JSON = "json"


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


@app.command(
    help="Run the provider until it receives SIGTERM or Ctrl-C.\n\n"
    "It watches KINDClusters, KINDControlPlanes and KINDMachines in the management cluster, and creates, repairs and "
    "deletes kind clusters and their workers with the kind command and the container engine. Write durations as 90s, "
    "15m or 1h30m. An empty value means the default, except where stated otherwise."
)
def run(
    kubeconfig: options.Kubeconfig = Settings.kubeconfig,
    context: options.Context = Settings.context,
    namespace: options.Namespace = Settings.namespace,
    watch_filter: options.WatchFilter = Settings.watch_filter,
    kind_command: options.KindCommand = _DEFAULT_KIND,
    engine_command: options.EngineCommand = None,
    shared_engine: options.SharedEngine = Settings.shared_engine,
    engine_namespace: options.EngineNamespace = Settings.engine_namespace,
    node_image: options.NodeImage = Settings.node_image,
    endpoint: options.WorkloadEndpoint = Settings.endpoint,
    allowed_host_paths: options.AllowedHostPaths = None,
    wait_for_nodes: options.WaitForNodes = as_duration(Settings.wait_for_nodes_seconds),
    max_concurrent_creates: options.MaxConcurrentCreates = None,
    max_concurrent_pod_creates: options.MaxConcurrentPodCreates = None,
    max_concurrent_workers: options.MaxConcurrentWorkers = Settings.max_concurrent_workers,
    create_timeout: options.CreateTimeout = as_duration(Settings.create_timeout_seconds),
    delete_timeout: options.DeleteTimeout = as_duration(Settings.delete_timeout_seconds),
    workers: options.Workers = Settings.workers,
    sync_period: options.SyncPeriod = as_duration(Settings.sync_period_seconds),
    inventory_period: options.InventoryPeriod = as_duration(Settings.inventory_period_seconds),
    health_period: options.HealthPeriod = as_duration(Settings.health_period_seconds),
    leader_elect: options.LeaderElect = Settings.leader_elect,
    leader_election_namespace: options.LeaderElectionNamespace = Settings.leader_election_namespace,
    work_dir: options.WorkDir = None,
    log_format: options.LogFormatOption = Settings.log_format,
    log_level: options.LogLevelOption = LogLevel(Settings.log_level),
    health_addr: options.HealthAddress = Settings.health_address,
    diagnostics_address: options.DiagnosticsAddress = Settings.diagnostics_address,
) -> None:
    """Turn the flags into settings, and run the provider with them."""
    with _rejecting_invalid_values():
        settings = _settings(
            kubeconfig=kubeconfig or None,
            context=context or None,
            namespace=namespace or None,
            watch_filter=watch_filter or None,
            kind_command=checked("--kind-command", command_line, kind_command),
            engine_command=_if_given("--engine-command", command_line, engine_command),
            shared_engine=shared_engine,
            engine_namespace=engine_namespace or Settings.engine_namespace,
            node_image=node_image or None,
            endpoint=endpoint,
            allowed_host_paths=_if_given("--allowed-host-paths", paths, allowed_host_paths),
            wait_for_nodes_seconds=checked("--wait-for-nodes", whole_seconds, wait_for_nodes),
            max_concurrent_creates=max_concurrent_creates,
            max_concurrent_pod_creates=max_concurrent_pod_creates,
            max_concurrent_workers=max_concurrent_workers,
            create_timeout_seconds=checked("--create-timeout", seconds, create_timeout),
            delete_timeout_seconds=checked("--delete-timeout", seconds, delete_timeout),
            workers=workers,
            sync_period_seconds=checked("--sync-period", seconds, sync_period),
            inventory_period_seconds=checked("--inventory-period", seconds, inventory_period),
            health_period_seconds=checked("--health-period", seconds, health_period),
            leader_elect=leader_elect,
            leader_election_namespace=leader_election_namespace or None,
            work_dir=Path(work_dir) if work_dir else None,
            log_format=log_format,
            log_level=log_level.value,
            health_address=health_addr,
            diagnostics_address=diagnostics_address,
        )
    import asyncio
    import gc

    # Nothing that an import creates is garbage, and looking for it takes a tenth of the start.
    gc.disable()
    from capk.manager.process import run_provider

    if not settings.in_pod:
        # The login would import it too, but later, with the garbage collector.
        import capk.kube.kubeconfiglogin  # noqa: F401
    gc.freeze()
    gc.enable()
    try:
        asyncio.run(run_provider(settings))
    except CapkError as error:
        typer.echo(f"capk: {error}", err=True)
        raise typer.Exit(FAILED) from error


@app.command(
    help="Check whether the provider can work here, and recommend what to do.\n\n"
    "Run it where the provider runs, with the same values of the options that both commands have. It changes nothing. "
    "The exit status is 1 if a check failed, and 0 otherwise, with or without warnings."
)
def doctor(
    machine_only: Annotated[bool, typer.Option("--machine-only", help="Skip the management cluster.")] = False,
    output: Annotated[Output, typer.Option(help="Format of the output.")] = Output.TEXT,
    kubeconfig: options.Kubeconfig = Settings.kubeconfig,
    context: options.Context = Settings.context,
    namespace: options.Namespace = Settings.namespace,
    kind_command: options.KindCommand = _DEFAULT_KIND,
    engine_command: options.EngineCommand = None,
    shared_engine: options.SharedEngine = Settings.shared_engine,
    engine_namespace: options.EngineNamespace = Settings.engine_namespace,
    node_image: options.NodeImage = Settings.node_image,
    leader_elect: options.LeaderElect = Settings.leader_elect,
    leader_election_namespace: options.LeaderElectionNamespace = Settings.leader_election_namespace,
    work_dir: options.WorkDir = None,
) -> None:
    """Turn the flags into settings, and check everything with them."""
    with _rejecting_invalid_values():
        settings = _settings(
            kubeconfig=kubeconfig or None,
            context=context or None,
            namespace=namespace or None,
            kind_command=checked("--kind-command", command_line, kind_command),
            engine_command=_if_given("--engine-command", command_line, engine_command),
            shared_engine=shared_engine,
            engine_namespace=engine_namespace or Settings.engine_namespace,
            node_image=node_image or None,
            leader_elect=leader_elect,
            leader_election_namespace=leader_election_namespace or None,
            work_dir=Path(work_dir) if work_dir else None,
        )
    from capk.doctor.examination import examine

    if not examine(settings, machine_only=machine_only, as_json=output is Output.JSON):
        raise typer.Exit(FAILED)


def _reasons_like(incomplete: str) -> list[str]:
    from capk.api.names import Reason

    return [str(reason) for reason in Reason if reason.casefold().startswith(incomplete.casefold())]


@app.command()
def explain(
    reason: Annotated[
        str | None,
        typer.Argument(
            help="Reason of a condition, as `kubectl describe` shows it, in upper or lower case.",
            show_default="list all",
            autocompletion=_reasons_like,
        ),
    ] = None,
) -> None:
    """Explain the reason of a condition: what it means, what causes it, and what to do."""
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


def _settings(**values: Any) -> Settings:
    """Return the settings; None means the default. Raises InvalidSetting."""
    return Settings(**{name: value for name, value in values.items() if value is not None})


@contextmanager
def _rejecting_invalid_values() -> Iterator[None]:
    """Exit with a line that names the flag if its value is invalid."""
    try:
        yield
    except InvalidSetting as error:
        typer.echo(f"capk: {error}", err=True)
        raise typer.Exit(INVALID_USE) from None


def _if_given(flag: str, parse: Callable[[str], T], text: str | None) -> T | None:
    return None if text is None else checked(flag, parse, text)


def main() -> None:
    """Run the command line."""
    app()
