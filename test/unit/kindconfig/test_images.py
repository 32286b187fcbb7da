from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from capk.errors import InvalidSpec
from capk.kindconfig.images import Version, catalogue, image_version, node_image, parse_version, same_version

MINORS = st.integers(min_value=19, max_value=999)
PATCHES = st.integers(min_value=0, max_value=9999)


@given(minor=MINORS, patch=PATCHES, prefix=st.sampled_from(["", "v"]))
def test_full_version_becomes_a_plain_tag(minor: int, patch: int, prefix: str) -> None:
    assert node_image(f"{prefix}1.{minor}.{patch}", None, "default") == f"kindest/node:v1.{minor}.{patch}"


@pytest.mark.parametrize("minor", sorted(catalogue()))
@pytest.mark.parametrize("prefix", ["", "v"])
def test_minor_version_becomes_the_image_of_the_catalogue(minor: int, prefix: str) -> None:
    image = node_image(f"{prefix}1.{minor}", None, None)
    assert image is not None
    assert image.startswith(f"kindest/node:v1.{minor}.")
    assert len(image.partition("@sha256:")[2]) == 64


def test_exact_image_wins_over_any_version() -> None:
    assert node_image("1.34", "my/node:1", "default") == "my/node:1"
    assert node_image("nonsense", "my/node:1", "default") == "my/node:1"


@pytest.mark.parametrize("default", [None, "my/default:1"])
@pytest.mark.parametrize("nothing", [None, ""])
def test_without_version_and_image_the_default_is_taken(nothing: str | None, default: str | None) -> None:
    assert node_image(nothing, nothing, default) == default


def test_unknown_minor_version_is_reported_with_the_known_ones() -> None:
    with pytest.raises(InvalidSpec) as refusal:
        node_image("v1.19", None, None, path="spec.version")
    assert refusal.value.path == "spec.version"
    assert "1.37, 1.36, 1.35, 1.34, 1.33" in refusal.value.message
    assert "v1.19.0" in refusal.value.message


NO_VERSIONS = "1 v1 1.18 v1.18.20 v1.9.0 2.0 v2.1.0 1.34. 1.34.3.1 v1.34.03 1.034 latest v1.36.0-rc.1 v1.34.3+k3s1 1,34"


@pytest.mark.parametrize("text", ["", " 1.34", "1.34\n", "V1.34", *NO_VERSIONS.split()])
def test_anything_else_is_no_version(text: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        parse_version(text)
    assert refusal.value.path == "spec.kubernetesVersion"
    assert "set spec.image" in refusal.value.message


@given(minor=MINORS, patch=st.none() | PATCHES)
def test_version_is_written_as_it_is_read(minor: int, patch: int | None) -> None:
    version = Version(minor, patch)
    assert parse_version(str(version)) == version


@pytest.mark.parametrize(
    ("wanted", "running", "same"),
    [
        ("v1.34.3", "v1.34.3", True),
        ("1.34.3", "v1.34.3", True),
        ("1.34", "v1.34.8", True),
        ("v1.34", "v1.35.0", False),
        ("v1.34.3", "v1.34.4", False),
        ("v1.34.3", "v1.34", False),
        ("v1.36.0-rc.1", "v1.36.0-rc.1", True),
        ("1.34.3", "v1.34.3-custom", False),
    ],
)
def test_same_version(wanted: str, running: str, same: bool) -> None:
    assert same_version(wanted, running) is same


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("kindest/node:v1.34.3", "v1.34.3"),
        ("kindest/node:v1.34.3@sha256:" + "0" * 64, "v1.34.3"),
        ("registry.example:5000/node:v1.34.3-custom", "v1.34.3"),
        ("kindest/node", None),
        ("kindest/node:latest", None),
        ("kindest/node:v1.34", None),
        ("kindest/node@sha256:" + "0" * 64, None),
        ("", None),
    ],
)
def test_version_of_an_image(image: str, version: str | None) -> None:
    assert image_version(image) == version


def test_catalogue_has_one_image_a_minor_version_newest_first() -> None:
    content = yaml.safe_load((Path(__file__).parents[3] / "capk" / "kindconfig" / "node-images.yaml").read_text())
    assert len(catalogue()) == len(content["images"])
    assert list(catalogue()) == sorted(catalogue(), reverse=True)
