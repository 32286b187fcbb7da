"""Registry mirrors: the files in which containerd finds them, and the setting that makes it read the files. Pure.

containerd reads `hosts.toml` at each pull, so the files may be written into a running node. Only the folder must be in
its configuration from the start. Source: containerd docs/hosts.md, core/remotes/docker/config/hosts.go.
"""

import base64
import binascii
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from capk.errors import InvalidSpec
from capk.kindconfig.patches import registry_settings

FOLDER: Final = "/etc/containerd/certs.d"
AUTHORITY_KEY: Final = "ca.crt"
"""Key of a ConfigMap that `caConfigMapRef` names."""

MOST_AUTHORITY: Final = 256 * 1024
"""Characters under that key."""
_MOST_MIRRORS, _MOST_ENDPOINTS = 16, 8
_LONGEST_HOST, _LONGEST_ENDPOINT = 253, 512
_NAME = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[A-Fa-f0-9:]+\])"
_HOST = re.compile(rf"\*|{_NAME}(?::[0-9]{{1,5}})?")
_ENDPOINT = re.compile(rf"https?://{_NAME}(?::[0-9]{{1,5}})?(?P<path>/[A-Za-z0-9._~/-]*)?")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_EVERY_OTHER = "_default"

# By the version of containerd's configuration. kind's node images have 2, which containerd 2 reads too. kind skips a
# patch of another version. Version 2 comes last, because kind releases that skip none keep the last patch's version.
# Source: kind images/base/files/etc/containerd/config.toml, pkg/internal/patch/toml.go.
_PLUGINS = {3: "io.containerd.cri.v1.images", 2: "io.containerd.grpc.v1.cri"}


def authority_names(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the ConfigMaps that the mirrors of a spec need, in order and without repetition."""
    names = (str((mirror.get("caConfigMapRef") or {}).get("name") or "") for mirror in _mirrors(spec))
    return tuple(dict.fromkeys(filter(None, names)))


def hosts_files(spec: Mapping[str, Any], authorities: Mapping[str, str]) -> dict[str, str]:
    """Return the files that every node needs for the mirrors of a spec: absolute path → content, in writing order.

    authorities: ConfigMap name → the text under its key `ca.crt`.
    A file of certificates comes before the `hosts.toml` that names it, because containerd may read both at any time.
    Raises InvalidSpec for a ConfigMap that is absent or holds no certificate, and for values that the CRD rejects.
    """
    mirrors = _mirrors(spec)
    if len(mirrors) > _MOST_MIRRORS:
        raise InvalidSpec("spec.registries.mirrors", f"has {len(mirrors)} entries; use at most {_MOST_MIRRORS}")
    files: dict[str, str] = {}
    for index, mirror in enumerate(mirrors):
        files |= _files_of(mirror, authorities, f"spec.registries.mirrors[{index}]")
    return files


def containerd_patches(spec: Mapping[str, Any]) -> list[str]:
    """Return the patches that make containerd 1 and 2 read the mirrors' files; none for a spec without mirrors.

    containerd before 2.2 reads such files only if configured to. If the folder is its default, as in kind's images of
    2.2 and later, the patch changes nothing.
    """
    if not _mirrors(spec):
        return []
    return [
        f'version = {version}\n[plugins."{plugin}".registry]\n  config_path = "{FOLDER}"\n'
        for version, plugin in _PLUGINS.items()
    ]


def check_containerd_patches(spec: Mapping[str, Any]) -> None:
    """Raise InvalidSpec for a containerd patch that contradicts the mirrors of a spec.

    containerd starts without its Kubernetes part if both a folder and mirrors are configured.
    """
    if not _mirrors(spec):
        return
    for path, settings in registry_settings(spec):
        if settings.get("mirrors"):
            raise InvalidSpec(
                path,
                "sets registry mirrors in containerd's configuration, with which containerd ignores or refuses "
                "those of spec.registries.mirrors; move them there",
            )
        folders = settings.get("config_path")
        # A number may have more digits than Python writes.
        folders = folders if folders is None or isinstance(folders, str) else "what is not a text"
        if folders is not None and FOLDER not in folders.split(":"):
            raise InvalidSpec(
                path,
                f"sets containerd's config_path to {folders[:200]!r}, but the mirrors of spec.registries are in "
                f"{FOLDER}; leave config_path out",
            )


def _mirrors(spec: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (spec.get("registries") or {}).get("mirrors") or ()


def _files_of(mirror: Mapping[str, Any], authorities: Mapping[str, str], path: str) -> dict[str, str]:
    host, endpoints = _host(mirror, path), _endpoints(mirror, path)
    folder = f"{FOLDER}/{_EVERY_OTHER if host == '*' else host}"
    name = (mirror.get("caConfigMapRef") or {}).get("name")
    files = {f"{folder}/{AUTHORITY_KEY}": _certificates(name, authorities, path)} if name else {}
    text = _hosts_toml(endpoints, only=mirror.get("only") is True, authority=next(iter(files), ""))
    return {**files, f"{folder}/hosts.toml": text}


def _host(mirror: Mapping[str, Any], path: str) -> str:
    host = str(mirror.get("host") or "")
    if len(host) > _LONGEST_HOST or not _HOST.fullmatch(host):
        raise InvalidSpec(
            f"{path}.host", "is not a registry as the names of images have it, such as docker.io or localhost:5001"
        )
    return host


def _endpoints(mirror: Mapping[str, Any], path: str) -> list[str]:
    endpoints = [str(endpoint) for endpoint in mirror.get("endpoints") or ()]
    if not 0 < len(endpoints) <= _MOST_ENDPOINTS:
        raise InvalidSpec(f"{path}.endpoints", f"has {len(endpoints)} entries; use 1 to {_MOST_ENDPOINTS}")
    for index, endpoint in enumerate(endpoints):
        if len(endpoint) > _LONGEST_ENDPOINT or not _ENDPOINT.fullmatch(endpoint):
            raise InvalidSpec(f"{path}.endpoints[{index}]", "is not a URL such as http://kind-registry:5000")
    # containerd would request //v2 below an address that ends with a slash, and rejects a file with a repeated address.
    return list(dict.fromkeys(endpoint.rstrip("/") for endpoint in endpoints))


def _certificates(name: str, authorities: Mapping[str, str], path: str) -> str:
    """Return the certificates of a ConfigMap, rebuilt; anything else it holds, such as a key, is dropped."""
    text = authorities.get(name)
    if text is None:
        raise InvalidSpec(
            f"{path}.caConfigMapRef",
            f"ConfigMap {name} does not exist in the namespace of the KINDCluster, or has no key {AUTHORITY_KEY}",
        )
    bodies = [_decoded(match[1]) for match in _CERTIFICATE.finditer(text[:MOST_AUTHORITY])]
    if not bodies or not all(bodies) or len(text) > MOST_AUTHORITY:
        raise InvalidSpec(
            f"{path}.caConfigMapRef",
            f"key {AUTHORITY_KEY} of ConfigMap {name} must hold certificates in PEM, at most "
            f"{MOST_AUTHORITY // 1024} KiB",
        )
    # Creations that wait keep their files, and hundreds of objects may name one ConfigMap, each in all its mirrors.
    return sys.intern("".join(map(_pem, bodies)))


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        return b""


def _pem(der: bytes) -> str:
    body = base64.encodebytes(der).decode().replace("\n", "")
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def _hosts_toml(endpoints: Sequence[str], *, only: bool, authority: str) -> str:
    """Return a `hosts.toml`. containerd asks `server` last, or the registry itself if there is none."""
    hosts, server = (endpoints[:-1], endpoints[-1:]) if only else (endpoints, ())
    lines = ["# Written by the provider from spec.registries."]
    for endpoint in server:
        lines += [f"server = {_quoted(endpoint)}", *_settings(endpoint, authority)]
    for endpoint in hosts:
        lines += ["", f"[host.{_quoted(endpoint)}]", *(f"  {line}" for line in _settings(endpoint, authority))]
    return "\n".join([*lines, ""])


def _settings(endpoint: str, authority: str) -> list[str]:
    lines = ['capabilities = ["pull", "resolve"]']
    # With certificates, containerd would try TLS for an http endpoint too.
    if authority and endpoint.startswith("https://"):
        lines.append(f"ca = {_quoted(authority)}")
    # containerd appends /v2 to any path, which is wrong for one that begins with it.
    match = _ENDPOINT.fullmatch(endpoint)
    if match and (match["path"] or "").startswith("/v2/"):
        lines.append("override_path = true")
    return lines


def _quoted(text: str) -> str:
    """Return a text as a TOML string: a JSON string of ASCII is one."""
    return json.dumps(text)
