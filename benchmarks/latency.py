"""How long a person waits: from the confirmed end of a spoken turn to the first byte of the answer's sound."""

from __future__ import annotations

import asyncio

from benchmarks.conversation import PAGE_LEAD_MS, Turn, conversation
from benchmarks.questions import microphone
from benchmarks.report import Figure, Report, median, percentile
from benchmarks.server_process import server

STAGES = {
    "hearing": "of the way to the first sound, begun at a pause: sound to words",
    "waiting": "for a slot",
    "reading": "the prompt, to the first token",
    "writing": "to the codes of the first piece of sound",
    "decoding": "those to sound",
}
VAD = "the silence that ends a turn, and voice detection"
TURNS_PER_CONVERSATION = 4
"""A conversation remembers, so its prompts grow; a person's do as well."""


async def converse(url: str, count: int) -> list[Turn]:
    """Ask `count` questions one after the other, a few in each conversation."""
    questions = microphone(count)
    turns = []
    for first in range(0, count, TURNS_PER_CONVERSATION):
        async with conversation(url) as talk:
            turns += [await talk.ask(question) for question in questions[first : first + TURNS_PER_CONVERSATION]]
    return turns


def run(turns: int, flags: tuple[str, ...]) -> Report:
    """Measure at a WebSocket client of a server in its own process, speaking in real time."""
    with server(*flags) as running:
        asyncio.run(converse(running.url, 1))  # nobody's first question warms the others
        measured = asyncio.run(converse(running.url, turns))
    waits = [turn.first_audio_ms for turn in measured]
    silences = [turn.silence_ms for turn in measured]
    played = [turn.played_ms(PAGE_LEAD_MS) for turn in measured]
    factors = [turn.done["real_time_factor"] for turn in measured if turn.done["real_time_factor"] is not None]
    stages = [
        Figure(f"… {stage}, median", median([turn.done["stages_ms"][stage] for turn in measured]), "ms", note)
        for stage, note in STAGES.items()
    ]
    figures = [
        Figure("end of speech → confirmed end of turn, median", median([t.confirming_ms for t in measured]), "ms", VAD),
        Figure("confirmed end of turn → first audio byte, median", median(waits), "ms"),
        Figure("… 95th percentile", percentile(waits, 0.95), "ms"),
        Figure("… longest", max(waits), "ms"),
        Figure("end of speech → first audio byte, median", median(silences), "ms", "with the silence that ends a turn"),
        Figure("end of speech → first audio played, median", median(played), "ms", "by a player with the page's lead"),
        *stages,
        Figure("real-time factor of an answer, median", median(factors), "", "time to make it ÷ its length"),
        Figure("length of an answer, median", median([turn.seconds for turn in measured]), "s"),
        Figure("turns", len(measured), ""),
    ]
    return Report(
        "latency", f"{turns} spoken questions over /ws, in conversations of {TURNS_PER_CONVERSATION}", figures
    )
