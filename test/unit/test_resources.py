"""The limits of control groups, as the kernel writes them."""

import pytest

from capk.resources import Resources, available, cgroup_limits, limited

GIB = 2**30
V2 = {"/proc/self/cgroup": "0::/\n"}
V2_NESTED = {"/proc/self/cgroup": "0::/user.slice/app.scope\n"}
V1 = {"/proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"}


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        ({}, (None, None)),
        (V2, (None, None)),
        (V2 | {"/sys/fs/cgroup/cpu.max": "max 100000\n", "/sys/fs/cgroup/memory.max": "max\n"}, (None, None)),
        (V2 | {"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, (1.5, None)),
        (V2 | {"/sys/fs/cgroup/memory.max": "536870912\n"}, (None, GIB // 2)),
        (
            V2_NESTED
            | {
                "/sys/fs/cgroup/user.slice/memory.max": "1000",
                "/sys/fs/cgroup/user.slice/app.scope/memory.max": "2000",
                "/sys/fs/cgroup/user.slice/app.scope/cpu.max": "50000 100000",
            },
            (0.5, 1000),
        ),
        (
            V1
            | {
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            (2.0, GIB // 2),
        ),
        (
            V1
            | {
                "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "9223372036854771712",
                "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "-1",
                "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000",
            },
            (None, None),
        ),
        (V2 | {"/sys/fs/cgroup/cpu.max": "1 0", "/sys/fs/cgroup/memory.max": ""}, (None, None)),
        (V2 | {"/sys/fs/cgroup/cpu.max": "", "/sys/fs/cgroup/memory.max": "much"}, (None, None)),
        ({"/proc/self/cgroup": "nonsense\n0::relative\n:\n"}, (None, None)),
    ],
)
def test_limits_are_those_of_the_group_and_of_those_above_it(files, limits):
    assert cgroup_limits(files.get) == limits


def test_limits_bound_what_the_machine_has():
    files = V2 | {"/sys/fs/cgroup/cpu.max": "150000 100000", "/sys/fs/cgroup/memory.max": str(GIB // 2)}
    assert limited(64, 256 * GIB, files.get) == Resources(2, 256.0, 0.5)


def test_limits_beyond_the_machine_do_not_count():
    files = V2 | {"/sys/fs/cgroup/cpu.max": "900000 100000", "/sys/fs/cgroup/memory.max": str(8 * GIB)}
    assert limited(4, 8 * GIB, files.get) == Resources(4, 8.0)
    assert limited(1, GIB, (V2 | {"/sys/fs/cgroup/cpu.max": "1000 100000"}).get) == Resources(1, 1.0)


def test_this_machine_has_cores_and_memory():
    resources = available()
    assert resources.cores >= 1
    assert resources.memory_gib > 0
