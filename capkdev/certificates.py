"""Certificate authorities and the certificates that they issue, as PEM. Nothing is stored on disk."""

from collections.abc import Sequence
from typing import NamedTuple

import trustme


class Pair(NamedTuple):
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A certificate authority in memory only."""

    def __init__(self, name: str) -> None:
        self._authority = trustme.CA(organization_name=name)
        self.certificate = self._authority.cert_pem.bytes()

    def issue_client(self, name: str, group: str | None = None) -> Pair:
        """Issue a certificate that the API server accepts as user `name` in `group`."""
        # With its own name, because an API server rejects an empty list of names that is marked as critical.
        issued = self._authority.issue_cert(name, common_name=name, organization_name=group)
        return Pair(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())

    def issue_server(self, name: str, hosts: Sequence[str]) -> Pair:
        """Issue a certificate for a server. hosts: its names and addresses."""
        issued = self._authority.issue_cert(*dict.fromkeys(hosts), common_name=name)
        return Pair(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())
