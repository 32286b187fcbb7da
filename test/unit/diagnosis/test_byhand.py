"""The kept configuration creates a cluster that belongs only to the user."""

from capk.api.names import CLAIM_MOUNT_FOLDER
from capk.diagnosis.byhand import unmarked

MARK = {"hostPath": "/dev/null", "containerPath": f"{CLAIM_MOUNT_FOLDER}8f2c", "readOnly": True}
OWN = {"hostPath": "/srv", "containerPath": "/data"}


def test_marks_go_and_all_else_stays():
    config = {
        "kind": "Cluster",
        "networking": {"apiServerPort": 7000},
        "nodes": [
            {"role": "control-plane", "extraMounts": [MARK]},
            {"role": "worker", "image": "kindest/node:v1", "extraMounts": [OWN, MARK]},
        ],
    }
    assert unmarked(config) == {
        "kind": "Cluster",
        "networking": {"apiServerPort": 7000},
        "nodes": [{"role": "control-plane"}, {"role": "worker", "image": "kindest/node:v1", "extraMounts": [OWN]}],
    }
    assert config["nodes"][0]["extraMounts"] == [MARK]


def test_configuration_without_nodes_stays_as_it_is():
    assert unmarked({"kind": "Cluster"}) == {"kind": "Cluster"}
