"""What an open conversation costs while nobody speaks."""

from __future__ import annotations

import asyncio

from benchmarks.conversation import conversation, open_microphones
from benchmarks.report import Figure, Report
from benchmarks.server_process import ServerProcess, server

SETTLE_S = 4.0


async def _measure(running: ServerProcess, count: int) -> tuple[float, float, float, float]:
    """→ MB before, with all open, after all have left; share of a core with all open."""
    async with conversation(running.url):  # what is loaded for the first one is not counted
        await asyncio.sleep(SETTLE_S)
    before = running.resident_mb()
    async with open_microphones(running.url, count):
        await asyncio.sleep(SETTLE_S)
        running.process.cpu_percent()
        await asyncio.sleep(SETTLE_S)
        share, opened = running.process.cpu_percent() / 100, running.resident_mb()
    await asyncio.sleep(1)
    return before, opened, running.resident_mb(), share


def run(count: int, flags: tuple[str, ...]) -> Report:
    """`count` conversations whose microphones send the noise of a quiet room in real time."""
    with server("--max-sessions", str(count + 1), *flags) as running:
        before, opened, after, share = asyncio.run(_measure(running, count))
    figures = [
        Figure("memory of an open, silent session", (opened - before) / count, "MB"),
        Figure("one core's share of a silent session", 100 * share / count, "%", "voice detection in every window"),
        Figure("resident before", before, "MB"),
        Figure("resident with all open", opened, "MB"),
        Figure("resident when all have left", after, "MB"),
    ]
    return Report("sessions", f"{count} open conversations, noise of a quiet room from every microphone", figures)
