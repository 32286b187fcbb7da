"""The fake kind refuses node images that kind could not pull, as far as a version shows that."""

import pytest

from capkdev.fakekind.images import check_image
from capkdev.fakekind.steps import KindError

PUBLISHED = ("kindest/node:v1.37.0", "kindest/node:v1.34.3@sha256:0123", "registry.example/node:mine", "node")
UNKNOWN = ("kindest/node:v9.9.9", "kindest/node:v1.99.0", "kindest/node:v1.100.1@sha256:0123")


@pytest.mark.parametrize("image", PUBLISHED)
def test_image_of_a_version_that_kind_knows_is_there(image: str) -> None:
    check_image(image, {})


@pytest.mark.parametrize("image", UNKNOWN)
def test_image_of_a_version_that_does_not_exist_cannot_be_pulled(image: str) -> None:
    with pytest.raises(KindError, match="failed to pull image"):
        check_image(image, {})


@pytest.mark.parametrize("image", PUBLISHED + UNKNOWN)
def test_patterns_of_the_environment_alone_decide_if_there_are_any(image: str) -> None:
    check_image(image, {"CAPK_LOCAL_KIND_ABSENT_IMAGES": ""})
    with pytest.raises(KindError):
        check_image(image, {"CAPK_LOCAL_KIND_ABSENT_IMAGES": "*node*"})
