"""An object that is nested as deeply as the API server allows concerns nobody but those who look at it."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from capk.api.names import KIND_CLUSTERS, SECRET_CLUSTER_LABEL, SECRETS
from capk.runtime.nesting import MOST_LEVELS, allow_deep_documents
from test.integration.provider.journeys import Place, standalone


@pytest.fixture
def reading_deep_objects() -> Iterator[None]:
    """Have this process read them too."""
    limit = sys.getrecursionlimit()
    allow_deep_documents()
    yield
    sys.setrecursionlimit(limit)


def nested(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with managedFields that are nested thousands of levels deep, as every editor may write them."""
    fields: dict[str, Any] = {}
    for _ in range(MOST_LEVELS - 100):
        fields = {"f:a": fields}
    entry = {
        "manager": "someone",
        "operation": "Update",
        "apiVersion": document["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:annotations": fields}},
    }
    return {**document, "metadata": {**document["metadata"], "managedFields": [entry]}}


def secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {SECRET_CLUSTER_LABEL: name}}}


@pytest.mark.usefixtures("reading_deep_objects")
def test_objects_that_are_nested_as_deeply_as_they_may_be_end_no_provider(own_place: Callable[..., Place]) -> None:
    place = own_place()
    place.create(nested(standalone("deep")), nested(secret("deep")))
    place.await_condition("deep")
    place.process.stop()
    place.process.start()
    place.create(standalone("next"))
    place.await_condition("next")
    place.await_condition("deep")
    for name in ("deep", "next"):
        place.delete(KIND_CLUSTERS, name)
    for name in ("deep", "next"):
        place.await_gone(name)
    place.delete(SECRETS, "deep")
