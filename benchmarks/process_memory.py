"""Memory of a process: what it has in RAM, and what of that other processes have too."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Memory:
    """Of a process, MB (10^6 bytes)."""

    resident: float
    shared: float
    """Of it, pages of files, which all processes that map them share; 0 where the system does not say."""
    proportional: float
    """Resident, but each shared page only by this process's share of it; 0 where the system does not say."""

    @classmethod
    def of(cls, process: psutil.Process) -> Memory:
        """As it is now."""
        found = process.memory_full_info()
        shared, proportional = getattr(found, "shared", 0), getattr(found, "pss", 0)
        return cls(found.rss / 1e6, shared / 1e6, proportional / 1e6)
