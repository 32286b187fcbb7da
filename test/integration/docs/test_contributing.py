"""The first commands of a contributor, run exactly as in CONTRIBUTING."""

from pathlib import Path

from test.integration.documented import commands, link_checkout, run_commands


def test_set_up_of_a_contributor_works_word_for_word(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    link_checkout(checkout)
    [script] = commands("contribute")
    # One test of each half is enough to show that the command works; `make test` runs all.
    chosen = "test_new_condition_has_all_fields or test_list_is_read_again_each_hour"
    printed = run_commands(script, tmp_path / "unused", checkout, PYTEST_ADDOPTS=f"-k '{chosen}'")
    assert printed.count(" passed") == 2
