"""What a benchmark found, and the machine it found it on: as a table for people, as one JSON line for programs."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("torch", "numba", "transformers", "onnxruntime", "numpy", "uvicorn", "websockets", "xllamacpp")


@dataclass(frozen=True)
class Figure:
    """One measured number. `note` says how it came about or what it is to be compared with."""

    name: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Machine:
    """Where and with what it was measured."""

    processor: str
    cores: int
    memory_gb: float
    load_before: float
    """Processes that were running or waiting for a core in the minute before (1-minute load average)."""
    python: str
    packages: dict[str, str]
    commit: str


@dataclass(frozen=True)
class Report:
    """Everything that one benchmark prints."""

    benchmark: str
    workload: str
    figures: Sequence[Figure]
    machine: Machine = field(default_factory=lambda: this_machine())

    def table(self) -> str:
        """For people."""
        names = max(len(f.name) for f in self.figures)
        values = [
            f"{f.value:,.2f}" if abs(f.value) < 100 and f.value != int(f.value) else f"{f.value:,.0f}"
            for f in self.figures
        ]
        wide, units = max(map(len, values)), max(len(f.unit) for f in self.figures)
        rows = [
            f"  {f.name:<{names}}  {value:>{wide}} {f.unit:<{units}}  {f.note}".rstrip()
            for f, value in zip(self.figures, values, strict=True)
        ]
        m = self.machine
        about = f"{m.processor}, {m.cores} cores, {m.memory_gb:.0f} GB, load {m.load_before:.1f} before; {m.commit}"
        return "\n".join([f"{self.benchmark}: {self.workload}", *rows, f"  ({about})"])

    def json_line(self) -> str:
        """For programs: one line."""
        return json.dumps(asdict(self), ensure_ascii=False)


def this_machine() -> Machine:
    """Look at the machine; the commit ends in `+changes` when the checkout has uncommitted ones."""
    return Machine(
        processor=_processor(),
        cores=cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        load_before=round(psutil.getloadavg()[0], 2),
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        commit=_commit(),
    )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "no git"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0–1) of the values lie, by nearest rank; `values` must not be empty."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(share * len(ordered) - 1e-9)) - 1]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)
