"""Answers that a plan and the TTS adapter speak, whoever writes their text: the body (`AdapterAnswer`), or the one who
asks (`SayingAnswer`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from model.answer import Answer, WrittenAnswer
from model.lm.answer_text import AnswerText
from model.lm.speculative import Drafter
from model.request import Request, Turn
from model.rows import BodyRow
from model.speech_planner import SpeechPlanner
from model.vocabulary import AUDIO_LAYERS, DELAY, undelay

_WORD = re.compile(r"\S+\s*")


class PlannedAnswer(Answer):
    """Spoken after a plan of its text, one decoder step a frame."""

    def __init__(self, planner: SpeechPlanner | None, speech_slot: int | None, pad: int, **shared: object) -> None:
        self.planner = planner  # before the voice, which asks it
        super().__init__(**shared)  # type: ignore[arg-type]
        self.speech_slot = speech_slot
        self.speech_ended = False
        """No more is spoken: a limit was reached."""
        self.step = 0
        self._pad = pad
        self.previous = torch.full((AUDIO_LAYERS,), pad)
        self.audio_tokens: list[Tensor] = []

    def _spoken(self, frames: int) -> int | None:
        if self.planner is None:
            return None
        return self.planner.spoken_characters(frames)

    def _end_text(self) -> None:
        self.text_ended = True
        for row in list(self.rows):
            self._drop(row)
        if self.planner is not None:
            self.planner.finish()
        if self.planner is None or self.planner.frames == 0 or self.speech_ended:
            self.finish()

    @property
    def ready_to_speak(self) -> bool:
        """The next decoder step can run."""
        if self.planner is None or self.done or self.speech_ended:
            return False
        return self.step < self.planner.available

    def after_speech(self, tokens: Tensor) -> None:
        """Take the seven tokens (7,) of this step; layers without a frame are padded."""
        assert self.planner is not None
        assert self.voice is not None
        frames = self.planner.frames
        frame = self.step - 1 - torch.arange(AUDIO_LAYERS)
        real = frame >= 0 if frames is None else (frame >= 0) & (frame < frames)
        tokens = tokens.masked_fill(~real, self._pad)
        self.audio_tokens.append(tokens)
        self.previous = tokens
        self.step += 1
        if len(self.audio_tokens) > DELAY:
            self.events += self.voice.push(undelay(torch.stack(self.audio_tokens[-DELAY - 1 :]))[0])
        if frames is not None and self.step >= frames + DELAY:
            self.finish()
        elif self.step >= self.max_steps:
            self.limited = self.speech_ended = True
            if self.text_ended:  # else what is being written comes to its end
                self.finish()


class AdapterAnswer(PlannedAnswer, WrittenAnswer):
    """A chat model's answer: the language model writes, the TTS adapter speaks after a plan of what is to be said.

    What is said is the text without markup, limits and repetitions taken into account (`AnswerText`). It is also the
    answer's text: captions and history have what was spoken.
    """

    def __init__(
        self,
        end: int,
        embed: Callable[[Tensor], Tensor],
        planner: SpeechPlanner | None,
        speech_slot: int | None,
        pad: int,
        question: str,
        request: Request,
        drafter: Drafter | None,
        **shared: object,
    ) -> None:
        super().__init__(planner, speech_slot, pad, **shared)
        self._end, self._embed = end, embed
        self._question, self._request, self._drafter = question, request, drafter
        self._next: int | None = None
        self._said = AnswerText(request.max_sentences)

    @property
    def next_request(self) -> Request | None:
        """With this question and answer as the last turn of the history."""
        turn = Turn(self._question, self.text, self._request.asked_at)
        return replace(self._request, audio=None, text="", history=(*self._request.history, turn))

    def draft(self) -> list[int]:
        if self._drafter is None:
            return []
        written = len(self.text_tokens)
        return self._drafter.draft(self.rows[0].ids, written, self.max_tokens - written - 1)

    def after_body(self, row: BodyRow, text: int | None, audio: Tensor | None) -> None:
        self._next = text

    def advance(self) -> None:
        token = self._next
        assert token is not None
        tokens_left = self.max_tokens - len(self.text_tokens)
        if token == self._end:
            self._end_answer()
        elif tokens_left <= 0:
            self._end_answer(cut=True)
        else:
            self._say(self._said.push(self._detokenized(token), tokens_left - 1))
            if self._said.ended:
                self._end_answer()
            else:
                self.rows[0].waiting = self._embed(torch.tensor([token]))
                self.rows[0].ids.append(token)

    def _say(self, piece: str) -> None:
        if piece:
            self._add_text(piece)
            if self.planner is not None:
                self.planner.feed(piece)

    def _end_answer(self, cut: bool = False) -> None:
        self._say(self._said.finish(cut))
        self.limited = self.limited or cut or self._said.limited
        self._end_text()


class SayingAnswer(PlannedAnswer):
    """Says a given text: the body has no part in it. The text is planned word by word, as far as the next step needs,
    so that a long one is heard as soon as a short one and keeps nobody waiting."""

    def __init__(self, text: str, planner: SpeechPlanner, speech_slot: int | None, pad: int, **shared: object) -> None:
        super().__init__(planner, speech_slot, pad, **shared)
        self._left = [match[0] for match in _WORD.finditer(text.strip())][::-1]

    @property
    def ready_to_speak(self) -> bool:
        """The next decoder step can run, after a few more words where it needs them."""
        assert self.planner is not None
        while not self.text_ended and not self.speech_ended and self.planner.available <= self.step:
            if self._left:
                self._tell(self._left.pop())
            else:
                self._end_text()
        return super().ready_to_speak

    def after_speech(self, tokens: Tensor) -> None:
        super().after_speech(tokens)
        if self.speech_ended and not self.done:  # a limit: the rest of the text is not said
            self._end_text()

    def _tell(self, piece: str) -> None:
        assert self.planner is not None
        self.planner.feed(piece)
        self._add_text(piece)
