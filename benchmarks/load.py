"""Several people at once: does anybody's answer fall behind real time?"""

from __future__ import annotations

import asyncio

from benchmarks.conversation import Turn, conversation
from benchmarks.questions import microphone
from benchmarks.report import Figure, Report, median
from benchmarks.server_process import server

PAGE_LEAD_MS = 80.0
"""Sound that the page's player gathers before it starts (`static/audio/jitter-buffer.js`)."""


async def _person(url: str, number: int, people: int, rounds: int, barrier: asyncio.Barrier) -> list[Turn]:
    questions = microphone(people * rounds)
    turns = []
    async with conversation(url) as talk:
        for round_number in range(rounds):
            await barrier.wait()  # everybody begins to speak at once
            turns.append(await talk.ask(questions[(round_number * people + number)]))
    return turns


async def _crowd(url: str, people: int, rounds: int) -> list[Turn]:
    barrier = asyncio.Barrier(people)
    everyone = await asyncio.gather(*(_person(url, n, people, rounds, barrier) for n in range(people)))
    return [turn for turns in everyone for turn in turns]


def run(people: int, rounds: int, flags: tuple[str, ...]) -> Report:
    """`people` conversations, each asks `rounds` questions, all at the same time."""
    with server("--slots", str(max(4, people)), *flags) as running:
        asyncio.run(_crowd(running.url, 1, 1))
        turns = asyncio.run(_crowd(running.url, people, rounds))
    late = [turn.late_ms(PAGE_LEAD_MS) for turn in turns]
    waits = [turn.first_audio_ms for turn in turns]
    factors = [turn.done["real_time_factor"] for turn in turns]
    figures = [
        Figure("real-time factor of the slowest answer", max(factors), "", "time to make it ÷ its length"),
        Figure("answers that stuttered in the page's player", sum(ms > 0 for ms in late), f"of {len(late)}"),
        Figure("latest piece there, against when it was due", max(late), "ms", "below 0: in time"),
        Figure("… in a player that starts with the first piece", max(turn.late_ms() for turn in turns), "ms"),
        Figure("confirmed end of turn → first audio byte, median", median(waits), "ms"),
        Figure("… longest", max(waits), "ms"),
        Figure("length of an answer, median", median([turn.seconds for turn in turns]), "s"),
    ]
    return Report("load", f"{people} people speak at once, {rounds} times", figures)
