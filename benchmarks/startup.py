"""From the command to the first question: time until `/ready`, and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.latency import converse
from benchmarks.process_memory import Memory
from benchmarks.report import Figure, Report, median
from benchmarks.server_process import server


def run(starts: int, flags: tuple[str, ...]) -> Report:
    """Start the server `starts` times; the last one also answers a spoken question."""
    seconds, ready, model = [], [], ""
    for number in range(starts):
        with server(*flags) as running:
            seconds.append(running.ready_s)
            model = running.model
            ready.append(running.memory())
            if number == starts - 1:
                asyncio.run(converse(running.url, 1))
                after = running.memory()
    figures = [
        Figure("python -m server → /ready, median", median(seconds), "s", "the model has answered once by then"),
        Figure("… longest", max(seconds), "s", "the first start reads the files from disk"),
        *_memory("memory when ready", ready),
        *_memory("memory after a spoken turn", [after]),
    ]
    return Report("startup", f"{model}, {starts} starts of the server process", figures)


def _memory(name: str, found: Sequence[Memory]) -> list[Figure]:
    shared = median([memory.shared for memory in found])
    return [
        Figure(f"resident {name}", median([memory.resident for memory in found]), "MB"),
        Figure("… of it files, which all processes share", shared, "MB", "packed weights among them"),
        Figure("… with its share of those only", median([memory.proportional for memory in found]), "MB"),
    ]
