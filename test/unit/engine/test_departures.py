"""What an engine's error output says of containers that are gone; whole listings are in test_containers.py."""

import pytest

from capk.engine import departures
from test.unit.growth import assert_linear

B = "b" * 64


@pytest.mark.parametrize(
    ("printed", "names"),
    [
        (f"Error response from daemon: No such container: {B}\n", {B}),
        (f'Error: no such object: "{B}"\nError: no such object: "dev.1"\n', {B, "dev.1"}),
        (f'time="now" level=fatal msg="1 errors: [no such object \\"{B}\\"]"\n', {B}),
        (f"Error: no container with name or ID {B} found: no such container\n", {B}),
        ('Error: no volume with name "v1" found: no such volume\n', {"v1"}),
        (f"There is no such container {B}.", {B}),
        (f"removal of container {B} is already in progress", set()),
        ("no such container\nof anyone", set()),
        ("", set()),
    ],
)
def test_names_of_what_is_gone_are_found(printed: str, names: set[str]) -> None:
    assert {name for name in departures.gone(printed) if not name.endswith(".")} == names


def test_name_that_begins_like_one_that_is_gone_is_not() -> None:
    assert "dev" not in departures.gone("No such container: dev-control-plane")


def test_ids_of_what_is_being_removed_are_found() -> None:
    assert departures.going(f"removal of container {B} is already in progress") == {B}
    assert departures.going(f"No such container: {B}") == set()


@pytest.mark.parametrize(
    "words",
    [
        "no container with ",
        "no container with name ",
        "no such container: ",
        "no such container: a",
        "removal of container a",
    ],
)
def test_hostile_output_costs_no_more_than_its_length(words: str) -> None:
    """An engine on another machine prints it, and every object waits while it is read."""

    def read(length: int) -> None:
        printed = words * (length // len(words))
        departures.gone(printed)
        departures.going(printed)

    assert_linear(read, 1 << 20)
