"""One answer in progress: what its rows are fed next, and what it has to tell.

An answer holds one or two rows of the body. The published model speaks from the body itself (`BodyAnswer`): batch-
parallel decoding runs a second row that writes the text (paper section 3.3). The embedded model's body only writes; a
plan and the TTS adapter's rows speak (`model/planned_answer.py`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from model.lm.chat import Detokenizer
from model.mouth import SAMPLE_RATE, SnacStream
from model.request import AudioChunk, Done, Event, Request, TextDelta
from model.rows import BodyRow
from model.sampling import Sampler
from model.stages import Stopwatch
from model.vocabulary import DELAY, Vocabulary, undelay

CHUNKS = (3, 2, 4, 4, 8)
"""Frames decoded at once, the last number from then on: the first sound early, the rest cheap.

One frame would be the earliest first chunk, but a mouth that looks ahead gives only a fraction of its sound (27 ms of
85 with the embedded one's), and playing it leaves less time than the next chunk takes.
"""


@dataclass(frozen=True)
class Deferred:
    """An event that is still to be made, in order after the answer's earlier ones: sound that is to be decoded."""

    make: Callable[[], Event | None]
    last: bool = False
    """Nothing follows."""


class Voice:
    """Turns complete frames into sound, in growing chunks that join without a seam.

    What it returns is to be made by whoever takes it, in this thread or in another, one after the other.
    """

    def __init__(self, stream: SnacStream, spoken: Callable[[int], int | None], watch: Stopwatch) -> None:
        self._stream, self._spoken, self._watch = stream, spoken, watch
        self._waiting: list[Tensor] = []
        self._chunks = 0
        self._first_at: float | None = None
        self.frames = 0
        self.samples = 0

    def push(self, frame: Tensor) -> list[Deferred]:
        """One more frame (7,) → the chunk that is due, if any."""
        self._waiting.append(frame)
        if len(self._waiting) < CHUNKS[min(self._chunks, len(CHUNKS) - 1)]:
            return []
        self._chunks += 1
        return self._speak(last=False)

    def finish(self) -> list[Deferred]:
        """Everything still owed."""
        return self._speak(last=True)

    @property
    def lead_seconds(self) -> float:
        """Sound given out but not yet played, for a listener who plays from the first piece on; 0 before that."""
        if self._first_at is None:
            return 0.0
        return self.samples / SAMPLE_RATE - (time.monotonic() - self._first_at)

    def _speak(self, last: bool) -> list[Deferred]:
        self._watch.ends("writing")
        frames, self._waiting = self._waiting, []
        self.frames += len(frames)
        spoken = self._spoken(self.frames)
        return [Deferred(lambda: self._decode(frames, last, spoken))]

    @torch.inference_mode()
    def _decode(self, frames: list[Tensor], last: bool, spoken: int | None) -> AudioChunk | None:
        pieces = []
        if frames:
            pieces.append(self._stream.push(torch.stack(frames)))
        if last:
            pieces.append(self._stream.finish())
        samples = np.concatenate([*pieces, np.zeros(0, np.float32)])
        if not len(samples):
            return None
        self.samples += len(samples)
        if self._first_at is None:
            self._first_at = time.monotonic()
            self._watch.ends("decoding")
        return AudioChunk(samples, spoken)


class Answer:
    """What both kinds share: text, sound, limits and the end."""

    def __init__(
        self,
        rows: list[BodyRow],
        text_sampler: Sampler,
        audio_sampler: Sampler,
        detokenizer: Detokenizer | None,
        stream: SnacStream | None,
        max_tokens: int,
        max_steps: int,
        watch: Stopwatch,
    ) -> None:
        self.rows, self.watch = rows, watch
        self.cached_tokens = min((row.position for row in rows), default=0)
        self.prompt_tokens = max((row.position + len(row.waiting) for row in rows), default=0)
        self.text_sampler, self.audio_sampler = text_sampler, audio_sampler
        self.max_tokens, self.max_steps = max_tokens, max_steps
        self.text_tokens: list[int] = []
        self.text = ""
        self.text_ended = False
        self.limited = False
        self.done = False
        self.held = False
        """It rests: its listener has not taken what was made so far."""
        self.released: list[int] = []
        """Slots that are free again; the engine takes them."""
        self.events: list[Event | Deferred] = []
        """What is to be told; the engine takes it after every step."""
        self._detokenizer = detokenizer
        self.voice = Voice(stream, self._spoken, watch) if stream is not None else None

    @property
    def next_request(self) -> Request | None:
        """What the conversation's next request will probably be, without its question; None where that is unknown."""
        return None

    def _spoken(self, frames: int) -> int | None:
        return None

    @property
    def lead_seconds(self) -> float:
        """Seconds for which a listener has sound: 0 while there is none yet, or none is wanted."""
        return self.voice.lead_seconds if self.voice else 0.0

    @property
    def silent(self) -> bool:
        """Nothing has been heard of it yet."""
        return self.voice is not None and not self.voice.samples

    @property
    def speaking(self) -> bool:
        """Somebody hears it now."""
        return self.voice is not None and bool(self.voice.samples)

    def _detokenized(self, token: int) -> str:
        """Keep a text token; returns the text that it completes."""
        self.text_tokens.append(token)
        self.text_sampler.remember((token,))
        return self._detokenizer.push(token) if self._detokenizer else ""

    def _write(self, token: int) -> None:
        """Keep a text token, and tell the text that it completes."""
        if piece := self._detokenized(token):
            self._add_text(piece)

    def _add_text(self, piece: str) -> None:
        self.text += piece
        self.events.append(TextDelta(piece))

    def _drop(self, row: BodyRow) -> None:
        self.rows.remove(row)
        self.released.append(row.slot)

    def finish(self) -> None:
        """Say what is owed and end."""
        if self.voice:
            self.events += self.voice.finish()
        for row in list(self.rows):
            self._drop(row)
        self.events.append(Deferred(self._done, last=True))
        self.done = True

    def _done(self) -> Done:
        frames, samples = (self.voice.frames, self.voice.samples) if self.voice else (0, 0)
        reason: Literal["stop", "length"] = "length" if self.limited else "stop"
        seconds = samples / SAMPLE_RATE
        return Done(
            reason,
            self.text,
            seconds,
            len(self.text_tokens),
            frames,
            self.watch.seconds,
            self.prompt_tokens,
            self.cached_tokens,
        )


class WrittenAnswer(Answer, ABC):
    """One that has rows in the body."""

    @abstractmethod
    def after_body(self, row: BodyRow, text: int | None, audio: Tensor | None) -> None:
        """Take what the body predicted for a row; called for every row of a step, then `advance` once."""

    @abstractmethod
    def advance(self) -> None:
        """Decide what the rows are fed next."""

    def draft(self) -> list[int]:
        """Tokens that may follow the one that its only row is fed next; empty where nothing is guessed."""
        return []


class BodyAnswer(WrittenAnswer):
    """The published model: audio tokens are the body's own."""

    def __init__(
        self, vocabulary: Vocabulary, embed: Callable[[Tensor], Tensor], speaks: bool, **shared: object
    ) -> None:
        super().__init__(**shared)  # type: ignore[arg-type]
        self._vocabulary, self._embed, self._speaks = vocabulary, embed, speaks
        self.audio_tokens: list[Tensor] = []
        self.text_stream: list[int] = []
        """Text ids of all spoken steps: the end, then pads, are in it."""
        self._text: int | None = None
        self._audio: Tensor | None = None

    def after_body(self, row: BodyRow, text: int | None, audio: Tensor | None) -> None:
        if text is not None:
            self._text = text
        if audio is not None:
            self._audio = audio

    def advance(self) -> None:
        v = self._vocabulary
        text = v.pad_text if self.text_ended or self._text is None else self._text
        if not self._speaks:
            if text == v.end_of_text or len(self.text_tokens) >= self.max_tokens:
                self.limited = text != v.end_of_text
                return self.finish()
            self._write(text)
            return self._feed(v.padded(torch.tensor([text])), None)
        audio = self._audio
        assert audio is not None
        if int(audio[-1]) == v.end_of_audio:
            return self.finish()
        self.audio_tokens.append(audio)
        self.text_stream.append(text)
        if not self.text_ended:
            self._take_text(text)
        self._complete_frame()
        if len(self.audio_tokens) >= self.max_steps:
            self.limited = True
            return self.finish()
        return self._feed(v.streams(audio[None], torch.tensor([text])), v.padded(torch.tensor([text])))

    def _take_text(self, text: int) -> None:
        if text == self._vocabulary.end_of_text or len(self.text_tokens) >= self.max_tokens:
            self.text_ended = True
            for row in [row for row in self.rows if row.writes and not row.speaks]:
                self._drop(row)
            for row in self.rows:
                row.writes = False
        else:
            self._write(text)

    def _complete_frame(self) -> None:
        if self.voice is None or len(self.audio_tokens) <= DELAY:
            return
        frame = undelay(torch.stack(self.audio_tokens[-DELAY - 1 :]))[0]
        # a special in the middle of a frame has no sound: it speaks as code 0, as silence would
        self.events += self.voice.push(frame.masked_fill(frame >= self._vocabulary.codes, 0))

    def _feed(self, first: Tensor, second: Tensor | None) -> None:
        for row in self.rows:
            ids = first if row.speaks or second is None else second
            row.waiting = self._embed(ids)
