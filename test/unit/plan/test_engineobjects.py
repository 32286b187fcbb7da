import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from capk.api.engineclasses import KINDEngineClass
from capk.api.objects import KINDCluster
from capk.api.podengines import PodEngines
from capk.errors import InvalidSpec
from capk.plan.engineobjects import engine_claim, engine_name, engine_pod, engine_secret, engine_service

UID = "3f2a9c1e-0123-4567-89ab-cdef01234567"
NAME = "kc-3f2a9c1e01234567"
IN = {"class_name": "pods", "namespace": "capkind-engines"}

PROVEN = f"""
apiVersion: v1
kind: Pod
metadata:
  name: {NAME}
  namespace: capkind-engines
  labels:
    app.kubernetes.io/managed-by: capkind
    kind.infrastructure.cluster.x-k8s.io/engine: {NAME}
    kind.infrastructure.cluster.x-k8s.io/cluster-uid: {UID}
  annotations:
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
    kind.infrastructure.cluster.x-k8s.io/cluster-namespace: team
    kind.infrastructure.cluster.x-k8s.io/cluster-name: dev
    kind.infrastructure.cluster.x-k8s.io/engine-class: pods
spec:
  tolerations:
  - key: node.kubernetes.io/not-ready
    operator: Exists
    effect: NoExecute
  - key: node.kubernetes.io/unreachable
    operator: Exists
    effect: NoExecute
  automountServiceAccountToken: false
  enableServiceLinks: false
  dnsPolicy: Default
  hostname: engine
  restartPolicy: Always
  terminationGracePeriodSeconds: 10
  containers:
  - name: engine
    image: docker:dind
    imagePullPolicy: IfNotPresent
    args: ["--default-address-pool=base=10.201.0.0/16,size=24", "--bip=10.202.0.1/24", "--log-level=warn", "--mtu=1450"]
    env: [{{name: DOCKER_TLS_CERTDIR, value: /certs}}]
    securityContext: {{privileged: true}}
    ports: [{{name: docker, containerPort: 2376}}, {{name: api, containerPort: 6443}}]
    lifecycle:
      postStart:
        exec:
          command:
          - sh
          - -c
          - >-
            rule='POSTROUTING -m conntrack --ctstate DNAT -d 10.201.0.0/16 -j MASQUERADE';
            for n in 1 2 3 4 5; do for t in iptables iptables-legacy; do
            $t -w 5 -t nat -C $rule 2>/dev/null || $t -w 5 -t nat -A $rule && exit;
            done; sleep 1; done; exit 1
    readinessProbe:
      exec: {{command: [docker, version, --format, ok]}}
      periodSeconds: 2
      timeoutSeconds: 5
    resources:
      requests: {{cpu: 500m, memory: 1Gi, ephemeral-storage: 3Gi}}
      limits: {{memory: 1Gi, ephemeral-storage: 50Gi}}
    volumeMounts:
    - {{name: data, mountPath: /var/lib/docker}}
    - {{name: certs, mountPath: /certs, readOnly: true}}
    - {{name: modules, mountPath: /lib/modules, readOnly: true}}
  volumes:
  - {{name: data, emptyDir: {{}}}}
  - name: certs
    secret:
      secretName: {NAME}
      defaultMode: 0400
      items:
      - {{key: ca.crt, path: ca/cert.pem}}
      - {{key: ca.crt, path: server/ca.pem}}
      - {{key: tls.crt, path: server/cert.pem}}
      - {{key: tls.key, path: server/key.pem}}
  - {{name: modules, hostPath: {{path: /lib/modules, type: Directory}}}}
"""
"""The Pod in which kind clusters were made."""


def cluster(**spec: Any) -> KINDCluster:
    return KINDCluster({"metadata": {"name": "dev", "namespace": "team", "uid": UID}, "spec": spec})


def engines(**pods: Any) -> PodEngines:
    found = KINDEngineClass({"spec": {"pods": {"image": "docker:dind", **pods}}}).pods
    assert found is not None
    return found


def pod(of: PodEngines, *, control_planes: int = 1, workers: int = 0, **spec: Any) -> dict[str, Any]:
    return engine_pod(cluster(**spec), of, **IN, control_planes=control_planes, workers=workers)


def validated(manifest: dict[str, Any]) -> dict[str, Any]:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    return manifest


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (found,) = manifest["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_name_of_an_engine_is_short_and_its_own() -> None:
    assert engine_name(UID) == NAME
    assert engine_name(UID.upper()) == NAME


def test_pod_is_the_one_in_which_kind_clusters_were_made() -> None:
    assert validated(pod(engines(hostModules=True, network={"mtu": 1450}))) == yaml.safe_load(PROVEN)


def test_networks_in_a_pod_have_packets_as_large_as_its_own() -> None:
    found = container(validated(pod(engines())))
    assert found["command"][:2] == ["sh", "-c"]
    assert "/sys/class/net/eth0/mtu" in found["command"][2]
    assert found["command"][2].endswith('"$@"')
    assert not any(argument.startswith("--mtu") for argument in found["args"])
    assert "command" not in container(pod(engines(network={"mtu": 1450})))


@pytest.mark.parametrize(
    ("present", "working", "used"),
    [
        (["iptables", "iptables-legacy"], ["iptables", "iptables-legacy"], "iptables"),
        (["iptables", "iptables-legacy"], ["iptables-legacy"], "iptables-legacy"),
        (["iptables"], ["iptables"], "iptables"),
        (["iptables", "iptables-legacy"], [], ""),
    ],
)
def test_rule_for_clients_is_added_once_with_the_variant_that_works(
    tmp_path: Path, present: list[str], working: list[str], used: str
) -> None:
    for name in present:
        state = tmp_path / f"{name}.rules"
        fails = "" if name in working else "exit 3"
        script = f'#!/bin/sh\n{fails}\ncase " $* " in *" -C "*) test -s {state} ;; *) echo "$*" >> {state} ;; esac\n'
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sleep").symlink_to("/bin/true")
    command = container(pod(engines()))["lifecycle"]["postStart"]["exec"]["command"]
    for _ in range(2):
        assert (
            subprocess.run(command, env={"PATH": f"{tmp_path}:/bin"}, check=False, timeout=20).returncode == 0
        ) == bool(used)
    added = {path.stem: path.read_text().splitlines() for path in tmp_path.glob("*.rules")}
    rule = "-w 5 -t nat -A POSTROUTING -m conntrack --ctstate DNAT -d 10.201.0.0/16 -j MASQUERADE"
    assert added == ({used: [rule]} if used else {})


def test_pod_without_modules_mounts_nothing_of_its_machine() -> None:
    manifest = validated(pod(engines()))
    assert [one["name"] for one in container(manifest)["volumeMounts"]] == ["data", "certs"]
    assert not any("hostPath" in volume for volume in manifest["spec"]["volumes"])


def test_engine_with_a_volume_stops_cleanly_and_requests_no_disk_of_the_machine() -> None:
    of = engines(storage={"claim": {"size": "20Gi"}})
    manifest = validated(pod(of))
    assert manifest["spec"]["terminationGracePeriodSeconds"] == 60
    assert manifest["spec"]["volumes"][0] == {"name": "data", "persistentVolumeClaim": {"claimName": NAME}}
    assert container(manifest)["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"memory": "1Gi", "ephemeral-storage": "50Gi"},
    }


def test_volume_is_claimed_as_the_class_says() -> None:
    assert engine_claim(cluster(), engines(), **IN) is None
    claim = engine_claim(cluster(), engines(storage={"claim": {"size": "20Gi", "storageClassName": "fast"}}), **IN)
    assert claim is not None
    assert validated(claim)["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
        "storageClassName": "fast",
    }
    default = engine_claim(cluster(), engines(storage={"claim": {"size": "20Gi"}}), **IN)
    assert default is not None
    assert "storageClassName" not in validated(default)["spec"]


def test_resources_are_the_sum_of_the_nodes_and_memory_has_no_reserve() -> None:
    resources = container(validated(pod(engines(), control_planes=3, workers=1)))["resources"]
    assert resources["requests"] == {"cpu": "1750m", "memory": "3584Mi", "ephemeral-storage": "11Gi"}
    assert resources["limits"]["memory"] == resources["requests"]["memory"]


def test_users_may_have_more_than_the_nodes_need() -> None:
    engine = {"className": "pods", "resources": {"memory": "4Gi", "cpu": "2"}}
    resources = container(validated(pod(engines(), engine=engine)))["resources"]
    assert resources["requests"] == {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "3Gi"}
    assert resources["limits"]["memory"] == "4Gi"


def test_pod_above_the_maximum_is_never_made() -> None:
    with pytest.raises(InvalidSpec, match="at most 16Gi"):
        pod(engines(), engine={"className": "pods", "resources": {"memory": "17Gi"}})


def test_mirrors_are_dockers_and_those_without_tls_are_allowed() -> None:
    arguments = container(pod(engines(images={"mirrors": ["http://10.96.0.50:5000", "https://mirror.example"]})))[
        "args"
    ]
    assert arguments[-3:] == [
        "--registry-mirror=http://10.96.0.50:5000",
        "--registry-mirror=https://mirror.example",
        "--insecure-registry=10.96.0.50:5000",
    ]


def test_template_decides_where_the_pod_runs_and_replaces_nothing_of_the_provider() -> None:
    template = {
        "metadata": {
            "labels": {"team": "ci", "app.kubernetes.io/managed-by": "me"},
            "annotations": {
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
                "kind.infrastructure.cluster.x-k8s.io/cluster-name": "other",
            },
        },
        "spec": {
            "nodeSelector": {"pool": "kind"},
            "tolerations": [{"key": "kind", "operator": "Exists"}],
            "runtimeClassName": "sysbox-runc",
            "hostNetwork": True,
            "restartPolicy": "Never",
            "dnsPolicy": "ClusterFirst",
        },
    }
    manifest = validated(pod(engines(podTemplate=template, securityContext={"privileged": False})))
    assert manifest["metadata"]["labels"]["team"] == "ci"
    assert manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "capkind"
    assert manifest["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "true"
    assert manifest["metadata"]["annotations"]["kind.infrastructure.cluster.x-k8s.io/cluster-name"] == "dev"
    spec = manifest["spec"]
    assert spec["nodeSelector"] == {"pool": "kind"}
    assert spec["tolerations"][0] == {"key": "kind", "operator": "Exists"}
    assert spec["runtimeClassName"] == "sysbox-runc"
    assert "hostNetwork" not in spec
    assert (spec["restartPolicy"], spec["dnsPolicy"]) == ("Always", "Default")
    assert container(manifest)["securityContext"] == {"privileged": False}


def test_nothing_else_of_a_users_object_reaches_the_pod() -> None:
    hostile = {
        "clusterName": "$(reboot)",
        "image": "evil:1",
        "engine": {"className": "pods", "image": "evil:2", "podTemplate": {"spec": {"hostPID": True}}},
        "nodes": [
            {
                "image": "evil:3",
                "extraMounts": [{"hostPath": "/", "containerPath": "/host"}],
                "extraPortMappings": [{"containerPort": 80, "hostPort": 80, "listenAddress": "0.0.0.0"}],
            }
        ],
        "kubeadmConfigPatches": ["kind: ClusterConfiguration"],
        "networking": {"podSubnet": "10.0.0.0/16"},
        "registries": {"mirrors": [{"host": "docker.io", "endpoints": ["http://evil"]}]},
    }
    assert pod(engines(), **hostile) == pod(engines())


def test_service_leads_to_docker_the_api_server_and_each_published_port_once() -> None:
    mappings = [
        {"containerPort": 30080, "hostPort": 30080},
        {"containerPort": 53, "hostPort": 53, "protocol": "udp"},
        {"containerPort": 53, "hostPort": 53, "protocol": "TCP"},
    ]
    again = [{"containerPort": 30080, "hostPort": 30080, "listenAddress": "0.0.0.0"}]
    nodes = [{"extraPortMappings": mappings}, {"role": "worker", "extraPortMappings": again}, {}]
    service = validated(engine_service(cluster(nodes=nodes), **IN))
    ports = service["spec"]["ports"]
    assert [(one["name"], one["protocol"], one["port"], one["targetPort"]) for one in ports] == [
        ("docker", "TCP", 2376, 2376),
        ("api", "TCP", 6443, 6443),
        ("tcp-30080", "TCP", 30080, 30080),
        ("udp-53", "UDP", 53, 53),
        ("tcp-53", "TCP", 53, 53),
    ]
    assert service["spec"]["selector"].items() <= pod(engines())["metadata"]["labels"].items()
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["type"] == "ClusterIP"


def test_secret_holds_the_servers_certificate_and_nothing_else() -> None:
    data = {"ca.crt": "authority", "tls.crt": "server", "tls.key": "key", "client.key": "not for tenants"}
    secret = validated(engine_secret(cluster(), **IN, data=data))
    assert {key: b64decode(value).decode() for key, value in secret["data"].items()} == {
        "ca.crt": "authority",
        "tls.crt": "server",
        "tls.key": "key",
    }


def test_every_object_names_its_cluster_and_has_no_owner_in_another_namespace() -> None:
    of = engines(storage={"claim": {"size": "1Gi"}})
    data = dict.fromkeys(("ca.crt", "tls.crt", "tls.key"), "")
    objects = [
        engine_service(cluster(), **IN),
        engine_secret(cluster(), **IN, data=data),
        engine_claim(cluster(), of, **IN) or {},
        pod(of),
    ]
    for one in objects:
        metadata = one["metadata"]
        assert (metadata["name"], metadata["namespace"]) == (NAME, "capkind-engines")
        assert metadata["labels"]["kind.infrastructure.cluster.x-k8s.io/cluster-uid"] == UID
        assert metadata["annotations"]["kind.infrastructure.cluster.x-k8s.io/cluster-namespace"] == "team"
        assert metadata["annotations"]["kind.infrastructure.cluster.x-k8s.io/engine-class"] == "pods"
        assert "ownerReferences" not in metadata


def test_pod_stays_on_a_node_that_does_not_answer_unless_the_class_says_otherwise() -> None:
    """Kubernetes deletes Pods without these tolerations after five minutes, and their data with them."""
    lasting = {"operator": "Exists", "effect": "NoExecute"}
    not_ready, unreachable = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
    manifest = validated(pod(engines()))
    assert manifest["spec"]["tolerations"] == [{"key": not_ready, **lasting}, {"key": unreachable, **lasting}]
    given = {"key": unreachable, **lasting, "tolerationSeconds": 60}
    manifest = validated(pod(engines(podTemplate={"spec": {"tolerations": [given]}})))
    assert manifest["spec"]["tolerations"] == [given, {"key": not_ready, **lasting}]
