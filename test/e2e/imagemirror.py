"""A registry that serves the images of this machine's container engine, as a mirror of docker.io does. Read-only."""

import hashlib
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from test.e2e.real_kind import RealKind

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
"""Engines look at the content, which need not be compressed."""
_PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/?]+)")
_PIECE = 1 << 20


@dataclass(frozen=True)
class Blob:
    """Part of an archive that the engine has saved. kind: its media type."""

    archive: Path
    member: tarfile.TarInfo
    kind: str
    digest: str

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.kind, "size": self.member.size, "digest": self.digest}

    def pieces(self) -> Iterator[bytes]:
        with self.archive.open("rb") as file:
            yield from _pieces(file, self.member)


class ImageMirror:
    """Serves what the engine has at the time of the first request.

    directory: for the archives. Images of docker.io only, because an engine asks a mirror for no others.
    """

    def __init__(self, kind: RealKind, directory: Path) -> None:
        self._kind = kind
        self._directory = directory
        self._lock = threading.Lock()
        self._manifests: dict[str, bytes] = {}
        self._blobs: dict[str, Blob] = {}
        self.url = ""
        self.pulls: list[str] = []
        """Names and tags of the manifests that were asked for."""

    @contextmanager
    def running(self) -> Iterator["ImageMirror"]:
        """Serve on the address of this machine in the network of the kind clusters."""
        server = ThreadingHTTPServer((self._gateway(), 0), _handler(self))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://{server.server_address[0]!s}:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def manifest(self, repository: str, reference: str) -> bytes | None:
        """Return the manifest of an image of the engine."""
        name = f"{repository}:{reference}"
        with self._lock:
            if reference.startswith("sha256:"):
                return next((one for one in self._manifests.values() if digest(one) == reference), None)
            if name not in self._manifests:
                self._save(name)
            self.pulls.append(name)
            return self._manifests.get(name)

    def blob(self, reference: str) -> Blob | None:
        """Return a configuration or a layer of an image that was asked for."""
        return self._blobs.get(reference)

    def _save(self, name: str) -> None:
        archive = self._directory / f"{digest(name.encode())[7:]}.tar"
        try:
            self._kind.engine("save", "--output", str(archive), name)
        except AssertionError:
            return
        with tarfile.open(archive) as tar:
            (image,) = json.load(_content(tar, "manifest.json"))
            config = self._add(archive, tar, image["Config"], CONFIG)
            layers = [self._add(archive, tar, layer, LAYER) for layer in image["Layers"]]
        parts = {"config": config.descriptor, "layers": [layer.descriptor for layer in layers]}
        self._manifests[name] = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **parts}).encode()

    def _add(self, archive: Path, tar: tarfile.TarFile, path: str, kind: str) -> Blob:
        member, hashed = tar.getmember(path), hashlib.sha256()
        while member.issym():
            member = tar.getmember(str(Path(path).parent.joinpath(member.linkname)))
        with archive.open("rb") as file:
            for piece in _pieces(file, member):
                hashed.update(piece)
        blob = Blob(archive, member, kind, f"sha256:{hashed.hexdigest()}")
        self._blobs[blob.digest] = blob
        return blob

    def _gateway(self) -> str:
        (network,) = json.loads(self._kind.engine("network", "inspect", "kind"))
        return next(one["Gateway"] for one in network["IPAM"]["Config"] if "." in one.get("Gateway", ""))


def digest(content: bytes) -> str:
    """Return the name of a content in a registry."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _content(tar: tarfile.TarFile, name: str) -> Any:
    found = tar.extractfile(name)
    assert found is not None, f"{name} is not a file"
    return found


def _pieces(file: Any, member: tarfile.TarInfo) -> Iterator[bytes]:
    file.seek(member.offset_data)
    left = member.size
    while left:
        piece = file.read(min(_PIECE, left))
        left -= len(piece)
        yield piece


def _handler(mirror: ImageMirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _answer(self, *, with_body: bool) -> None:
            found = _PATH.fullmatch(self.path.partition("?")[0])
            if found is None:
                self._head(200 if self.path == "/v2/" else 404, 0)
            elif found["kind"] == "manifests":
                self._manifest(mirror.manifest(found["repository"], found["reference"]), with_body=with_body)
            else:
                self._blob(mirror.blob(found["reference"]), with_body=with_body)

        def _manifest(self, manifest: bytes | None, *, with_body: bool) -> None:
            if manifest is None:
                self._head(404, 0)
                return
            self._head(200, len(manifest), MANIFEST, digest(manifest))
            if with_body:
                self.wfile.write(manifest)

        def _blob(self, blob: Blob | None, *, with_body: bool) -> None:
            if blob is None:
                self._head(404, 0)
                return
            self._head(200, blob.member.size, "application/octet-stream", blob.digest)
            for piece in blob.pieces() if with_body else ():
                self.wfile.write(piece)

        def _head(self, code: int, size: int, kind: str = "text/plain", name: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(size))
            self.send_header("Content-Type", kind)
            if name:
                self.send_header("Docker-Content-Digest", name)
            self.end_headers()

    return Handler
