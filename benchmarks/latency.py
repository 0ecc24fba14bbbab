"""How long a person waits for an answer: from the end of speech, or from a typed question, to its first sound."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.conversation import PAGE_LEAD_MS, Turn, conversation
from benchmarks.questions import TEXTS, spoken
from benchmarks.report import Figure, Report, median, percentile
from benchmarks.server_process import server
from model.checkpoint_names import OMNI_1_5B

STAGES = {
    "hearing": "of the way to the first sound, begun at a pause: sound to words",
    "waiting": "for a slot",
    "reading": "the prompt, to the first token",
    "writing": "to the codes of the first piece of sound",
    "decoding": "those to sound",
}
VAD = "the silence that ends a turn, and voice detection"
TURNS_PER_CONVERSATION = 10
"""A conversation remembers, so its prompts grow; a person's do as well. The last turn repeats the first question."""


TYPING_S = 1.0
"""Between an answer and the next typed question: nobody types faster."""
_FIRST_TYPED, _FIRST_WARMING = 5, 17
"""Where in the texts these begin. A question that a slot holds already, as the first of a conversation, waits less."""


def texts(count: int, fresh: int = 0) -> list[list[str]]:
    """`count` questions from number `fresh` on, by conversation. One of full length ends with its first question."""
    conversations = []
    while count > 0:
        size = min(count, TURNS_PER_CONVERSATION)
        asked = [TEXTS[(fresh + turn) % len(TEXTS)] for turn in range(size)]
        if size == TURNS_PER_CONVERSATION:
            asked[-1] = asked[0]
        conversations.append(asked)
        count, fresh = count - size, fresh + TURNS_PER_CONVERSATION - 1
    return conversations


async def converse(url: str, count: int, fresh: int = 0) -> list[list[Turn]]:
    """Speak `count` questions one after the other. Returns the turns of each conversation."""
    found = []
    for asked in texts(count, fresh):
        async with conversation(url) as talk:
            found.append([await talk.ask(spoken(text)) for text in asked])
    return found


async def converse_typed(url: str, count: int) -> list[list[Turn]]:
    """The same, typed."""
    found = []
    for asked in texts(count, _FIRST_TYPED):
        async with conversation(url) as talk:
            turns = []
            for text in asked:
                await asyncio.sleep(TYPING_S)
                turns.append(await talk.type(text))
            found.append(turns)
    return found


def last_against_first(conversations: Sequence[Sequence[Turn]]) -> float | None:
    """How often as long the last turn of a full conversation waited as the first, whose question it repeats: the median
    of all such conversations; None without one."""
    full = [turns for turns in conversations if len(turns) == TURNS_PER_CONVERSATION]
    return median([turns[-1].silence_ms / turns[0].silence_ms for turns in full]) if full else None


def run(turns: int, flags: tuple[str, ...]) -> Report:
    """Measure at a WebSocket client of a server in its own process, speaking in real time."""
    with server(*flags) as running:
        name = running.model
        asyncio.run(converse(running.url, 1, _FIRST_WARMING))  # nobody's first question warms the others
        talked = asyncio.run(converse(running.url, turns))
        typed = asyncio.run(converse_typed(running.url, turns))
    targets = name == OMNI_1_5B

    def target(text: str) -> str:
        return f"target: {text}" if targets else ""

    measured = [turn for turns_ in talked for turn in turns_]
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
        Figure("end of speech → first audio byte, median", median(silences), "ms", target("≤ 600")),
        Figure("… 95th percentile", percentile(silences, 0.95), "ms", target("≤ 850")),
        Figure("end of speech → first audio played, median", median(played), "ms", "by a player with the page's lead"),
        *_repeated("the tenth turn's wait against the first's, spoken", talked, targets),
        *_typed_figures(typed, targets),
        *stages,
        Figure("real-time factor of an answer, median", median(factors), "", "time to make it ÷ its length"),
        Figure("length of an answer, median", median([turn.seconds for turn in measured]), "s"),
        Figure("turns", len(measured), ""),
    ]
    workload = f"{name}, {turns} questions over /ws, spoken and typed, in conversations of {TURNS_PER_CONVERSATION}"
    return Report("latency", workload, figures)


def _typed_figures(typed: Sequence[Sequence[Turn]], targets: bool) -> list[Figure]:
    waits = [turn.silence_ms for turns in typed for turn in turns]
    return [
        Figure("typed question → first audio byte, median", median(waits), "ms", "target: ≤ 350" if targets else ""),
        Figure("… 95th percentile", percentile(waits, 0.95), "ms"),
        *_repeated("the tenth turn's wait against the first's, typed", typed, targets),
    ]


def _repeated(name: str, conversations: Sequence[Sequence[Turn]], targets: bool) -> list[Figure]:
    found = last_against_first(conversations)
    note = "the same question; median of the conversations"
    return [] if found is None else [Figure(name, found, "times", f"target: ≤ 1.2; {note}" if targets else note)]
