from capk.runtime.metrics import Metrics
from capk.runtime.workqueue import WorkQueue


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_work_queue_is_observed() -> None:
    metrics = Metrics()
    queue: WorkQueue[str] = WorkQueue(observer=metrics)
    queue.add("a")
    assert value(metrics, "capk_queue_depth") == 1
    await queue.get()
    assert value(metrics, "capk_queue_depth") == 0
    assert value(metrics, "capk_queue_wait_seconds_count") == 1


def test_requests_and_reconciles_are_counted_by_their_labels() -> None:
    metrics = Metrics()
    metrics.requested("patch", "kindclusters", "409")
    metrics.requested("patch", "kindclusters", "409")
    metrics.reconciled("KINDCluster", "done", 0.02)
    assert value(metrics, "capk_api_requests_total", verb="patch", resource="kindclusters", code="409") == 2
    assert value(metrics, "capk_reconcile_seconds_count", kind="KINDCluster", outcome="done") == 1


def test_state_that_no_cluster_is_in_any_more_disappears() -> None:
    metrics = Metrics()
    metrics.counted({"Ready": 3, "Creating": 1})
    metrics.counted({"Ready": 4})
    assert value(metrics, "capk_clusters", state="Ready") == 4
    assert value(metrics, "capk_clusters", state="Creating") is None


def test_two_instances_do_not_share_series() -> None:
    one, other = Metrics(), Metrics()
    one.depth(5)
    assert value(other, "capk_queue_depth") == 0


def test_exposition_names_the_version_and_the_process() -> None:
    text = Metrics().exposition()[0].decode()
    assert "capk_build_info{" in text
    assert "process_cpu_seconds_total" in text
