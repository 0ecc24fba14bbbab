"""A generator that follows a script, so that rules of the conversation can be tested to the sample.

python -m tests.server.scripted --port 8001     # a server that answers with a tone, for work on the page;
                                                # --also-models has it answer under more names
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import numpy as np

from model.request import AudioChunk, Done, Event, Heard, Request, TextDelta
from model.stages import Stage
from model.vocabulary import Task

FRAME_SAMPLES = 2048
ANSWER = "The capital of France is Paris. It is a fine city."
WARM_UPS = 2
"""Requests that the server makes itself, before it is ready."""
STAGES: dict[Stage, float] = {"waiting": 0.0, "reading": 0.0204, "writing": 0.2, "decoding": 0.005}
HEARD = "what is the capital of france"


def tone(frames: int) -> np.ndarray:
    """(frames · 2048,) float32, 24 kHz."""
    return (0.2 * np.sin(np.arange(frames * FRAME_SAMPLES) * 2 * np.pi * 220 / 24_000)).astype(np.float32)


def answer_events(request: Request, frames_per_word: int = 4) -> list[Event]:
    """What an engine says: heard, then each word with its sound."""
    text = request.say or ANSWER
    heard = f"{request.before} {HEARD}".strip()
    events: list[Event] = [Heard(heard)] if request.audio is not None else []
    if request.task is Task.A1T1:
        return [*events, TextDelta(HEARD), Done("stop", HEARD, 0.0, 0, 0)]
    if request.task is not None and not request.task.speaks:
        words = [TextDelta(word) for word in re.findall(r"\S+\s*", text)]
        return [*events, *words, Done("stop", text, 0.0, len(words), 0)]
    spoken = 0
    words = text.split(" ")
    for index, word in enumerate(words):
        piece = word if index == 0 else " " + word
        spoken += len(piece)
        events += [TextDelta(piece), AudioChunk(tone(frames_per_word), spoken)]
    frames = frames_per_word * len(words)
    stages = {**({"hearing": 0.1} if events and isinstance(events[0], Heard) else {}), **STAGES}
    events.append(Done("stop", text, frames * FRAME_SAMPLES / 24_000, len(words), frames, stages))
    return events


@dataclass
class ScriptedGenerator:
    """Answers every request with `script` (None: words and a tone); an exception in it is raised.

    With `gate`, nothing is made until it is set; `step_s` paces the events. Requests are kept, cancellations counted.
    """

    script: Sequence[Event | Exception] | None = None
    gate: asyncio.Event | None = None
    step_s: float = 0.0
    requests: list[Request] = field(default_factory=list)
    expected: list[Request] = field(default_factory=list)
    """What `prefill_ahead` was asked for."""
    produced: int = 0
    cancelled: int = 0
    running: bool = False
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody waits at the gate."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    name: str = "smol-omni"

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    def prefill_ahead(self, request: Request) -> None:
        self.expected.append(request)

    async def generate(self, request: Request) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        script = answer_events(request) if self.script is None else self.script
        complete = False
        try:
            if self.gate and len(self.requests) > WARM_UPS:
                self.waiting.set()
                await self.gate.wait()
            for event in script:
                await asyncio.sleep(self.step_s)
                if isinstance(event, Exception):
                    raise event
                self.produced += 1
                complete = isinstance(event, Done)
                yield event
        finally:
            self.cancelled += not complete
            self.ended.set()


if __name__ == "__main__":
    from pydantic_settings import CliApp

    from server.logs import configure_logging
    from server.serving import serve
    from server.settings import Settings

    settings = CliApp.run(Settings)
    configure_logging(settings.log_level, settings.log_format)
    generators = [
        ScriptedGenerator(step_s=0.05, name="smol-omni" if name == "auto" else name) for name in settings.models
    ]
    raise SystemExit(serve(settings, generators))
