"""What the provider may do in the management cluster: the rules of config/rbac, as a list to check. Pure data.

docs/permissions.md has the reason of each rule. A test compares this list with the manifests.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from capk.api.names import BOOTSTRAP_GROUP, CONTROL_PLANE_GROUP, CORE_GROUP, INFRASTRUCTURE_GROUP

LEASE: Final = "capk-leader-election"


class Access(NamedTuple):
    """One verb on one kind of object.

    resource: plural, with a subresource behind a slash. namespace: empty for all. name: empty for every object.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def attributes(self) -> dict[str, str]:
        """Return it as the `resourceAttributes` of an access review."""
        plural, _, subresource = self.resource.partition("/")
        fields = {
            "verb": self.verb,
            "group": self.group,
            "resource": plural,
            "subresource": subresource,
            "namespace": self.namespace,
            "name": self.name,
        }
        return {name: value for name, value in fields.items() if value or name == "group"}

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}{f' {self.name}' if self.name else ''}"


class Rule(NamedTuple):
    """Verbs on a kind of object; cluster_wide: objects of this kind are in no namespace."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    name: str = ""
    cluster_wide: bool = False

    def accesses(self, namespace: str) -> Iterator[Access]:
        """Yield what the rule grants in a namespace, or everywhere if the name is empty."""
        for verb in self.verbs:
            yield Access(verb, self.group, self.resource, "" if self.cluster_wide else namespace, self.name)


RULES: Final = (
    Rule("apiextensions.k8s.io", "customresourcedefinitions", ("list", "watch"), cluster_wide=True),
    Rule(CORE_GROUP, "clusters", ("get", "list", "watch")),
    Rule(INFRASTRUCTURE_GROUP, "kindclusters", ("list", "watch", "patch")),
    Rule(INFRASTRUCTURE_GROUP, "kindclusters/status", ("patch",)),
    Rule(CONTROL_PLANE_GROUP, "kindcontrolplanes", ("list", "watch", "patch")),
    Rule(CONTROL_PLANE_GROUP, "kindcontrolplanes/status", ("patch",)),
    Rule(CORE_GROUP, "machines", ("get",)),
    Rule(INFRASTRUCTURE_GROUP, "kindmachines", ("list", "watch", "patch")),
    Rule(INFRASTRUCTURE_GROUP, "kindmachines/status", ("patch",)),
    Rule(BOOTSTRAP_GROUP, "kindconfigs", ("list", "watch")),
    Rule(BOOTSTRAP_GROUP, "kindconfigs/status", ("patch",)),
    Rule(INFRASTRUCTURE_GROUP, "kindclusters/finalizers", ("update",)),
    Rule(CONTROL_PLANE_GROUP, "kindcontrolplanes/finalizers", ("update",)),
    Rule(INFRASTRUCTURE_GROUP, "kindengineclasses", ("list", "watch"), cluster_wide=True),
    Rule(INFRASTRUCTURE_GROUP, "kindengineclasses/status", ("patch",), cluster_wide=True),
    Rule("", "namespaces", ("list", "watch"), cluster_wide=True),
    Rule("", "secrets", ("get", "list", "watch", "create", "patch", "delete")),
    Rule("", "configmaps", ("get",)),
    Rule("", "events", ("get", "create", "patch")),
)
"""In the namespaces of the objects: the ClusterRole."""
LEADER_ELECTION_RULES: Final = (
    Rule("coordination.k8s.io", "leases", ("create",)),
    Rule("coordination.k8s.io", "leases", ("get", "patch"), LEASE),
)
"""In the namespace of the Lease, for `--leader-elect`: the Role."""

_ENGINE_VERBS: Final = ("get", "list", "watch", "create", "delete")
ENGINE_RULES: Final = (
    Rule("", "pods", _ENGINE_VERBS),
    Rule("", "services", _ENGINE_VERBS),
    Rule("", "persistentvolumeclaims", _ENGINE_VERBS),
    Rule("", "events", ("list",)),
)
"""In the namespace of engines in Pods: its Role."""


def needed(namespace: str = "") -> list[Access]:
    """Return the access that a provider needs to manage one namespace, or all if the name is empty.

    To manage a single namespace, it needs nothing outside it.
    """
    rules = (rule for rule in RULES if not (namespace and rule.cluster_wide))
    return [access for rule in rules for access in rule.accesses(namespace)]


def needed_to_lead(namespace: str) -> list[Access]:
    """Return what leader election needs in addition, in the namespace of the Lease."""
    return [access for rule in LEADER_ELECTION_RULES for access in rule.accesses(namespace)]


def needed_for_engines(namespace: str) -> list[Access]:
    """Return what engines in Pods need in addition, in their namespace."""
    return [access for rule in ENGINE_RULES for access in rule.accesses(namespace)]
