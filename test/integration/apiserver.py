"""A real API server for tests: etcd and kube-apiserver as processes of their own, gone when the test is."""

import contextlib
import http.client
import json
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

BIN = Path(__file__).parents[2] / "bin"
STARTUP_SECONDS = 60


class ApiServer:
    """A running API server and how to speak with it as an administrator, over one connection."""

    def __init__(self, port: int, token: str, ca_file: Path) -> None:
        self.port = port
        self.token = token
        self.ca_file = ca_file
        self._connection: http.client.HTTPSConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the decoded answer."""
        if self._connection is None:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            self._connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, "Accept": accept}
        content = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, f"{path}?{urlencode(query)}", body=content, headers=headers)
            answer = self._connection.getresponse()
            return answer.status, _decode(answer.read())
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        return json.loads(raw)
    except ValueError:
        return {"message": raw.decode()}


@contextlib.contextmanager
def running_api_server(folder: Path) -> Iterator[ApiServer]:
    """Run etcd and kube-apiserver with all their files below `folder`."""
    client_port, peer_port, secure_port = _free_ports(3)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "sa.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "sa.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    etcd = [
        f"{BIN}/etcd",
        "--unsafe-no-fsync",
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls=http://127.0.0.1:{client_port}",
        f"--advertise-client-urls=http://127.0.0.1:{client_port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
    ]
    api_server = [
        f"{BIN}/kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{client_port}",
        f"--cert-dir={folder}/certificates",
        "--bind-address=127.0.0.1",
        f"--secure-port={secure_port}",
        "--authorization-mode=RBAC",
        f"--token-auth-file={folder}/tokens.csv",
        "--disable-admission-plugins=ServiceAccount",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/sa.pub",
        f"--service-account-signing-key-file={folder}/sa.key",
        "--service-cluster-ip-range=10.0.0.0/24",
    ]
    with _process(etcd, folder / "etcd.log"), _process(api_server, folder / "kube-apiserver.log") as process:
        server = ApiServer(secure_port, token, folder / "certificates" / "apiserver.crt")
        with contextlib.closing(server):
            _wait_until_ready(server, process, folder / "kube-apiserver.log")
            yield server


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_until_ready(server: ApiServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            if server.request("GET", "/readyz")[0] == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"kube-apiserver did not get ready:\n{log.read_text()[-3000:]}")
