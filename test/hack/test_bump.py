"""`make bump`: scripts replace `go` and `uv`, with answers as from the registries."""

import json
from pathlib import Path

import pytest

from hack import bump
from hack.bump import Pin, Sources, locked_module
from hack.externaltools.catalogue import load

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("versions", "pinned", "held", "found"),
    [
        (["v1.9.0", "v1.10.0"], "v1.9.0", False, "v1.10.0"),
        (["v1.10.0-rc.1", "v1.9.1"], "v1.9.0", False, "v1.9.1"),
        (["v29.0.0+incompatible", "v28.9.0+incompatible"], "v28.5.2+incompatible", False, "v29.0.0+incompatible"),
        (["v0.33.0", "v0.32.1"], "v0.32.0", True, "v0.32.1"),
        (["v0.33.0"], "v0.32.0", True, "v0.32.0"),
        (["v1.8.0"], "v1.9.0", False, "v1.9.0"),
        ([], "v1.9.0", False, "v1.9.0"),
        (["1.27.4", "1.28rc1", "1.9.2rc2"], "1.26.6", False, "1.27.4"),
    ],
)
def test_newest_is_a_release_and_never_older_than_the_pin(
    versions: list[str], pinned: str, held: bool, found: str
) -> None:
    assert bump.newest(versions, pinned, held=held) == found


@pytest.mark.parametrize(
    ("pinned", "there", "kind"),
    [
        ("v1.2.3", "v1.2.3", ""),
        ("v1.2.3", "v1.2.4", "patch"),
        ("v1.2.3", "v1.3.0", "minor"),
        ("v1.2.3", "v2.0.0", "major"),
        ("2.16", "2.16.1", "patch"),
        ("2.16", "2.17", "minor"),
        ("6.0.12.1", "6.0.12.2", "patch"),
        ("v2.0.0", "v1.9.9", ""),
    ],
)
def test_update_is_named_after_the_number_that_differs(pinned: str, there: str, kind: str) -> None:
    assert bump.update(pinned, there) == kind


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Everything has a newer major version than the pin, but the modules of etcd are unavailable."""
    folder = tmp_path / "kind"
    source = folder / "pkg" / "apis" / "config" / "defaults" / "image.go"
    source.parent.mkdir(parents=True)
    source.write_text('const Image = "kindest/node:v1.99.0@sha256:0000"\n')
    go, uv = tmp_path / "go", tmp_path / "uv"
    go.write_text(f"""#!/usr/bin/env python3
import json, sys
if sys.argv[1] == "mod":
    print(json.dumps({{"Dir": {str(folder)!r}}}))
for path in sys.argv[6:] if sys.argv[1] == "list" else []:
    print(json.dumps({{"Path": path}} if "etcd" in path else {{"Path": path, "Versions": ["v0.32.1", "v99.0.0"]}}))
""")
    uv.write_text("#!/bin/sh\nsed 's/$/==99.0/'\n")
    for script in (go, uv):
        script.chmod(0o755)
    return Sources([str(go)], [str(uv)])


NOBODY = Sources([], ["/nonexistent/uv"])


def test_every_module_of_the_tools_and_go_are_looked_up(sources: Sources) -> None:
    pins = {pin.name: pin for pin in bump.programs(load(ROOT / "tools"), sources)}
    folders = {path.parent.name for path in (ROOT / "tools").glob("*/go.mod")}
    assert set(pins) == {*folders, "go"}
    assert all(pin.version for pin in pins.values())
    assert pins["kube-apiserver"].newest == "v99.0.0"
    assert pins["etcd"].newest is None
    assert pins["kind-previous"].newest == "v0.32.1"
    assert pins["older-core"].newest == pins["older-core"].version


def test_packages_of_pyproject_are_compared_with_the_lock(sources: Sources) -> None:
    project = '[project]\ndependencies = ["Some.Thing>=1,<2"]\n[dependency-groups]\ntest = ["other", "unused; extra"]\n'
    lock = "some.thing==1.5 \\\n    --hash=sha256:0\nother==3 ; python_version < '4' \\\nindirect==1\n"
    assert bump.requirements(project, lock, sources) == [
        Pin("other", "3", "99.0", "pyproject.toml: other"),
        Pin("some.thing", "1.5", "99.0", "pyproject.toml: Some.Thing>=1,<2"),
    ]


def test_every_direct_requirement_of_the_project_is_found_in_its_lock(sources: Sources) -> None:
    pins = bump.requirements(
        (ROOT / "pyproject.toml").read_text(), (ROOT / "requirements" / "dev.txt").read_text(), sources
    )
    assert {"kopf", "kubernetes", "ruff", "pytest", "types-pyyaml"} <= {pin.name for pin in pins}
    assert all(pin.newest == "99.0" for pin in pins)


def test_default_node_image_of_the_newest_kind_is_read_from_its_source(sources: Sources) -> None:
    catalogue = "kind: v1.0.0\nimages:\n- image: kindest/node:v1.37.0@sha256:00\n  release: v1.0.0\n"
    pin = bump.node_image(catalogue, Pin("kind", "v1.0.0", "v99.0.0"), sources)
    assert (pin.version, pin.newest) == ("v1.37.0", "v1.99.0")
    assert bump.node_image(catalogue, Pin("kind", "v1.0.0", None), sources).newest is None


def test_offline_everything_is_said_to_be_unknown() -> None:
    pins = bump.programs(load(ROOT / "tools"), NOBODY)
    assert {pin.newest for pin in pins} == {None}
    assert bump.table("title", pins, everything=False).row_count == len(pins)
    assert "Newest version unknown: capd, cert-manager, " in bump.unknown(pins)
    assert bump.unknown([Pin("a", "1", "1")]) == ""


def test_table_leaves_out_what_is_up_to_date_unless_asked() -> None:
    pins = [Pin("new", "1.0", "1.1"), Pin("same", "1.0", "1.0")]
    assert bump.table("title", pins, everything=False).row_count == 1
    assert bump.table("title", pins, everything=True).row_count == 2


def test_answers_in_a_row_are_read_one_by_one() -> None:
    text = "\n".join(json.dumps({"Path": name, "Versions": []}, indent=2) for name in "ab")
    assert [answer["Path"] for answer in bump._documents(text)] == ["a", "b"]


def test_locked_module_is_the_nested_one() -> None:
    go_mod = "require example.org/a v1.0.0 // indirect\nrequire (\n\texample.org/a/b v2.0.0 // indirect\n)\n"
    assert locked_module(go_mod, "example.org/a/b/cmd") == ("example.org/a/b", "v2.0.0")
    assert locked_module(go_mod, "example.org/a/c") == ("example.org/a", "v1.0.0")
    assert locked_module(go_mod, "example.org/ab") == ("", "")
