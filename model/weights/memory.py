"""How much memory a process may still take: the machine's, and what a container leaves of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def available_bytes(root: Path = Path("/")) -> int | None:
    """Bytes that can be taken without swapping; None where the system does not say.

    The least of Linux' `MemAvailable` and of what each control group (v1 or v2) of this process leaves, pages of files
    that could be dropped counted as free. `root` is where `proc` and `sys` lie.
    """
    found = [*_of_the_machine(root), *_of_control_groups(root)]
    return min(found, default=None)


def _of_the_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc" / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_control_groups(root: Path) -> Iterator[int]:
    """What each group that this process is in leaves; groups without a limit are passed over."""
    mounted = root / "sys" / "fs" / "cgroup"
    for line in _lines(root / "proc" / "self" / "cgroup"):
        _, controllers, group = line.split(":", 2)
        if not controllers:  # version 2
            base, names = mounted, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = mounted / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inside = base / group.strip("/")
        # in a container the path may be the host's: the group's files then lie at the mount itself
        for folder in (inside, *inside.parents):
            yield from _left(folder, *names)
            if folder == base:
                break


def _left(folder: Path, limit: str, usage: str, droppable: str) -> Iterator[int]:
    most, used = ("".join(_lines(folder / name)).strip() for name in (limit, usage))
    if not most.isdigit() or not used.isdigit():
        return
    files = next((int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.split()[0] == droppable), 0)
    yield max(0, int(most) - max(0, int(used) - files))


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except OSError:
        return []
