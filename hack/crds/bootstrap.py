"""KINDConfig and KINDConfigTemplate: bootstrap data that consist of nothing, for a ClusterClass."""

from hack.crds.kindcluster import template
from hack.crds.schema import Schema, flag, record, report
from hack.crds.status import conditions, initialization, observed_generation


def spec() -> Schema:
    """Return the schema of `KINDConfig.spec`, which has no fields."""
    return record("It has no fields: the provider itself writes the configuration with which a node joins.", {})


def template_spec() -> Schema:
    """Return the schema of `KINDConfigTemplate.spec`."""
    return template(
        record("The `spec` of the KINDConfigs that are created from it. It has no fields.", {}), "KINDConfig"
    )


def status() -> Schema:
    """Return the schema of `KINDConfig.status` (C55)."""
    return record(
        "What Cluster API waits for before it creates the infrastructure of a Machine.",
        {
            "ready": flag("Always true; for Cluster API's contract v1beta1."),
            "initialization": initialization("dataSecretCreated", "Always true: there is nothing to create."),
            "dataSecretName": report("Always empty: nodes need no bootstrap data.", max_length=253),
            "conditions": conditions("`Ready` is True from the start."),
            "observedGeneration": observed_generation(),
        },
    )
