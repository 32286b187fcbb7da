"""Findings in their three output formats, and the command around them."""

import json
from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from capk.api.names import Reason
from capk.cli import app
from capk.doctor import examination
from capk.doctor.finding import failure, ok, skipped, warning
from capk.doctor.show import print_findings, summary, to_json
from capk.settings import Settings

FINDINGS = [
    ok("kind command", "kind v0.33.0"),
    warning("memory", "1.0 GiB [bold]available[/bold].", "Give it more.", Reason.OUT_OF_MEMORY),
    failure("disk", "0.5 GiB free in /var.", "Free space."),
    skipped("CRDs", "The API server has not answered."),
]


def printed(*, terminal: bool) -> str:
    text = StringIO()
    print_findings(FINDINGS, Console(file=text, force_terminal=terminal, width=70))
    return text.getvalue()


def test_without_a_terminal_each_finding_is_a_plain_line_with_its_remedy() -> None:
    assert printed(terminal=False).splitlines() == [
        "ok       kind command: kind v0.33.0",
        "warning  memory: 1.0 GiB [bold]available[/bold].",
        "         → Give it more. See also `capk explain OutOfMemory`.",
        "failure  disk: 0.5 GiB free in /var.",
        "         → Free space.",
        "skipped  CRDs: The API server has not answered.",
        "1 failure and 1 warning.",
    ]


def test_on_a_terminal_findings_are_a_table_and_never_markup() -> None:
    text = printed(terminal=True)
    assert "\x1b[" in text
    assert "[bold]available[/bold]" in text
    assert all(finding.check in text for finding in FINDINGS)


def test_json_has_every_finding_and_the_verdict() -> None:
    document = json.loads(to_json(FINDINGS, "0.1.0"))
    assert (document["version"], document["ok"]) == ("0.1.0", False)
    assert document["checks"][1] == {
        "check": "memory",
        "status": "warning",
        "found": "1.0 GiB [bold]available[/bold].",
        "remedy": "Give it more.",
        "reason": "OutOfMemory",
    }
    assert json.loads(to_json(FINDINGS[:2], "0.1.0"))["ok"] is True


@pytest.mark.parametrize(
    ("findings", "text"),
    [
        (FINDINGS, "1 failure and 1 warning."),
        (FINDINGS[1:2] * 2, "2 warnings."),
        (FINDINGS[:1], "No problems found."),
        (FINDINGS[3:], "No problems found."),
    ],
)
def test_summary_counts_what_needs_attention(findings, text) -> None:
    assert summary(findings) == text


class TestCommand:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, bool]]:
        """Records the arguments of gathering; the test determines the findings."""
        asked: list[tuple[Settings, bool]] = []

        async def gather(settings: Settings, *, machine_only: bool) -> None:
            asked.append((settings, machine_only))

        monkeypatch.setattr(examination, "gather", gather)
        monkeypatch.setattr(examination, "findings", lambda facts: FINDINGS)
        return asked

    def test_failed_check_ends_with_status_1(self, asked) -> None:
        result = CliRunner().invoke(app, ["doctor", "--machine-only", "--kind-command=sh -c kind", "--engine-command="])
        assert result.exit_code == 1
        assert "failure  disk" in result.stdout
        ((settings, machine_only),) = asked
        assert (settings.kind_command, settings.engine_command, machine_only) == (("sh", "-c", "kind"), (), True)

    def test_warnings_alone_end_with_status_0(self, asked, monkeypatch) -> None:
        monkeypatch.setattr(examination, "findings", lambda facts: FINDINGS[:2])
        assert CliRunner().invoke(app, ["doctor"]).exit_code == 0

    def test_json_is_the_whole_output(self, asked) -> None:
        result = CliRunner().invoke(app, ["doctor", "--output", "json"], env={"COLUMNS": "20"})
        assert [one["status"] for one in json.loads(result.stdout)["checks"]] == ["ok", "warning", "failure", "skipped"]

    def test_value_that_makes_no_sense_ends_with_status_2(self, asked) -> None:
        result = CliRunner().invoke(app, ["doctor", "--kind-command='kind"])
        assert (result.exit_code, asked) == (2, [])
        assert result.stderr.startswith("capk: --kind-command: ")

    def test_options_mean_the_same_as_for_the_provider(self) -> None:
        from typer.main import get_command

        commands = get_command(app).commands  # type: ignore[attr-defined]
        run, doctor = ({one.name: one for one in commands[name].params} for name in ("run", "doctor"))
        shared = run.keys() & doctor.keys()
        assert {"kind_command", "engine_command", "node_image", "kubeconfig", "work_dir"} <= shared
        for name in shared - {"help"}:
            mine, theirs = doctor[name], run[name]
            assert (mine.opts, mine.envvar, mine.default, mine.help) == (
                theirs.opts,
                theirs.envvar,
                theirs.default,
                theirs.help,
            )
