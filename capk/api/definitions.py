"""Which CustomResourceDefinitions belong to this release: fingerprints of their schemas. Pure but for its own file.

`definitions.json` is generated with the CRDs (`make generate`), so both change together.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from capk.api.names import Resource

DEFINITIONS: Final = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
PROVIDER_LABEL: Final = "cluster.x-k8s.io/provider"
PROVIDER: Final = "infrastructure-kind"
FILE: Final = "definitions.json"


def fingerprint(definition: Mapping[str, Any]) -> str:
    """Return a digest of the versions and schemas of a CRD; what the API server adds to a CRD does not change it."""
    versions = (definition.get("spec") or {}).get("versions") or ()
    schemas = {version.get("name"): version.get("schema") for version in versions}
    return hashlib.sha256(json.dumps(schemas, sort_keys=True).encode()).hexdigest()[:16]


@cache
def expected() -> Mapping[str, str]:
    """Return the fingerprint of each CRD of this release by its name."""
    found: dict[str, str] = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return found
