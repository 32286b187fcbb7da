"""Installs definitions and webhooks in an API server and waits until it serves them."""

import time
from collections.abc import Sequence

from capk.errors import CapkError, NotFound, Unreachable
from capkdev.managementcluster.manifests import Manifest
from capkdev.rest import Rest

FIELD_MANAGER = "capkdev"
SERVED_SECONDS = 30
POLL_SECONDS = 0.05
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"


def install_definitions(rest: Rest, definitions: Sequence[Manifest]) -> None:
    """Apply custom resource definitions and wait until all their kinds are served."""
    for definition in definitions:
        rest.apply(f"{_DEFINITIONS}/{definition['metadata']['name']}", definition, FIELD_MANAGER)
    deadline = time.monotonic() + SERVED_SECONDS
    for definition in definitions:
        while not _is_served(rest, definition):
            if time.monotonic() > deadline:
                name = definition["metadata"]["name"]
                raise CapkError(f"the API server does not serve {name} after {SERVED_SECONDS} s")
            time.sleep(POLL_SECONDS)


def install_webhooks(rest: Rest, configurations: Sequence[Manifest]) -> None:
    """Apply webhook configurations."""
    for configuration in configurations:
        plural = f"{configuration['kind'].lower()}s"
        rest.apply(f"{_WEBHOOKS}/{plural}/{configuration['metadata']['name']}", configuration, FIELD_MANAGER)


def _is_served(rest: Rest, definition: Manifest) -> bool:
    """Return whether objects of all versions are in discovery and can be listed.

    The condition Established comes first, then discovery, then the storage (429 until it is set up). Only the stored
    version is listed, because any other may call a conversion webhook that does not run yet.
    """
    group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
    try:
        for version in definition["spec"]["versions"]:
            if not version["served"]:
                continue
            path = f"/apis/{group}/{version['name']}"
            if plural not in {one["name"] for one in rest.request("GET", path)["resources"]}:
                return False
            if version["storage"]:
                rest.request("GET", f"{path}/{plural}?limit=1")
    except (NotFound, Unreachable):
        return False
    return True
