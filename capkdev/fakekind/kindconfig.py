"""Reads a kind.x-k8s.io/v1alpha4 configuration as strictly as kind does, with kind's own messages.

Source: kind pkg/apis/config/v1alpha4/types.go, pkg/internal/apis/config/{default,validate}.go, encoding/load.go.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from capk.errors import CapkError
from capkdev.fakekind.kindtypes import repeated_keys, type_problems

DEFAULT_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
API_VERSION = "kind.x-k8s.io/v1alpha4"

Config = dict[str, Any]
"""A configuration with kind's field names and every default filled in."""


class InvalidConfig(CapkError):
    """kind would reject the configuration."""


def parse(text: str) -> Config:
    """Return the configuration in a YAML document.

    Raises InvalidConfig with kind's message, one line for each wrong field.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, loader)
        document = yaml.load(text, loader)
    except yaml.YAMLError as failure:
        raise InvalidConfig(
            f"could not determine kind / apiVersion for config: yaml: {_go_words(failure)}"
        ) from failure
    if repeated := repeated_keys(root):
        cause = "yaml: unmarshal errors:\n  " + "\n  ".join(repeated)
        raise InvalidConfig(f"could not determine kind / apiVersion for config: {cause}")
    document = document if isinstance(document, dict) else {}
    if document.get("apiVersion") != API_VERSION:
        raise InvalidConfig(f"unknown apiVersion: {document.get('apiVersion') or ''}")
    if document.get("kind") != "Cluster":
        raise InvalidConfig(f"unknown kind {document.get('kind') or ''} for apiVersion: {API_VERSION}")
    if problems := type_problems(root):
        raise InvalidConfig("unable to decode config: yaml: unmarshal errors:\n  " + "\n  ".join(problems))
    _check_choices(document)
    return document


def with_defaults(config: Config, name: str, image: str) -> Config:
    """Return the configuration with kind's defaults and the command line's name and image.

    name, image: empty if the command line does not set them.
    """
    networking = dict(config.get("networking") or {})
    family = networking.get("ipFamily") or "ipv4"
    defaults = {
        "ipFamily": family,
        "apiServerAddress": "::1" if family == "ipv6" else "127.0.0.1",
        "apiServerPort": 0,
        "podSubnet": _by_family(family, "10.244.0.0/16", "fd00:10:244::/56"),
        "serviceSubnet": _by_family(family, "10.96.0.0/16", "fd00:10:96::/112"),
        "kubeProxyMode": "iptables",
    }
    nodes = [dict(node or {}) for node in config.get("nodes") or [{}]]
    for node in nodes:
        node["role"] = node.get("role") or "control-plane"
        node["image"] = image or node.get("image") or DEFAULT_IMAGE
    given = {key: value for key, value in networking.items() if value}
    return {
        **config,
        "name": name or config.get("name") or "kind",
        "nodes": nodes,
        "networking": defaults | given,
    }


def validate(config: Config) -> None:
    """Raise InvalidConfig with everything that kind would reject in a configuration with defaults."""
    problems = []
    if not re.fullmatch(r"[a-z0-9.-]+", config["name"]):
        problems.append(f"'{config['name']}' is not a valid cluster name, cluster names must match `^[a-z0-9.-]+$`")
    networking = config["networking"]
    if not _is_port(networking["apiServerPort"]):
        problems.append(f"invalid apiServerPort: invalid port number: {networking['apiServerPort']}")
    family = networking["ipFamily"]
    if family not in {"ipv4", "ipv6", "dual"}:
        problems.append(f"invalid ipFamily: {family}")
    problems += [f"invalid pod subnet {problem}" for problem in _subnet_problems(networking["podSubnet"], family)]
    problems += [
        f"invalid service subnet {problem}" for problem in _subnet_problems(networking["serviceSubnet"], family)
    ]
    if networking["kubeProxyMode"] not in {"iptables", "ipvs", "nftables", "none"}:
        problems.append(f"invalid kubeProxyMode: {networking['kubeProxyMode']}")
    for index, node in enumerate(config["nodes"]):
        if found := _node_problems(node):
            problems.append(f"invalid configuration for node {index}: {_aggregate(found)}")
    if not any(node["role"] == "control-plane" for node in config["nodes"]):
        problems.append("must have at least one control-plane node")
    if problems:
        raise InvalidConfig(_aggregate(problems))


def _check_choices(document: Config) -> None:
    """Raise for the first mount or port mapping with an unknown value, and normalise the spelling of protocols.

    Source: kind pkg/apis/config/v1alpha4/yaml.go.
    """
    nodes = _mappings(document.get("nodes"))
    for mount in (mount for node in nodes for mount in _mappings(node.get("extraMounts"))):
        if mount.get("propagation") not in {None, "", "None", "HostToContainer", "Bidirectional"}:
            raise InvalidConfig(f'unable to decode config: Unknown MountPropagation: "{mount["propagation"]}"')
    for port in (port for node in nodes for port in _mappings(node.get("extraPortMappings"))):
        port["protocol"] = str(port.get("protocol") or "").upper()
        if port["protocol"] not in {"", "TCP", "UDP", "SCTP"}:
            raise InvalidConfig(f'unable to decode config: Unknown PortMappingProtocol: "{port["protocol"]}"')


def _mappings(items: Any) -> list[Config]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _go_words(failure: Any) -> str:
    """Describe a syntax error as Go's parser does, which counts lines in two ways."""
    mark = getattr(failure, "problem_mark", None)
    if mark is None:
        return str(failure)
    return f"line {mark.line + (type(failure).__name__ == 'ScannerError')}: {failure.problem}"


def _by_family(family: str, ipv4: str, ipv6: str) -> str:
    return {"ipv6": ipv6, "dual": f"{ipv4},{ipv6}"}.get(family, ipv4)


def _aggregate(problems: list[str]) -> str:
    return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"


def _is_port(number: int) -> bool:
    return -1 <= number <= 65535


def _subnet_problems(subnets: str, family: str) -> list[str]:
    versions = []
    for subnet in subnets.split(","):
        try:
            if "/" not in subnet:
                raise ValueError
            versions.append(ipaddress.ip_network(subnet, strict=False).version)
        except ValueError:
            return [f'failed to parse cidr value:"{subnet}" with error: invalid CIDR address: {subnet}']
    if family == "dual":
        if len(versions) > 2 or (len(versions) == 2 and len(set(versions)) == 1):
            return [
                "expected one (IPv4 or IPv6) CIDR or two CIDRs from each family for dual-stack networking",
            ]
    elif len(versions) > 1:
        return ["only one CIDR allowed for single-stack networking"]
    elif family == "ipv4" and versions[0] != 4:
        return ["expected IPv4 CIDR for IPv4 family"]
    elif family == "ipv6" and versions[0] != 6:
        return ["expected IPv6 CIDR for IPv6 family"]
    return []


def _node_problems(node: Mapping[str, Any]) -> list[str]:
    problems = []
    if node["role"] not in {"control-plane", "worker"}:
        problems.append(f'"{node["role"]}" is not a valid node role')
    mappings = node.get("extraPortMappings") or []
    for mapping in mappings:
        for field in ("hostPort", "containerPort"):
            if not _is_port(mapping.get(field) or 0):
                problems.append(f"invalid {field}: invalid port number: {mapping[field]}")
    return problems + _mapping_problems(mappings)


def _mapping_problems(mappings: list[Mapping[str, Any]]) -> list[str]:
    bound: dict[str, set[str]] = {}
    for mapping in mappings:
        if mapping.get("hostPort", 0) in {-1, 0, None}:
            continue
        listen = mapping.get("listenAddress") or "0.0.0.0"
        try:
            address = str(ipaddress.ip_address(listen))
        except ValueError:
            return [f"invalid portMapping: invalid listen address: {listen}"]
        port = f"{mapping['hostPort']}/{mapping.get('protocol') or ''}"
        wildcard = address in {"0.0.0.0", "::"}
        others = bound.setdefault(port, set())
        if others and (wildcard or address in others or "0.0.0.0" in others):
            return [
                "invalid portMapping: port mapping with same listen address, port and protocol already configured: "
                f"{address}:{port}"
            ]
        others.add("0.0.0.0" if wildcard else address)
    return []
