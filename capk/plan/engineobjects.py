"""The objects of an engine in a Pod: Service, Secret, volume claim and Pod, from a KINDCluster and its class. Pure.

Of the KINDCluster, only its uid, its published ports and amounts of resources reach them. All else is the class's.
Every choice that is not explained here was measured; docs/decisions/0022-engines-in-pods.md has the reasons.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from capk.api import names
from capk.api.objects import KINDCluster
from capk.api.podengines import PodEngines
from capk.api.quantities import MEMORY, STORAGE, Amounts, text
from capk.kindconfig.config import API_PORT
from capk.plan.enginepods import ENGINE_CONTAINER
from capk.plan.enginespec import DOCKER_PORT, engine_amounts, published_ports

AUTHORITY, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
"""Keys of the Secret."""
_GRACE_SECONDS, _CLEAN_STOP_SECONDS = 10, 60
"""Without a volume there is nothing to be saved."""
_CERTIFICATES: Final = {
    "ca/cert.pem": AUTHORITY,
    "server/ca.pem": AUTHORITY,
    "server/cert.pem": CERTIFICATE,
    "server/key.pem": KEY,
}
"""Files below /certs, where the image docker:dind expects them. With ca/cert.pem it makes no certificates itself."""
_WITH_MTU: Final = 'exec dockerd-entrypoint.sh --mtu="$(cat /sys/class/net/eth0/mtu || echo 1500)" "$@"'
"""Networks in the Pod must not have larger packets than its own, which a network of tunnels makes smaller."""
_MASQUERADE: Final = (
    "rule='POSTROUTING -m conntrack --ctstate DNAT -d {nodes} -j MASQUERADE'; "
    "for n in 1 2 3 4 5; do for t in iptables iptables-legacy; do "
    "$t -w 5 -t nat -C $rule 2>/dev/null || $t -w 5 -t nat -A $rule && exit; "
    "done; sleep 1; done; exit 1"
)
"""Pods of the kind cluster may have the address of a client outside. Without this rule, answers would go to them.

Without the kernel module for iptables, the image docker:dind uses the older variant and loads its module as it starts.
"""
_TROUBLES_OF_A_NODE: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_KEPT_BY_AUTOSCALER: Final = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def engine_name(uid: str) -> str:
    """Return the name of all objects of the engine of the KINDCluster with that uid."""
    return f"kc-{re.sub('[^0-9a-z]', '', uid.lower())[:16]}"


def engine_service(cluster: KINDCluster, *, class_name: str, namespace: str) -> dict[str, Any]:
    """Return the Service, which gives the engine an address that stays, for Docker, the API server and mapped ports.

    It leads to a Pod that is not ready too: an engine that is busy must not lose the connection of a running command.
    """
    ports = [_port("docker", DOCKER_PORT), _port("api", API_PORT)]
    ports += [_port(f"{protocol.lower()}-{port}", port, protocol) for protocol, port in published_ports(cluster.spec)]
    spec = {
        "type": "ClusterIP",
        "selector": {names.ENGINE_LABEL: engine_name(cluster.uid)},
        "publishNotReadyAddresses": True,
        "ports": ports,
    }
    return _object(names.SERVICES, cluster, class_name, namespace) | {"spec": spec}


def engine_secret(cluster: KINDCluster, *, class_name: str, namespace: str, data: Mapping[str, str]) -> dict[str, Any]:
    """Return the Secret with the certificate of the engine.

    data: the PEM texts under the keys AUTHORITY, CERTIFICATE and KEY, not yet in base64.
    """
    encoded = {key: b64encode(data[key].encode()).decode() for key in (AUTHORITY, CERTIFICATE, KEY)}
    return _object(names.SECRETS, cluster, class_name, namespace) | {
        "type": "Opaque",
        "immutable": True,
        "data": encoded,
    }


def engine_claim(
    cluster: KINDCluster, engines: PodEngines, *, class_name: str, namespace: str
) -> dict[str, Any] | None:
    """Return the claim for the volume of the engine; None if its data is on the disk of the machine."""
    if engines.claim is None:
        return None
    chosen = {"storageClassName": engines.claim.storage_class} if engines.claim.storage_class else {}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": engines.claim.size}},
        **chosen,
    }
    return _object(names.VOLUME_CLAIMS, cluster, class_name, namespace) | {"spec": spec}


def engine_pod(
    cluster: KINDCluster,
    engines: PodEngines,
    *,
    class_name: str,
    namespace: str,
    control_planes: int,
    workers: int,
    has_claim: bool = False,
) -> dict[str, Any]:
    """Return the Pod. control_planes, workers: the nodes that kind creates in it. Raises InvalidSpec.

    has_claim: whether there is a claim with its data, which it gets even if the class gives none any more.
    """
    has_claim = has_claim or engines.can_stop
    pod = _object(names.PODS, cluster, class_name, namespace)
    metadata = pod["metadata"]
    metadata["labels"] = {**engines.labels, **metadata["labels"]}
    metadata["annotations"] = {**_KEPT_BY_AUTOSCALER, **engines.annotations, **metadata["annotations"]}
    amounts = engine_amounts(cluster, engines, class_name=class_name, control_planes=control_planes, workers=workers)
    spec = {
        **engines.pod,
        "tolerations": _tolerations(engines),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # With the resolver of the management cluster, CoreDNS of the kind cluster would ask itself.
        "dnsPolicy": "Default",
        "hostname": ENGINE_CONTAINER,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": _CLEAN_STOP_SECONDS if has_claim else _GRACE_SECONDS,
        "containers": [_container(engines, amounts)],
        "volumes": _volumes(metadata["name"], engines, has_claim=has_claim),
    }
    return pod | {"spec": spec}


def _tolerations(engines: PodEngines) -> list[dict[str, Any]]:
    """Return what the Pod tolerates: a node that does not answer is no reason to delete its data.

    Kubernetes would do that after five minutes. Tolerations of the class for these troubles replace ours.
    """
    own = list(engines.pod.get("tolerations") or ())
    judged = {one.get("key") for one in own}
    lasting = [key for key in _TROUBLES_OF_A_NODE if key not in judged]
    return own + [{"key": key, "operator": "Exists", "effect": "NoExecute"} for key in lasting]


def _object(resource: names.Resource, cluster: KINDCluster, class_name: str, namespace: str) -> dict[str, Any]:
    """Return an object without a spec. It has no owner reference, because the owner is in another namespace."""
    name = engine_name(cluster.uid)
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                names.MANAGED_BY_LABEL: names.MANAGED_BY,
                names.ENGINE_LABEL: name,
                names.ENGINE_CLUSTER_LABEL: cluster.uid,
            },
            "annotations": {
                names.ENGINE_CLUSTER_NAMESPACE_ANNOTATION: cluster.namespace,
                names.ENGINE_CLUSTER_NAME_ANNOTATION: cluster.name,
                names.ENGINE_CLASS_ANNOTATION: class_name,
            },
        },
    }


def _port(name: str, port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"name": name, "port": port, "targetPort": port, "protocol": protocol}


def _container(engines: PodEngines, amounts: Amounts) -> dict[str, Any]:
    """Return the container. It has no liveness probe: one that a busy dockerd misses would end all nodes."""
    masquerade = _MASQUERADE.format(nodes=engines.nodes)
    requests = {name: text(name, amount) for name, amount in amounts.by_name().items() if amount}
    return {
        "name": ENGINE_CONTAINER,
        "image": engines.image,
        "imagePullPolicy": "IfNotPresent",
        **({} if engines.mtu else {"command": ["sh", "-c", _WITH_MTU, ENGINE_CONTAINER]}),
        "args": _arguments(engines),
        "env": [{"name": "DOCKER_TLS_CERTDIR", "value": "/certs"}],
        "securityContext": {"privileged": engines.privileged},
        "ports": [{"name": "docker", "containerPort": DOCKER_PORT}, {"name": "api", "containerPort": API_PORT}],
        "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", masquerade]}}},
        "readinessProbe": {
            "exec": {"command": ["docker", "version", "--format", "ok"]},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        },
        "resources": {
            "requests": requests,
            # With less memory requested than allowed, the kernel would end Docker first.
            "limits": {MEMORY: requests[MEMORY], STORAGE: text(STORAGE, engines.most.storage)},
        },
        "volumeMounts": _mounts(engines),
    }


def _arguments(engines: PodEngines) -> list[str]:
    """Return the arguments of dockerd; each network of kind is a /24 of the Pod's."""
    first = engines.bridge.network_address + 1
    return [
        f"--default-address-pool=base={engines.nodes},size=24",
        f"--bip={first}/{engines.bridge.prefixlen}",
        "--log-level=warn",
        *([f"--mtu={engines.mtu}"] if engines.mtu else []),
        *(f"--registry-mirror={mirror}" for mirror in engines.mirrors),
        *(f"--insecure-registry={mirror[7:]}" for mirror in engines.mirrors if mirror.startswith("http://")),
    ]


def _mounts(engines: PodEngines) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "data", "mountPath": "/var/lib/docker"},
        {"name": "certs", "mountPath": "/certs", "readOnly": True},
    ]
    modules = {"name": "modules", "mountPath": "/lib/modules", "readOnly": True}
    return [*mounts, modules] if engines.host_modules else mounts


def _volumes(name: str, engines: PodEngines, *, has_claim: bool) -> list[dict[str, Any]]:
    files = [{"key": key, "path": path} for path, key in _CERTIFICATES.items()]
    data = {"persistentVolumeClaim": {"claimName": name}} if has_claim else {"emptyDir": {}}
    volumes: list[dict[str, Any]] = [
        {"name": "data", **data},
        {"name": "certs", "secret": {"secretName": name, "defaultMode": 0o400, "items": files}},
    ]
    modules = {"name": "modules", "hostPath": {"path": "/lib/modules", "type": "Directory"}}
    return [*volumes, modules] if engines.host_modules else volumes
