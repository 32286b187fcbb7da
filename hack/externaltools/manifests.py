"""Renders bin/manifests from the files of Go modules: published CRDs, webhooks and components.

cluster-api-crds.yaml        CRDs of Cluster API's core with their conversion webhooks
cluster-api-webhooks.yaml    its admission webhooks, without prefix and namespace
cluster-api-components.yaml  all of core as in its release, with ${VARIABLES} for clusterctl
cluster-api-metadata.yaml    the contract of each Cluster API release
cert-manager-crds.yaml       CRDs of cert-manager
"""

import json
import shutil
from pathlib import Path

from hack.externaltools.command import run


def render(kubectl: Path, cluster_api: Path, cert_manager: Path, version: str, scratch: Path) -> Path:
    """Render everything into a new folder in scratch and return it; version: that of Cluster API."""
    made, config = scratch / "manifests", scratch / "config"
    made.mkdir()
    # A copy, because the module's folder is read-only and the overlay must be next to the files that it changes.
    shutil.copytree(cluster_api / "core" / "config", config, copy_function=shutil.copyfile)
    for folder in (config, *config.rglob("*/")):
        folder.chmod(0o755)
    (config / "released").mkdir()
    (config / "released" / "kustomization.yaml").write_text(json.dumps(_released(version)))
    for source, name in (("crd", "crds"), ("webhook", "webhooks"), ("released", "components")):
        text = run([str(kubectl), "kustomize", str(config / source)], f"rendering core/config/{source} of Cluster API")
        (made / f"cluster-api-{name}.yaml").write_text(text)
    shutil.copyfile(cluster_api / "metadata.yaml", made / "cluster-api-metadata.yaml")
    crds = sorted((cert_manager / "deploy" / "crds").glob("*.yaml"))
    (made / "cert-manager-crds.yaml").write_text("---\n".join(crd.read_text().rstrip() + "\n" for crd in crds))
    return made


def _released(version: str) -> dict[str, object]:
    # As in Cluster API's own release target: the released image replaces the development one.
    image = {
        "name": "gcr.io/k8s-staging-cluster-api/cluster-api-controller",
        "newName": "registry.k8s.io/cluster-api/cluster-api-controller",
        "newTag": version,
    }
    pull = {"op": "replace", "path": "/spec/template/spec/containers/0/imagePullPolicy", "value": "IfNotPresent"}
    deployment = {"kind": "Deployment", "name": "capi-controller-manager"}
    patch = {"target": deployment, "patch": json.dumps([pull])}
    return {"resources": ["../default"], "images": [image], "patches": [patch]}
