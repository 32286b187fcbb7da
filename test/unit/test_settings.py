"""Settings that depend on where the provider runs, and rejected values."""

import math
from pathlib import Path
from typing import Any

import pytest

from capk import settings
from capk.kube import credentials
from capk.kube.credentials import Credentials
from capk.resources import Resources
from capk.settings import (
    Endpoint,
    InvalidSetting,
    Settings,
    as_duration,
    command_line,
    default_concurrent_creates,
    seconds,
    socket_address,
    whole_seconds,
)


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A pod with a service account; returns the file of its token."""
    token = tmp_path / "token"
    token.write_text("token")
    monkeypatch.setattr(credentials, "TOKEN_FILE", token)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return token


@pytest.mark.parametrize(
    ("in_pod", "allowed", "paths"),
    [
        (True, None, ()),
        (False, None, ("/",)),
        (True, ("/srv",), ("/srv",)),
        (False, (), ()),
        (False, ("/srv",), ("/srv",)),
    ],
)
def test_in_a_pod_no_path_of_the_host_is_mounted_unless_allowed(monkeypatch, pod, in_pod, allowed, paths):
    if not in_pod:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert Settings(allowed_host_paths=allowed).host_paths == paths


def test_provider_of_a_pod_gives_internal_endpoints(pod):
    assert Settings().gives_internal_endpoint
    assert not Settings(endpoint=Endpoint.EXTERNAL).gives_internal_endpoint


@pytest.mark.parametrize("given", ["environment", "kubeconfig", "context", "no token"])
def test_process_in_a_pod_that_does_not_use_its_account_is_as_on_a_machine(monkeypatch, pod, given):
    options: dict[str, Any] = {given: "ci"} if given in ("kubeconfig", "context") else {}
    if given == "environment":
        monkeypatch.setenv("KUBECONFIG", "/home/ci/kubeconfig")
    if given == "no token":
        pod.unlink()
    settings = Settings(**options)
    assert not settings.in_pod
    assert not settings.gives_internal_endpoint
    assert settings.host_paths == ("/",)


@pytest.mark.parametrize("kubeconfig", [None, "/a"])
@pytest.mark.parametrize("context", [None, "here"])
@pytest.mark.parametrize("variable", ["", "/b"])
@pytest.mark.parametrize("host", ["", "10.96.0.1"])
def test_settings_and_credentials_agree_on_what_a_pod_is(monkeypatch, pod, kubeconfig, context, variable, host):
    monkeypatch.setenv("KUBECONFIG", variable)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    settings = Settings(kubeconfig=kubeconfig, context=context)
    assert settings.in_pod is Credentials(kubeconfig, context).use_service_account()


@pytest.mark.parametrize(
    ("resources", "creates"),
    [
        (Resources(8, 31.3), 8),
        (Resources(16, 7.7), 7),
        (Resources(1, 64.0), 2),
        (Resources(4, 0.9), 2),
        (Resources(64, 256.0, limit_gib=0.5), 8),
        (Resources(64, 256.0, limit_gib=4.0), 64),
        (Resources(64, 256.0, limit_gib=0.25), 1),
        (Resources(64, 256.0, limit_gib=0.1), 1),
        (Resources(1, 4.0, limit_gib=0.5), 2),
    ],
    ids=str,
)
def test_parallel_creations_follow_from_cores_and_memory(resources, creates):
    assert default_concurrent_creates(resources) == creates


def test_settings_have_a_default_that_fits_this_machine():
    assert Settings().max_concurrent_creates >= 1


NUMBERS = {
    "workers": "--workers",
    "max_concurrent_creates": "--max-concurrent-creates",
    "sync_period_seconds": "--sync-period",
    "inventory_period_seconds": "--inventory-period",
    "health_period_seconds": "--health-period",
    "create_timeout_seconds": "--create-timeout",
    "delete_timeout_seconds": "--delete-timeout",
}


@pytest.mark.parametrize(("name", "flag"), NUMBERS.items())
@pytest.mark.parametrize("value", [0, -1, -math.inf, math.nan])
def test_numbers_that_make_no_sense_are_refused_by_their_flag(name, flag, value):
    with pytest.raises(InvalidSetting, match=rf"^{flag}: "):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("--sync-period", {"sync_period_seconds": math.inf}),
        ("--health-period", {"health_period_seconds": 1e9}),
        ("--wait-for-nodes", {"wait_for_nodes_seconds": -1}),
        ("--kind-command", {"kind_command": ()}),
        ("--engine-namespace", {"engine_namespace": "Engines"}),
        ("--health-addr", {"health_address": "9440"}),
        ("--diagnostics-address", {"diagnostics_address": "localhost:x"}),
        ("--log-level", {"log_level": "loud"}),
    ],
)
def test_other_settings_that_make_no_sense_are_refused_by_their_flag(flag, values):
    with pytest.raises(InvalidSetting, match=rf"^{flag}: "):
        Settings(**values)


def test_smallest_settings_are_accepted():
    Settings(workers=1, max_concurrent_creates=1, sync_period_seconds=0.1, wait_for_nodes_seconds=0, health_address="")


@pytest.mark.parametrize(
    ("text", "total"),
    [("0", 0), ("7", 7), ("1.5", 1.5), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("250ms", 0.25), (" 2m ", 120)],
)
def test_durations_are_those_of_kubernetes_tools(text, total):
    assert seconds(text) == total


@pytest.mark.parametrize(
    "text", ["", "-5", "-5m", "nan", "inf", "1e999", "1.2.3s", "5 m", "m", "5d", "٣s", "9" * 400, "1m30"]
)
def test_what_is_not_a_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not a valid duration; use for example 90s"):
        seconds(text)


def test_half_a_second_is_not_zero_for_a_command_that_counts_seconds():
    assert whole_seconds("500ms") == 1


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9440", ("", 9440)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:8080", ("::1", 8080)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_addresses_have_a_host_and_a_port(text, address):
    assert socket_address(text) == address


@pytest.mark.parametrize("text", ["9440", ":", ":x", ":65536", "::1:80", "a b:1", "host:-1", ":²", "[::1]", "[x]:1"])
def test_what_is_not_an_address_is_refused(text):
    with pytest.raises(ValueError, match="is not a valid address; use for example :9440"):
        socket_address(text)


def test_open_quotation_is_refused():
    with pytest.raises(ValueError, match="no closing quotation"):
        command_line("kind 'x")


@pytest.mark.parametrize(
    ("number", "text"), [(600, "10m"), (900.0, "15m"), (90, "90s"), (30.0, "30s"), (0.5, "0.5s"), (0, "0s")]
)
def test_duration_is_written_as_it_is_read(number: float, text: str) -> None:
    assert as_duration(number) == text
    assert seconds(text) == number


def test_lease_is_in_the_chosen_namespace_or_that_of_the_pod(monkeypatch, pod, tmp_path) -> None:
    file = tmp_path / "namespace"
    monkeypatch.setattr(settings, "_POD_NAMESPACE", file)
    assert Settings().lease_namespace == "default"
    file.write_text("capkind-system\n")
    assert Settings().lease_namespace == "capkind-system"
    assert Settings(kubeconfig="/somewhere").lease_namespace == "default"
    assert Settings(leader_election_namespace="mine").lease_namespace == "mine"
