"""Parses the output of a container engine's `info`: the engine and the resources of its machine. Pure.

docker, nerdctl and finch print one flat object, podman prints groups.
Sources: moby api/types/system/info.go, nerdctl pkg/inspecttypes/dockercompat/info.go, podman libpod/define/info.go.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from capk.api.names import ENGINE_ID

_PODMANS_LICENSE: Final = "Apache-2.0"
"""ProductLicense of podman where it answers docker's client. It invents another id for each answer.

Source: podman pkg/api/handlers/compat/info.go; moby's engine has another text there, or none.
"""
_MAX_TEXT: Final = 255
_MAX_BYTES: Final = 2**63


class UnreadableInfo(Exception):
    """The text is not the output of `info`, or the command reports that it cannot reach the engine.

    refusal: the command's own message in the second case, otherwise empty.
    """

    def __init__(self, cause: str, refusal: str = "") -> None:
        super().__init__(cause)
        self.refusal = refusal


@dataclass(frozen=True)
class EngineInfo:
    """An engine that answers. Texts are empty and numbers None if the engine does not report them.

    id: unique to the engine, survives restarts. version: such as 28.2.2.
    host: name of its machine. data_root: path of images and containers on that machine.
    memory_bytes: of that machine. free_disk_bytes: on the disk of data_root.
    is_podman: whether podman has answered, also where its command is called docker.
    """

    id: str = ""
    version: str = ""
    host: str = ""
    data_root: str = ""
    memory_bytes: int | None = None
    free_disk_bytes: int | None = None
    is_podman: bool = False


def read(text: str) -> EngineInfo:
    """Parse the output of `info --format '{{json .}}'`. Raises UnreadableInfo."""
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableInfo("it is not JSON") from error
    if not isinstance(facts, dict):
        raise UnreadableInfo("it is not a JSON object")
    if facts.get("ServerErrors"):
        # docker's client reports that it cannot reach the engine, but exits with 0.
        raise UnreadableInfo("the engine does not answer", str(facts["ServerErrors"])[:1000])
    return _of_podman(facts) if isinstance(facts.get("host"), dict) else _of_docker(facts)


def _of_docker(facts: Mapping[str, Any]) -> EngineInfo:
    found = _text(facts, "ID")
    is_id = ENGINE_ID.fullmatch(found) and facts.get("ProductLicense") != _PODMANS_LICENSE
    return EngineInfo(
        id=found if is_id else "",
        version=_text(facts, "ServerVersion"),
        host=_text(facts, "Name"),
        data_root=_text(facts, "DockerRootDir"),
        memory_bytes=_bytes(facts, "MemTotal"),
    )


def _of_podman(facts: Mapping[str, Any]) -> EngineInfo:
    host, store, version = (_group(facts, name) for name in ("host", "store", "version"))
    size, used = _bytes(store, "graphRootAllocated"), _bytes(store, "graphRootUsed")
    return EngineInfo(
        version=_text(version, "Version"),
        host=_text(host, "hostname"),
        data_root=_text(store, "graphRoot"),
        memory_bytes=_bytes(host, "memTotal"),
        free_disk_bytes=None if size is None or used is None or used > size else size - used,
        is_podman=True,
    )


def _group(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = facts.get(name)
    return found if isinstance(found, dict) else {}


def _text(facts: Mapping[str, Any], name: str) -> str:
    found = facts.get(name)
    return found if isinstance(found, str) and len(found) <= _MAX_TEXT and found.isprintable() else ""


def _bytes(facts: Mapping[str, Any], name: str) -> int | None:
    found = facts.get(name)
    return found if type(found) is int and 0 < found < _MAX_BYTES else None
