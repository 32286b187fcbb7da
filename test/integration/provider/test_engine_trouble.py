"""kind and the engine misbehave in ways that the fake kind does not, so a program replaces it."""

import base64
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from capk.api.names import KIND_CLUSTERS, SECRETS
from capk.engine.failurelogs import KIND_CONFIG, KIND_OUTPUT
from capkdev.certificates import Authority
from capkdev.fakekind.create import MODE_VARIABLE
from capkdev.fakekind.listing import HOME_VARIABLE
from test.integration.api import eventually
from test.integration.provider.journeys import SHORT_PERIODS, Place, standalone, unchanged
from test.integration.provider_process import FAKE_KIND, StartProvider

RENEWED = Authority("renewed").issue_client("kubernetes-admin")
RENEWED_CERTIFICATE, RENEWED_KEY = (base64.b64encode(pem).decode() for pem in RENEWED)
OwnPlace = Callable[..., Place]
SCRIPT = """#!/bin/sh
case "$*" in
  "create cluster --name={name} "*) {instead} ;;
esac
exec {fake_kind} "$@"
"""
BINARY_NOISE = "head -c 3000000 /dev/urandom >&2; printf '\\377\\376\\303(latin-1: \\344\\366\\374)\\n' >&2"
OUT_OF_MEMORY = "echo 'ERROR: failed to create cluster: fork/exec /usr/bin/docker: cannot allocate memory' >&2; exit 1"


def program(directory: Path, name: str, instead: str) -> str:
    """Write a kind that does something else for the creation of a certain kind cluster, and return its path."""
    file = directory / "misbehaving-kind"
    file.write_text(SCRIPT.format(name=name, instead=instead, fake_kind=FAKE_KIND))
    file.chmod(stat.S_IRWXU)
    return str(file)


@pytest.mark.rule("C20")
def test_megabytes_of_noise_end_as_a_reason_a_short_message_and_bounded_logs(
    own_place: OwnPlace, tmp_path: Path
) -> None:
    place = own_place("--kind-command", program(tmp_path, "noisy", f"{BINARY_NOISE}; {OUT_OF_MEMORY}"))
    place.create(standalone("noisy"))
    seen = place.await_condition("noisy", reason="OutOfMemory")
    assert len(seen["message"]) < 1000
    logs = Path(place.get(KIND_CLUSTERS, "noisy")["status"]["logs"])
    assert logs.is_relative_to(place.process.log.parent / "work" / "failed")
    kept = logs / KIND_OUTPUT
    assert "cannot allocate memory" in kept.read_text()
    assert kept.stat().st_size < 1 << 20
    assert stat.S_IMODE(logs.stat().st_mode) == 0o700
    place.delete(KIND_CLUSTERS, "noisy")
    place.await_gone("noisy")
    assert not logs.exists()


@pytest.mark.rule("C20")
def test_failed_creation_leaves_its_logs_and_no_node(own_place: OwnPlace, tmp_path: Path) -> None:
    """kind has created the nodes, kubeadm fails in them, and --retain keeps them."""
    made = f"{FAKE_KIND} \"$@\"; echo 'ERROR: failed to create cluster: failed to init node with kubeadm' >&2; exit 1"
    place = own_place("--kind-command", program(tmp_path, "broken", made))
    place.create(standalone("broken"))
    place.await_condition("broken", reason="KubeadmFailed")
    assert place.process.home.find("broken") is None
    logs = Path(place.get(KIND_CLUSTERS, "broken")["status"]["logs"])
    own = {KIND_OUTPUT, KIND_CONFIG}
    assert [path for path in logs.rglob("*") if path.is_file() and path.name not in own], "no logs of the nodes"
    assert "kind.x-k8s.io/v1alpha4" in (logs / KIND_CONFIG).read_text()
    place.delete(KIND_CLUSTERS, "broken")


@pytest.mark.rule("C21")
def test_stranger_who_was_quicker_keeps_the_cluster(own_place: OwnPlace, tmp_path: Path) -> None:
    """Between the provider's last inventory and its creation, someone else creates a cluster of that name."""
    theirs = f'{FAKE_KIND} create cluster --name=raced --kubeconfig="{tmp_path}/theirs" </dev/null'
    place = own_place("--kind-command", program(tmp_path, "raced", f'{theirs}; echo "$*" >>"{tmp_path}/calls"'))
    place.create(standalone("raced"))
    place.await_condition("raced", reason="NameConflict")
    uid = place.kind_cluster("raced").uid
    unchanged(lambda: place.kind_cluster("raced").uid, 4)
    # Without this flag the real kind removes containers that another one has created under the name.
    assert " --retain " in (tmp_path / "calls").read_text()
    place.delete(KIND_CLUSTERS, "raced")
    place.await_gone("raced")
    assert place.kind_cluster("raced").uid == uid


@pytest.mark.rule("C23")
def test_deletion_does_not_wait_behind_a_creation(own_place: OwnPlace, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    waits = f'while [ -e "{hold}" ]; do sleep 0.1; done'
    place = own_place("--max-concurrent-creates", "1", "--kind-command", program(tmp_path, "slow", waits))
    place.create(standalone("quick"))
    place.await_condition("quick")
    hold.touch()
    place.create(standalone("slow"))
    place.await_condition("slow", "ClusterCreated", "Creating")
    place.create(standalone("queued"))
    place.await_condition("queued", "ClusterCreated", "Queued")
    place.delete(KIND_CLUSTERS, "quick")
    place.await_gone("quick")
    assert place.process.home.names() == []
    hold.unlink()
    place.await_condition("slow")
    place.await_condition("queued")


def test_missing_kind_is_told_and_used_as_soon_as_it_is_there(own_place: OwnPlace, tmp_path: Path) -> None:
    place = own_place("--kind-command", str(tmp_path / "misbehaving-kind"))
    place.create(standalone("waiting"))
    seen = place.await_condition("waiting", "EngineAvailable", "KindCommandMissing")
    assert seen["status"] == "False"
    assert "Install kind where the provider runs" in seen["message"]
    program(tmp_path, "none", ":")
    place.await_condition("waiting")


def test_something_else_is_not_taken_for_kind_and_no_cluster_for_missing(own_place: OwnPlace, tmp_path: Path) -> None:
    """Otherwise a program without output would look like an engine that has lost all clusters."""
    command = Path(program(tmp_path, "none", ":"))
    place = own_place("--kind-command", str(command))
    place.create(standalone("steady", recreatePolicy="Always"))
    place.await_condition("steady")
    uid, right = place.kind_cluster("steady").uid, command.read_text()
    command.write_text("#!/bin/sh\necho boom >&2\nexit 1\n")
    place.await_condition("steady", "EngineAvailable", "CommandFailed")
    command.write_text("#!/bin/sh\nexit 0\n")
    seen = place.await_condition("steady", "EngineAvailable", "KindCommandMissing")
    assert "is not a kind version" in seen["message"]
    place.delete(KIND_CLUSTERS, "steady")
    place.await_condition("steady", "Deleting", "KindCommandMissing")
    assert place.kind_cluster("steady").uid == uid
    command.write_text(right)
    place.await_gone("steady")
    assert place.process.home.names() == []


def test_kind_of_another_release_works_and_is_warned_of(own_place: OwnPlace, tmp_path: Path) -> None:
    script = program(tmp_path, "none", ":")
    text = Path(script).read_text()
    Path(script).write_text(
        text.replace("case ", '[ "$1" = version ] && echo "kind v0.20.0 go1.20.4" && exit\ncase ', 1)
    )
    place = own_place("--kind-command", script)
    place.create(standalone("elder"))
    place.await_condition("elder")
    assert "kind is v0.20.0, but this provider supports" in place.process.log_text()
    assert 'capk_kind_info{version="v0.20.0"} 1.0' in place.process.metrics()


@pytest.mark.rule("C26")
def test_restarted_cluster_is_ready_only_when_it_answers(own_place: OwnPlace, tmp_path: Path) -> None:
    """The node restarts by itself, as after a restart of the engine; kind returns its kubeconfig later."""
    script = Path(program(tmp_path, "none", ":"))
    waits = f'case "$*" in "get kubeconfig "*) while [ -e "{tmp_path}/hold" ]; do sleep 0.1; done ;; esac\nexec'
    script.write_text(script.read_text().replace("exec", waits))
    place = own_place("--kind-command", str(script), "--wait-for-nodes", "1s")
    place.create(standalone("rebooted"))
    place.await_condition("rebooted")
    (tmp_path / "hold").touch()
    place.stop_node("rebooted-control-plane")
    place.stop_node("rebooted-control-plane", verb="start")
    seen = place.await_condition("rebooted", reason="StartingNodes")
    assert seen["status"] == "False"
    unchanged(lambda: place.condition("rebooted", "Ready")["reason"], 3)
    (tmp_path / "hold").unlink()
    place.await_condition("rebooted")


@pytest.mark.rule("C15")
def test_certificates_that_were_renewed_reach_the_secret_with_the_restart(own_place: OwnPlace, tmp_path: Path) -> None:
    script = Path(program(tmp_path, "none", ":"))
    fields = {"client-certificate-data": RENEWED_CERTIFICATE, "client-key-data": RENEWED_KEY}
    renewed = "sed " + " ".join(f"-e 's|{field}: .*|{field}: {value}|'" for field, value in fields.items())
    answer = (
        f'case "$*" in "get kubeconfig "*) [ -e "{tmp_path}/renewed" ] && {FAKE_KIND} "$@" | {renewed} && exit ;; esac'
    )
    script.write_text(script.read_text().replace("exec", f"{answer}\nexec"))
    place = own_place("--kind-command", str(script))
    place.create(standalone("renewed"))
    place.await_condition("renewed")
    (tmp_path / "renewed").touch()
    place.stop_node("renewed-control-plane")
    place.stop_node("renewed-control-plane", verb="start")

    def has_it() -> bool:
        return RENEWED_KEY in base64.b64decode(place.get(SECRETS, "renewed-config")["data"]["config"]).decode()

    eventually(has_it, 60)
    place.await_condition("renewed")


@pytest.mark.rule("C21")
def test_two_providers_on_one_engine_leave_each_others_clusters_alone(
    own_place: OwnPlace, provider: StartProvider
) -> None:
    """They manage different namespaces, and both have an object that requests the same kind cluster."""
    first = own_place()
    environment = {HOME_VARIABLE: str(first.process.home.directory), MODE_VARIABLE: "instant"}
    namespace = first.api.new_namespace()
    process = provider(first.management, namespace, *SHORT_PERIODS, "--wait-for-nodes", "0", **environment)
    second = replace(first, namespace=namespace, process=process)
    first.create(standalone("shared"), standalone("mine"))
    first.await_condition("shared")
    uid = first.kind_cluster("shared").uid
    second.create(standalone("shared"), standalone("theirs"))
    second.await_condition("theirs")
    second.await_condition("shared", reason="NameConflict")
    first.await_condition("mine")

    second.process.kill()
    second.process.start()
    second.delete(KIND_CLUSTERS, "shared")
    second.await_gone("shared")
    assert first.kind_cluster("shared").uid == uid
    first.await_condition("shared")
    first.delete(KIND_CLUSTERS, "shared")
    first.await_gone("shared")
    assert first.process.home.names() == ["mine", "theirs"]
