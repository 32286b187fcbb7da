"""Checks of the management cluster: API server, CRDs, rights, Cluster API. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from capk.api.names import CONTROL_PLANE_GROUP, INFRASTRUCTURE_GROUP, Reason
from capk.api.rights import Access
from capk.doctor.finding import Finding, failure, ok, skipped, warning
from capk.doctor.place import ManagementFacts

KNOWN_CORE: Final = ("v1beta1", "v1beta2")
MOST_NAMED: Final = 6
API_SERVER: Final = "API server"
DEFINITIONS: Final = "CRDs"
RIGHTS: Final = "permissions"
CORE: Final = "Cluster API"
ENGINES: Final = "engines in Pods"
_NO_ANSWER: Final = "The API server has not answered."


def api_server(facts: ManagementFacts) -> Finding:
    """Check that the management cluster answers."""
    if not facts.failure:
        return ok(API_SERVER, f"{facts.server} answers.")
    remedy = (
        "Start the management cluster, or name its kubeconfig with --kubeconfig. To check this machine alone, use "
        "--machine-only."
    )
    names_login = facts.login.casefold() in facts.failure.casefold()
    return failure(API_SERVER, facts.failure if names_login else f"With {facts.login}: {facts.failure}", remedy)


def definitions(facts: ManagementFacts, expected: Mapping[str, str]) -> Finding:
    """Check that this release's CRDs are installed. expected: fingerprints by name."""
    if facts.failure:
        return skipped(DEFINITIONS, _NO_ANSWER)
    install = "Run `make install` or `clusterctl upgrade apply`, with the release of this provider."
    if facts.definitions is None:
        if facts.groups >= {INFRASTRUCTURE_GROUP, CONTROL_PLANE_GROUP}:
            return ok(DEFINITIONS, "Served. This account may not read them, so their release is unknown.")
        return failure(DEFINITIONS, "Not installed.", install)
    if missing := sorted(expected.keys() - facts.definitions.keys()):
        return failure(DEFINITIONS, f"Not installed: {', '.join(missing)}.", install)
    if other := [name for name, digest in expected.items() if facts.definitions[name] != digest]:
        return failure(DEFINITIONS, f"Of another release: {', '.join(other)}.", install)
    return ok(DEFINITIONS, f"The {len(expected)} CRDs of this release are installed.")


def rights(facts: ManagementFacts) -> Finding:
    """Check that the account has the rights that the provider needs."""
    if facts.failure:
        return skipped(RIGHTS, _NO_ANSWER)
    where = f"in the namespace {facts.namespace}" if facts.namespace else "in all namespaces"
    remedy = "Run the provider as an account with the roles of config/rbac, or grant these; see docs/permissions.md."
    if facts.missing:
        return failure(RIGHTS, f"Not granted {where}: {_listed(facts.missing)}.", remedy, Reason.WRITE_REFUSED)
    if facts.missing_to_lead:
        found = f"Not granted: {_listed(facts.missing_to_lead)}."
        if facts.leader_elect:
            return failure(RIGHTS, found, remedy)
        return warning(RIGHTS, found, f"Needed only with --leader-elect. {remedy}")
    return ok(RIGHTS, f"The account has all rights {where}.")


def engines(facts: ManagementFacts) -> Finding:
    """Check that the account has the rights that engines in Pods need."""
    classes = (
        f"KINDEngineClass{'' if len(facts.pod_classes) == 1 else 'es'} {', '.join(facts.pod_classes[:MOST_NAMED])}"
    )
    where = f"in the namespace {facts.engine_namespace}"
    if not facts.missing_for_engines:
        return ok(ENGINES, f"The account has all rights {where}, for {classes}.")
    found = f"Not granted {where}, for {classes}: {_listed(facts.missing_for_engines)}."
    remedy = "Apply engine-namespace.yaml of the release (config/engine-namespace), or correct --engine-namespace."
    return failure(ENGINES, found, remedy)


def core(facts: ManagementFacts) -> Finding:
    """Check which Cluster API is installed."""
    if facts.failure:
        return skipped(CORE, _NO_ANSWER)
    if facts.core_version is None:
        return ok(CORE, "Not installed. KINDClusters work without it.")
    found = f"{facts.core_release or 'Installed'}, with API version {facts.core_version}"
    if facts.core_version in KNOWN_CORE:
        return ok(CORE, f"{found}.")
    remedy = f"Install a release of Cluster API that serves {' or '.join(KNOWN_CORE)}."
    return warning(CORE, f"{found}, which this provider does not support.", remedy)


def _listed(accesses: Sequence[Access]) -> str:
    more = f" and {len(accesses) - MOST_NAMED} more" if len(accesses) > MOST_NAMED else ""
    return f"{', '.join(map(str, accesses[:MOST_NAMED]))}{more}"
