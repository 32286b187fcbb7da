"""The reasons in docs/troubleshooting.md are those of the package; the rest of the page does not change."""

from pathlib import Path

import pytest

from capk.api.names import Reason
from hack import reasons
from hack.reasons import BEGIN, END, main, updated


def test_page_is_up_to_date() -> None:
    assert main(["--check"]) == 0


def test_page_that_was_edited_by_hand_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "troubleshooting.md"
    page.write_text(reasons.PAGE.read_text().replace("The name is taken.", "The name is gone."))
    monkeypatch.setattr(reasons, "ROOT", tmp_path)
    monkeypatch.setattr(reasons, "PAGE", page)
    assert main(["--check"]) == 1
    assert "run `make generate`" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_reason_without_a_page_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    others = {reason: page for reason, page in reasons.BY_REASON.items() if reason is not Reason.IMAGE_NOT_FOUND}
    monkeypatch.setattr(reasons, "BY_REASON", others)
    assert main(arguments) == 1
    assert "capk/diagnosis/reasons: ImageNotFound." in capsys.readouterr().err


def test_what_stands_around_the_reasons_stays() -> None:
    page = updated(f"before\n{BEGIN}anything\n{END}after\n")
    assert page.startswith(f"before\n{BEGIN}")
    assert page.endswith(f"{END}after\n")
    assert "anything" not in page
    assert updated(page) == page


def test_page_without_the_marks_is_not_touched() -> None:
    with pytest.raises(ValueError, match="lacks the lines"):
        updated("a page\n")
