import kopf

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
