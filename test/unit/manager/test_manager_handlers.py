import kopf
import pytest

from capk.manager.handlers import kopf_settings
from capk.settings import Settings


def test_kopf_neither_copies_objects_nor_remembers_them_in_annotations():
    storage = kopf_settings(Settings()).persistence.diffbase_storage
    body = kopf.Body({"metadata": {"annotations": {"team": "a"}}, "spec": {"clusterName": "dev"}})
    patch = kopf.Patch(body=body)
    essence = storage.build(body=body, extra_fields=None)
    storage.store(body=body, patch=patch, essence=essence)
    assert essence == {}
    assert not patch
    assert storage.fetch(body=body) is None


@pytest.mark.rule("K50")
def test_kopf_lists_in_pages_and_soon_drops_what_it_has_handled():
    usual, chosen = kopf.OperatorSettings(), kopf_settings(Settings())
    assert usual.watching.chunk_size is None
    assert 0 < chosen.watching.chunk_size <= 100
    assert 0 < chosen.queueing.idle_timeout <= 0.2 < usual.queueing.idle_timeout
