"""The configuration with which kubeadm joins one more worker, made from that of the first control plane. Pure.

`/kind/kubeadm.conf` of a control plane holds a JoinConfiguration with the cluster-wide patches of the user. It is
untrusted: root in that node can write it. So it is parsed, and only known fields are rebuilt.
Source: kind pkg/cluster/internal/kubeadm/config.go (its templates), pkg/cluster/internal/create/actions/config;
Kubernetes cmd/kubeadm/app/apis/kubeadm/v1beta2, v1beta3, v1beta4 (the fields).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from capk.errors import CapkError, InvalidSpec
from capk.kindconfig import yamlio
from capk.kindconfig.patches import PatchReader, kubeadm_documents

KIND: Final = "JoinConfiguration"

_GROUP: Final = "kubeadm.k8s.io/"
_VERSIONS: Final = ("v1beta2", "v1beta3", "v1beta4")
_WITH_LISTED_ARGUMENTS: Final = "v1beta4"
"""From this version on, the kubelet's arguments are a list of names and values; before, a mapping."""
_WITHOUT_PHASES: Final = "v1beta2"
"""This version cannot skip phases; kind passes a flag instead."""

_MOST_CHARACTERS: Final = 256 * 1024
_MOST_SIGNS: Final = 50_000
"""Of `PatchReader`; the text is read once for each join."""
_MOST_ENTRIES: Final = 128
_LONGEST: Final = 8 * 1024
_ENDPOINT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?:[0-9]{1,5}")
_ARGUMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,100}")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,316}=[A-Za-z0-9._-]{0,63}")
_TAINT: Final = re.compile(
    r"(?P<key>[A-Za-z0-9][A-Za-z0-9._/-]{0,316})(?:=(?P<value>[A-Za-z0-9._-]{0,63}))?"
    r":(?P<effect>NoSchedule|PreferNoSchedule|NoExecute)"
)

_TEXT, _SWITCH, _TEXTS, _TAINTS, _TIMES, _ARGUMENTS = "text", "switch", "texts", "taints", "times", "arguments"
_FIELDS: Final[Mapping[str, Any]] = {
    "caCertPath": _TEXT,
    "discovery": {
        "bootstrapToken": {
            "apiServerEndpoint": _TEXT,
            "caCertHashes": _TEXTS,
            "unsafeSkipCAVerification": _SWITCH,
        },
        "timeout": _TEXT,
    },
    "nodeRegistration": {
        "criSocket": _TEXT,
        "ignorePreflightErrors": _TEXTS,
        "imagePullPolicy": _TEXT,
        "imagePullSerial": _SWITCH,
        "kubeletExtraArgs": _ARGUMENTS,
        "taints": _TAINTS,
    },
    "patches": {"directory": _TEXT},
    "skipPhases": _TEXTS,
    "timeouts": _TIMES,
}
"""The fields of a worker that have no value of their own for each node. What decides who the node is, is set here."""
_NULL: Final = ("null", "~", "Null", "NULL")
"""How YAML writes null. The loader returns texts, so a quoted one counts as null too."""
_OURS: Final = ("node-ip", "provider-id")
"""Arguments of the kubelet that a patch must not set: Cluster API finds the Node by them."""


class BadJoinConfiguration(CapkError):
    """The text is not a usable configuration of kubeadm. The message does not quote it."""


@dataclass(frozen=True)
class Joining:
    """One node that is to join.

    addresses: on kind's network, one for each IP family.
    labels, taints: what the kubelet registers the Node with; a taint is `key=value:Effect`.
    patches: merge patches (RFC 7386) of the JoinConfiguration.
    """

    addresses: Sequence[str]
    provider_id: str
    labels: Mapping[str, str]
    taints: Sequence[str]
    patches: Sequence[str]


@dataclass(frozen=True)
class JoinTemplate:
    """What all workers of a kind cluster have in common.

    version: of kubeadm's API, as in v1beta4.
    families: IP versions of a node's addresses, in the order of the cluster.
    fields: the rest, with the kubelet's arguments as a mapping.
    """

    version: str
    families: tuple[int, ...]
    fields: Mapping[str, Any]

    @property
    def has_ipv6(self) -> bool:
        """Whether the kind cluster uses IPv6, alone or beside IPv4."""
        return 6 in self.families

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of `kubeadm join` that this version of its API needs beside the configuration."""
        return ("--skip-phases=preflight",) if self.version == _WITHOUT_PHASES else ()


def parse_join(text: str) -> JoinTemplate:
    """Return the template in the configuration of a control plane, an untrusted text.

    Raises BadJoinConfiguration.
    """
    if len(text) > _MOST_CHARACTERS:
        raise BadJoinConfiguration(f"it is longer than {_MOST_CHARACTERS // 1024} KiB")
    found = [document for document in PatchReader(_MOST_SIGNS).documents(text) if document.get("kind") == KIND]
    if len(found) != 1:
        raise BadJoinConfiguration(f"it has {len(found)} documents of kind {KIND}, instead of one")
    version = _version(found[0])
    if version is None:
        raise BadJoinConfiguration(f"its apiVersion is none of {', '.join(_VERSIONS)}")
    try:
        fields = _rebuilt(found[0], _FIELDS, "", strict=False)
    except ValueError as error:
        raise BadJoinConfiguration(str(error)) from error
    token = fields.get("discovery", {}).get("bootstrapToken", {})
    if not _ENDPOINT.fullmatch(token.get("apiServerEndpoint", "")):
        raise BadJoinConfiguration("discovery.bootstrapToken.apiServerEndpoint is not a host and a port")
    arguments = fields.setdefault("nodeRegistration", {}).setdefault("kubeletExtraArgs", {})
    families = _families(arguments.pop("node-ip", ""))
    for name in ("provider-id", "node-labels"):
        arguments.pop(name, None)
    return JoinTemplate(version, families, fields)


def join_configuration(template: JoinTemplate, joining: Joining, token: str) -> str:
    """Return kubeadm's configuration as YAML; it holds the token.

    Raises InvalidSpec for a patch, label or taint that cannot be used, BadJoinConfiguration for a missing address.
    """
    fields = _merged(dict(template.fields), {})
    registration = fields["nodeRegistration"]
    registration["kubeletExtraArgs"] |= {"node-labels": _labels(joining.labels)}
    if joining.taints:
        registration["taints"] = [_taint(taint) for taint in joining.taints]
    for index, patch in enumerate(joining.patches):
        for document in _patch_documents(patch, _path(index)):
            _check_version(document, template.version, _path(index))
            fields = _merged(fields, _checked_patch(document, _path(index)))
    return yamlio.dump(_document(template, fields, joining, token))


def _document(template: JoinTemplate, fields: Mapping[str, Any], joining: Joining, token: str) -> dict[str, object]:
    registration = dict(fields.get("nodeRegistration") or {})
    own = {"node-ip": _node_ip(template.families, joining.addresses), "provider-id": joining.provider_id}
    arguments = own | dict(registration.get("kubeletExtraArgs") or {})
    registration["kubeletExtraArgs"] = (
        [{"name": name, "value": value} for name, value in arguments.items()]
        if template.version == _WITH_LISTED_ARGUMENTS
        else arguments
    )
    discovery = dict(fields.get("discovery") or {})
    discovery["bootstrapToken"] = {**(discovery.get("bootstrapToken") or {}), "token": token}
    rest = {name: value for name, value in fields.items() if name not in ("discovery", "nodeRegistration")}
    if template.version == _WITHOUT_PHASES:
        rest.pop("skipPhases", None)
    head = {"apiVersion": f"{_GROUP}{template.version}", "kind": KIND}
    return {**head, "discovery": discovery, "nodeRegistration": registration, **rest}


def _version(document: Mapping[str, Any]) -> str | None:
    group, slash, version = str(document.get("apiVersion") or "").partition("/")
    return version if slash and f"{group}/" == _GROUP and version in _VERSIONS else None


def _families(node_ip: str) -> tuple[int, ...]:
    """Return the IP versions of a node's addresses; IPv4 where the text has none."""
    try:
        found = [ip_address(part.strip()).version for part in node_ip.split(",") if part.strip()]
    except ValueError as error:
        raise BadJoinConfiguration("node-ip is not a list of IP addresses") from error
    return tuple(dict.fromkeys(found)) or (4,)


def _node_ip(families: Sequence[int], addresses: Sequence[str]) -> str:
    by_family: dict[int, str] = {ip_address(address).version: address for address in reversed(addresses)}
    if missing := [str(family) for family in families if family not in by_family]:
        raise BadJoinConfiguration(f"the engine gave the node no address of IP version {', '.join(missing)}")
    return ",".join(by_family[family] for family in families)


def _labels(labels: Mapping[str, str]) -> str:
    entries = [f"{key}={value}" for key, value in labels.items()]
    if wrong := [entry for entry in entries if not _LABEL.fullmatch(entry)]:
        raise InvalidSpec("spec.labels", f"{wrong[0][:100]!r} is not a label of a Node")
    return ",".join(entries)


def _taint(taint: str) -> dict[str, str]:
    if not (found := _TAINT.fullmatch(taint)):
        raise InvalidSpec("spec.taints", f"{taint[:100]!r} is not a taint as in dedicated=gpu:NoSchedule")
    return {name: value for name, value in found.groupdict().items() if value}


def _path(index: int) -> str:
    return f"spec.kubeadmConfigPatches[{index}]"


def _patch_documents(patch: str, path: str) -> list[Mapping[str, Any]]:
    found = kubeadm_documents(patch) if len(patch) <= _MOST_CHARACTERS else []
    if not found:
        raise InvalidSpec(path, "is not a YAML document")
    for document in found:
        if document.get("kind") != KIND:
            raise InvalidSpec(path, f"must have `kind: {KIND}`; a worker reads no other configuration of kubeadm")
    return found


def _check_version(document: Mapping[str, Any], version: str, path: str) -> None:
    wanted = document.get("apiVersion")
    if wanted and wanted != f"{_GROUP}{version}":
        raise InvalidSpec(
            path, f"has apiVersion {str(wanted)[:60]!r}, but the kind cluster uses {_GROUP}{version}; leave it out"
        )


def _checked_patch(document: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the fields of a patch, None for those that it removes. Raises InvalidSpec."""
    fields = {name: value for name, value in document.items() if name not in ("apiVersion", "kind", "metadata")}
    try:
        patch = _rebuilt(fields, _FIELDS, "", strict=True)
    except ValueError as error:
        raise InvalidSpec(path, str(error)) from error
    arguments = (patch.get("nodeRegistration") or {}).get("kubeletExtraArgs") or {}
    if own := [name for name in _OURS if name in arguments]:
        raise InvalidSpec(path, f"sets the kubelet's argument {own[0]}, which the provider sets")
    return patch


def _merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with a merge patch (RFC 7386) applied, as a copy. The kubelet's arguments merge by name."""
    result = {name: _merged(value, {}) if isinstance(value, Mapping) else value for name, value in target.items()}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            inner = result.get(name)
            result[name] = _merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def _rebuilt(value: Mapping[str, Any], fields: Mapping[str, Any], path: str, *, strict: bool) -> dict[str, Any]:
    """Return the known fields of a document, checked and converted. Raises ValueError.

    strict: the document is a patch. So it must have no other fields, and null removes a field.
    """
    result: dict[str, Any] = {}
    for name, inner in value.items():
        where = f"{path}.{name}".lstrip(".")[:100]
        if name not in fields:
            if strict:
                raise ValueError(f"sets {where}, which is not a field that a worker's {KIND} may set")
        elif isinstance(inner, str) and inner in _NULL:
            result |= {name: None} if strict else {}
        elif isinstance(fields[name], Mapping):
            result[name] = _rebuilt(_mapping(inner, where), fields[name], where, strict=strict)
        else:
            result[name] = _converted(inner, fields[name], where, strict=strict)
    return result


def _converted(value: Any, shape: str, where: str, *, strict: bool) -> Any:
    match shape:
        case "text":
            return _text(value, where)
        case "switch":
            return _switch(value, where)
        case "texts":
            return [_text(entry, where) for entry in _list(value, where)]
        case "times":
            return {_text(name, where): _text(entry, where) for name, entry in _mapping(value, where).items()}
        case "taints":
            return [_taint_fields(entry, where) for entry in _list(value, where)]
    return _arguments(value, where, strict=strict)


def _arguments(value: Any, where: str, *, strict: bool) -> dict[str, str | None]:
    """Return the kubelet's arguments, from either form, as a mapping."""
    if isinstance(value, list):
        entries = [_mapping(entry, where) for entry in _list(value, where)]
        value = {_text(entry.get("name"), where): entry.get("value", "") for entry in entries}
    result: dict[str, str | None] = {}
    for name, text in _mapping(value, where).items():
        if not _ARGUMENT.fullmatch(str(name)):
            raise ValueError(f"{where} has a name that is not the name of an argument")
        is_null = strict and isinstance(text, str) and text in _NULL
        result[name] = None if is_null else _text(text, where)
    return result


def _taint_fields(value: Any, where: str) -> dict[str, str]:
    fields = _mapping(value, where)
    return {name: _text(fields[name], where) for name in ("key", "value", "effect") if name in fields}


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if isinstance(value, str) and (not value or value in _NULL):
        return {}
    if not isinstance(value, Mapping) or len(value) > _MOST_ENTRIES:
        raise ValueError(f"{where} must be a mapping with at most {_MOST_ENTRIES} entries")
    return value


def _list(value: Any, where: str) -> Sequence[Any]:
    if isinstance(value, str) and (not value or value in _NULL):
        return []
    if not isinstance(value, list) or len(value) > _MOST_ENTRIES:
        raise ValueError(f"{where} must be a list with at most {_MOST_ENTRIES} entries")
    return value


def _switch(value: Any, where: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(f"{where} must be true or false")
    return bool(value == "true")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError(f"{where} must be a text of at most {_LONGEST} characters")
    return value
