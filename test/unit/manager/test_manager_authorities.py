"""The parts of a mirror's ConfigMap that are read."""

import pytest

from capk.api.names import CONFIG_MAPS
from capk.errors import Forbidden, Unreachable
from capk.manager.observe import read_authorities
from capk.plan.facts import Authorities
from test.unit.recording_kube import RecordingKube


def config_map(name: str, **data: str) -> dict:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "data": {key.replace("_", "."): data[key] for key in data},
    }


async def test_each_is_read_by_its_name_in_the_namespace_of_the_object():
    client = RecordingKube()
    client.put(CONFIG_MAPS, config_map("ca", ca_crt="PEM"))
    client.put(CONFIG_MAPS, config_map("other", tls_crt="PEM"))
    client.put(CONFIG_MAPS, config_map("empty", ca_crt="\n"))
    found = await read_authorities(client, "default", ["ca", "other", "empty", "none"])
    without = "has no key ca.crt"
    assert found == Authorities({"ca": "PEM"}, {"other": without, "empty": without, "none": "does not exist"})
    assert (await read_authorities(client, "elsewhere", ["ca"])).missing == {"ca": "does not exist"}


async def test_refusal_is_told_and_silence_is_raised():
    client = RecordingKube()
    client.fail = [Forbidden("get", "configmaps default/ca", 403, "not allowed")]
    assert (await read_authorities(client, "default", ["ca"])).missing == {"ca": "cannot be read (not allowed)"}
    client.fail = [Unreachable("get", "configmaps default/ca", 0, "no answer")]
    with pytest.raises(Unreachable):
        await read_authorities(client, "default", ["ca"])
