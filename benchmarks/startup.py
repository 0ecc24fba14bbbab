"""From the command to the first question: time until `/ready`, and memory."""

from __future__ import annotations

import asyncio

from benchmarks.latency import converse
from benchmarks.report import Figure, Report, median
from benchmarks.server_process import server


def run(starts: int, flags: tuple[str, ...]) -> Report:
    """Start the server `starts` times; the last one also answers a spoken question."""
    seconds, resident = [], []
    for number in range(starts):
        with server(*flags) as running:
            seconds.append(running.ready_s)
            resident.append(running.resident_mb())
            if number == starts - 1:
                asyncio.run(converse(running.url, 1))
                after = running.resident_mb()
    figures = [
        Figure("python -m server → /ready, median", median(seconds), "s", "the model has answered once by then"),
        Figure("… longest", max(seconds), "s", "the first start reads the files from disk"),
        Figure("resident memory when ready", median(resident), "MB"),
        Figure("resident memory after a spoken turn", after, "MB"),
    ]
    return Report("startup", f"{starts} starts of the server process", figures)
