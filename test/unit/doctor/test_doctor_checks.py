"""From facts to findings: each check succeeds, warns, fails, or is skipped."""

from dataclasses import replace
from pathlib import Path

import pytest

from capk.api.definitions import expected
from capk.api.names import INFRASTRUCTURE_GROUP, Reason
from capk.api.rights import needed, needed_for_engines, needed_to_lead
from capk.diagnosis.failures import Failure
from capk.doctor import enginechecks, machinechecks, managementchecks
from capk.doctor.checks import findings, has_failed
from capk.doctor.finding import Status
from capk.doctor.place import EngineFacts, ImageFacts, KindFacts, WorkDirFacts

RELEASE = "v0.33.0"
FAKE = {"version": RELEASE, "toolchain": "capkdev-fake-kind"}
GIB = 2**30


def test_where_all_is_fine_every_check_passes(place) -> None:
    found = list(findings(place()))
    assert {finding.status for finding in found} == {Status.OK}
    assert not has_failed(found)
    assert [finding.remedy for finding in found if finding.remedy] == []


def test_every_problem_comes_with_a_remedy(place) -> None:
    broken = place(
        kind=KindFacts(("kind",), failure=Failure(Reason.KIND_COMMAND_MISSING, "kind cannot be used. Install it.")),
        engine=EngineFacts(None),
        work_dir=WorkDirFacts(Path("/srv"), exists=True, explicit=True, flaw="others may use it"),
        management=place.management(failure="No answer."),
    )
    found = list(findings(broken))
    assert has_failed(found)
    assert all(bool(finding.remedy) is (finding.status in (Status.FAILURE, Status.WARNING)) for finding in found)


def test_without_the_management_cluster_the_rest_is_checked(place) -> None:
    checks = [finding.check for finding in findings(place(management=None))]
    assert checks == [
        "kind command",
        "container engine",
        "node image",
        "inotify limits",
        "memory",
        "disk",
        "work directory",
    ]


def test_engine_of_a_provider_without_one_is_not_missed(place) -> None:
    found = list(findings(place(engine=EngineFacts(None), image=ImageFacts(), shared_engine=False)))
    assert not has_failed(found)
    skipped = {one.check: one.found for one in found if one.status is Status.SKIPPED}
    assert set(skipped) == {"container engine", "node image", "inotify limits", "memory", "disk"}
    assert set(skipped.values()) == {"The provider has no engine of its own (--no-shared-engine)."}


class TestKind:
    @pytest.mark.parametrize(
        ("version", "status"),
        [
            ("v0.33.0", Status.OK),
            ("v0.33.1-alpha+0123", Status.OK),
            ("v0.32.0", Status.OK),
            ("v0.31.0", Status.WARNING),
            ("v0.34.0", Status.WARNING),
        ],
    )
    def test_release_and_the_one_before_are_fine(self, place, version, status) -> None:
        found = enginechecks.kind(place.kind(version), RELEASE)
        assert found.status is status
        assert version in found.found
        assert (RELEASE in found.remedy) is (status is Status.WARNING)

    def test_command_that_fails_gives_its_cause_and_its_remedy_apart(self, place) -> None:
        message = "The command kind cannot be used: not found. Install kind there."
        failure = Failure(Reason.KIND_COMMAND_MISSING, message)
        found = enginechecks.kind(place(kind=KindFacts(("kind",), failure=failure)), RELEASE)
        assert (found.status, found.reason) == (Status.FAILURE, Reason.KIND_COMMAND_MISSING)
        assert found.found == "The command kind cannot be used: not found."
        assert found.remedy == "Install kind there."

    def test_fake_kind_is_named_and_does_not_fail(self, place) -> None:
        found = list(findings(replace(place.kind(**FAKE), engine=EngineFacts(None), management=None)))
        assert found[0].status is Status.WARNING
        assert "A fake kind answers, capkdev-fake-kind v0.33.0" in found[0].found
        assert not has_failed(found)
        assert {one.check: one.status for one in found} == {
            "kind command": Status.WARNING,
            "container engine": Status.SKIPPED,
            "node image": Status.SKIPPED,
            "inotify limits": Status.SKIPPED,
            "memory": Status.OK,
            "disk": Status.SKIPPED,
            "work directory": Status.OK,
        }


class TestEngine:
    def test_engine_that_answers_is_named_with_version_and_machine(self, place) -> None:
        assert enginechecks.engine(place()).found == "docker 28.2.2 on here"
        assert enginechecks.engine(place.info(version="", host="")).found == "docker"

    def test_no_engine_on_the_path_is_a_failure(self, place) -> None:
        found = enginechecks.engine(place(engine=EngineFacts(None)))
        assert (found.status, found.reason) == (Status.FAILURE, Reason.ENGINE_UNREACHABLE)

    def test_provider_that_is_to_use_no_engine_is_warned(self, place) -> None:
        assert enginechecks.engine(place(engine=EngineFacts(()))).status is Status.WARNING

    def test_engine_that_does_not_answer_is_a_failure(self, place) -> None:
        failure = Failure(Reason.ENGINE_UNREACHABLE, "The container engine does not answer. Start it.")
        found = enginechecks.engine(place(engine=EngineFacts(("docker",), failure=failure)))
        assert (found.status, found.remedy, found.reason) == (Status.FAILURE, "Start it.", Reason.ENGINE_UNREACHABLE)


class TestImage:
    def test_image_that_is_there_or_can_be_pulled_is_fine(self, place) -> None:
        assert "is on the engine" in enginechecks.image(place()).found
        found = enginechecks.image(place(image=ImageFacts("kindest/node:v1.37.0@sha256:0", False, True)))
        assert found.status is Status.OK
        assert "first creation pulls it" in found.found
        assert "sha256" not in found.found

    def test_image_that_cannot_be_found_is_a_warning_with_the_command_to_pull_it(self, place) -> None:
        engine = EngineFacts(("podman",), info=place().engine.info)
        found = enginechecks.image(place(engine=engine, image=ImageFacts("kindest/node:v1.37.0", False, False)))
        assert (found.status, found.reason) == (Status.WARNING, Reason.IMAGE_NOT_FOUND)
        assert "`podman pull kindest/node:v1.37.0`" in found.remedy

    def test_what_cannot_be_known_is_not_checked(self, place) -> None:
        assert enginechecks.image(place(image=ImageFacts())).status is Status.SKIPPED
        assert enginechecks.image(place(engine=EngineFacts(("docker",)))).status is Status.SKIPPED


class TestMachine:
    @pytest.mark.parametrize(("instances", "watches"), [(128, 524288), (512, 8192), (128, 8192)])
    def test_low_inotify_limits_are_a_warning_that_lowers_neither(self, place, instances, watches) -> None:
        found = machinechecks.inotify(place.machine(inotify_instances=instances, inotify_watches=watches))
        assert (found.status, found.reason) == (Status.WARNING, Reason.INOTIFY_LIMIT)
        assert "sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288" in found.remedy

    def test_higher_limit_stays_as_it_is(self, place) -> None:
        found = machinechecks.inotify(place.machine(inotify_instances=8192, inotify_watches=1))
        assert "max_user_instances=8192 fs.inotify.max_user_watches=524288" in found.remedy

    def test_limits_of_this_machine_do_not_count_for_an_engine_elsewhere(self, place) -> None:
        found = machinechecks.inotify(place.info(host="builder"))
        assert found.status is Status.SKIPPED
        assert "builder" in found.found

    def test_kernel_without_inotify_is_not_checked(self, place) -> None:
        assert machinechecks.inotify(place.machine(inotify_watches=None)).status is Status.SKIPPED

    @pytest.mark.parametrize(
        ("gib", "status"), [(8.0, Status.OK), (2.0, Status.OK), (1.9, Status.WARNING), (0.4, Status.FAILURE)]
    )
    def test_memory_is_measured_on_the_machine_of_the_engine(self, place, gib, status) -> None:
        here = machinechecks.memory(place.machine(free_memory_bytes=int(gib * GIB)))
        elsewhere = machinechecks.memory(place.info(host="builder", memory_bytes=int(gib * GIB)))
        assert here.status is elsewhere.status is status
        assert f"{gib:.1f} GiB available" in here.found
        assert "on the engine's machine" in elsewhere.found

    @pytest.mark.parametrize(("gib", "status"), [(50, Status.OK), (5, Status.WARNING), (1, Status.FAILURE)])
    def test_disk_is_that_of_the_engine(self, place, gib, status) -> None:
        assert machinechecks.disk(place.machine(free_disk_bytes=gib * GIB)).status is status
        told = machinechecks.disk(place.info(host="builder", free_disk_bytes=gib * GIB))
        assert told.status is status
        assert "/var/lib/docker" in told.found

    def test_disk_that_is_measured_here_counts_more_than_what_the_engine_computes(self, place) -> None:
        facts = replace(place.info(free_disk_bytes=200 * GIB), machine=place.machine(free_disk_bytes=GIB).machine)
        assert machinechecks.disk(facts).status is Status.FAILURE
        unmeasured = replace(facts, machine=place.machine(free_disk_bytes=None).machine)
        assert machinechecks.disk(unmeasured).status is Status.OK

    def test_disk_of_an_engine_elsewhere_is_not_guessed(self, place) -> None:
        assert machinechecks.disk(place.info(host="builder")).status is Status.SKIPPED

    @pytest.mark.parametrize(
        ("exists", "explicit", "flaw", "status"),
        [
            (True, True, "", Status.OK),
            (False, False, "", Status.OK),
            (True, True, "others may use it", Status.FAILURE),
            (True, False, "others may use it", Status.WARNING),
            (False, False, "this user may not write to /tmp", Status.FAILURE),
        ],
    )
    def test_work_directory_has_to_be_private(self, place, exists, explicit, flaw, status) -> None:
        found = machinechecks.work_dir(place(work_dir=WorkDirFacts(Path("/tmp/x"), exists, explicit, flaw)))
        assert found.status is status
        assert "/tmp/x" in found.found
        assert flaw in found.found


class TestManagement:
    def test_no_answer_is_one_failure_and_the_rest_is_not_checked(self, place) -> None:
        facts = place.management(failure="The API server cannot be reached.")
        found = managementchecks.api_server(facts)
        assert found.status is Status.FAILURE
        assert found.found == f"With {facts.login}: The API server cannot be reached."
        others = (
            managementchecks.definitions(facts, expected()),
            managementchecks.rights(facts),
            managementchecks.core(facts),
        )
        assert {finding.status for finding in others} == {Status.SKIPPED}

    def test_login_is_not_named_twice(self, place) -> None:
        facts = place.management(failure="The kubeconfig /home/me/.kube/config cannot be used.")
        assert managementchecks.api_server(facts).found == facts.failure

    def test_missing_definitions_are_named(self, place) -> None:
        name, *rest = expected()
        facts = place.management(definitions={other: expected()[other] for other in rest})
        found = managementchecks.definitions(facts, expected())
        assert (found.status, found.found) == (Status.FAILURE, f"Not installed: {name}.")

    def test_definitions_of_another_release_are_named(self, place) -> None:
        name = next(iter(expected()))
        found = managementchecks.definitions(place.management(definitions={**expected(), name: "0"}), expected())
        assert (found.status, found.found) == (Status.FAILURE, f"Of another release: {name}.")

    def test_definitions_that_may_not_be_read_need_to_be_served(self, place) -> None:
        assert managementchecks.definitions(place.management(definitions=None), expected()).status is Status.OK
        half = place.management(definitions=None, groups=frozenset({INFRASTRUCTURE_GROUP}))
        assert managementchecks.definitions(half, expected()).status is Status.FAILURE

    def test_missing_rights_are_named_up_to_a_bound(self, place) -> None:
        found = managementchecks.rights(place.management(missing=tuple(needed())))
        assert (found.status, found.reason) == (Status.FAILURE, Reason.WRITE_REFUSED)
        assert "list customresourcedefinitions.apiextensions.k8s.io" in found.found
        assert f"and {len(needed()) - 6} more" in found.found

    def test_rights_of_leader_election_matter_with_leader_election_only(self, place) -> None:
        missing = tuple(needed_to_lead("default"))
        warned = managementchecks.rights(place.management(missing_to_lead=missing))
        assert warned.status is Status.WARNING
        assert "--leader-elect" in warned.remedy
        failed = managementchecks.rights(place.management(missing_to_lead=missing, leader_elect=True))
        assert failed.status is Status.FAILURE
        assert "get leases.coordination.k8s.io capk-leader-election" in failed.found

    def test_rights_to_engines_in_pods_matter_with_a_class_only(self, place) -> None:
        some = place.management(pod_classes=("pods", "sysbox"), engine_namespace="capkind-engines")
        (found,) = (one for one in findings(place(management=some)) if one.check == "engines in Pods")
        assert found.status is Status.OK
        assert found.found == (
            "The account has all rights in the namespace capkind-engines, for KINDEngineClasses pods, sysbox."
        )
        assert "engines in Pods" not in {one.check for one in findings(place())}

    def test_missing_rights_to_engines_in_pods_come_with_the_manifest_that_grants_them(self, place) -> None:
        missing = tuple(needed_for_engines("capkind-engines"))
        found = managementchecks.engines(
            place.management(pod_classes=("pods",), engine_namespace="capkind-engines", missing_for_engines=missing)
        )
        assert found.status is Status.FAILURE
        assert found.found.startswith(
            "Not granted in the namespace capkind-engines, for KINDEngineClass pods: get pods,"
        )
        assert "engine-namespace.yaml" in found.remedy

    def test_namespace_is_named(self, place) -> None:
        assert "in the namespace dev" in managementchecks.rights(place.management(namespace="dev")).found

    @pytest.mark.parametrize(
        ("version", "release", "status", "text"),
        [
            ("v1beta2", "v1.14.1", Status.OK, "v1.14.1, with API version v1beta2."),
            ("v1beta1", "", Status.OK, "Installed, with API version v1beta1."),
            ("v2", "v2.0.0", Status.WARNING, "which this provider does not support"),
            (None, "", Status.OK, "KINDClusters work without it"),
        ],
    )
    def test_cluster_api_is_named_with_its_version(self, place, version, release, status, text) -> None:
        found = managementchecks.core(place.management(core_version=version, core_release=release))
        assert found.status is status
        assert text in found.found
