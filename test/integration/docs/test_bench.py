"""The bench runs and fills all its columns. This test ignores the figures."""

import json
import os
import subprocess

from bench.engines import engines
from bench.results import KEYS, Part, comparison, document, fits, load, merged, save, table
from bench.rig import ENGINE
from bench.scale import scale
from bench.servicenames import look_up
from bench.usage import watches
from capk.engine import inspection

ENGINE_PHASES = ["create", "restart", "rest", "delete"]
PHASES = ["create", "restart", "resync", "edit", "delete"]


def test_bench_measures_every_phase_of_a_few_objects(monkeypatch):
    monkeypatch.setattr("bench.scale.RESYNC_SECONDS", 2)
    rows = list(scale([2], creates=2))
    assert [(row["objects"], row["phase"]) for row in rows] == [(2, phase) for phase in PHASES]
    assert all(row["seconds"] > 0 and row["peak_mib"] > 0 for row in rows)
    writes = {row["phase"]: row["writes"] for row in rows}
    assert writes["create"] > 0
    assert writes["delete"] > 0
    assert [writes[phase] for phase in ("restart", "resync", "edit")] == [0, 0, 0]
    assert table("scale", rows).row_count == comparison("scale", rows, rows).row_count == len(rows)
    assert {"objects", "phase"} == set(KEYS["scale"])


def test_bench_compares_engines_in_pods_with_the_shared_one(monkeypatch):
    monkeypatch.setattr("bench.engines.SETTLE_SECONDS", 1)
    rows = list(engines([2], minutes=0.05, creates=2))
    turns = [(where, phase) for where in ("pods", "shared") for phase in ENGINE_PHASES]
    assert [(row["engines"], row["phase"]) for row in rows] == turns
    assert all(row["cpu_ms_each"] > 0 and row["resident_mib"] > 0 for row in rows if row["phase"] != "rest")
    by_turn = {(row["engines"], row["phase"]): row for row in rows}
    for phase in ("create", "delete"):
        in_pods, shared = (_kinds(by_turn[where, phase]) for where in ("pods", "shared"))
        assert {"pods": 1, "services": 1}.items() <= in_pods.items()
        # One for each engine. The authority of all may come with the first one, or before.
        assert in_pods["secrets"] >= shared["secrets"] + 1
        assert shared["kindclusters"] > 0
        assert not {"pods", "services"} & shared.keys()
    assert [row["writes"] for row in rows if row["phase"] == "rest"] == ["none", "none"]
    # Of Pods, Services and volume claims.
    assert by_turn["pods", "rest"]["watches"] == by_turn["shared", "rest"]["watches"] + 3
    assert table("engines", rows).row_count == comparison("engines", rows, rows).row_count == len(rows)


def test_instant_engine_publishes_each_kind_cluster_under_an_address_of_its_own(tmp_path):
    """The provider keeps one connection for each address: with one for all, most health checks would open another."""
    for folder in ("clusters", "names"):
        (tmp_path / folder).mkdir()
    (tmp_path / "kubeconfig").touch()
    environment = {**os.environ, "BENCH_ENGINE": str(tmp_path), "BENCH_ENGINE_SECONDS": "0", "BENCH_ENGINE_PORT": "77"}
    for name in ("dev", "prod"):
        call = [ENGINE, "create", "cluster", f"--name={name}", f"--kubeconfig={tmp_path / name}"]
        subprocess.run(call, env=environment, input="", text=True, capture_output=True, check=True)
    found = [inspection.node(json.loads(file.read_text())[0], "kind") for file in (tmp_path / "clusters").iterdir()]
    assert len({node.api_port for node in found}) == 2


def _kinds(row: dict) -> dict[str, float]:
    return {kind: float(count) for kind, count in (part.split() for part in row["writes"].split(", "))}


def test_names_of_services_lead_to_this_machine():
    assert {address[0] for *_, address in look_up("kc-1.capkind-engines.svc", 6443)} == {"127.0.0.1"}
    assert {address[0] for *_, address in look_up("127.0.0.2", 6443)} == {"127.0.0.2"}


def test_watches_are_counted_from_the_metrics_of_the_api_server():
    series = 'apiserver_longrunning_requests{component="apiserver",resource="pods",verb="%s",version="v1"} %d'
    assert watches("\n".join([series % ("WATCH", 3), series % ("CONNECT", 5), series % ("WATCH", 1)])) == 4


def test_lines_are_fitted_to_each_kind_of_row():
    sizes = (1, 2, 3)
    rows = [
        {"objects": size, "engines": where, "phase": "rest", "provider_cpu_s": factor * size, "resident_mib": 70.0}
        for where, factor in (("pods", 0.002), ("shared", 0.001))
        for size in sizes
    ]
    told = fits("engines", rows)
    assert told[0] == "pods, rest, provider_cpu_s: 2.0 ms per object + 0.0 (R² 1.000)"
    assert told[2].startswith("shared, rest, provider_cpu_s: 1.0 ms")
    assert fits("engines", rows[:2]) == fits("takeover", [{"round": 1}]) == []


def test_figures_keep_the_parts_that_a_run_lacks_with_the_commit_of_each(tmp_path):
    def taken(commit: str, seconds: float) -> Part:
        facts = {"cores": 2, "cpu": "any", "memory_gib": 8, "python": "3.11", "taken": "2026-01-02T03:04:05Z"}
        return Part({**facts, "commit": commit, "load_before": 0.1}, [{"round": 1, "seconds": seconds}])

    save(tmp_path / "run.json", {"peers": taken("new", 2.5)})
    kept = {"takeover": taken("old", 1.5), "peers": taken("old", 3.5)}
    run = merged(kept, load(tmp_path / "run.json"))
    assert run == {"takeover": kept["takeover"], "peers": taken("new", 2.5)}
    page = document(run, [])
    assert page.index("## Takeover") < page.index("Commit old") < page.index("## Peers") < page.index("Commit new")
    assert "| 1 | 1.5 |" in page
    assert "| 1 | 2.5 |" in page
    assert "3.5" not in page
