"""Many people at once: how many are answered in real time, what they wait, and what each of them costs.

All talkers begin to speak at the same moment, which is the hardest way; listeners' microphones are open and silent
meanwhile. An answer is late when a player that starts with the page's lead would have run out of sound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import psutil

from benchmarks.conversation import PAGE_LEAD_MS, Conversation, Turn, TurnFailed, conversation, open_microphones
from benchmarks.questions import microphone
from benchmarks.report import Figure, Report, median, percentile
from benchmarks.server_process import ServerProcess, server

MOST = 64
"""Talkers at which the search ends."""
SETTLE_S = 3.0


@dataclass(frozen=True)
class Crowd:
    """What was measured of so many people at once."""

    talkers: int
    listeners: int
    turns: Sequence[Turn]
    failed: Sequence[str]
    memory_mb: float
    """Of the server's process, most that was seen."""
    core_s: float
    """Seconds of a core that the server took, from the first word to the last answer's end."""
    idle_share: float
    """Of a core, with all connected and nobody speaking."""
    client_share: float
    """Of a core, that the talkers and listeners themselves took meanwhile."""

    @property
    def late(self) -> int:
        """Answers that stuttered, and those that never came."""
        return sum(turn.late_ms(PAGE_LEAD_MS) > 0 for turn in self.turns) + len(self.failed)

    @property
    def figures(self) -> list[Figure]:
        """For the report."""
        who = f"{self.talkers} talker{'s' * (self.talkers > 1)}"
        if self.listeners:
            who += f", {self.listeners} listeners"
        figures = [Figure(f"{who}: answers late", self.late, "", f"of {len(self.turns) + len(self.failed)}")]
        if self.turns:
            waits = [turn.first_audio_ms for turn in self.turns]
            silences = [turn.confirming_ms for turn in self.turns]
            latest = max(turn.late_ms(PAGE_LEAD_MS) for turn in self.turns)
            spoken = sum(turn.seconds for turn in self.turns)
            figures += [
                Figure("… latest piece there, against when it was due", latest, "ms", "below 0: in time"),
                Figure("… end of speech → confirmed end of turn, 95th percentile", percentile(silences, 0.95), "ms"),
                Figure("… confirmed end of turn → first audio byte, median", median(waits), "ms"),
                Figure("… … 95th percentile", percentile(waits, 0.95), "ms"),
                Figure("… a core's time for a second of answer", 1000 * self.core_s / spoken, "ms"),
            ]
        figures += [
            Figure("… memory of the server", self.memory_mb, "MB"),
            Figure("… a core's share while nobody speaks", 100 * self.idle_share, "%", "all microphones open"),
        ]
        if self.failed:
            figures.append(Figure("… answers that failed", len(self.failed), "", self.failed[0]))
        return figures


async def _person(
    talk: Conversation, number: int, people: int, rounds: int, barrier: asyncio.Barrier
) -> list[Turn | str]:
    questions = microphone(people * rounds)
    turns: list[Turn | str] = []
    for round_number in range(rounds):
        await barrier.wait()
        try:
            turns.append(await talk.ask(questions[round_number * people + number]))
        except (TurnFailed, TimeoutError) as error:
            turns.append(f"{type(error).__name__}: {error}")
    return turns


async def gather(running: ServerProcess, talkers: int, listeners: int, rounds: int) -> Crowd:
    """Let so many people talk at once, and so many listen."""
    here = psutil.Process()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_microphones(running.url, listeners))
        talks = [await stack.enter_async_context(conversation(running.url)) for _ in range(talkers)]
        await asyncio.sleep(SETTLE_S)
        before = running.core_s()
        await asyncio.sleep(SETTLE_S)
        idle_share = (running.core_s() - before) / SETTLE_S
        barrier = asyncio.Barrier(talkers)
        before, memory_mb = running.core_s(), [running.resident_mb()]
        here.cpu_percent()
        everyone = asyncio.gather(*(_person(talk, n, talkers, rounds, barrier) for n, talk in enumerate(talks)))
        while not everyone.done():
            await asyncio.wait([everyone], timeout=0.5)
            memory_mb.append(running.resident_mb())
        turns = [turn for turns in await everyone for turn in turns]
        return Crowd(
            talkers,
            listeners,
            [turn for turn in turns if isinstance(turn, Turn)],
            [turn for turn in turns if isinstance(turn, str)],
            max(memory_mb),
            running.core_s() - before,
            idle_share,
            here.cpu_percent() / 100,
        )


async def _most(running: ServerProcess, listeners: int, rounds: int) -> tuple[int, list[Crowd]]:
    """The most talkers none of whom is answered late: doubled until somebody is, then halved in between."""
    crowds: list[Crowd] = []

    async def in_time(talkers: int) -> bool:
        crowds.append(await gather(running, talkers, listeners, rounds))
        return not crowds[-1].late

    good, bad = 0, 1
    while bad <= MOST and await in_time(bad):
        good, bad = bad, 2 * bad
    while bad - good > max(1, good // 8):
        middle = (good + bad) // 2
        if middle > MOST:
            break
        good, bad = (middle, bad) if await in_time(middle) else (good, middle)
    return good, crowds


def run(talkers: int | None, listeners: int, rounds: int, flags: tuple[str, ...]) -> Report:
    """`talkers` people ask `rounds` questions each, all at the same time; without a number, find the largest."""
    slots = talkers or MOST
    with server("--slots", str(slots), "--max-sessions", str(slots + listeners + 1), *flags) as running:
        model = running.model
        asyncio.run(gather(running, 1, 0, 1))  # nobody's first question warms the others
        if talkers:
            crowds = [asyncio.run(gather(running, talkers, listeners, rounds))]
            most = []
        else:
            found, crowds = asyncio.run(_most(running, listeners, rounds))
            most = [Figure("answers at once, none late", found, "", f"of at most {MOST} tried")]
    crowds.sort(key=lambda crowd: crowd.talkers)
    figures = [figure for crowd in crowds for figure in crowd.figures]
    most.append(Figure("a core's share of the talkers and listeners themselves", 100 * crowds[-1].client_share, "%"))
    return Report(
        "load", f"{model}, everybody asks {rounds} questions at the same time; {listeners} listeners", figures + most
    )
