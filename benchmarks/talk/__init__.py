"""Is it worth talking to? Scripted conversations whose answers can be checked, typed and spoken to a real server.

    python -m benchmarks talk                                            # both models, all conversations, both ways
    python -m benchmarks talk --models smol-omni --ways typed --half dev --wrong
    python -m benchmarks talk --models smol-omni --conversations 10      # a fixed spread over the categories
    python -m benchmarks talk --category memory follow_ups --transcript talk.jsonl -- --max-answer-sentences 2

`benchmarks/scenarios/` holds the conversations, a file a category; `benchmarks.talk.checks` lists what can be checked
of an answer. Each model gets a server of its own (`--model NAME`, flags after `--` as well). Each conversation is one
connection, typed with the `text` message and spoken in one of five synthetic voices, whose sound runs through voice
detection, turn-taking and speech recognition as a microphone's does. A conversation is right when no answer fails a
check.

**The halves.** One half of every category is `dev`: prompts, filters, limits and training data may be tuned on it, and
its wrong answers are there to be read (`--half dev --wrong`). The other half is `held-out`: it is measured when a
decision has been made, its answers are not looked at while something is tuned, and what is claimed ("better", "target
met") is claimed of it. Nothing of either half goes into a prompt or into training data. Which half a conversation
belongs to follows from its place in the file and the hash of an id (`scenarios.read`); so new ones are appended. A
check that is at fault is corrected for what is right or wrong by itself, never for what a model happens to say.

**Limits.** A check that looks for a phrase passes an answer that adds something wrong to it ("Mount Everest, also known
as K2"), which small models do more than large ones. All speech is synthetic. Intervals of rows that count answers take
answers of one conversation as independent.

Rows: conversations right, in all and by category and voice (intervals of shares are Wilson's); answers that break a
rule of spoken answers (`benchmarks.talk.style`); false claims, which are answers to the turns that check
`declines`; words that Whisper base hears wrong of the answers' sound, by the measurement of `python -m
training.evaluate`. Each stands beside its target. A target is met when the figure itself meets it.

`--transcript FILE` keeps a JSON line for each turn: id, category, half, way, voice, model, turn, asked, heard,
answered, why the answer ended, its seconds, whether it is right, and its faults. `--wrong` prints those with a fault.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from benchmarks.conversation import TurnFailed
from benchmarks.server_process import server
from benchmarks.talk.measures import Measure, Target, at_most, measures
from benchmarks.talk.outcome import Outcome, judge
from benchmarks.talk.report import TalkReport
from benchmarks.talk.scenarios import Conversation, Half, chosen
from benchmarks.talk.talker import SERVER_FLAGS, WAYS, Way, hold
from benchmarks.talk.voices import require_voices

MODELS = ("omni-1.5b", "smol-omni")
AT_ONCE = 4
"""Conversations held at the same time: as many as the server answers at once."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    models: Sequence[str] = MODELS
    ways: Sequence[Way] = WAYS
    half: Half | Literal["all"] = "all"
    count: int | None = None
    """Conversations of each way; None: all."""
    categories: Sequence[str] = ()
    """None: all."""
    listened: int = 200
    """Answers whose sound is listened to."""
    transcript: Path | None = None
    wrong: bool = False
    """Print what is wrong."""


def run(plan: Plan, flags: tuple[str, ...]) -> TalkReport:
    """Hold the conversations with each model in turn.

    Raises `ScenarioError`, `VoiceMissing`, and `ServerFailed`, also where a model answers nothing at all.
    """
    conversations = chosen(plan.half, plan.categories, plan.count)
    if "spoken" in plan.ways:
        require_voices()
    figures: list[Measure] = []
    for number, model in enumerate(plan.models):
        name = Path(model).name
        with server("--model", model, *SERVER_FLAGS, *flags) as running, _opened(plan.transcript, number) as transcript:
            outcomes = asyncio.run(_hold_all(running.url, name, conversations, plan.ways, transcript))
        figures += measures(name, outcomes)
        figures += _heard(name, outcomes, plan.listened)
        if plan.wrong:
            _print_wrong(outcomes)
    turns = sum(len(one.turns) for one in conversations)
    ways = " and ".join(plan.ways)
    return TalkReport("talk", f"{len(conversations)} conversations of {turns} turns ({plan.half}), {ways}", figures)


async def _hold_all(
    url: str, model: str, conversations: Sequence[Conversation], ways: Sequence[Way], transcript: IO[str]
) -> list[Outcome]:
    """A few at a time; the outcomes are in the order of the conversations."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(conversation: Conversation, way: Way) -> list[Outcome]:
        async with places:
            outcomes = judge(model, way, conversation, await hold(url, conversation, way))
        transcript.writelines(json.dumps(outcome.line(), ensure_ascii=False) + "\n" for outcome in outcomes)
        transcript.flush()
        return outcomes

    held = await asyncio.gather(*(one(conversation, way) for way in ways for conversation in conversations))
    found = [outcome for outcomes in held for outcome in outcomes]
    if not any(outcome.is_answered for outcome in found):
        raise TurnFailed(f"{model} answered none of {len(found)} turns")
    return found


def _opened(path: Path | None, number: int) -> IO[str]:
    """The transcript: begun by the first model, gone on by the others."""
    return (path or Path("/dev/null")).open("a" if number else "w", encoding="utf-8")


def _heard(model: str, outcomes: Sequence[Outcome], count: int) -> Iterator[Measure]:
    """The rows about words heard wrong."""
    if count == 0:
        return
    from benchmarks.talk import listening  # loads Whisper

    whisper = listening.Judge()
    answers = listening.spoken_answers(outcomes, count)
    asked = [one for one in outcomes if one.way == "spoken" and one.is_answered]
    rows: tuple[tuple[str, list[listening.Flaws], Target | None], ...] = (
        ("words of answers that Whisper base hears wrong", listening.answers_misheard(answers, whisper), at_most(2)),
        ("words of questions that the server heard wrong", listening.questions_misheard(asked, whisper), None),
    )
    for row, flaws, target in rows:
        if not flaws:
            continue
        found, said = listening.word_errors(flaws), sum(one.words for one in flaws)
        yield Measure(
            f"{model}: {row}", 100 * found.value, "%", f"of {said} in {len(flaws)}", row, model,
            100 * found.low, 100 * found.high, target.text("%") if target else "",
            target.is_met(100 * found.value) if target else None,
        )  # fmt: skip


def _print_wrong(outcomes: Sequence[Outcome]) -> None:
    """What was asked, heard and answered, and the faults; on stderr, beside any JSON."""
    for one in outcomes:
        if faults := ", ".join(one.faults()):
            heard = f" (heard: {one.said.heard})" if one.way == "spoken" else ""
            print(
                f"{one.model}, {one.way}, {one.conversation.id}, turn {one.number + 1}: {faults}\n"
                f"  {one.turn.say}{heard}\n  → {one.said.text}",
                file=sys.stderr,
            )
