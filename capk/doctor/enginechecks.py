"""Checks of the kind command, the container engine and the node image. Pure."""

import re
import shlex
from typing import Final

from capk.api.names import Reason
from capk.diagnosis.failures import Failure
from capk.doctor.finding import Finding, Status, failure, ok, skipped, warning
from capk.doctor.place import Facts

TESTED_MINORS: Final = 2
"""Releases of kind that the provider is tested with: the one of its catalogue and the one before."""
KIND: Final = "kind command"
ENGINE: Final = "container engine"
IMAGE: Final = "node image"
NO_ENGINE: Final = "The fake kind needs no container engine."
NO_OWN_ENGINE: Final = "The provider has no engine of its own (--no-shared-engine)."
_RELEASE: Final = re.compile(r"v0\.(\d{1,4})\.")


def kind(facts: Facts, release: str) -> Finding:
    """Check that kind answers, in a tested version. release: the kind release of the node images."""
    found = facts.kind
    command = shlex.join(found.command)
    if found.failure:
        return _failed(KIND, found.failure)
    if found.build is None:
        return skipped(KIND, f"`{command}` was not asked.")
    version = found.build.version
    if found.is_fake:
        return warning(
            KIND,
            f"A fake kind answers, {found.build.toolchain} {version}. It starts processes, not containers.",
            "This is enough to try the provider. For real kind clusters, install kind and start a container engine "
            "that has or can pull a node image.",
        )
    age = _minor(release) - _minor(version)
    if age >= TESTED_MINORS:
        return warning(KIND, f"kind {version} is older than this provider was tested with.", f"Install kind {release}.")
    if age < 0:
        remedy = f"If creations fail, install kind {release}."
        return warning(KIND, f"kind {version} is newer than this provider was tested with.", remedy)
    return ok(KIND, f"kind {version}")


def engine(facts: Facts) -> Finding:
    """Check that a container engine answers."""
    found = facts.engine
    if facts.kind.is_fake:
        return skipped(ENGINE, NO_ENGINE)
    if not facts.shared_engine:
        return skipped(ENGINE, NO_OWN_ENGINE)
    if found.command is None:
        remedy = "Install one of them where the provider runs, or name its command with --engine-command."
        return failure(ENGINE, "None of docker, nerdctl and podman is on the PATH.", remedy, Reason.ENGINE_UNREACHABLE)
    if not found.command:
        return warning(
            ENGINE,
            "The provider uses only kind, because --engine-command is empty.",
            "Name the engine's command with --engine-command to let the provider start stopped nodes and keep logs.",
        )
    if found.failure:
        return _failed(ENGINE, found.failure)
    if found.info is None:
        return skipped(ENGINE, f"`{shlex.join(found.command)}` was not asked.")
    name = " ".join(filter(None, (shlex.join(found.command), found.info.version)))
    return ok(ENGINE, f"{name} on {found.info.host}" if found.info.host else name)


def image(facts: Facts) -> Finding:
    """Check that the engine has the node image or can pull it."""
    found = facts.image
    if facts.kind.is_fake:
        return skipped(IMAGE, "The fake kind needs no node image.")
    if facts.engine.info is None:
        return skipped(IMAGE, "The container engine has not answered." if facts.shared_engine else NO_OWN_ENGINE)
    if not found.image:
        chooses = facts.kind.build is not None
        return skipped(IMAGE, "This release of kind has its own default." if chooses else "kind has not answered.")
    name = found.image.partition("@")[0]
    if found.present:
        return ok(IMAGE, f"{name} is on the engine.")
    if found.pullable:
        return ok(IMAGE, f"{name} is not on the engine. Its registry has it, so the first creation pulls it.")
    engine_name = shlex.join(facts.engine.command or ("docker",))
    remedy = (
        f"Run `{engine_name} pull {found.image}`, load the image with `{engine_name} load`, or choose another with "
        "--node-image. If the engine uses a mirror of the registry, this may be a false alarm."
    )
    problem = f"{name} is not on the engine, and its registry does not confirm that it can be pulled."
    return warning(IMAGE, problem, remedy, Reason.IMAGE_NOT_FOUND)


def _failed(check: str, found: Failure) -> Finding:
    """Return the finding for a failed command; its message has the cause first and then the remedy."""
    cause, stop, remedy = found.message.partition(". ")
    return Finding(check, Status.FAILURE, f"{cause}{stop.strip()}", remedy, found.reason)


def _minor(version: str) -> int:
    match = _RELEASE.match(version)
    return int(match[1]) if match else 0
