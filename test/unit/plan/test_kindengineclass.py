from typing import Any

from capk.api.engineclasses import KINDEngineClass
from capk.api.names import Reason
from capk.diagnosis.failures import Failure
from capk.plan.kindengineclass import REFRESH_SECONDS, ClassObserved, decide
from test.unit.plan.builders import NOW


def engine_class(**spec: Any) -> KINDEngineClass:
    return KINDEngineClass({"metadata": {"name": "lab", "generation": 3}, "spec": {"namespaceSelector": {}, **spec}})


def ready(**facts: Any) -> tuple[str, str, str]:
    status = decide(ClassObserved(**{"object": engine_class(), "now": NOW, **facts})).status
    assert status is not None
    (condition,) = status["conditions"]
    assert (condition["type"], condition["observedGeneration"]) == ("Ready", 3)
    return condition["status"], condition["reason"], condition["message"]


def test_class_is_ready_while_its_engine_answers() -> None:
    assert ready(answers=True) == ("True", "EngineAnswers", "")
    assert ready() == ("Unknown", "Unknown", "Not observed yet.")


def test_class_keeps_its_verdict_until_a_new_provider_has_one() -> None:
    status = decide(ClassObserved(engine_class(), NOW, answers=True)).status
    stored = KINDEngineClass({**engine_class().raw, "status": status})
    assert ready(object=stored)[0] == "True"
    changed = KINDEngineClass({**stored.raw, "metadata": {"name": "lab", "generation": 4}})
    verdict = decide(ClassObserved(changed, NOW)).status["conditions"][0]  # type: ignore[index]
    assert (verdict["status"], verdict["observedGeneration"]) == ("Unknown", 4)


def test_class_reports_why_its_engine_cannot_be_used() -> None:
    failure = Failure(Reason.ENGINE_UNREACHABLE, "Secret capkind-system/lab does not exist.")
    assert ready(failure=failure, answers=True) == ("False", "EngineUnreachable", failure.message)


def test_class_that_nobody_may_use_says_so() -> None:
    closed = KINDEngineClass({"metadata": {"name": "lab", "generation": 3}, "spec": {}})
    assert "No namespace may use it" in ready(object=closed, answers=True)[2]


def test_class_counts_its_clusters_and_is_read_again() -> None:
    plan = decide(ClassObserved(engine_class(), NOW, clusters=2, answers=True))
    assert plan.status is not None
    assert plan.status["clusters"] == 2
    assert plan.status["observedGeneration"] == 3
    assert plan.requeue_seconds == REFRESH_SECONDS
    again = KINDEngineClass({**engine_class().raw, "status": plan.status})
    assert decide(ClassObserved(again, NOW, clusters=2, answers=True)).status == plan.status
