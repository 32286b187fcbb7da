"""The provider's own account: the ServiceAccount of an overlay of config/ with exactly the roles there.

An audited management cluster records each of its requests, which shows denied and unused rights.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from capkdev.binaries import find_binary
from capkdev.files import write_private
from capkdev.managementcluster.cluster import LocalManagementCluster
from capkdev.managementcluster.options import Options
from test.integration.api import Api, Object

ROOT = Path(__file__).parents[2]
NAMESPACE = "capkind-system"
ACCOUNT = "capkind-manager"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
KINDS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
DAY_SECONDS = 86400
_AUDIT_LOG = "audit.log"
_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}],
}


class Asked(NamedTuple):
    """A request, or a right in a rule: one verb on one resource."""

    verb: str
    resource: str
    """`group/resource` or `group/resource/subresource`; the core group is empty."""


def audited(directory: Path, **choices: Any) -> LocalManagementCluster:
    """Return a management cluster, not started, that records the requests of the provider's account."""
    policy = directory / "audit-policy.yaml"
    directory.mkdir(parents=True, exist_ok=True)
    policy.write_text(yaml.safe_dump(_POLICY))
    arguments = [
        f"--audit-policy-file={policy}",
        f"--audit-log-path={directory / _AUDIT_LOG}",
        # Off by default, on in many clusters: an owner reference needs the right to set the owner's finalizers.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
    ]
    return LocalManagementCluster(directory, Options(api_server=arguments, **choices))


def shipped(*kinds: str, overlay: str = "default") -> list[Object]:
    """Return the objects of these kinds in an overlay; `clusterctl init --infrastructure kind` installs the default."""
    command = [str(find_binary("kubectl")), "kustomize", str(ROOT / "config" / overlay)]
    rendered = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    return [one for one in yaml.load_all(rendered, yaml.CSafeLoader) if one["kind"] in kinds]


def bound_roles(overlay: str = "default") -> list[Object]:
    """Return the roles of an overlay that are bound to the provider's account."""
    bound = {binding["roleRef"]["name"] for binding in shipped("ClusterRoleBinding", "RoleBinding", overlay=overlay)}
    return [role for role in shipped("ClusterRole", "Role", overlay=overlay) if role["metadata"]["name"] in bound]


def account_kubeconfig(management: LocalManagementCluster, *, overlay: str = "default") -> Path:
    """Return the kubeconfig of the provider's account; the first call creates it and the roles of the overlay."""
    file = management.directory / "provider.kubeconfig"
    if not file.exists():
        with management.rest() as rest:
            for one in sorted(shipped(*KINDS, overlay=overlay), key=lambda one: KINDS.index(one["kind"])):
                Api(rest).apply(one["metadata"].get("namespace", ""), one)
            write_private(file, _kubeconfig(management, token(Api(rest), NAMESPACE, ACCOUNT)))
    return file


def token(api: Api, namespace: str, account: str) -> str:
    """Return a new token of a ServiceAccount, as a pod would get it."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    asked = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": DAY_SECONDS},
    }
    return str(api.rest.request("POST", path, asked)["status"]["token"])


def _kubeconfig(management: LocalManagementCluster, bearer: str) -> bytes:
    config = yaml.safe_load(management.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": bearer}
    return yaml.safe_dump(config).encode()


def requests(management: LocalManagementCluster) -> list[Object]:
    """Return the requests of the provider's account so far: audit events, oldest first."""
    log = management.directory / _AUDIT_LOG
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def asked(events: Iterable[Object]) -> set[Asked]:
    """Return the verbs and resources of audit events, without requests for no resource, such as versions."""
    return {_asked(event["verb"], event["objectRef"]) for event in events if event.get("objectRef")}


def _asked(verb: str, subject: Mapping[str, str]) -> Asked:
    parts = (subject.get("apiGroup", ""), subject.get("resource", ""), subject.get("subresource", ""))
    return Asked(verb, "/".join(parts).rstrip("/"))


def refused(events: Iterable[Object]) -> list[str]:
    """Return the denied requests in words; a terminating namespace does not count."""
    answers = ((event, event.get("responseStatus") or {}) for event in events)
    return [
        f"{event['verb']} {event['requestURI']}: {answer.get('message', '')}"
        for event, answer in answers
        if answer.get("code") == 403 and "is being terminated" not in answer.get("message", "")
    ]


def allowed(roles: Iterable[Object]) -> set[Asked]:
    """Return the rights of roles, each verb with each resource."""
    return {
        Asked(verb, f"{group}/{resource}")
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
