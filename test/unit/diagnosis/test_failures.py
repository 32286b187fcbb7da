"""Recorded output of the real kind -> reason and message; documented output where no recording is possible."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capk.api.names import Reason
from capk.diagnosis import output
from capk.diagnosis.failures import DOCTOR_HINT, MAX_MESSAGE, Failure, classify, diagnose
from capk.errors import CommandFailed, CommandMissing, CommandTimedOut
from test.unit.characters import texts
from test.unit.growth import assert_linear

RECORDED = Path(__file__).parents[2] / "fixtures" / "kind"
RELEASES = ("v0.32.0", "v0.33.0")
REPORTED = RECORDED / "reported"


def recorded(name: str) -> CommandFailed:
    """Return the recording of the oldest release that has one."""
    return recordings(name)[0]


def recordings(name: str) -> list[CommandFailed]:
    files = [RECORDED / release / f"{name}.txt" for release in RELEASES]
    return [read(file) for file in files if file.exists()]


def read(file: Path) -> CommandFailed:
    command, status, *output = file.read_text().split("\n")
    words = command.removeprefix("# command: ").split()
    return CommandFailed(words, "\n".join(output), int(status.removeprefix("# exit status: ")))


def create(output: str) -> Failure:
    return classify(CommandFailed(["kind", "create", "cluster", "--name=dev"], output, 1))


@pytest.mark.parametrize(
    ("recording", "reason", "part"),
    [
        ("create-engine-down", Reason.ENGINE_UNREACHABLE, "does not answer. Start it"),
        ("delete-engine-down", Reason.ENGINE_UNREACHABLE, "does not answer. Start it"),
        ("get-clusters-engine-down", Reason.ENGINE_UNREACHABLE, "does not answer. Start it"),
        ("get-clusters-engine-refused", Reason.ENGINE_UNREACHABLE, "DOCKER_HOST"),
        ("get-clusters-engine-forbidden", Reason.ENGINE_UNREACHABLE, "no permission to use the socket"),
        ("get-clusters-engine-missing", Reason.ENGINE_UNREACHABLE, "cannot find the command docker"),
        ("engine-ps-engine-down", Reason.ENGINE_UNREACHABLE, "does not answer. Start it"),
        ("engine-image-inspect-engine-down", Reason.ENGINE_UNREACHABLE, "does not answer. Start it"),
        ("create-disk-full", Reason.OUT_OF_DISK, "docker image prune"),
        ("create-inotify-limit", Reason.INOTIFY_LIMIT, "sysctl fs.inotify.max_user_instances=512"),
        ("create-out-of-memory", Reason.OUT_OF_MEMORY, "memory ran out"),
        ("create-deleted-meanwhile", Reason.OUT_OF_MEMORY, "the node's container was removed meanwhile"),
        ("create-port-taken", Reason.PORT_CONFLICT, "Host port 18080 is taken"),
        ("create-port-allocated", Reason.PORT_CONFLICT, "Host port 18081 is taken"),
        ("create-name-taken", Reason.NAME_CONFLICT, "A kind cluster named rec-one already exists"),
        ("create-after-kill", Reason.NAME_CONFLICT, "kind delete cluster --name rec-killed"),
        ("create-two-at-once", Reason.NAME_CONFLICT, "rec-race"),
        (
            "create-container-name-taken",
            Reason.NAME_CONFLICT,
            "A container named rec-conflict-control-plane already exists",
        ),
        (
            "create-image-absent",
            Reason.IMAGE_NOT_FOUND,
            "not have the image kindest/node:v9.9.9 and cannot reach its registry",
        ),
        ("create-load-balancer-image-absent", Reason.IMAGE_NOT_FOUND, "envoyproxy/envoy:v1.36.2, which kind needs"),
        ("create-image-invalid", Reason.INVALID_CONFIG, "kindest/NODE:v1 is not a valid image name"),
        ("create-unknown-field", Reason.INVALID_CONFIG, "does not accept the field noodles"),
        ("create-unknown-version", Reason.INVALID_CONFIG, "unknown apiVersion: kind.x-k8s.io/v9"),
        ("create-bad-yaml", Reason.INVALID_CONFIG, "did not find expected node content"),
        ("create-bad-name", Reason.INVALID_CONFIG, "'Rec_Bad' is not a valid cluster name"),
        ("create-no-control-plane", Reason.INVALID_CONFIG, "must have at least one control-plane node"),
        ("create-invalid-values", Reason.INVALID_CONFIG, "invalid port number: 70000, invalid ipFamily: ipv5"),
        ("create-port-twice", Reason.INVALID_CONFIG, "already configured: 0.0.0.0:80"),
        ("create-bad-patch", Reason.INVALID_CONFIG, "failed to parse patches"),
        ("create-bad-containerd-patch", Reason.INVALID_CONFIG, "failed to patch containerd config"),
        ("create-bad-mount", Reason.INVALID_CONFIG, 'error mounting "/etc/hostname/no" to rootfs at "/no"'),
        ("create-kubeadm-flag", Reason.KUBEADM_FAILED, "phase wait-control-plane"),
        ("create-feature-gate", Reason.KUBEADM_FAILED, "phase wait-control-plane"),
        ("create-kubeadm-refuses", Reason.KUBEADM_FAILED, 'networking.dnsDomain: Invalid value: "not_a_domain"'),
        ("create-lock-held", Reason.CREATION_FAILED, "could not write its kubeconfig"),
        ("delete-container-stuck", Reason.DELETION_FAILED, "restart the container engine"),
        ("get-kubeconfig-unknown", Reason.KUBECONFIG_UNAVAILABLE, "no longer has a control-plane node"),
        ("get-kubeconfig-unfinished", Reason.KUBECONFIG_UNAVAILABLE, "was never finished"),
        ("get-kubeconfig-stopped", Reason.KUBECONFIG_UNAVAILABLE, "is stopped"),
        ("engine-start-absent", Reason.COMMAND_FAILED, "No such container: rec-nosuch"),
        ("export-logs-unknown", Reason.COMMAND_FAILED, 'unknown cluster "rec-nosuch"'),
    ],
)
def test_recorded_failure_is_recognised(recording, reason, part):
    for error in recordings(recording):
        failure = classify(error)
        assert failure.reason is reason
        assert part in failure.message


def test_every_recorded_failure_is_covered():
    (table,) = (mark for mark in test_recorded_failure_is_recognised.pytestmark if mark.name == "parametrize")
    failures = {file.stem for file in RECORDED.glob("v*/*.txt") if read(file).exit_status != 0}
    answers = {"engine-image-inspect-absent", "engine-inspect-absent"}  # exit status 1 means "no"
    assert failures - answers == {recording for recording, *_ in table.args[1]}


AGAIN = "run `kind create cluster --name=rep --config=- --wait=120s --retain`"


@pytest.mark.parametrize(
    ("report", "reason", "parts"),
    [
        ("get-clusters-podman-6", Reason.ENGINE_UNSUPPORTED, ["podman 6", "Install kind v0.33.0 or later"]),
        ("get-clusters-nerdctl-labels", Reason.ENGINE_UNSUPPORTED, ["Install the newest release of kind"]),
        (
            "create-podman-without-names",
            Reason.NODE_NAME_NOT_RESOLVED,
            ["does not resolve rep-control-plane", "aardvark-dns", "dnsname"],
        ),
        ("create-podman-without-names-at-the-end", Reason.NODE_NAME_NOT_RESOLVED, ["podman network rm kind"]),
        ("create-podman-node-stopped", Reason.CREATION_FAILED, ["container of a node stopped", "tries again"]),
        ("create-docker-node-stopped", Reason.CREATION_FAILED, ["container of a node stopped"]),
        (
            "create-docker-host-to-container",
            Reason.INVALID_CONFIG,
            ["the mounts of /srv/pv-data", "Remove `propagation`", "mount --make-rshared /"],
        ),
        ("create-docker-bidirectional", Reason.INVALID_CONFIG, ["the mounts of /srv/pv-data", "Bidirectional"]),
        ("create-podman-host-to-container", Reason.INVALID_CONFIG, ["the mounts of /srv/pv-data"]),
        ("delete-removal-in-progress", Reason.DELETION_FAILED, ["still removing a container"]),
        ("create-containerd-restart", Reason.KUBEADM_FAILED, ["containerdConfigPatches", "hosts.toml", AGAIN]),
        ("create-containerd-mirrors", Reason.KUBEADM_FAILED, ["containerdConfigPatches", "kubelet", AGAIN]),
        ("create-containerd-without-cri", Reason.KUBEADM_FAILED, ["containerdConfigPatches", "registry.mirrors"]),
    ],
)
def test_reported_failure_is_recognised(report, reason, parts):
    failure = classify(read(REPORTED / f"{report}.txt"))
    assert failure.reason is reason
    assert not [part for part in parts if part not in failure.message], failure.message
    assert "Ignored configuration" not in failure.message
    assert failure.retry  # each of them can also be fixed where the engine runs


def test_every_report_is_covered():
    (table,) = (mark for mark in test_reported_failure_is_recognised.pytestmark if mark.name == "parametrize")
    assert {file.stem for file in REPORTED.glob("*.txt")} == {report for report, *_ in table.args[1]}


def test_node_that_is_stopped_later_needs_to_be_started():
    words = "Error: can only create exec sessions on running containers: container state improper"
    failure = classify(CommandFailed(["kind", "get", "kubeconfig", "--name=dev"], words, 1))
    assert failure.reason is Reason.KUBECONFIG_UNAVAILABLE
    assert failure.message == "The control-plane container is stopped. Start it."


def test_name_that_was_not_found_at_first_is_not_the_cause_of_a_later_failure():
    early = "I1203 12:22:00.0 1 token.go:1] lookup dev-control-plane on 192.168.1.1:53: no such host\n"
    later = "I1203 12:23:00.0 1 round_trippers.go:632] Response 200 OK\n" * 300
    failure = create(f"ERROR: failed to join node with kubeadm: x\n\nCommand Output: {early}{later}error: odd\n")
    assert failure.reason is Reason.KUBEADM_FAILED
    assert "odd" in failure.message


@pytest.mark.parametrize(
    "last",
    [
        "",
        "\tk8s.io/kubernetes/cmd/kubeadm/app/cmd/join.go:181\n",
        'time="2026-06-25T10:00:00Z" level=warning msg="\\"/\\" is not a shared mount"\n',
        "main.main\n",
        "W1203 12:21:53.690920     170 x.go:112] [config] WARNING: Ignored configuration document with X\n",
    ],
)
def test_warnings_and_stack_traces_are_never_the_cause(last):
    warning = "W1203 12:21:53.690920     170 x.go:112] [config] WARNING: Ignored configuration document with X\n"
    head = "ERROR: failed to create cluster: failed to join node with kubeadm: x\n\nCommand Output: "
    trouble = "couldn't validate the identity of the API Server"
    assert f": {trouble}. " in create(f"{head}{warning}{trouble}\n{warning}{last}").message
    # The last line of kubeadm's own log that reports an error.
    chatter = f"I1203 12:22:00.000001     170 token.go:1] Retrying due to error: {trouble}\n"
    assert f"error: {trouble}. " in create(f"{head}{warning}{chatter}{warning}{last}").message


READING_THE_VERSION = (
    "ERROR: failed to create cluster: failed to generate kubeadm config content: failed to get kubernetes version from "
    'node: failed to get file: command "docker exec --privileged dev-control-plane cat /kind/version" failed with '
    "error: exit status 1\n\n"
)


@pytest.mark.parametrize(
    ("output", "reason", "part"),
    [
        (
            "ERROR: failed to create cluster: failed to get docker info: x\n\nCommand Output: failed to connect to the "
            "docker API at unix:///var/run/docker.sock; check if the path is correct and if the daemon is running: "
            "dial unix /var/run/docker.sock: connect: no such file or directory",
            Reason.ENGINE_UNREACHABLE,
            "does not answer",
        ),
        (
            READING_THE_VERSION + "Command Output: v1.36.3\n"
            "read tcp 10.0.0.2:60134->10.0.0.7:2376: read: connection reset by peer",
            Reason.ENGINE_UNREACHABLE,
            "was lost while kind worked: connection reset by peer",
        ),
        (
            READING_THE_VERSION + "Command Output: cat: /kind/version: Input/output error",
            Reason.CREATION_FAILED,
            "Input/output error",
        ),
        (
            "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
            Reason.ENGINE_UNREACHABLE,
            "group docker",
        ),
        (
            "Cannot connect to Podman. Please verify your connection to the Linux system using `podman system "
            "connection list`, or try `podman machine init` and `podman machine start`",
            Reason.ENGINE_UNREACHABLE,
            "does not answer",
        ),
        (
            "Error response from daemon: client version 1.52 is too new. Maximum supported API version is 1.41",
            Reason.ENGINE_UNREACHABLE,
            "incompatible API versions",
        ),
        (
            'unable to resolve docker endpoint: context "lab": context not found: open /root/.docker/contexts/meta/x',
            Reason.ENGINE_UNREACHABLE,
            "docker context",
        ),
        (
            "docker: Error response from daemon: failed to set up container networking: driver failed programming "
            "external connectivity on endpoint dev-control-plane (0123456789ab): failed to bind host port for "
            "0.0.0.0:8080:172.18.0.2:80/tcp: address already in use",
            Reason.PORT_CONFLICT,
            "Host port 8080 is taken",
        ),
        (
            "docker: Error response from daemon: Ports are not available: exposing port TCP 0.0.0.0:80 -> 127.0.0.1:0: "
            "listen tcp 0.0.0.0:80: bind: address already in use",
            Reason.PORT_CONFLICT,
            "Host port 80 is taken",
        ),
        (
            "Error: cannot listen on the TCP port: listen tcp4 :443: bind: address already in use",
            Reason.PORT_CONFLICT,
            "Host port 443 is taken",
        ),
        (
            "docker: Error response from daemon: failed to bind host port 192.0.2.7:20001/tcp: listen tcp4 "
            "192.0.2.7:20001: bind: cannot assign requested address",
            Reason.PORT_CONFLICT,
            "has no address 192.0.2.7",
        ),
        (
            "ERROR: failed to create cluster: failed to get port for API server: listen tcp [fd00::7]:0: bind: cannot "
            "assign requested address",
            Reason.PORT_CONFLICT,
            "have no free port left",
        ),
        (
            'Error: rootlessport cannot expose privileged port 80, add "net.ipv4.ip_unprivileged_port_start=80"',
            Reason.PORT_CONFLICT,
            "above 1023",
        ),
        (
            'Error: creating container storage: the container name "dev-control-plane" is already in use by '
            "0123456789ab. You have to remove that container to be able to reuse that name: the name is taken",
            Reason.NAME_CONFLICT,
            "dev-control-plane",
        ),
        (
            'ERROR: failed to create cluster: failed to pull image "kindest/node:v1": command "docker pull" failed\n\n'
            "Command Output: Error response from daemon: manifest for kindest/node:v1 not found: manifest unknown",
            Reason.IMAGE_NOT_FOUND,
            "does not exist, or it needs a login",
        ),
        (
            'ERROR: failed to create cluster: failed to pull image "kindest/node:v1": command "docker pull" failed\n\n'
            "Command Output: toomanyrequests: You have reached your unauthenticated pull rate limit.",
            Reason.IMAGE_NOT_FOUND,
            "its pull rate limit is reached",
        ),
        (
            'ERROR: failed to create cluster: failed to pull image "kindest/node:v1": command "docker pull" failed\n\n'
            "Command Output: no matching manifest for linux/riscv64 in the manifest list entries",
            Reason.IMAGE_NOT_FOUND,
            "processor",
        ),
        (
            'ERROR: failed to create cluster: failed to pull image "kindest/node:v1": command "docker pull" failed\n\n'
            "Command Output: failed to register layer: write /usr/bin/x: no space left on device",
            Reason.OUT_OF_DISK,
            "disk",
        ),
        (
            "Failed to add watch: inotify_add_watch /run: no space left on device",
            Reason.INOTIFY_LIMIT,
            "inotify limits",
        ),
        ("Failed to create inotify object: Too many open files", Reason.INOTIFY_LIMIT, "inotify limits"),
        ("fork/exec /usr/bin/docker: cannot allocate memory", Reason.OUT_OF_MEMORY, "out of memory"),
        (
            "ERROR: failed to create cluster: failed to ensure docker network: command failed\n\nCommand Output: Error "
            "response from daemon: all predefined address pools have been fully subnetted",
            Reason.CREATION_FAILED,
            "all predefined address pools have been fully subnetted. Remove networks",
        ),
        (
            "ERROR: failed to create cluster: running kind with rootless provider requires cgroup v2, see "
            "https://kind.sigs.k8s.io/docs/user/rootless/",
            Reason.CREATION_FAILED,
            "only with cgroup v2",
        ),
        (
            "failed to init node with kubeadm: x\nCommand Output: [preflight] Some fatal errors occurred:\n"
            "\t[ERROR NumCPU]: the number of available CPUs 1 is less than the required 2\n"
            "\t[ERROR Mem]: the system RAM is too small\n",
            Reason.KUBEADM_FAILED,
            "NumCPU: the number of available CPUs 1 is less than the required 2; Mem: the system RAM",
        ),
        (
            "failed to create cluster: x\nCommand Output: docker: Error response from daemon: No command specified.\n",
            Reason.INVALID_CONFIG,
            "not a node image of kind",
        ),
        (
            "failed to join node with kubeadm: x\nCommand Output: W1122 13:27:45.43 152 x.go:1] hello\n",
            Reason.KUBEADM_FAILED,
            "hello",
        ),
    ],
)
def test_documented_failure_is_recognised(output, reason, part):
    failure = create(output)
    assert failure.reason is reason
    assert part in failure.message


@pytest.mark.rule("C18")
@pytest.mark.parametrize(
    ("recording", "changes"),
    [
        ("create-port-taken", {"08464e7a9fd0": "a61d0fce1234", "40275": "34567", "31771db8adf5": "beefbeefbeef"}),
        ("create-bad-mount", {"9fd338e95ef3": "a61d0fce1234", "41091": "45678"}),
        ("create-kubeadm-flag", {"13:31": "09:59", "1122": "0101", "172.18.0.2": "172.18.0.9"}),
        ("get-kubeconfig-stopped", {"e634207c8aa9": "a61d0fce1234"}),
        ("create-image-absent", {"192.0.2.1": "198.51.100.1"}),
    ],
)
def test_message_does_not_depend_on_the_run(recording, changes):
    error = recorded(recording)
    output = error.output
    for old, new in changes.items():
        assert old in output
        output = output.replace(old, new)
    assert classify(CommandFailed(error.command, output, error.exit_status)) == classify(error)


@pytest.mark.rule("C18")
def test_the_same_broken_control_plane_is_told_in_the_same_words():
    # kubeadm ended these two with different last words.
    flag, gate = classify(recorded("create-kubeadm-flag")), classify(recorded("create-feature-gate"))
    assert flag.message.replace("rec-flag", "rec-gate") == gate.message


@pytest.mark.rule("C18")
def test_port_that_kind_chose_itself_is_not_named():
    message = create("listen tcp4 127.0.0.1:43817: bind: address already in use").message
    assert message.startswith("A host port is taken")


@pytest.mark.parametrize(
    "varying",
    [
        "2025-01-02T03:04:05.678Z",
        "2025/01/02 03:04:05",
        "1m30.5s",
        "250ms",
        "91454501081c1965d2f9d34fbdf2164960f4e6d1cb9ce0247727f624303876c0",
        "sha256:91454501081c1965d2f9d34fbdf2164960f4e6d1cb9ce0247727f624303876c0",
        "91454501081c",
        "01234567-89ab-cdef-0123-456789abcdef",
        "/run/capk/calls-abc_def1/call-x12345/kubeconfig",
    ],
)
def test_what_varies_is_left_out_of_unrecognised_output(varying):
    assert varying not in create(f"ERROR: failed to create cluster: something new {varying} happened").message


def test_colours_and_log_heads_are_left_out():
    message = create("\x1b[31mERROR\x1b[0m: odd\nE1122 13:27:45.436345     152 init.go:262] what it was").message
    assert "\x1b" not in message
    assert "what it was" in message
    assert "init.go" not in message


SECRETS = [
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\nq8Zs3cret\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7q8Zs3cret",
    "    client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQo=",
    "    client-certificate-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1J",
    "    token: eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMyJ9.eyJzdWIi",
    '{"token": "sq8Zs3cretcret", "password":"hunter22222"}',
    "kubeadm join --token abcdef.0123456789abcdef --certificate-key 0011223344556677aabbccddeeff",
    "Authorization: Bearer sq8Zs3cretcret",
    "Get https://user:hunter22222@registry.example/v2/: denied",
    "password=hunter22222",
    "HTTPS_PROXY=http://me:hunter22222@proxy:3128",
    "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlFcEFJQkFBS0NBUUVBN3E4WnMzY3JldA==",
]
PARTS = ["MIIEpAIBAAKC", "Zs3cret", "LS0tLS1", "eyJhbGci", "hunter2", "0123456789abcdef", "0011223344556677"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "frame",
    [
        "ERROR: failed to create cluster: odd\n\nCommand Output: {}",
        "ERROR: failed to create cluster: {}",
        "{}",
        "failed to init node with kubeadm\nerror: odd {}",
        "unable to decode config: {}",
        'node(s) already exist for a cluster with the name "{}"',
    ],
)
def test_secrets_never_reach_a_message(frame, secret):
    message = create(frame.format(secret)).message
    assert not [part for part in PARTS if part in message]


def test_unrecognised_failure_of_each_command_has_its_reason():
    def reason(*command: str) -> Reason:
        return classify(CommandFailed(command, "something new", 1)).reason

    assert reason("kind", "create", "cluster") is Reason.CREATION_FAILED
    assert reason("python", "-m", "kind", "delete", "cluster") is Reason.DELETION_FAILED
    assert reason("kind", "get", "kubeconfig") is Reason.KUBECONFIG_UNAVAILABLE
    assert reason("kind", "get", "clusters") is Reason.COMMAND_FAILED
    assert reason("docker", "ps") is Reason.COMMAND_FAILED


def test_silent_failure_tells_how_it_ended():
    command = ["kind", "create", "cluster", "--name=dev", "--kubeconfig=/run/x/kubeconfig"]
    assert classify(CommandFailed(command, "", 2)).message == (
        "Could not create the kind cluster: it ended with exit status 2. To see more, run "
        "`kind create cluster --name=dev`."
    )
    assert "ended by signal 9" in classify(CommandFailed(command, "", -9)).message


def test_long_output_is_told_by_its_end():
    message = create("\n".join(f"line {n} {'x' * 700}" for n in range(90))).message
    assert len(message) <= MAX_MESSAGE
    assert "line 87" in message
    assert message.endswith("To see more, run `kind create cluster --name=dev`.")


def test_missing_kind_and_missing_engine_are_told_apart():
    kind = classify(CommandMissing(["kind", "create", "cluster"], "No such file or directory"))
    assert kind.reason is Reason.KIND_COMMAND_MISSING
    assert "The command kind cannot be used: No such file or directory. Install kind" in kind.message
    assert classify(CommandMissing(["/opt/kind", "version"], "x")).reason is Reason.KIND_COMMAND_MISSING
    assert classify(CommandMissing(["docker", "ps", "--all"], "x")).reason is Reason.ENGINE_UNREACHABLE


def test_creation_past_its_deadline_names_the_last_step():
    output = (RECORDED / RELEASES[0] / "create-one-node.txt").read_text().partition(" ✓ Starting control-plane")[0]
    failure = classify(CommandTimedOut(["kind", "create", "cluster"], output, 900))
    assert failure.reason is Reason.TIMEOUT
    assert "within 900 s. The last step was: Starting control-plane. Check whether" in failure.message
    assert "within 900 s. Check" in classify(CommandTimedOut(["kind", "create", "cluster"], "", 900)).message


def test_other_calls_past_their_deadline():
    assert classify(CommandTimedOut(["kind", "delete", "cluster"], "", 300)).reason is Reason.TIMEOUT
    hanging = classify(CommandTimedOut(["kind", "get", "clusters"], "", 60))
    assert hanging.reason is Reason.ENGINE_UNREACHABLE
    assert "did not answer within 60 s (to `kind get clusters`)" in hanging.message


ONLY_AN_EDIT_MENDS = {
    "create-unknown-field",
    "create-image-invalid",
    "create-unknown-version",
    "create-bad-yaml",
    "create-bad-name",
    "create-no-control-plane",
    "create-invalid-values",
    "create-port-twice",
    "create-bad-patch",
    "create-bad-containerd-patch",
    "create-kubeadm-refuses",
}


def test_only_what_an_edit_of_the_object_mends_is_not_tried_again():
    files = [file for release in RELEASES for file in (RECORDED / release).glob("*.txt")]
    failures = {file.stem for file in files if read(file).exit_status != 0}
    assert {name for name in failures if not classify(recorded(name)).retry} == ONLY_AN_EDIT_MENDS


def test_diagnosis_is_made_once_for_each_error(monkeypatch):
    made = []
    prepared = output.prepared
    monkeypatch.setattr(output, "prepared", lambda text: made.append(text) or prepared(text))
    error = recorded("create-kubeadm-flag")
    first = classify(error)
    assert all(classify(error) is first for _ in range(100))
    assert len(made) == 1
    # Logs are kept after the first look: the message names the file from then on.
    error.logs, error.config = "/logs/dev", "/logs/dev/kind.yaml"
    assert "--config=/logs/dev/kind.yaml" in classify(error).message
    assert len(made) == 2


def test_command_in_the_message_can_be_run_as_it_stands():
    command = ["kind", "create", "cluster", "--name=dev", "--config=-", "--wait=120s", "--retain"]
    error = CommandFailed([*command, "--kubeconfig=/run/capk/calls-a/call-b/kubeconfig"], "something new", 1)
    error.logs, error.config = "/var/lib/my logs/dev", "/var/lib/my logs/dev/kind.yaml"
    message = classify(error).message
    _, quoted, _ = message.split("`")
    assert shlex.split(quoted) == [*command[:4], f"--config={error.config}", *command[5:]]
    error.logs, error.config = "", ""
    assert "with the cluster's kind configuration on its standard input." in classify(error).message


WORDS = st.sampled_from(
    [
        "ERROR: ",
        "failed to create cluster: ",
        "\nCommand Output:",
        'failed to pull image "x"',
        "{cause}",
        "{0}",
        "\n",
        "failed to init node with kubeadm",
        "error: error execution phase wait-control-plane: ",
        "error: ",
        "[ERROR X]: ",
        " • a  ...\n",
        "address already in use",
        "listen tcp :80",
        "no space left on device",
        "\x1b[31m",
        "-----BEGIN X-----",
        "\ufffd",
        "token: ",
    ]
)


@given(st.lists(st.one_of(WORDS, texts(max_size=20)), max_size=30).map("".join), st.integers(-64, 255))
def test_any_output_gives_one_short_paragraph(output, status):
    for error in (
        CommandFailed(["kind", "create", "cluster"], output, status),
        CommandTimedOut(["kind", "create", "cluster"], output, 60),
    ):
        failure = classify(error)
        assert 0 < len(failure.message) <= MAX_MESSAGE
        assert failure.message == " ".join(failure.message.split())
        assert failure.message.endswith(".")
        assert classify(error) == failure


HOSTILE = [
    "-----BEGIN A-----",
    "-----BEGIN ",
    "-----END ",
    "statfs ",
    "path ",
    "path /a is mounted on ",
    'failed to pull image "x" ',
    "failed to init node with kubeadm ",
    "failed to join node with kubeadm\n",
    "failed to join node with kubeadm lookup a-control-plane on ",
    "podman ps ",
    'exec: "',
    "inotify ",
    "listen tcp ",
    "address already in use bind for ",
    "token ",
    "token: ",
    "--a",
    "--token",
    "secret\\",
    "basic ",
    "client-key-data ",
    "LS0tLS1CRUdJTi",
    "abcdef.",
    "a.a-",
    "a/b.",
    "a" * 50,
    "ab12",
    "+a",
    "1",
    "1h",
    "1.1h",
    "/calls-",
    "://",
    "://x",
    "\n",
    "\x1b[1;",
    "ERROR: ",
    "error: error execution phase ",
    "[ERROR x]: ",
    " • a  ...\n",
    "W1203 12:21:53.1 170 x.go:1] [config] WARNING: Ignored\n",
    "I1203 12:21:53.1 170 x.go:1] failed\n",
    "lorem ipsum ",
    "ab12cd34ef56 ",
    "\ufffd",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.timeout(20)
def test_hostile_output_costs_no_more_than_its_length(text):
    def read_output(size: int) -> None:
        error = CommandFailed(["kind", "create", "cluster"], (text * (size // len(text) + 1))[:size], 1)
        assert classify(error).message

    assert_linear(read_output, 128 * 1024)


ENGINE_FAILURES = {
    Reason.ENGINE_UNREACHABLE,
    Reason.ENGINE_UNSUPPORTED,
    Reason.KIND_COMMAND_MISSING,
    Reason.OUT_OF_DISK,
    Reason.OUT_OF_MEMORY,
    Reason.INOTIFY_LIMIT,
}


@pytest.mark.parametrize(
    ("recording", "reason", "part", "retry"),
    [
        ("node-exists", Reason.NAME_CONFLICT, "already has a Node named rec-worker-w2, and it is Ready", True),
        ("refused-label", Reason.INVALID_CONFIG, "labels in the namespaces kubernetes.io and k8s.io", False),
        ("unknown-kubelet-flag", Reason.KUBEADM_FAILED, "unknown flag: --no-such-flag. Correct kubeadm", False),
    ],
)
def test_cause_of_a_failed_join_is_found(recording: str, reason: Reason, part: str, retry: bool) -> None:
    failure = classify(read(RECORDED / "worker" / f"{recording}.txt"))
    assert failure.reason is reason
    assert part in failure.message
    assert failure.retry is retry


@pytest.mark.parametrize(
    ("printed", "reason", "part"),
    [
        (
            'error: could not find a JWS signature in the cluster-info ConfigMap for token ID "abcdef"',
            Reason.KUBEADM_FAILED,
            "tries again with a new token",
        ),
        (
            'error: token id "abcdef" is invalid for this cluster or it has expired. Use "kubeadm token create"',
            Reason.KUBEADM_FAILED,
            "tries again with a new token",
        ),
        ("[kubelet-check] The kubelet is not healthy after 4m0s", Reason.KUBEADM_FAILED, "Check kubeadmConfigPatches"),
        ("error: something else", Reason.KUBEADM_FAILED, "kubeadm cannot join the worker: something else. Check"),
        ("write /x: no space left on device", Reason.OUT_OF_DISK, "The disk of the container engine is full"),
    ],
)
def test_words_of_kubeadm_about_a_worker_are_explained(printed: str, reason: Reason, part: str) -> None:
    words = "failed to join the worker"
    output = f"{words}; the kubelet printed:\n\nERROR: {words}: exit status 1\n\nCommand Output:\n{printed}"
    failure = classify(CommandFailed(["docker", "exec", "dev-1", "kubeadm", "join"], output, 1))
    assert (failure.reason, failure.retry) == (reason, True)
    assert part in failure.message


def test_name_of_a_worker_that_a_foreign_container_has_is_told() -> None:
    output = 'failed to create the worker: docker: Error response: The container name "/dev-1" is already in use by x'
    failure = classify(CommandFailed(["docker", "run"], output, 125))
    assert failure.reason is Reason.NAME_CONFLICT
    assert "A container named dev-1 already exists that was not made for this object" in failure.message


def test_command_in_a_node_that_hangs_does_not_blame_the_engine() -> None:
    failure = classify(CommandTimedOut(["docker", "--tls", "exec", "--interactive", "dev-1", "cat", "/x"], "", 15))
    assert failure.reason is Reason.COMMAND_FAILED
    assert "A command in dev-1 did not end within 15 s" in failure.message
    assert "restart" not in failure.message


@pytest.mark.parametrize("error", [CommandFailed, CommandTimedOut])
def test_script_that_failed_in_a_node_is_shown_as_a_shell_there(error) -> None:
    """In one line, as messages are, it would be another script."""
    failure = classify(error(["docker", "exec", "dev-1", "sh", "-c", "set -eu\ncat $1\n", "name", "/x"], "", 1))
    assert "`docker exec --interactive --tty dev-1 sh`" in failure.message
    assert "set -eu" not in failure.message


def test_join_that_takes_too_long_does_not_blame_the_engine() -> None:
    failure = classify(CommandTimedOut(["docker", "exec", "a" * 64, "kubeadm", "join", "--config", "/x"], "", 300))
    assert failure.reason is Reason.TIMEOUT
    assert "kubeadm could not join the worker within 300 s" in failure.message


@pytest.mark.parametrize("file", sorted(RECORDED.glob("**/*.txt")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_failures_of_the_engine_and_no_others_end_with_the_hint_at_the_doctor(file):
    failure = classify(read(file))
    assert failure.message.endswith(DOCTOR_HINT) is (failure.reason in ENGINE_FAILURES)
    assert failure.message.count(DOCTOR_HINT) <= 1


def test_missing_command_and_silent_engine_end_with_the_hint_too():
    for error in (CommandMissing(["kind", "version"], "not found"), CommandTimedOut(["docker", "ps"], "", 60)):
        assert classify(error).message.endswith(DOCTOR_HINT)
        assert "capk doctor" not in diagnose(error).message


def test_long_message_keeps_the_hint():
    message = classify(CommandMissing(["kind", "version"], "x" * 5000)).message
    assert len(message) <= MAX_MESSAGE
    assert message.endswith(DOCTOR_HINT)


LISTING = (
    "using docker due to KIND_EXPERIMENTAL_PROVIDER\n"
    'ERROR: failed to list clusters: command "docker ps -a" failed with error: exit status 1\n\n'
    'Command Output: error during connect: Get "{url}/v1.50/containers/json?all=1": '
)
OVER_SSH = LISTING.format(url="http://docker.example.com") + (
    "command [ssh -o ConnectTimeout=30 -T -l kind -- 10.0.0.7 docker system dial-stdio] has exited with exit status "
    "255, make sure the URL is valid, and Docker 18.09 or later is installed on the remote host: stderr="
)
OVER_TLS = LISTING.format(url="https://10.0.0.7:2376")


@pytest.mark.parametrize(
    ("printed", "part"),
    [
        (
            f"{OVER_SSH}@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@\n"
            "Host key for 10.0.0.7 has changed and you have requested strict checking.\n"
            "Host key verification failed.\n",
            "ssh does not accept the host key",
        ),
        (
            f"{OVER_SSH}kind@10.0.0.7: Permission denied (publickey,password,keyboard-interactive).\n",
            "The engine's machine does not accept the ssh key",
        ),
        (
            f"{OVER_TLS}tls: failed to verify certificate: x509: certificate signed by unknown authority\n",
            "each other's certificates: certificate signed by unknown authority. The certificate of the engine",
        ),
        (
            f"{OVER_TLS}tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to "
            "match localhost\n",
            "wanted to match localhost. The certificate of the engine must name the host",
        ),
        (f"{OVER_TLS}remote error: tls: unknown certificate authority\n", "unknown certificate authority"),
        (f"{OVER_TLS}dial tcp 10.0.0.7:2376: connect: connection refused\n", "does not answer. Start it"),
    ],
)
def test_engine_on_another_machine_that_does_not_let_the_provider_in_is_explained(printed: str, part: str) -> None:
    """Recorded with docker 28 and OpenSSH 9.2."""
    failure = classify(CommandFailed(["kind", "get", "clusters"], printed, 1))
    assert failure.reason is Reason.ENGINE_UNREACHABLE
    assert part in failure.message


def test_certificate_of_a_registry_is_not_taken_for_that_of_the_engine() -> None:
    printed = (
        'ERROR: failed to create cluster: failed to pull image "a/b:c": command "docker pull a/b:c" failed with error: '
        "exit status 1\n\nCommand Output: Error response from daemon: Get https://a/v2/: tls: failed to verify "
        "certificate: x509: certificate signed by unknown authority"
    )
    assert create(printed).reason is Reason.IMAGE_NOT_FOUND
