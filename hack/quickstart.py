"""Creates a first workload cluster and prints each step; for `make quickstart` and `make quickstart-down`.

It uses only commands that users have too: `capkdev`, kubectl, clusterctl.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape

from capk.api import names
from capk.engine.enginecli import engine_command
from capk.errors import ApiError, CapkError
from capk.kindconfig.images import image_version
from capkdev.files import remove_tree
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.engines import EngineChoice, answers, choose_engine, earlier_choice
from capkdev.managementcluster.options import LEADER_ELECTION, WITHOUT_RATE_LIMIT, Options
from capkdev.rest import Rest
from hack.firstcluster import (
    CLUSTER_RESOURCES,
    MACHINE_DEPLOYMENTS,
    NAME,
    NAMESPACE,
    ROOT,
    WORKER_RESOURCES,
    WORKERS,
    available_replicas,
    documents,
    joining,
    sample_files,
    wanted_replicas,
)

DIRECTORY = ROOT / ".capk" / "quickstart"
PATIENCE_SECONDS = 900
WORKER_PATIENCE_SECONDS = 300
HINT_SECONDS = 60
POLL_SECONDS = 0.3

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)


@app.command()
def up() -> None:
    """Start a local management cluster, create a workload cluster and show it."""
    began = time.monotonic()
    choice = _choice()
    _say("1", f"What creates kind clusters: {choice.why}.")
    management = _management_for(choice)
    with _starting(management):
        _run(sys.executable, "-m", "capk", "doctor", "--machine-only", *choice.provider_arguments)
        _say("2", "A local management cluster: API server, Cluster API's core controller and this provider.")
    rest = management.rest()
    _apply_all(rest, choice)
    _say("4", "What the provider reports meanwhile:")
    _show_progress(rest)
    _say("5", "What Cluster API reports:")
    _run("clusterctl", "describe", "cluster", NAME, kubeconfig=management.kubeconfig)
    _say("6", "The nodes of the workload cluster, through the kubeconfig that the provider stored:")
    workload = management.directory / f"{NAME}.kubeconfig"
    workload.touch(mode=0o600)
    workload.write_text(_output("clusterctl", "get", "kubeconfig", NAME, kubeconfig=management.kubeconfig))
    _run("kubectl", "get", "nodes", kubeconfig=workload)
    _say("7", "One more node: a worker joins the running cluster.")
    _scale(management)
    _show_worker(rest)
    _run("kubectl", "get", "nodes", kubeconfig=workload)
    _farewell(choice, management, workload, time.monotonic() - began)


@app.command()
def down() -> None:
    """Delete the workload cluster and stop the local management cluster."""
    management = LocalManagementCluster(DIRECTORY)
    if not DIRECTORY.exists():
        console.print("Nothing to clean up.")
        return
    if not management.is_running:
        console.print("The management cluster is not running. Starting it again to delete its clusters.")
        with _starting(management := _management_for(_choice())):
            pass
    rest = management.rest()
    _restore_definitions(rest, management)
    for path in (_path(names.CLUSTERS), _path(names.KIND_CLUSTERS)):
        for item in rest.request("GET", path)["items"]:
            console.print(f"Deleting {item['metadata']['name']} …")
            rest.request("DELETE", f"{path}/{item['metadata']['name']}")
        _await(lambda path=path: not rest.request("GET", path)["items"], "the clusters to be deleted")
    rest.close()
    _run(sys.executable, "-m", "capkdev", "down", "--directory", str(DIRECTORY), "--delete-data")
    console.print("Removed everything that the quickstart created. `make clean` also removes bin/ and .venv/.")


def _choice() -> EngineChoice:
    """Return how to create kind clusters: as the earlier quickstart whose data is still here did, or the best way."""
    try:
        earlier = Options.load(DIRECTORY).provider
    except FileNotFoundError:
        earlier = None
    if earlier:
        choice = earlier_choice(earlier)
        return replace(choice, why=f"{choice.why}. To choose again, run `make quickstart-down` first")
    bring_kind(ROOT)
    return choose_engine()


def _restore_definitions(rest: Rest, management: LocalManagementCluster) -> None:
    """Install our CRDs if they are gone, as after `make uninstall`: core deletes no Cluster of unknown kinds."""
    if not _is_served(rest):
        _run("kubectl", "apply", "--server-side", "-k", str(ROOT / "config" / "crd"), kubeconfig=management.kubeconfig)
        _await(lambda: _is_served(rest), "the API server to serve the provider's kinds")


def _is_served(rest: Rest) -> bool:
    try:
        rest.request("GET", _path(names.KIND_CLUSTERS))
    except ApiError:
        return False
    return True


def bring_kind(root: Path) -> None:
    """Install the pinned kind in bin/ of a checkout if a container engine answers; without one, it is useless.

    If kind cannot be installed, the quickstart continues with the kind on the PATH or with the fake kind.
    """
    engine = engine_command(os.environ)
    if engine is None or not answers(engine):
        return
    if not (root / "bin" / "kind").exists():
        console.print(f"{shlex.join(engine)} answers. Installing the pinned kind in bin/ …")
    if subprocess.run(["make", "--silent", "--directory", str(root), "bin/kind"], check=False).returncode != 0:
        console.print(
            "[yellow]The pinned kind could not be installed, for the reason above.[/yellow] The quickstart continues "
            "without it. To try again: make quickstart-down quickstart"
        )


def _management_for(choice: EngineChoice) -> LocalManagementCluster:
    arguments = [*choice.provider_arguments, *LEADER_ELECTION]
    return LocalManagementCluster(DIRECTORY, Options(core_feature_gates=WITHOUT_RATE_LIMIT, provider=arguments))


@contextmanager
def _starting(management: LocalManagementCluster) -> Iterator[None]:
    """Start the management cluster beside the body, unless it runs; if the body fails, leave nothing that was new."""
    if management.is_running:
        yield
        console.print("   That of an earlier quickstart is still running.", style="dim")
        return
    is_first = not management.directory.exists()
    management.begin()
    try:
        yield
    except BaseException:
        management.stop()
        if is_first:
            # The next quickstart chooses again what creates kind clusters.
            remove_tree(management.directory)
        raise
    management.await_ready(on_progress=lambda message: console.print(f"   {message}", style="dim"))


def _apply_all(rest: Rest, choice: EngineChoice) -> None:
    """Apply the objects of the samples; a MachineDeployment of an earlier quickstart keeps its replicas."""
    samples = " and ".join(_relative(path) for path in sample_files())
    _say("3", f"A Cluster, its KINDCluster and KINDControlPlane, and a MachineDeployment, applied as in {samples}:")
    wanted = documents(_version(rest, choice), wanted_replicas(_get(rest, MACHINE_DEPLOYMENTS, WORKERS)))
    console.print(yaml.safe_dump_all(wanted, sort_keys=False).strip(), style="dim")
    resources = {resource.kind: resource for resource in (*CLUSTER_RESOURCES, *WORKER_RESOURCES)}
    for document in wanted:
        rest.apply(f"{_path(resources[document['kind']])}/{document['metadata']['name']}", document, "quickstart")


def _version(rest: Rest, choice: EngineChoice) -> str | None:
    """Return the version of Kubernetes to ask for; None if the provider chooses. The fake kind has only one."""
    if choice.is_fake:
        return str(rest.request("GET", "/version")["gitVersion"])
    return image_version(choice.node_image) if choice.node_image else None


def _show_progress(rest: Rest) -> None:
    """Print every new line of the KINDCluster's history, until core reports the Cluster as Available."""
    began, shown = time.monotonic(), 0

    def is_available() -> bool:
        nonlocal shown
        history = (_get(rest, names.KIND_CLUSTERS).get("status") or {}).get("history") or []
        for entry in history[shown:]:
            _line(time.monotonic() - began, entry["type"], entry["reason"], entry.get("message", ""))
        shown = max(shown, len(history))
        conditions = (_get(rest, names.CLUSTERS).get("status") or {}).get("conditions") or []
        return any(seen["type"] == "Available" and seen["status"] == "True" for seen in conditions)

    _await(is_available, "the Cluster to become Available")
    _line(time.monotonic() - began, "Cluster", "Available", "")


def _scale(management: LocalManagementCluster) -> None:
    command = ("kubectl", "scale", "machinedeployment", WORKERS, "--replicas=1")
    console.print(f"   $ {shlex.join(command)}")
    _run(*command, kubeconfig=management.kubeconfig)


def _show_worker(rest: Rest) -> None:
    """Print each new reason of the worker's KINDMachine, until core reports the MachineDeployment's only Machine."""
    began, shown = time.monotonic(), dict[str, tuple[str, str]]()

    def has_joined() -> bool:
        seen = joining(rest.request("GET", _path(names.KIND_MACHINES))["items"])
        for machine, (reason, message) in seen.items():
            if shown.get(machine, ("",))[0] != reason:
                _line(time.monotonic() - began, names.Condition.WORKER_JOINED, reason, message)
        shown.update(seen)
        return available_replicas(_get(rest, MACHINE_DEPLOYMENTS, WORKERS)) == 1

    _await(has_joined, "the worker to join", "machines,kindmachines", WORKER_PATIENCE_SECONDS)
    _line(time.monotonic() - began, "MachineDeployment", "Available", "")


def _line(seconds: float, kind: str, reason: str, message: str) -> None:
    colour = "green" if reason in {"Created", "Available", "Provisioned", "Running", "Joined"} else "cyan"
    console.print(f"   {seconds:6.1f} s  {kind:20} [{colour}]{reason:24}[/{colour}] {message}")


def _get(rest: Rest, resource: names.Resource, name: str = NAME) -> dict[str, Any]:
    try:
        return dict(rest.request("GET", f"{_path(resource)}/{name}"))
    except ApiError:
        return {}


def _await(is_so: Any, what: str, kinds: str = "kindclusters", patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a question has the answer yes. kinds: objects that show why it takes long. Raises Exit."""
    began, is_told = time.monotonic(), False
    while not is_so():
        waited = time.monotonic() - began
        if waited > HINT_SECONDS and not is_told:
            is_told = True
            command = f"kubectl --kubeconfig {_relative(DIRECTORY)}/kubeconfig describe {kinds}"
            console.print(f"   Still waiting for {what}. To see why, run in another terminal: {command}", style="dim")
        if waited > patience_seconds:
            console.print(f"[red]Gave up waiting for {what}.[/red] The logs are in {_relative(DIRECTORY)}.")
            raise typer.Exit(1)
        time.sleep(POLL_SECONDS)


def _path(resource: names.Resource) -> str:
    return f"/apis/{resource.group}/{resource.version}/namespaces/{NAMESPACE}/{resource.plural}"


def _farewell(choice: EngineChoice, management: LocalManagementCluster, workload: Path, seconds: float) -> None:
    _say("✓", f"Done in {seconds:.0f} s. Look around:")
    for command in _look_around(choice, management, workload):
        console.print(f"     {command}")
    console.print("   and clean up with:\n     make quickstart-down\n")


def _look_around(choice: EngineChoice, management: LocalManagementCluster, workload: Path) -> Iterator[str]:
    yield f"export KUBECONFIG=$PWD/{_relative(management.kubeconfig)} PATH=$PWD/bin:$PATH"
    yield f"kubectl describe kindcluster {NAME}      # every step, with its time"
    yield "kubectl get cluster,kindcluster,kindcontrolplane,machine,secret"
    yield f"kubectl scale machinedeployment {WORKERS} --replicas=0      # the worker leaves again"
    # No pods run in a cluster of the fake kind.
    yield f"kubectl --kubeconfig {_relative(workload)} get {'namespaces' if choice.is_fake else 'pods -A'}"
    yield f".venv/bin/capkdev status --directory {_relative(DIRECTORY)}     # the processes and their logs"


def _run(*command: str, kubeconfig: Path | None = None) -> None:
    if subprocess.run(command, env=_environment(kubeconfig), check=False).returncode != 0:
        console.print(f"[red]{shlex.join(command)} failed.[/red]")
        raise typer.Exit(1)


def _output(*command: str, kubeconfig: Path) -> str:
    return subprocess.run(command, env=_environment(kubeconfig), check=True, stdout=subprocess.PIPE, text=True).stdout


def _environment(kubeconfig: Path | None) -> dict[str, str]:
    path = f"{ROOT / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # clusterctl looks for a newer release of itself, which takes long without access to the internet.
    quiet = {"CLUSTERCTL_DISABLE_VERSIONCHECK": "true"}
    return {**os.environ, **quiet, "PATH": path, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}


def _say(number: str, text: str) -> None:
    console.print(f"\n[bold]{number}[/bold]  {text}")


def _relative(path: Path) -> str:
    return os.path.relpath(path)


def main() -> int:
    """Run a command; a failure is one paragraph without a traceback."""
    try:
        app()
    except (CapkError, OSError, subprocess.CalledProcessError) as failure:
        console.print(f"[red]The quickstart failed:[/red] {escape(str(failure))}")
        console.print(f"The logs are in {_relative(DIRECTORY)}. `make quickstart-down` removes what is there.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
