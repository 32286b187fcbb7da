import base64
from pathlib import Path

import pytest

from capk.errors import CapkError
from capkdev.managementcluster import manifests

SERVICE = {"service": {"name": "webhook-service", "namespace": "system", "path": "/convert"}}
CONVERSION = {"strategy": "Webhook", "webhook": {"clientConfig": SERVICE, "conversionReviewVersions": ["v1"]}}
DEFINITION = {
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "clusters.cluster.x-k8s.io", "labels": {"cluster.x-k8s.io/v1beta2": "v1beta2"}},
    "spec": {"conversion": CONVERSION},
}
AT_URL = {"url": "https://127.0.0.1:9443/convert", "caBundle": base64.b64encode(b"authority").decode()}


def test_conversion_is_reached_by_url() -> None:
    changed = manifests.with_conversion_at(DEFINITION, "https://127.0.0.1:9443", b"authority")
    assert changed["spec"]["conversion"]["webhook"] == {"clientConfig": AT_URL, "conversionReviewVersions": ["v1"]}
    assert DEFINITION["spec"] == {"conversion": CONVERSION}


def test_a_definition_without_conversion_stays_as_it_is() -> None:
    definition = {"metadata": {"name": "x"}, "spec": {"conversion": {"strategy": "None"}}}
    assert manifests.with_conversion_at(definition, "https://127.0.0.1:9443", b"authority") == definition


def test_webhooks_are_reached_by_url_and_services_are_left_out() -> None:
    webhook = {"name": "default.cluster.x-k8s.io", "clientConfig": SERVICE, "failurePolicy": "Fail"}
    configuration = {"kind": "MutatingWebhookConfiguration", "metadata": {"name": "mutating"}, "webhooks": [webhook]}
    service = {"kind": "Service", "metadata": {"name": "webhook-service"}}
    assert manifests.with_webhooks_at([service, configuration], "https://127.0.0.1:9443", b"authority") == [
        {**configuration, "metadata": {"name": "capi-mutating"}, "webhooks": [{**webhook, "clientConfig": AT_URL}]}
    ]


def test_labels_of_clusterctl_are_added_to_those_that_are_there() -> None:
    assert manifests.labelled(DEFINITION, "cluster-api")["metadata"]["labels"] == {
        "cluster.x-k8s.io/v1beta2": "v1beta2",
        "cluster.x-k8s.io/provider": "cluster-api",
        "clusterctl.cluster.x-k8s.io": "",
    }


@pytest.mark.rule("C1")
def test_our_own_definitions_are_found_in_the_checkout() -> None:
    names = {definition["metadata"]["name"] for definition in manifests.own_definitions()}
    assert {
        "kindclusters.infrastructure.cluster.x-k8s.io",
        "kindclustertemplates.infrastructure.cluster.x-k8s.io",
        "kindcontrolplanes.controlplane.cluster.x-k8s.io",
        "kindcontrolplanetemplates.controlplane.cluster.x-k8s.io",
    } <= names


def test_missing_definitions_are_an_error_that_tells_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CapkError, match="make generate"):
        manifests.own_definitions(tmp_path)
