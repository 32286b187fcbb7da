"""The types of kind's configuration, and the messages of kind's parser for documents with other types.

Source: kind pkg/apis/config/v1alpha4/types.go; the messages are those of Go's yaml.v3.
"""

from collections.abc import Mapping
from typing import Any

_STRINGS = ["string"]
_PATCH = {"group": "string", "version": "string", "kind": "string", "patch": "string"}
_TYPES: Mapping[str, Mapping[str, Any]] = {
    "Cluster": {
        "kind": "string",
        "apiVersion": "string",
        "name": "string",
        "nodes": ["Node"],
        "networking": "Networking",
        "featureGates": {"": "bool"},
        "runtimeConfig": {"": "string"},
        "kubeadmConfigPatches": _STRINGS,
        "kubeadmConfigPatchesJSON6902": ["PatchJSON6902"],
        "containerdConfigPatches": _STRINGS,
        "containerdConfigPatchesJSON6902": _STRINGS,
    },
    "Node": {
        "role": "string",
        "image": "string",
        "labels": {"": "string"},
        "extraMounts": ["Mount"],
        "extraPortMappings": ["PortMapping"],
        "kubeadmConfigPatches": _STRINGS,
        "kubeadmConfigPatchesJSON6902": ["PatchJSON6902"],
    },
    "Networking": {
        "ipFamily": "string",
        "apiServerPort": "int32",
        "apiServerAddress": "string",
        "podSubnet": "string",
        "serviceSubnet": "string",
        "disableDefaultCNI": "bool",
        "kubeProxyMode": "string",
        "dnsSearch": _STRINGS,
    },
    "Mount": {
        "containerPath": "string",
        "hostPath": "string",
        "readOnly": "bool",
        "selinuxRelabel": "bool",
        "propagation": "string",
    },
    "PortMapping": {
        "containerPort": "int32",
        "hostPort": "int32",
        "listenAddress": "string",
        "protocol": "string",
    },
    "PatchJSON6902": _PATCH,
}
_SCALARS = {"bool": "tag:yaml.org,2002:bool", "int32": "tag:yaml.org,2002:int"}
_INT32 = range(-(2**31), 2**31)


def type_problems(root: Any) -> list[str]:
    """Return a line for each value of a wrong type and each unknown field.

    root: a document as `yaml.compose` returns it.
    """
    problems: list[str] = []
    _check(root, "Cluster", problems)
    return problems


def repeated_keys(node: Any) -> list[str]:
    """Return a line for each repeated key of a mapping."""
    if node is None or node.id != "mapping":
        return []
    first: dict[str, int] = {}
    problems = []
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in first:
            problems.append(f'line {line}: mapping key "{key.value}" already defined at line {first[key.value]}')
        first.setdefault(key.value, line)
    return problems


def _check(node: Any, expected: Any, problems: list[str]) -> None:
    if node.tag == "tag:yaml.org,2002:null":
        return
    line = node.start_mark.line + 1
    if isinstance(expected, list):
        if node.id != "sequence":
            problems.append(f"line {line}: cannot unmarshal {_found(node)} into []{_go_name(expected[0])}")
            return
        for item in node.value:
            _check(item, expected[0], problems)
    elif isinstance(expected, dict) or expected in _TYPES:
        if node.id != "mapping":
            problems.append(f"line {line}: cannot unmarshal {_found(node)} into {_go_name(expected)}")
            return
        problems.extend(repeated_keys(node))
        for key, value in node.value:
            _check_field(key, value, expected, problems)
    elif not _is_scalar(node, expected):
        problems.append(f"line {line}: cannot unmarshal {_found(node)} into {expected}")


def _check_field(key: Any, value: Any, expected: Any, problems: list[str]) -> None:
    fields = expected if isinstance(expected, dict) else _TYPES[expected]
    if isinstance(expected, dict):
        _check(value, expected[""], problems)
    elif key.value in fields:
        _check(value, fields[key.value], problems)
    else:
        line = key.start_mark.line + 1
        problems.append(f"line {line}: field {key.value} not found in type {_go_name(expected)}")


def _is_scalar(node: Any, expected: str) -> bool:
    if node.id != "scalar" or _SCALARS.get(expected, node.tag) != node.tag:
        return False
    return expected != "int32" or not node.value.lstrip("+-").isdecimal() or int(node.value) in _INT32


def _found(node: Any) -> str:
    tag, text = "!!" + node.tag.rpartition(":")[2], str(node.value)
    if node.id != "scalar":
        return str(tag)
    return f"{tag} `{text}`" if len(text) <= 10 else f"{tag} `{text[:7]}...`"


def _go_name(expected: Any) -> str:
    if isinstance(expected, dict):
        return f"map[string]{expected['']}"
    if expected not in _TYPES:
        return str(expected)
    # kind reads these two through an alias, which appears in its messages.
    return f"v1alpha4.{expected}Alias" if expected in {"Mount", "PortMapping"} else f"v1alpha4.{expected}"
