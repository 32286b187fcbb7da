"""From flags to settings; an invalid flag causes no request."""

import importlib.metadata
import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from capk.cli import app
from capk.manager import process
from capk.settings import Settings, seconds

DISTRIBUTION = "cluster-api-provider-kind"
FLAGS = (
    "--workers=0",
    "--workers=-3",
    "--workers=many",
    "--max-concurrent-creates=0",
    "--max-concurrent-creates=-1",
    "--sync-period=0",
    "--sync-period=nan",
    "--inventory-period=-3s",
    "--inventory-period=soon",
    "--health-period=0s",
    "--health-period=inf",
    "--create-timeout=0",
    "--delete-timeout=-1m",
    "--wait-for-nodes=-1s",
    "--endpoint=somewhere",
    "--log-level=loud",
    "--log-format=xml",
    "--health-addr=9440",
    "--health-addr=:99999",
    "--diagnostics-address=nowhere",
    "--allowed-host-paths=srv",
    "--kind-command=",
    "--kind-command='kind",
    "--engine-command='docker",
    "--engine-namespace=a/b",
)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of each provider that was started."""
    started: list[Settings] = []

    async def run_provider(settings: Settings) -> None:
        started.append(settings)

    monkeypatch.setattr(process, "run_provider", run_provider)
    return started


def run(*flags: str, **environment: str) -> Any:
    return CliRunner().invoke(app, ["run", *flags], env={"COLUMNS": "200", "NO_COLOR": "1", **environment})


@pytest.mark.parametrize("flag", FLAGS)
def test_flag_that_makes_no_sense_ends_with_status_2_and_is_named(flag: str, started: list[Settings]) -> None:
    result = run(flag)
    assert result.exit_code == 2
    assert flag.partition("=")[0] in result.stderr
    assert "Traceback" not in result.stderr
    assert started == []


def test_value_that_only_we_can_judge_is_one_line(started: list[Settings]) -> None:
    result = run("--sync-period=nan")
    assert result.stderr == ("capk: --sync-period: 'nan' is not a valid duration; use for example 90s, 15m or 1h30m\n")


def test_flags_become_settings(started: list[Settings]) -> None:
    flags = (
        "--kind-command=sh -c 'kind'",
        "--engine-command=",
        "--no-shared-engine",
        "--engine-namespace=engines",
        "--health-period=1m",
        "--wait-for-nodes=0.5s",
        "--log-level=DEBUG",
        "--max-concurrent-creates=3",
        "--allowed-host-paths=/srv,/data",
    )
    assert run(*flags).exit_code == 0
    (settings,) = started
    assert settings.kind_command == ("sh", "-c", "kind")
    assert settings.engine_command == ()
    assert (settings.shared_engine, settings.engine_namespace) == (False, "engines")
    assert settings.health_period_seconds == 60
    assert settings.wait_for_nodes_seconds == 1
    assert settings.log_level == "debug"
    assert settings.max_concurrent_creates == 3
    assert settings.allowed_host_paths == ("/srv", "/data")


def test_no_flag_means_the_defaults(started: list[Settings]) -> None:
    assert run().exit_code == 0
    assert started == [Settings()]


def test_empty_value_means_no_value(started: list[Settings]) -> None:
    names = (
        "kubeconfig",
        "context",
        "namespace",
        "watch-filter",
        "node-image",
        "leader-election-namespace",
        "work-dir",
    )
    assert run(*(f"--{name}=" for name in names)).exit_code == 0
    assert started == [Settings()]


def test_version_is_that_of_the_installed_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"capk {importlib.metadata.version(DISTRIBUTION)}\n")


def test_sources_that_are_not_installed_have_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert CliRunner().invoke(app, ["--version"]).stdout == "capk unknown\n"


HEAVY = ("asyncio", "ssl", "kopf", "kubernetes", "aiohttp", "cryptography", "yaml", "jsonpatch", "prometheus_client")
OURS = ("manager", "plan", "engine", "workload", "runtime", "doctor", "diagnosis", "kindconfig", "explain")
UNWANTED = [*HEAVY, *(f"capk.{name}" for name in OURS)]
# The first one prints a line without the library that draws the help of the others.
SHORT_COMMANDS = [
    ("--version", [*UNWANTED, "rich"]),
    *((arguments, UNWANTED) for arguments in ("--help", "run --help", "doctor --help", "explain --help")),
]


def test_help_loads_nothing_that_only_a_running_command_needs() -> None:
    """One process for all: what one of them loads would be loaded after the later ones too."""
    script = f"""
import sys
from capk.cli import main
for arguments, unwanted in {SHORT_COMMANDS}:
    sys.argv = ["capk", *arguments.split()]
    try:
        main()
    except SystemExit as end:
        print("ended:", arguments, end.code or 0, *(name for name in unwanted if name in sys.modules))
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    ends = [line for line in printed.splitlines() if line.startswith("ended:")]
    assert ends == [f"ended: {arguments} 0" for arguments, _ in SHORT_COMMANDS]
    assert len(printed.splitlines()) > 2 * len(ends)


def test_every_option_is_explained_in_sentences_and_in_a_group() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for option in command.params if name in ("run", "doctor") else ():
            if option.name in ("help", "machine_only", "output"):
                continue
            assert option.rich_help_panel, option.name
            assert option.help.endswith("."), option.name
            assert "Default" not in option.help, option.name


def test_defaults_that_are_shown_are_those_of_the_settings() -> None:
    run_command = get_command(app).commands["run"]  # type: ignore[attr-defined]
    shown = {option.name: option.default for option in run_command.params}
    assert seconds(shown["create_timeout"]) == Settings.create_timeout_seconds
    assert seconds(shown["wait_for_nodes"]) == Settings.wait_for_nodes_seconds
    assert shown["workers"] == Settings.workers
    assert shown["health_addr"] == Settings.health_address


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered_for_each_shell(shell: str) -> None:
    offered = CliRunner().invoke(app, [], prog_name="capk", env={"_CAPK_COMPLETE": f"source_{shell}"})
    assert "_CAPK_COMPLETE" in offered.output
    assert "capk" in offered.output.replace("_CAPK_COMPLETE", "")
