"""A Generator that answers from a script, with real speech, so that page tests need no model to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np

from model.request import AudioChunk, Done, Event, Heard, Request, TextDelta

FRAME = 2048


@dataclass
class ScriptedGenerator:
    """Says the same words to every question. `requests` holds what was asked."""

    words: str
    sound: np.ndarray
    """(samples,) float32, 24 kHz."""
    heard: str = "What is your name?"
    think_s: float = 0.0
    """Before the first word."""
    chunk_s: float = 0.0
    """Between two frames of sound; 0 sends all at once."""
    failure: Exception | None = None
    name: str = "smol-omni"
    requests: list[Request] = field(default_factory=list)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def prefill_ahead(self, request: Request) -> None: ...

    async def generate(self, request: Request) -> AsyncIterator[Event]:
        self.requests.append(request)
        if self.failure:
            raise self.failure
        if request.audio is not None and self.heard:
            yield Heard(self.heard)
        await asyncio.sleep(self.think_s)
        words = self.words.split(" ")
        frames = [self.sound[at : at + FRAME] for at in range(0, len(self.sound), FRAME)]
        spoken = 0
        for index, frame in enumerate(frames):
            upto = min(len(words), 3 + index * 2)
            if upto > spoken:
                yield TextDelta("".join((" " if word else "") + words[word] for word in range(spoken, upto)))
                spoken = upto
            share = (index + 1) / len(frames)
            yield AudioChunk(frame.astype(np.float32), spoken_characters=round(share * len(self.words)))
            await asyncio.sleep(self.chunk_s)
        rest = " ".join(words[spoken:])
        if rest:
            yield TextDelta(" " + rest)
        yield Done("stop", self.words, len(self.sound) / 24_000, len(words), len(frames))
