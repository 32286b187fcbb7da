"""The network plugin of each supported release of kind runs on every node that admission accepts.

Without it, a Node is never Ready. Its manifest is a text in the kind command, which writes it into the node images that
it builds.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from test.contract.engines import KINDS

BEGINNING = b"# kindnetd networking manifest"

every_release = pytest.mark.parametrize("program", sorted(KINDS))


def pod_of(program: str) -> dict[str, Any]:
    """Return the spec of the plugin's Pods, as the DaemonSet in a release of kind has it."""
    command = KINDS[program]
    assert command, f"{program} is missing in bin/"
    _, found, text = Path(command).read_bytes().partition(BEGINNING)
    assert found, f"{program} has the manifest of its network plugin elsewhere"
    documents = [part for part in text[:16384].split(b"\n---\n") if b"kind: DaemonSet" in part]
    manifest = yaml.safe_load(documents[0].decode().replace("{{ .PodSubnet }}", "10.244.0.0/16"))
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("DaemonSet", "kindnet")
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


@every_release
def test_taints_of_a_worker_do_not_keep_the_network_plugin_away(program: str) -> None:
    assert {"operator": "Exists"} in pod_of(program)["tolerations"]


@every_release
def test_network_plugin_selects_nodes_only_by_the_label_that_admission_checks(program: str) -> None:
    """Admission accepts no other value of this label; see test/fixtures/admission/kindmachine.yaml."""
    pod = pod_of(program)
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert "affinity" not in pod
