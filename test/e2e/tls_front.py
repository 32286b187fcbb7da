"""Docker's own engine over TLS, as on another machine: relays connections with a client certificate to its socket."""

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from capkdev.certificates import Authority, Pair

BYTES = 64 * 1024
LINGER_SECONDS = 10


class TLSFront:
    """Listens on a port of 127.0.0.1. authority, client: what a client needs to connect."""

    def __init__(self, directory: Path) -> None:
        authority = Authority("engine")
        self.authority = authority.certificate
        self.client: Pair = authority.issue_client("capk")
        own = authority.issue_server("engine", ["127.0.0.1"])
        files = {"ca": authority.certificate, "cert": own.certificate, "key": own.key}
        for name, content in files.items():
            (directory / f"front-{name}.pem").write_bytes(content)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=directory / "front-ca.pem")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(directory / "front-cert.pem", directory / "front-key.pem")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Relay connections beside the body."""
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield
        finally:
            self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as client:
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(engine_socket())
                self.connections += 1
                upwards = threading.Thread(target=_relay, args=(client, engine), daemon=True)
                upwards.start()
                # The engine ends a connection last: a client may close its half and still read.
                _copy(engine, client)
                # The half that TLS knows nothing of: a socket that is closed before the client has ended its own half
                # resets the connection, and the client loses an answer that it has not read yet.
                socket.socket.shutdown(client, socket.SHUT_WR)
                upwards.join(LINGER_SECONDS)


def engine_socket() -> str:
    """Return the path of Docker's socket."""
    return os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or "/var/run/docker.sock"


def _relay(client: ssl.SSLSocket, engine: socket.socket) -> None:
    with contextlib.suppress(OSError):
        _copy(client, engine)
        engine.shutdown(socket.SHUT_WR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    while received := source.recv(BYTES):
        target.sendall(received)
