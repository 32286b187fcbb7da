"""The certificates of engines in Pods: their authority is in a Secret, the provider's own one in private files."""

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from capk.api import names
from capk.engine.certificates import Authority, BadAuthority, Pair, new_authority
from capk.engine.remote import RemoteFiles, tls_variables
from capk.errors import ApiError, Conflict, NotFound
from capk.kube.protocol import KubeApi
from capk.plan.engineobjects import AUTHORITY, CERTIFICATE, KEY
from capk.plan.enginepods import edited_authority
from capk.plan.enginespec import DOCKER_PORT

AUTHORITY_SECRET: Final = "capkind-engine-ca"
_NAME: Final = "capkind engines"
_FILES: Final = "pods"

log = logging.getLogger(__name__)


class EngineKeys:
    """Issues the certificates of engines, and holds the one of the provider.

    namespace: of the Secret, the provider's own. files: for the client's certificate.
    """

    def __init__(self, client: KubeApi, files: RemoteFiles, *, namespace: str, now: Callable[[], datetime]) -> None:
        self._client = client
        self._files = files
        self._namespace = namespace
        self._now = now
        self._authority: Authority | None = None
        self._secret: dict[str, Any] = {}
        """The data of the Secret with the authority."""
        self.is_edited = False
        """Whether the Secret held another authority when `restore` last looked: this provider still uses the former."""
        self._client_files: Mapping[str, str] = {}
        self._directory: Path | None = None

    @property
    def secret(self) -> str:
        """Namespace and name of the Secret with the authority."""
        return f"{self._namespace}/{AUTHORITY_SECRET}"

    async def has_issued(self, namespace: str, name: str) -> bool | None:
        """Return whether the authority has issued the certificate of an engine; None if that cannot be known.

        namespace, name: of the engine's own Secret. Raises ApiError if the API server does not answer.
        """
        try:
            found = await self._client.get(names.SECRETS, namespace, name)
        except NotFound:
            return None
        except ApiError as error:
            if not error.is_refusal:
                raise
            return None
        issuer = (found.get("data") or {}).get(AUTHORITY)
        return issuer == base64.b64encode(self.authority.encode()).decode() if issuer and self.authority else None

    @property
    def authority(self) -> str:
        """The certificate of the authority, PEM; empty until `load`."""
        return self._authority.certificate if self._authority else ""

    async def load(self) -> None:
        """Read the authority, making it at the first use, and write the files of the client.

        Raises ApiError; BadAuthority, whose message names the Secret; CapkError and OSError if the files cannot be
        written.
        """
        if self._authority is None:
            authority = await self._stored()
            client = authority.client(_NAME, now=self._now())
            files = {"ca.pem": authority.certificate, "cert.pem": client.certificate, "key.pem": client.key}
            self._client_files = files
            self._authority = authority
        self.keep()

    def keep(self) -> None:
        """Write the files again if something has removed them. Raises CapkError and OSError."""
        if self._client_files:
            self._directory = self._files.keep(_FILES, self._client_files)

    async def exist(self) -> bool:
        """Return whether there may be engines, which is so as soon as there is an authority."""
        try:
            await self._client.get(names.SECRETS, self._namespace, AUTHORITY_SECRET)
        except ApiError:
            return False
        return True

    async def restore(self) -> None:
        """Create the Secret with the authority again if someone has deleted it, or note that it was edited.

        The next provider would make or use another one, which no engine trusts. What someone has written stays: it may
        be on purpose. Raises ApiError.
        """
        if self._authority is None:
            return
        try:
            found = await self._client.get(names.SECRETS, self._namespace, AUTHORITY_SECRET)
        except NotFound:
            found = self._body(self._secret)
            with suppress(Conflict):
                await self._client.create(names.SECRETS, found)
        data = found.get("data") or {}
        self.is_edited = any(data.get(key) != value for key, value in self._secret.items())
        if self.is_edited:
            log.warning("%s", edited_authority(self.secret))

    def close(self) -> None:
        """Remove the files."""
        self._files.close()

    def variables(self, host: str) -> dict[str, str]:
        """Return the variables of commands for the engine at a host; none before `load`."""
        return tls_variables(f"tcp://{host}:{DOCKER_PORT}", self._directory) if self._directory else {}

    def server(self, name: str, hosts: tuple[str, ...]) -> dict[str, str]:
        """Return the data of a Secret with a new certificate for an engine, in base64. Call `load` before."""
        if self._authority is None:
            raise RuntimeError("the authority was not read")
        pair = self._authority.server(name, hosts, now=self._now())
        data = {AUTHORITY: self._authority.certificate, CERTIFICATE: pair.certificate, KEY: pair.key}
        return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}

    async def _stored(self) -> Authority:
        try:
            found = await self._client.get(names.SECRETS, self._namespace, AUTHORITY_SECRET)
        except NotFound:
            found = await self._make()
        data = found.get("data") or {}
        try:
            authority = Authority(Pair(_text(data, CERTIFICATE), _text(data, KEY)))
        except BadAuthority as error:
            remedy = "Put back its former content, or delete it if no engine in a Pod exists"
            raise BadAuthority(f"Secret {self.secret} cannot be used: {error}. {remedy}") from None
        self._secret = {key: data[key] for key in (CERTIFICATE, KEY)}
        return authority

    async def _make(self) -> dict[str, Any]:
        pair = new_authority(_NAME, now=self._now())
        data = {CERTIFICATE: pair.certificate, KEY: pair.key}
        body = self._body({key: base64.b64encode(value.encode()).decode() for key, value in data.items()})
        try:
            return await self._client.create(names.SECRETS, body)
        except Conflict:
            # Another provider was quicker.
            return await self._client.get(names.SECRETS, self._namespace, AUTHORITY_SECRET)

    def _body(self, data: Mapping[str, str]) -> dict[str, Any]:
        return {
            "apiVersion": names.SECRETS.api_version,
            "kind": names.SECRETS.kind,
            "metadata": {
                "name": AUTHORITY_SECRET,
                "namespace": self._namespace,
                "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY},
            },
            "type": "Opaque",
            "data": dict(data),
        }


def _text(data: Mapping[str, Any], key: str) -> str:
    try:
        return base64.b64decode(str(data.get(key) or ""), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise BadAuthority(f"{key} is not a text in base64") from None
