"""The overlays of config/, each rendered once."""

from collections.abc import Callable

import pytest

from test.packaging.packaged import IMAGE, ROOT, Bundle, release


@pytest.fixture(scope="session")
def bundle() -> Callable[[str], Bundle]:
    """Render an overlay of config/ by its name."""
    rendered: dict[str, Bundle] = {}

    def one(overlay: str) -> Bundle:
        if overlay not in rendered:
            rendered[overlay] = Bundle(release.render(ROOT / "config", overlay, IMAGE, release.find_kubectl()))
        return rendered[overlay]

    return one


@pytest.fixture(params=sorted(release.OVERLAYS))
def each_bundle(request: pytest.FixtureRequest, bundle: Callable[[str], Bundle]) -> Bundle:
    """Every overlay that is released."""
    return bundle(request.param)


@pytest.fixture(scope="session")
def default_bundle(bundle: Callable[[str], Bundle]) -> Bundle:
    """The bundle that `clusterctl init --infrastructure kind` installs."""
    return bundle("default")


@pytest.fixture(scope="session")
def engine_namespace(bundle: Callable[[str], Bundle]) -> Bundle:
    """The namespace of engines in Pods."""
    return bundle(release.ENGINE_NAMESPACE[0])
