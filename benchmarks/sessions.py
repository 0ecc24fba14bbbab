"""What an open conversation costs while nobody speaks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.conversation import conversation, open_microphones
from benchmarks.report import Figure, Report
from benchmarks.server_process import ServerProcess, server

SETTLE_S = 4.0


@dataclass(frozen=True)
class Opened:
    """Many open microphones. Memory is in MB, shares are of one core."""

    count: int
    before_mb: float
    opened_mb: float
    left_mb: float
    share: float

    @property
    def memory_mb(self) -> float:
        """Of each."""
        return (self.opened_mb - self.before_mb) / self.count


async def open_many(running: ServerProcess, count: int) -> Opened:
    """Open so many, wait, and look."""
    async with conversation(running.url):  # what is loaded for the first one is not counted
        await asyncio.sleep(SETTLE_S)
    before = running.resident_mb()
    async with open_microphones(running.url, count):
        await asyncio.sleep(SETTLE_S)
        taken = running.core_s()
        await asyncio.sleep(SETTLE_S)
        share, opened = (running.core_s() - taken) / SETTLE_S, running.resident_mb()
    await asyncio.sleep(1)
    return Opened(count, before, opened, running.resident_mb(), share)


def run(count: int, flags: tuple[str, ...]) -> Report:
    """`count` conversations whose microphones send the noise of a quiet room in real time."""
    with server("--max-sessions", str(count + 1), *flags) as running:
        found = asyncio.run(open_many(running, count))
    figures = [
        Figure("memory of an open, silent session", 1000 * found.memory_mb, "KB"),
        Figure(
            "one core's share of a silent session", 100 * found.share / count, "%", "voice detection in every window"
        ),
        Figure("one core's share of all of them", 100 * found.share, "%"),
        Figure("resident before", found.before_mb, "MB"),
        Figure("resident with all open", found.opened_mb, "MB"),
        Figure("resident when all have left", found.left_mb, "MB"),
    ]
    return Report("sessions", f"{count} open conversations, noise of a quiet room from every microphone", figures)
