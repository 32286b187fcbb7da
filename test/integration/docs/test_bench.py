"""The bench runs and fills all its columns. This test ignores the figures."""

from bench.results import KEYS, comparison, table
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
