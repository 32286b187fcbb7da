#!/usr/bin/env python3
"""Write a release in the layout of a clusterctl repository: `hack/release.py --version v0.1.0 --out out/`.

The same sources always give the same bytes: clock, machine and git have no influence.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

import kubernetes_validate
import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
LABEL: Final = "infrastructure-kind"
"""The provider's folder in a repository; clusterctl requires this name."""
IMAGE: Final = "localhost/cluster-api-provider-kind"
"""Name of the image in config/manager, which a release replaces."""
OVERLAYS: Final[Mapping[str, str]] = {
    "default": "infrastructure-components.yaml",
    "podman": "infrastructure-components-podman.yaml",
    "pods": "infrastructure-components-pods.yaml",
    "remote": "infrastructure-components-remote.yaml",
}
"""Overlay of config/ → file; the URL in clusterctl's configuration selects the file."""
ENGINE_NAMESPACE: Final = ("engine-namespace", "engine-namespace.yaml")
"""The same for the namespace of engines in Pods, which clusterctl cannot install: it accepts one namespace only."""
INSTALL: Final = "install.yaml"
SBOM: Final = "sbom.cdx.json"
CHECKSUMS: Final = "SHA256SUMS"
VERSION: Final = re.compile(r"v(\d+)\.(\d+)\.\d+(?:-[0-9A-Za-z.-]+)?")
DEFAULT: Final = re.compile(r"\$\{(\w+):=([^}]*)\}")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ReleaseError(Exception):
    """The release cannot be written; the message gives the cause and the remedy."""


@dataclass(frozen=True)
class Release:
    """The contents of a release and their sources.

    image: reference of the provider's image, with a tag or a digest.
    metadata: the releaseSeries of every version up to this one.
    """

    version: str
    image: str
    out: Path
    kubectl: str
    metadata: Path = ROOT / "metadata.yaml"
    sbom: bool = True

    @property
    def folder(self) -> Path:
        """The folder of this version."""
        return self.out / LABEL / self.version


def check_series(version: str, metadata: Path) -> None:
    """Reject what clusterctl would reject (C36): an invalid version, one without a series, or a later series.

    clusterctl looks for the newest patch of the newest series in the newest release's metadata, and fails without one.
    """
    match = VERSION.fullmatch(version)
    if not match:
        raise ReleaseError(f"{version!r} is not a valid version. Use vMAJOR.MINOR.PATCH, for example v0.1.0.")
    wanted = (int(match[1]), int(match[2]))
    series = {(one["major"], one["minor"]) for one in yaml.safe_load(metadata.read_text())["releaseSeries"]}
    if wanted not in series:
        raise ReleaseError(
            f"{metadata.name} has no series for {version}. Add {wanted[0]}.{wanted[1]} with its contract."
        )
    if (newest := max(series)) > wanted:
        raise ReleaseError(
            f"{metadata.name} has {newest[0]}.{newest[1]}, which comes after {version}. Remove it until that release."
        )


def check_schemas(bundles: Mapping[str, str]) -> None:
    """Reject bundles with an object that is not valid for the newest known release of Kubernetes."""
    version = kubernetes_validate.latest_version()
    for name, text in bundles.items():
        for one in yaml.load_all(fill_in_defaults(text), _LOADER):
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                what = f"{one['kind']} {one['metadata']['name']}"
                raise ReleaseError(f"{name}: {what} is not valid for Kubernetes {version}: {error.message}") from error


def run(*command: str) -> str:
    """Run a command and return its output; raises ReleaseError with its error output."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise ReleaseError(f"{command[0]} is missing. Run `make tools` and install requirements/dev.txt.") from None
    except subprocess.CalledProcessError as error:
        raise ReleaseError(f"`{' '.join(command)}` failed:\n{error.stderr.strip()}") from None


def image_fields(image: str) -> dict[str, str]:
    """Split an image reference into the fields of kustomize's `images`.

    Raises ReleaseError if clusterctl would reject the Deployment: it reads only names with a registry.
    """
    registry, slash, _ = image.partition("/")
    if not slash or not (registry == "localhost" or "." in registry or ":" in registry):
        raise ReleaseError(f"The image {image!r} names no registry. Use for example localhost/{image}.")
    name, at, digest = image.partition("@")
    if at:
        return {"newName": name, "digest": digest}
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        raise ReleaseError(f"The image {image!r} has neither a tag nor a digest. Use for example {image}:v0.1.0.")
    return {"newName": name, "newTag": tag}


def render(config: Path, overlay: str, image: str, kubectl: str) -> str:
    """Render an overlay of config/ with the image, below the comments at the beginning of its kustomization.

    Rendering removes comments, but the file must explain the risk of mounting a socket.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # kustomize reads nothing outside its folder, except other kustomizations.
        copy = Path(scratch, "config")
        shutil.copytree(config, copy)
        top = copy / "release"
        top.mkdir()
        (top / "kustomization.yaml").write_text(
            yaml.safe_dump({"resources": [f"../{overlay}"], "images": [{"name": IMAGE, **image_fields(image)}]})
        )
        rendered = run(kubectl, "kustomize", str(top))
    source = (config / overlay / "kustomization.yaml").read_text().splitlines()
    remarks = takewhile(lambda line: line.startswith("#"), source)
    return "\n".join(["# cluster-api-provider-kind, Apache License 2.0", *remarks, rendered])


def fill_in_defaults(text: str) -> str:
    """Replace clusterctl's variables with their defaults, for `kubectl apply` and GitOps."""
    return DEFAULT.sub(lambda match: match[2], text)


def bill_of_materials() -> str:
    """List the locked dependencies as a CycloneDX document."""
    program = Path(sys.executable).with_name("cyclonedx-py")
    return run(
        str(program if program.exists() else "cyclonedx-py"),
        "requirements",
        "--output-reproducible",
        *("--of", "JSON"),
        *("--pyproject", str(ROOT / "pyproject.toml")),
        str(ROOT / "requirements" / "run.txt"),
    )


def contents(release: Release) -> dict[str, str]:
    """Return all files of the release by name, except the checksums."""
    files = {
        name: render(ROOT / "config", overlay, release.image, release.kubectl)
        for overlay, name in (*OVERLAYS.items(), ENGINE_NAMESPACE)
    }
    files[INSTALL] = fill_in_defaults(files[OVERLAYS["default"]])
    check_schemas(files)
    files["metadata.yaml"] = release.metadata.read_text()
    files |= {path.name: path.read_text() for path in (ROOT / "templates").glob("*.yaml")}
    if release.sbom:
        files[SBOM] = bill_of_materials()
    return files


def write(release: Release) -> list[Path]:
    """Write the release and return its files. It replaces an older release of the same version."""
    check_series(release.version, release.metadata)
    files = contents(release)
    files[CHECKSUMS] = "".join(
        f"{hashlib.sha256(files[name].encode()).hexdigest()}  {name}\n" for name in sorted(files)
    )
    shutil.rmtree(release.folder, ignore_errors=True)
    release.folder.mkdir(parents=True)
    for name, text in files.items():
        (release.folder / name).write_text(text)
    return sorted(release.folder.iterdir())


def write_clusterctl_configuration(out: Path) -> Path:
    """Write a clusterctl configuration for the provider in the folder; "latest" is its newest version."""
    path = out / "clusterctl.yaml"
    url = (out.resolve() / LABEL / "latest" / OVERLAYS["default"]).as_uri()
    provider = {"name": "kind", "type": "InfrastructureProvider", "url": url}
    path.write_text(yaml.safe_dump({"providers": [provider]}, sort_keys=False))
    return path


def find_kubectl() -> str:
    """Find kubectl, which contains kustomize: the pinned one, otherwise that on the PATH."""
    pinned = ROOT / "bin" / "kubectl"
    return str(pinned) if pinned.exists() else "kubectl"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write a release in the layout of a clusterctl repository.")
    parser.add_argument("--version", required=True, help="vMAJOR.MINOR.PATCH, with a series in metadata.yaml")
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="the repository's folder (default: %(default)s)")
    parser.add_argument("--image", help=f"the provider's image (default: {IMAGE}:VERSION)")
    parser.add_argument("--metadata", type=Path, default=ROOT / "metadata.yaml", help="default: %(default)s")
    parser.add_argument("--kubectl", default=find_kubectl(), help="default: %(default)s")
    parser.add_argument("--no-sbom", dest="sbom", action="store_false", help="omit the bill of materials")
    parser.add_argument("--local-repository", action="store_true", help="also write OUT/clusterctl.yaml")
    options = parser.parse_args(argv)
    image = options.image or f"{IMAGE}:{options.version}"
    release = Release(options.version, image, options.out, options.kubectl, options.metadata, options.sbom)
    try:
        for path in write(release):
            print(path)
        if options.local_repository:
            path = write_clusterctl_configuration(options.out)
            print(f"{path}\nNow: clusterctl --config {path} init --infrastructure kind")
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
