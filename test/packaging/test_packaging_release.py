"""hack/release.py: its output, that the output is reproducible, and rejected arguments."""

import hashlib
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from test.packaging.packaged import IMAGE, ROOT, release

VERSION = "v0.1.0"


def written(folder: Path) -> release.Release:
    """Write a release without its bill of materials."""
    one = release.Release(VERSION, IMAGE, folder, release.find_kubectl(), sbom=False)
    release.write(one)
    return one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("out")).folder


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second release, in the place of an older one of its version."""
    out = tmp_path_factory.mktemp("again")
    stale = out / "infrastructure-kind" / VERSION / "cluster-template-old.yaml"
    stale.parent.mkdir(parents=True)
    stale.touch()
    return written(out).folder


def test_release_holds_what_clusterctl_looks_for(folder: Path) -> None:
    assert folder.parts[-2:] == ("infrastructure-kind", VERSION)
    assert {path.name for path in folder.iterdir()} == {
        "infrastructure-components.yaml",
        "engine-namespace.yaml",
        "infrastructure-components-podman.yaml",
        "infrastructure-components-pods.yaml",
        "infrastructure-components-remote.yaml",
        "install.yaml",
        "metadata.yaml",
        "SHA256SUMS",
        *(path.name for path in (ROOT / "templates").iterdir()),
    }


def test_release_is_the_same_twice(folder: Path, again: Path) -> None:
    for path in folder.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_an_object_that_kubernetes_would_not_take_is_refused_by_name() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "capk"},
        "spec": {"ports": [{"port": "${PORT:=ten}"}]},
    }
    with pytest.raises(release.ReleaseError, match=r"^install.yaml: Service capk is not valid for Kubernetes .*ten"):
        release.check_schemas({"install.yaml": yaml.safe_dump(service)})


def test_checksums_are_those_of_the_files(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in lines} == {path.name for path in folder.iterdir()} - {"SHA256SUMS"}
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_an_older_release_of_the_version_leaves_nothing_behind(folder: Path, again: Path) -> None:
    assert {path.name for path in again.iterdir()} == {path.name for path in folder.iterdir()}


def test_plain_installation_has_no_variables_left(folder: Path) -> None:
    text = (folder / "install.yaml").read_text()
    assert "${" not in text
    deployment = next(one for one in yaml.load_all(text, yaml.CSafeLoader) if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 0
    assert pod["containers"][0]["image"] == IMAGE


@pytest.mark.skipif(
    not (Path(release.sys.executable).with_name("cyclonedx-py").exists() or shutil.which("cyclonedx-py")),
    reason="cyclonedx-bom is not installed",
)
def test_bill_of_materials_lists_the_locked_dependencies_and_is_the_same_twice() -> None:
    first = release.bill_of_materials()
    components = {one["name"]: one["version"] for one in json.loads(first)["components"]}
    locked = dict(re.findall(r"^([a-z0-9_.-]+)==([^ ]+) ", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE))
    assert components == locked
    assert release.bill_of_materials() == first


@pytest.mark.rule("C36")
def test_version_without_a_series_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["--version", "v9.9.0", "--out", str(tmp_path), "--no-sbom"]) == 1
    assert "metadata.yaml has no series for v9.9.0. Add 9.9 with its contract" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("version", ["0.1.0", "v0.1", "latest", "v0.1.0 "])
def test_version_that_clusterctl_cannot_order_is_refused(version: str) -> None:
    with pytest.raises(release.ReleaseError, match="is not a valid version"):
        release.check_series(version, ROOT / "metadata.yaml")


@pytest.mark.rule("C36")
def test_metadata_names_the_series_up_to_the_version_and_no_later_one(tmp_path: Path) -> None:
    metadata = yaml.safe_load((ROOT / "metadata.yaml").read_text())
    metadata["releaseSeries"].append({"major": 0, "minor": 2, "contract": "v1beta2"})
    path = tmp_path / "metadata.yaml"
    path.write_text(yaml.safe_dump(metadata))
    release.check_series("v0.2.0", path)
    with pytest.raises(release.ReleaseError, match=r"has 0\.2, which comes after v0\.1\.0"):
        release.check_series("v0.1.0", path)


@pytest.mark.parametrize(
    ("image", "fields"),
    [
        ("localhost/capk:v1", {"newName": "localhost/capk", "newTag": "v1"}),
        ("localhost:5000/capk:v1", {"newName": "localhost:5000/capk", "newTag": "v1"}),
        ("ghcr.io/a/capk@sha256:12", {"newName": "ghcr.io/a/capk", "digest": "sha256:12"}),
    ],
)
def test_image_reference_is_split(image: str, fields: dict[str, str]) -> None:
    assert release.image_fields(image) == fields


@pytest.mark.parametrize("image", ["capk:v1", "someone/capk:v1"])
def test_image_without_a_registry_is_refused(image: str) -> None:
    """clusterctl would reject the whole installation: "repository name must be canonical"."""
    with pytest.raises(release.ReleaseError, match="names no registry"):
        release.image_fields(image)


@pytest.mark.parametrize("image", ["localhost/capk", "localhost:5000/capk"])
def test_image_without_a_tag_is_refused(image: str) -> None:
    with pytest.raises(release.ReleaseError, match="neither a tag nor a digest"):
        release.image_fields(image)


def test_missing_kubectl_is_named_with_its_remedy() -> None:
    with pytest.raises(release.ReleaseError, match=r"nosuch-kubectl is missing\. Run `make tools`"):
        release.render(ROOT / "config", "default", IMAGE, "nosuch-kubectl")


def test_configuration_of_clusterctl_points_at_the_newest_version(tmp_path: Path) -> None:
    (provider,) = yaml.safe_load(release.write_clusterctl_configuration(tmp_path).read_text())["providers"]
    assert provider == {
        "name": "kind",
        "type": "InfrastructureProvider",
        "url": f"{tmp_path.as_uri()}/infrastructure-kind/latest/infrastructure-components.yaml",
    }


def test_settings_for_create_local_repository_fit_this_repository() -> None:
    settings = json.loads((ROOT / "clusterctl-settings.json").read_text())
    assert settings["name"] == release.LABEL
    assert settings["config"]["componentsFile"] == release.OVERLAYS["default"]
    assert (ROOT / settings["config"]["configFolder"] / "kustomization.yaml").exists()
    release.check_series(settings["config"]["nextVersion"], ROOT / "metadata.yaml")


def test_provider_for_the_tiltfile_of_cluster_api_is_not_built_as_go() -> None:
    provider = yaml.safe_load((ROOT / "tilt-provider.yaml").read_text())
    assert provider["name"] == "kind"
    assert provider["config"]["label"] == "CAPKIND"
    assert not {"image", "live_reload_deps", "go_main"} & set(provider["config"])
    assert (ROOT / provider["config"]["kustomize_folder"] / "kustomization.yaml").exists()


def test_image_checks_for_the_pinned_kind() -> None:
    pinned = tomllib.loads((ROOT / "tools" / "versions.toml").read_text())["programs"]["kind"]["version"]
    assert f"ARG KIND_VERSION={pinned}\n" in (ROOT / "Dockerfile").read_text()


def test_image_installs_only_what_is_locked() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    installs = re.findall(r"pip --python \S+ install --no-compile (\S+)", dockerfile)
    assert installs == ["--require-hashes", "--require-hashes", "--no-deps"]
