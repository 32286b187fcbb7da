"""The recorded session of README: its parts, and that it is up to date."""

import re
from pathlib import Path

import yaml

from hack.record import BLOCK, LONGEST, PICTURE, README, SESSION, picture, shortened, what_stays, with_output

CRD = Path("config/crd/bases/infrastructure.cluster.x-k8s.io_kindclusters.yaml")


def test_picture_shows_commands_and_output_in_colour():
    svg = picture([("make it", "\x1b[32mmade\x1b[0m\n")])
    assert {"make&#160;it", "made"} <= set(re.findall(r">([^<]+)</text>", svg))
    assert svg == picture([("make it", "\x1b[32mmade\x1b[0m\n")])


def test_long_paragraphs_are_shortened_and_the_picture_shows_how_much():
    lines = [f"line {number}" for number in range(20)]
    short = list(shortened(["first", "", *lines]))
    assert short[:3] == ["first", "", "line 0"]
    assert short[-3:] == ["line 18", "line 19", ""]
    assert len(short) == 3 + LONGEST
    assert "9 more lines" in "".join(short)


def test_lines_that_were_erased_are_not_recorded():
    spinner = "\x1b[?25l⠋ Checking …\r\x1b[2K⠙ Checking …\n\x1b[?25h\r\x1b[1A\x1b[2K"
    assert what_stays(f"first\n{spinner}ok  kind command\nlast\n") == "first\nok  kind command\nlast\n"


def test_short_paragraphs_stay_whole():
    lines = [*(f"line {number}" for number in range(LONGEST)), "", "end", ""]
    assert list(shortened(lines[:-1])) == lines


def test_block_is_renewed_with_what_its_commands_print():
    page = "before\n\n<!-- recorded: x y; z -->\n```\nold\n```\n\nafter\n"
    new = with_output(page, lambda command: f"\x1b[1m<{command}>\x1b[0m  \n more\n")
    block = "$ x y\n<x y>\n more\n\n$ z\n<z>\n more\n"
    assert new == f"before\n\n<!-- recorded: x y; z -->\n```\n{block}```\n\nafter\n"


def test_readme_shows_the_columns_that_kubectl_prints():
    columns = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = ["NAME", *(column["name"].upper() for column in columns if not column.get("priority"))]
    [block] = BLOCK.finditer(README.read_text())
    get, describe = block["output"].split("\n\n")
    assert [get.splitlines()[0], get.splitlines()[1].split()] == ["$ kubectl get kc", shown]
    assert "KINDControlPlane" in describe


def test_recorded_commands_are_in_the_picture():
    svg = PICTURE.read_text().replace("&#160;", " ")
    assert all(f">{command}</text>" in svg for command in SESSION)
