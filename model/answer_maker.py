"""Begins an answer: its rows in the body, its samplers, its voice, its limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from model.answer import Answer, BodyAnswer
from model.lm.chat import Detokenizer
from model.mouth import SAMPLE_RATE, SAMPLES_PER_FRAME
from model.planned_answer import AdapterAnswer, SayingAnswer
from model.prepare import Prepared
from model.request import InvalidRequest, Request
from model.rows import BodyRow, RowPool
from model.sampling import Sampler
from model.vocabulary import DELAY, Task, build_prompt

if TYPE_CHECKING:
    from model.omni import MiniOmni


def prompt_room(request: Request, window: int) -> int:
    """Positions that a chat model's prompt may take of a window."""
    return window - min(request.max_tokens, window // 4)


class AnswerMaker:
    """Makes answers of one model over one pool of rows, with `window` positions each."""

    def __init__(self, omni: MiniOmni, rows: RowPool, window: int) -> None:
        self.omni, self._rows, self._window = omni, rows, window

    def rows_of(self, prepared: Prepared) -> int:
        """Two where one row speaks and one writes (paper section 3.3), none where the text is given, else one."""
        omni = self.omni
        if prepared.request.say is not None:
            return 0
        parallel = omni.config.audio_route == "body" and prepared.task is Task.A1A2 and omni.batch_parallel
        return 2 if parallel else 1

    def begin(self, prepared: Prepared, speech_slot: int | None) -> Answer:
        """Claim rows for a prepared request. Raises `InvalidRequest` where it is too long for the window."""
        request, omni = prepared.request, self.omni
        speaks = prepared.task.speaks
        audio_sampling = request.audio_sampling or (
            omni.adapter.default_sampling if omni.adapter else replace(request.sampling, repetition_penalty=1.0)
        )
        if audio_sampling.seed is None and request.sampling.seed is not None:
            audio_sampling = replace(audio_sampling, seed=request.sampling.seed + 1)
        if request.say is not None:
            return self._say(prepared, request.say, speech_slot, Sampler(audio_sampling))
        body_rows = self._chat_rows(prepared) if omni.chat is not None else self._stream_rows(prepared)
        longest = self._window - max(row.position + len(row.waiting) for row in body_rows)
        if longest < 1:
            raise InvalidRequest(f"the question needs {self._window - longest} positions of {self._window}; shorten it")
        shared = {
            "rows": body_rows,
            "text_sampler": self._text_sampler(request),
            "audio_sampler": Sampler(audio_sampling),
            "detokenizer": Detokenizer(omni.tokenizer) if omni.tokenizer else None,
            "stream": omni.mouth.stream() if speaks and omni.mouth else None,
            "max_tokens": min(request.max_tokens, longest),
            "max_steps": self._max_steps(request, longest),
            "watch": prepared.watch,
        }
        prepared.watch.ends("waiting")
        answer: Answer
        if omni.config.audio_route == "body":
            answer = BodyAnswer(omni.config.vocabulary, omni.network.embed, speaks, **shared)
        else:
            assert omni.chat is not None
            planner = omni.adapter.planner(request.speed) if speaks and omni.adapter else None
            answer = AdapterAnswer(
                omni.chat.end,
                omni.network.embed,
                planner,
                speech_slot,
                omni.adapter.pad if omni.adapter else 0,
                prepared.question or "",
                request,
                omni.drafter,
                **shared,
            )
        for row in body_rows:
            self._rows.claim(row)
        return answer

    def _say(self, prepared: Prepared, text: str, speech_slot: int | None, audio_sampler: Sampler) -> Answer:
        request, omni = prepared.request, self.omni
        assert omni.adapter is not None
        assert omni.mouth is not None
        prepared.watch.ends("waiting")
        answer = SayingAnswer(
            text,
            omni.adapter.planner(request.speed),
            speech_slot,
            omni.adapter.pad,
            rows=[],
            text_sampler=Sampler(request.sampling),
            audio_sampler=audio_sampler,
            detokenizer=None,
            stream=omni.mouth.stream(),
            max_tokens=0,
            max_steps=self._max_steps(request, self._window),
            watch=prepared.watch,
        )
        answer.prompt_tokens = len(omni.tokenizer.encode(text).ids) if omni.tokenizer else 0
        return answer

    def _text_sampler(self, request: Request) -> Sampler:
        """Knows what was answered before."""
        params = request.sampling
        if params.repetition_penalty is None and self.omni.chat is not None:
            params = replace(params, repetition_penalty=self.omni.chat.defaults.repetition_penalty)
        sampler = Sampler(params)
        if self.omni.tokenizer is not None and (params.repetition_penalty or 1.0) > 1:
            for turn in request.history:
                sampler.remember(self.omni.tokenizer.encode(turn.assistant).ids)
        return sampler

    def _max_steps(self, request: Request, positions: int) -> int:
        steps = max(1, round(request.max_seconds * SAMPLE_RATE / SAMPLES_PER_FRAME)) + DELAY
        return steps if self.omni.adapter else min(steps, positions)

    def _stream_rows(self, prepared: Prepared) -> list[BodyRow]:
        """Rows of the published model: one, or for batch-parallel decoding one that speaks and one that writes."""
        omni, vocabulary = self.omni, self.omni.config.vocabulary
        rows = self.rows_of(prepared)
        tasks = [Task.A1A2, Task.A1T2] if rows == 2 else [prepared.task]
        if prepared.features is not None:
            prompts = [build_prompt(vocabulary, task, prepared.features.shape[1]) for task in tasks]
        else:
            ids = torch.tensor(prepared.text_ids or omni.encode_text(prepared.request.text or ""))
            prompts = [build_prompt(vocabulary, task, text=ids) for task in tasks]
        return [
            BodyRow(
                slot,
                omni.network.embed_prompt(prompt, prepared.features)[0],
                writes=index == rows - 1,
                speaks=index == 0 and prepared.task.speaks,
            )
            for index, (slot, prompt) in enumerate(zip(self._rows.free[:rows], prompts, strict=True))
        ]

    def _chat_rows(self, prepared: Prepared) -> list[BodyRow]:
        """The row of the embedded model, past everything that some slot has already been through."""
        request, omni = prepared.request, self.omni
        assert omni.chat is not None
        ids = list(prepared.text_ids or ())
        ids = ids or omni.chat.encode(prepared.question or "", request, prompt_room(request, self._window))
        slot, known = self._rows.place(ids)
        waiting = omni.network.embed(torch.tensor(ids[known:]))
        return [BodyRow(slot, waiting, writes=True, speaks=False, position=known, ids=ids)]
