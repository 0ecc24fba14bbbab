"""How much memory is left: of the machine, and of the control groups that a container is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.weights.memory import available_bytes

GB = 10**9


def system(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


MEMINFO = {"proc/meminfo": "MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:    6000000 kB\n"}


def group_v2(at: str, most: str, used: int, files: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup{at}"
    return {
        f"{folder}/memory.max": f"{most}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {files}\n",
    }


def group_v1(at: str, most: int, used: int, files: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup/memory{at}"
    return {
        f"{folder}/memory.limit_in_bytes": f"{most}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": f"cache 5\ntotal_inactive_file {files}\n",
    }


V2 = {"proc/self/cgroup": "0::/user/session\n"}
V1 = {"proc/self/cgroup": "12:cpu,cpuacct:/a\n5:memory:/docker/1234\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, None),
        (MEMINFO, 6_000_000 * 1024),
        (MEMINFO | V2, 6_000_000 * 1024),
        (MEMINFO | V2 | group_v2("/user/session", "max", GB), 6_000_000 * 1024),
        (MEMINFO | V2 | group_v2("/user/session", f"{4 * GB}", 3 * GB, files=GB), 2 * GB),
        (MEMINFO | V2 | group_v2("/user/session", "max", GB) | group_v2("/user", f"{3 * GB}", 2 * GB), GB),
        (MEMINFO | V2 | group_v2("", f"{2 * GB}", GB), GB),  # the group's files at the mount, as in a container
        (MEMINFO | V2 | group_v2("", f"{2 * GB}", 3 * GB), 0),
        (MEMINFO | V1 | group_v1("/docker/1234", 4 * GB, 2 * GB, files=GB), 3 * GB),
        (MEMINFO | V1 | group_v1("", 5 * GB, 4 * GB), GB),
        (MEMINFO | V1 | group_v1("", 2**63 - 4096, GB), 6_000_000 * 1024),  # no limit, in version 1's words
    ],
)
def test_the_least_that_is_left_counts(files: dict[str, str], available: int | None, tmp_path: Path) -> None:
    assert available_bytes(system(tmp_path, files)) == available


def test_this_machine_says() -> None:
    assert (available_bytes() or 0) > 10**7
