"""All checks, in display order. Pure."""

from collections.abc import Iterable, Iterator

from capk.api.definitions import expected
from capk.doctor import enginechecks, machinechecks, managementchecks
from capk.doctor.finding import Finding, Status
from capk.doctor.place import Facts
from capk.kindconfig.images import kind_release


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield the findings of all checks."""
    yield enginechecks.kind(facts, kind_release())
    yield enginechecks.engine(facts)
    yield enginechecks.image(facts)
    yield machinechecks.inotify(facts)
    yield machinechecks.memory(facts)
    yield machinechecks.disk(facts)
    yield machinechecks.work_dir(facts)
    if facts.management:
        yield managementchecks.api_server(facts.management)
        yield managementchecks.definitions(facts.management, expected())
        yield managementchecks.rights(facts.management)
        yield managementchecks.core(facts.management)
        if facts.management.pod_classes:
            yield managementchecks.engines(facts.management)


def has_failed(found: Iterable[Finding]) -> bool:
    """Return whether the provider cannot do its work."""
    return any(finding.status is Status.FAILURE for finding in found)
