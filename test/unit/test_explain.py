"""`capk explain`: the page of a reason, all reasons, and unknown names."""

from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from capk.api.names import Reason
from capk.cli import app
from capk.diagnosis.reasons import BY_REASON
from capk.explain import print_list, print_page


def explain(*arguments: str):
    return CliRunner().invoke(app, ["explain", *arguments], env={"COLUMNS": "40"})


def printed(show, *, terminal: bool) -> str:
    text = StringIO()
    show(Console(file=text, force_terminal=terminal, width=60))
    return text.getvalue()


@pytest.mark.parametrize("reason", Reason)
def test_page_of_every_reason_is_printed_whole(reason: Reason) -> None:
    result = explain(reason.upper())
    page = BY_REASON[reason]
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:2] == [reason, page.meaning]
    assert all(text in result.stdout.splitlines() for text in (page.cause, page.remedy))


def test_without_a_terminal_there_are_neither_colours_nor_broken_lines() -> None:
    assert "\x1b" not in explain("NotReachable").stdout
    assert "\x1b" not in explain().stdout
    assert len(explain().stdout.splitlines()) == len(Reason)


def test_on_a_terminal_headings_are_bold_and_code_is_coloured() -> None:
    text = printed(lambda console: print_page(BY_REASON[Reason.WAITING_FOR_CLUSTER], console), terminal=True)
    assert "\x1b[1mWhat to do\x1b[0m" in text
    assert "\x1b[32m`infrastructureRef`\x1b[0m" in text


def test_on_a_terminal_all_reasons_are_listed_by_group() -> None:
    text = printed(print_list, terminal=True)
    assert all(reason in text for reason in Reason)
    assert [text.index(title) for title in ("Waiting", "In progress", "Failed", "All is well")]


def test_unknown_reason_fails_with_the_nearest_names() -> None:
    result = explain("ImageNotFond")
    assert (result.exit_code, result.stdout) == (2, "")
    guesses = "ImageNotFound or EngineImageNotFound"
    assert result.stderr == f"capk: 'ImageNotFond' is not a reason of a condition. Did you mean {guesses}?\n"


def test_name_that_is_like_nothing_leads_to_the_list() -> None:
    result = explain("xyzzy")
    assert result.exit_code == 2
    assert "`capk explain` lists all reasons" in result.stderr
