"""The bench runs and fills all its columns. This test ignores the figures."""

from bench.results import KEYS, Part, comparison, document, load, merged, save, table
from bench.scale import scale

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
