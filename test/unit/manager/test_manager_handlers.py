from pathlib import Path

import kopf
import pytest
import yaml

from capk.manager.handlers import kopf_settings
from capk.settings import PROVIDER_MIB, Settings

MOST_OF_AN_OBJECT_MIB = 6 * 1.5
"""etcd accepts 1.5 MiB, and the API server writes a < with six bytes; reading a page takes three times its size."""


def memory_limit_mib() -> int:
    """The limit of the released provider's container."""
    deployment = Path(__file__).parents[3] / "config" / "manager" / "deployment.yaml"
    (container,) = yaml.safe_load(deployment.read_text())["spec"]["template"]["spec"]["containers"]
    return int(container["resources"]["limits"]["memory"].removesuffix("Mi"))


def test_kopf_neither_copies_objects_nor_remembers_them_in_annotations():
    storage = kopf_settings(Settings()).persistence.diffbase_storage
    body = kopf.Body({"metadata": {"annotations": {"team": "a"}}, "spec": {"clusterName": "dev"}})
    patch = kopf.Patch(body=body)
    essence = storage.build(body=body, extra_fields=None)
    storage.store(body=body, patch=patch, essence=essence)
    assert essence == {}
    assert not patch
    assert storage.fetch(body=body) is None


@pytest.mark.rule("K13")
def test_kopf_has_no_finalizer_that_an_object_may_bear():
    finalizer = kopf_settings(Settings()).persistence.finalizer
    assert finalizer != kopf.OperatorSettings().persistence.finalizer
    assert " " in finalizer


@pytest.mark.rule("K50")
def test_kopf_lists_in_pages_and_soon_drops_what_it_has_handled():
    usual, chosen = kopf.OperatorSettings(), kopf_settings(Settings())
    assert usual.watching.chunk_size is None
    assert 0 < chosen.watching.chunk_size <= 100
    assert 3 * MOST_OF_AN_OBJECT_MIB * chosen.watching.chunk_size < (memory_limit_mib() - PROVIDER_MIB) / 2
    assert 0 < chosen.queueing.idle_timeout <= 0.2 < usual.queueing.idle_timeout
