"""Checks of the machine: kernel limits, memory, disk, work directory. Pure."""

from typing import Final

from capk.api.names import Reason
from capk.diagnosis import inotify as inotify_limits
from capk.doctor.enginechecks import NO_ENGINE, NO_OWN_ENGINE
from capk.doctor.finding import Finding, failure, ok, skipped, warning
from capk.doctor.place import Facts

GIB: Final = 2**30
FEW_MEMORY: Final = 2 * GIB
LEAST_MEMORY: Final = GIB // 2
"""Memory of one control-plane node."""
LITTLE_DISK: Final = 10 * GIB
LEAST_DISK: Final = 2 * GIB
"""Disk space of an unpacked node image and a first cluster."""
INOTIFY: Final = "inotify limits"
MEMORY: Final = "memory"
DISK: Final = "disk"
WORK_DIR: Final = "work directory"


def inotify(facts: Facts) -> Finding:
    """Check the kernel's limits for several nodes."""
    if unknown := _elsewhere(facts, INOTIFY):
        return unknown
    instances, watches = facts.machine.inotify_instances, facts.machine.inotify_watches
    if instances is None or watches is None:
        return skipped(INOTIFY, "This kernel does not have them.")
    found = f"{instances} instances and {watches} watches per user"
    if instances >= inotify_limits.INSTANCES and watches >= inotify_limits.WATCHES:
        return ok(INOTIFY, f"{found}.")
    wanted = max(instances, inotify_limits.INSTANCES), max(watches, inotify_limits.WATCHES)
    remedy = f"Run `{inotify_limits.command(*wanted)}`, and enter both in /etc/sysctl.d."
    return warning(INOTIFY, f"{found} suffice for a few nodes only.", remedy, Reason.INOTIFY_LIMIT)


def memory(facts: Facts) -> Finding:
    """Check that the engine's machine has memory for a kind cluster."""
    if facts.kind.is_fake:
        return _memory(facts.machine.free_memory_bytes, "available")
    if unknown := _without_engine(facts, MEMORY):
        return unknown
    if facts.engine_is_here:
        return _memory(facts.machine.free_memory_bytes, "available")
    return _memory(facts.engine.info.memory_bytes if facts.engine.info else None, "in all on the engine's machine")


def disk(facts: Facts) -> Finding:
    """Check the space for images and nodes."""
    if unknown := _without_engine(facts, DISK):
        return unknown
    info = facts.engine.info
    # podman's figure includes space that the file system reserves.
    measured = facts.machine.free_disk_bytes if facts.engine_is_here else None
    free = measured if measured is not None or info is None else info.free_disk_bytes
    if free is None:
        return skipped(DISK, "The free space of the engine's disk cannot be measured from here.")
    found = f"{_gib(free)} free in {info.data_root}." if info and info.data_root else f"{_gib(free)} free."
    # `system prune` would remove the containers of stopped kind clusters, and their data.
    remedy = "Free space, for example with `docker image prune --all` or `podman image prune --all`."
    if free < LEAST_DISK:
        return failure(DISK, found, remedy, Reason.OUT_OF_DISK)
    return warning(DISK, found, remedy, Reason.OUT_OF_DISK) if free < LITTLE_DISK else ok(DISK, found)


def work_dir(facts: Facts) -> Finding:
    """Check that the provider can keep private files."""
    found = facts.work_dir
    if not found.flaw:
        return ok(WORK_DIR, f"{found.path} is private." if found.exists else f"{found.path} will be created.")
    problem = f"{found.path} cannot hold private files: {found.flaw}."
    if found.explicit or not found.exists:
        remedy = "Choose a directory that only you can access (`chmod 700`), or a new one, with --work-dir."
        return failure(WORK_DIR, problem, remedy)
    remedy = "The provider creates another one at each start. Remove this one, or choose another with --work-dir."
    return warning(WORK_DIR, problem, remedy)


def _memory(free: int | None, where: str) -> Finding:
    if free is None:
        return skipped(MEMORY, "The system does not report it.")
    found = f"{_gib(free)} {where}."
    remedy = "Give the machine more memory, or delete clusters. A control-plane node takes about 0.5 GiB."
    if free < LEAST_MEMORY:
        return failure(MEMORY, found, remedy, Reason.OUT_OF_MEMORY)
    return warning(MEMORY, found, remedy, Reason.OUT_OF_MEMORY) if free < FEW_MEMORY else ok(MEMORY, found)


def _without_engine(facts: Facts, check: str) -> Finding | None:
    if facts.kind.is_fake:
        return skipped(check, NO_ENGINE)
    if facts.engine.info is None:
        return skipped(check, "The container engine has not answered." if facts.shared_engine else NO_OWN_ENGINE)
    return None


def _elsewhere(facts: Facts, check: str) -> Finding | None:
    """Return a finding if measurements here do not apply to the engine."""
    if unknown := _without_engine(facts, check):
        return unknown
    if facts.engine_is_here:
        return None
    host = facts.engine.info.host if facts.engine.info else ""
    where = f"another machine, {host}" if host else "another machine"
    return skipped(check, f"The container engine runs on {where}. Run `capk doctor` there.")


def _gib(number: int) -> str:
    return f"{number / GIB:.1f} GiB"
