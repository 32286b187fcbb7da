import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from capk.runtime.metrics import Metrics

DASHBOARD = json.loads(
    (Path(__file__).parents[3] / "config" / "prometheus" / "dashboard.json").read_text(encoding="utf-8")
)
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS += [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["name"] == "job"]
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",), "gauge": ("",)}


def exposed_names() -> set[str]:
    # In the text format, names of families include the suffix, except for histograms.
    found = set()
    for family in text_string_to_metric_families(Metrics().exposition()[0].decode()):
        suffixes = SUFFIXES[family.type]
        found |= {family.name.removesuffix(suffix) + suffix for suffix in suffixes}
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_dashboard_asks_only_for_series_that_the_provider_exposes(expression):
    asked = set(re.findall(r"\b(?:capk|process)_\w+", expression))
    assert asked
    assert asked <= exposed_names()


def test_every_series_of_ours_is_on_the_dashboard():
    shown = set(re.findall(r"\bcapk_\w+", " ".join(EXPRESSIONS)))
    suffix = r"_(bucket|count|sum|total|info|created)$"
    ours = {re.sub(suffix, "", name) for name in exposed_names() if name.startswith("capk_")}
    assert ours == {re.sub(suffix, "", name) for name in shown}
