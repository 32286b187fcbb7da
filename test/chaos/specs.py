"""Random specs of KINDClusters: mostly realistic, with a few odd values each.

Only fields that the real kind reads, so that it can judge them too.
"""

import ipaddress
import random
from collections.abc import Sequence
from typing import Any

ODD = 0.04
"""Probability that a value is odd; a spec has about ten values."""

TEXTS = (
    "",
    " ",
    "a",
    "A-b.c",
    "ä",
    "a\nb",
    "- a",
    "{}",
    "[]",
    "null",
    "~",
    "0x1f",
    "1e3",
    "yes",
    "'",
    '"',
    "*x",
    "a" * 64,
)
ADDRESSES = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "192.168.1.7", "fd00::7", "0:0:0:0:0:0:0:1")
ODD_ADDRESSES = ("localhost", "10.0.0.256", "::ffff:10.0.0.1", "fe80::1%eth0", "010.0.0.1", "1.2.3", "[::1]", " ::1")
ODD_SUBNETS = (
    "10.0.0.0",
    "10.0.0.0/33",
    "010.0.0.0/8",
    "::/129",
    "a/8",
    "/8",
    "10.0.0.0/8,",
    ",",
    " 10.0.0.0/8",
    "10/8",
)
PATCH = '[{"op": "add", "path": "/a", "value": 1}]'


class Specs:
    """A source of random specs."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def spec(self) -> dict[str, Any]:
        """Return one spec."""
        parts = {
            "clusterName": lambda: self._one(
                ("dev", "a", "team-a.b", "x" * 40), (*TEXTS, "-a", "a..b", "a_b", "x" * 50)
            ),
            "nodes": self._nodes,
            "networking": self._networking,
            "featureGates": lambda: self._map(lambda: self._one((True, False), ("true", 1))),
            "runtimeConfig": lambda: self._map(lambda: self._one(("true", "false", ""), (True, *TEXTS))),
            "kubeadmConfigPatches": lambda: self._list(self._patch),
            "kubeadmConfigPatchesJSON6902": lambda: self._list(self._json_patch),
            "containerdConfigPatches": lambda: self._list(lambda: self._one(("version = 2", "[plugins]"), TEXTS)),
            "containerdConfigPatchesJSON6902": lambda: self._list(lambda: self._one((PATCH, f"\n {PATCH}"), TEXTS)),
        }
        return self._some(parts, 0.35)

    def _nodes(self) -> list[Any]:
        count = self._chance.choice((0, 1, 1, 1, 2, 2, 3, 5))
        nodes = [self._node() for _ in range(count)]
        if nodes and self._chance.random() > 3 * ODD:
            nodes[0].pop("role", None)
        return nodes

    def _node(self) -> dict[str, Any]:
        parts = {
            "role": lambda: self._one(("control-plane", "worker", "worker"), ("", "external-load-balancer", "Worker")),
            "image": lambda: self._one(("kindest/node:v1.34.3", "localhost:5000/node"), TEXTS),
            "labels": lambda: {self._label(): self._one(("a", "", "front-1_a.b"), TEXTS)},
            "extraMounts": lambda: self._list(self._mount),
            "extraPortMappings": lambda: self._list(self._port),
            "kubeadmConfigPatches": lambda: self._list(self._patch),
            "kubeadmConfigPatchesJSON6902": lambda: self._list(self._json_patch),
        }
        return self._some(parts, 0.35)

    def _mount(self) -> dict[str, Any]:
        parts = {
            "readOnly": lambda: self._one((True, False), ("yes", 1)),
            "selinuxRelabel": lambda: self._one((True, False), ("", 0)),
            "propagation": lambda: self._one(("None", "HostToContainer", "Bidirectional"), ("", "private", "none")),
        }
        return {
            **self._some({"hostPath": lambda: self._one(("/data", "C:\\data"), ("./a", "~", *TEXTS))}, 1 - ODD),
            **self._some({"containerPath": lambda: self._one(("/data", "/a/b"), ("/", "a", *TEXTS))}, 1 - ODD),
            **self._some(parts, 0.3),
        }

    def _port(self) -> dict[str, Any]:
        parts = {
            "hostPort": lambda: self._one((80, 8080, 6443, 0, -1, 65535), (-2, 65536, 2**31, 1.5, "80", None)),
            "listenAddress": lambda: self._one(ADDRESSES, (*ODD_ADDRESSES, "")),
            "protocol": lambda: self._one(("TCP", "UDP", "SCTP", "tcp", "udp"), ("", "ICMP", "Udp")),
        }
        inside = {"containerPort": lambda: self._one((80, 443, 30000), (0, -1, 65536, "80"))}
        return {**self._some(inside, 1 - ODD), **self._some(parts, 0.5)}

    def _networking(self) -> dict[str, Any]:
        family = self._one(("ipv4", "ipv6", "dual"), ("", "IPv4", "dualstack"))
        parts = {
            "apiServerPort": lambda: self._one((0, -1, 6443, 8080, 65535), (-2, 65536, "1", 0.5)),
            "apiServerAddress": lambda: self._one(ADDRESSES, ODD_ADDRESSES),
            "podSubnet": lambda: self._subnets(family),
            "serviceSubnet": lambda: self._subnets(family),
            "disableDefaultCNI": lambda: self._one((True, False), ("yes",)),
            "kubeProxyMode": lambda: self._one(("iptables", "ipvs", "nftables", "none"), ("", "userspace")),
            "dnsSearch": lambda: self._list(lambda: self._one(("corp.example", "svc.local"), TEXTS)),
        }
        chosen = self._some(parts, 0.35)
        return {"ipFamily": family, **chosen} if self._chance.random() < 0.6 else chosen

    def _subnets(self, family: str) -> str:
        """Return subnets that mostly fit the family."""
        four = f"{ipaddress.IPv4Address(self._chance.randrange(2**32))}/{self._chance.randrange(33)}"
        six = f"{ipaddress.IPv6Address(self._chance.randrange(2**128))}/{self._chance.randrange(129)}"
        fitting = {"ipv6": (six,), "dual": (four, six, f"{four},{six}", f"{six},{four}")}.get(family, (four,))
        return self._one(fitting, (four, six, f"{four},{four}", f"{four},{six},{four}", f"{four}, {six}", *ODD_SUBNETS))

    def _patch(self) -> str:
        return self._one(("kind: ClusterConfiguration\napiServer: {}", "kind: JoinConfiguration"), TEXTS)

    def _json_patch(self) -> dict[str, Any]:
        parts = {
            "group": lambda: self._one(("kubeadm.k8s.io",), TEXTS),
            "version": lambda: self._one(("v1beta3",), TEXTS),
        }
        needed = {
            "kind": lambda: self._one(("ClusterConfiguration",), TEXTS),
            "patch": lambda: self._one((PATCH,), TEXTS),
        }
        return {**self._some(parts, 0.5), **self._some(needed, 1 - ODD)}

    def _label(self) -> str:
        odd = ("k8s.io/x", "node-role.kubernetes.io/worker", "a/b/c", "A.b/c", "-a", *TEXTS)
        return self._one(("tier", "example.org/tier", "topology.kubernetes.io/zone"), odd)

    def _map(self, value: Any) -> dict[str, Any]:
        keys = self._list(lambda: self._one(("A", "api/alpha", "SomeGate"), TEXTS))
        return {key: value() for key in keys}

    def _list(self, item: Any) -> list[Any]:
        return [item() for _ in range(self._chance.choice((0, 1, 1, 2, 3)))]

    def _some(self, parts: dict[str, Any], share: float) -> dict[str, Any]:
        """Return some of the parts, and rarely one that does not exist."""
        made = {name: make() for name, make in parts.items() if self._chance.random() < share}
        if self._chance.random() < ODD / 4:
            made[self._chance.choice(("noodles", "Image", "Role"))] = 1
        return made

    def _one(self, good: Sequence[Any], odd: Sequence[Any]) -> Any:
        return self._chance.choice(odd if self._chance.random() < ODD else good)
