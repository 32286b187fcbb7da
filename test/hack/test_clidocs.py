"""docs/cli.md has the texts of the command, and is the same on every machine."""

import pytest
import typer
from typer.main import get_command

from capk.cli import app
from hack import clidocs
from hack.clidocs import main, render


def test_page_is_up_to_date() -> None:
    assert main(["--check"]) == 0


def test_page_that_was_edited_by_hand_is_reported(tmp_path, monkeypatch, capsys) -> None:
    page = tmp_path / "cli.md"
    page.write_text(render().replace("capk doctor", "capk server"))
    monkeypatch.setattr(clidocs, "ROOT", tmp_path)
    monkeypatch.setattr(clidocs, "PAGE", page)
    assert main(["--check"]) == 1
    assert "run `make generate`" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_every_option_of_every_command_is_there() -> None:
    page = render()
    for name, command in get_command(app).commands.items():
        for parameter in getattr(command, "params", ()):
            assert parameter.name == "help" or not parameter.opts[0].startswith("-") or f"`{parameter.opts[0]}`" in page
        assert f"## `capk {name}" in page


def test_page_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = render()
    for name in ("CAPK_KIND_COMMAND", "CAPK_WORK_DIR", "KUBECONFIG", "TMPDIR", "COLUMNS"):
        monkeypatch.setenv(name, "7")
    assert render() == before


def test_groups_of_options_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = typer.Typer()

    @mixed.command()
    def one(
        first: str = typer.Option("a", help="First.", rich_help_panel="A"),
        second: bool = typer.Option(False, "--second", help="Second."),
        third: str = typer.Option("", help="Third.", rich_help_panel="A", show_default="nothing"),
    ) -> None:
        """Do one thing."""

    @mixed.command()
    def two() -> None:
        """Do another."""

    monkeypatch.setattr(clidocs, "app", mixed)
    page = render()
    assert page.index("`--second`") < page.index("### A") < page.index("`--first`") < page.index("`--third`")
    assert page.count("### A") == 1
    assert "| `--third` TEXT | Third. | nothing |" in page
    assert "## `capk two`\n\nDo another.\n\n```\ncapk two\n```" in page
