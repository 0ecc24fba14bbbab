"""Many answers at once: continuous batching over preallocated slots.

One `step()` moves every answer on by one position: a slice of the prompt of whoever is new, one body step for all
rows that are being written, one TTS-adapter step for all rows that are being spoken, and the codec for whoever has a
chunk due. Answers join, leave and are cancelled between steps; none changes what another one says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.answer import CHUNKS, AdapterAnswer, Answer, BodyAnswer
from model.chat import Detokenizer
from model.mouth import SAMPLE_RATE, SAMPLES_PER_FRAME
from model.prepare import Prepared, prepare
from model.request import (
    Done,
    EngineFull,
    Event,
    GenerationFailed,
    Heard,
    InvalidRequest,
    OmniError,
    Request,
    TextDelta,
)
from model.rows import BodyRow, RowPool
from model.sampling import Sampler, SamplingParams, sample
from model.vocabulary import DELAY, Task, build_prompt

if TYPE_CHECKING:
    from model.omni import MiniOmni

PREFILL_POSITIONS = 32
"""Prompt positions a step: a longer slice would keep the other answers waiting for more than a frame (85 ms)."""
PREFILL_POSITIONS_ALONE = 128
"""The same while nobody else is being answered."""
SHORT_LEAD_SECONDS = 0.6
"""An answer with less sound than this ahead of its listener is in a hurry: it speaks several frames a step."""
HURRIED_FRAMES = 4
WORDS_AHEAD = 6
"""Words written but not yet planned, beyond which an answer speaks before it writes on, until its lead is long."""
PREFILL_LEAD_SECONDS = 0.25
"""A slice of somebody's prompt waits while another answer has less sound than this ahead (it takes up to 0.1 s) …"""
PREFILL_PATIENCE = 6
"""… but not for more than so many steps: on a machine that cannot keep up, everybody is late rather than one deaf."""
LONG_LEAD_SECONDS = 1.5
"""An answer with more sound than this ahead rests while somebody waits for a first sound."""
EMBEDDED_WINDOW = 1024
"""Positions of a conversation with the embedded model, prompt and answer: more history costs more than it helps."""


class Engine:
    """Answers requests of one model, up to `max_slots` at once; up to `max_queue` more wait their turn."""

    def __init__(self, omni: MiniOmni, max_slots: int = 4, max_queue: int = 16, window: int | None = None) -> None:
        self.omni = omni
        self.max_slots, self.max_queue = max_slots, max_queue
        self.window = window or (omni.config.window if omni.config.audio_route == "body" else EMBEDDED_WINDOW)
        rows = max_slots * (2 if omni.config.audio_route == "body" else 1)  # batch-parallel decoding needs two
        self._rows = RowPool(omni.network, rows, self.window)
        self.prefilled = 0
        """Prompt positions that went through the body so far; what an earlier turn left in a slot is not run again."""
        self._speech_cache = omni.adapter.new_cache(max_slots) if omni.adapter else None
        self._free_speech = list(range(max_slots))
        self._queue: deque[tuple[int, Prepared]] = deque()
        self._answers: dict[int, Answer] = {}
        self._number = 0
        self._failed: list[tuple[int, Event | OmniError]] = []
        self._waited = 0
        """Steps for which a prompt has made way for answers in a hurry."""

    # -- requests -------------------------------------------------------------------------------------------------
    def prepare(self, request: Request) -> Prepared:
        """Check a request and hear its audio. Needs no turn of the engine: it may run in another thread.

        Raises `InvalidRequest` for what cannot be answered as it is.
        """
        return prepare(self.omni, request)

    def submit(self, prepared: Prepared) -> int:
        """Queue a prepared request; its events come from `step` under the number that is returned.

        Raises `EngineFull` when the queue is full.
        """
        if len(self._queue) >= self.max_queue + max(0, self.max_slots - len(self._answers)):
            raise EngineFull(
                f"{len(self._answers)} answers are in progress and {len(self._queue)} wait; try again later"
            )
        self._number += 1
        self._queue.append((self._number, prepared))
        return self._number

    def cancel(self, number: int) -> None:
        """Forget a request, wherever it is; its slots are free at once. Unknown numbers are ignored."""
        self._queue = deque(item for item in self._queue if item[0] != number)
        answer = self._answers.pop(number, None)
        if answer is not None:
            self._release(answer, all_rows=True)

    def cancel_all(self) -> None:
        """Forget every request."""
        for number in [*self._answers, *(number for number, _ in self._queue)]:
            self.cancel(number)

    @property
    def busy(self) -> bool:
        """There is something to do."""
        return bool(self._answers or self._queue)

    @property
    def reading(self) -> bool:
        """The next step has a prompt to read, which is much arithmetic; other steps mostly read weights."""
        return bool(self._queue) or any(len(row.waiting) > 1 for a in self._answers.values() for row in a.rows)

    @property
    def active(self) -> int:
        """Answers in progress."""
        return len(self._answers)

    # -- one step -------------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def step(self) -> list[tuple[int, Event | OmniError]]:
        """Move every answer on; returns what they have to tell, in order. An answer's last event is `Done` or an
        error."""
        told = self._admit()
        working = self._working()
        self._prefill()
        self._write(working)
        self._speak(working)
        for number, answer in list(self._answers.items()):
            told += [(number, event) for event in answer.events]
            answer.events = []
            self._release(answer)
            if answer.done:
                del self._answers[number]
        told += self._failed
        self._failed = []
        return told

    def _working(self) -> list[Answer]:
        """The answers of this step: those with a long lead rest while somebody waits for a first sound."""
        answers = list(self._answers.values())
        if any(answer.silent for answer in answers):
            return [answer for answer in answers if answer.lead_seconds < LONG_LEAD_SECONDS]
        return answers

    def _fail(self, answer: Answer, error: Exception) -> None:
        for number, other in list(self._answers.items()):
            if other is answer:
                self._failed.append((number, as_omni_error(error)))
                del self._answers[number]
                for row in answer.rows:  # what broke it must not reach the next answer through a masked position
                    self._rows.distrust(row)
                if isinstance(answer, AdapterAnswer) and answer.speech_slot is not None and self._speech_cache:
                    self._speech_cache.clear(answer.speech_slot)
                self._release(answer, all_rows=True)

    def _release(self, answer: Answer, all_rows: bool = False) -> None:
        if all_rows:
            answer.released += [row.slot for row in answer.rows]
            answer.rows = []
        self._rows.free += answer.released
        answer.released = []
        if isinstance(answer, AdapterAnswer) and answer.speech_slot is not None and (all_rows or answer.done):
            self._free_speech.append(answer.speech_slot)
            answer.speech_slot = None

    def _admit(self) -> list[tuple[int, Event | OmniError]]:
        told: list[tuple[int, Event | OmniError]] = []
        while self._queue and len(self._answers) < self.max_slots:
            number, prepared = self._queue[0]
            rows = 2 if self._parallel(prepared) else 1
            if len(self._rows.free) < rows:
                break
            self._queue.popleft()
            if prepared.request.audio is not None and prepared.question is not None:
                told.append((number, Heard(prepared.question)))
            if prepared.no_speech:
                told.append((number, Done("no_speech", "", 0.0, 0, 0)))
                continue
            if prepared.task is Task.A1T1 and prepared.question is not None:  # the ears have written it down already
                told.append((number, TextDelta(prepared.question)))
                told.append((number, Done("stop", prepared.question, 0.0, 0, 0)))
                continue
            try:
                self._answers[number] = self._begin(prepared, rows)
            except Exception as error:  # noqa: BLE001 - told to the one who asked, whatever it is
                told.append((number, as_omni_error(error)))
        return told

    def _parallel(self, prepared: Prepared) -> bool:
        return self.omni.config.audio_route == "body" and prepared.task is Task.A1A2 and self.omni.batch_parallel

    def begin(self, prepared: Prepared) -> Answer:
        """Start an answer at once, past the queue, and hand it out: for those who want its tokens."""
        self._number += 1
        answer = self._answers[self._number] = self._begin(prepared, 2 if self._parallel(prepared) else 1)
        return answer

    def _begin(self, prepared: Prepared, rows: int) -> Answer:
        request, omni = prepared.request, self.omni
        speaks = prepared.task.speaks
        audio_sampling = request.audio_sampling or (omni.adapter.default_sampling if omni.adapter else request.sampling)
        if audio_sampling.seed is None and request.sampling.seed is not None:
            audio_sampling = SamplingParams(
                audio_sampling.temperature, audio_sampling.top_k, audio_sampling.top_p, request.sampling.seed + 1
            )
        body_rows = self._chat_rows(prepared) if omni.chat is not None else self._stream_rows(prepared, rows)
        longest = self.window - max(row.position + len(row.waiting) for row in body_rows)
        if longest < 1:
            raise InvalidRequest(f"the question needs {self.window - longest} positions of {self.window}; shorten it")
        shared = {
            "rows": body_rows,
            "text_sampler": Sampler(request.sampling),
            "audio_sampler": Sampler(audio_sampling),
            "detokenizer": Detokenizer(omni.tokenizer) if omni.tokenizer else None,
            "stream": omni.mouth.stream() if speaks and omni.mouth else None,
            "max_tokens": min(request.max_tokens, longest),
            "max_steps": self._max_steps(request, longest),
        }
        answer: Answer
        if omni.adapter is None:
            answer = BodyAnswer(omni.config.vocabulary, omni.network.embed, speaks, **shared)
        else:
            assert omni.chat is not None
            planner = omni.adapter.planner() if speaks else None
            slot = self._free_speech.pop(0) if speaks else None
            answer = AdapterAnswer(
                omni.chat.end, omni.network.embed, planner, slot, omni.adapter.pad, request.max_sentences, **shared
            )
        for row in body_rows:
            self._rows.claim(row)
        return answer

    def _max_steps(self, request: Request, positions: int) -> int:
        steps = max(1, round(request.max_seconds * SAMPLE_RATE / SAMPLES_PER_FRAME)) + DELAY
        return steps if self.omni.adapter else min(steps, positions)

    def _stream_rows(self, prepared: Prepared, rows: int) -> list[BodyRow]:
        """Rows of the published model: one, or for batch-parallel decoding one that speaks and one that writes."""
        omni, vocabulary = self.omni, self.omni.config.vocabulary
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
        room = self.window - min(request.max_tokens, self.window // 4)
        ids = list(prepared.text_ids or ())
        ids = ids or omni.chat.encode(prepared.question or "", request.system_prompt, request.history, room)
        slot, known = self._rows.place(ids)
        waiting = omni.network.embed(torch.tensor(ids[known:]))
        return [BodyRow(slot, waiting, writes=True, speaks=False, position=known, ids=ids)]

    # -- the body -------------------------------------------------------------------------------------------------
    def _prefill(self) -> None:
        """Run the next slice of the first prompt that is waiting."""
        slice_ = PREFILL_POSITIONS_ALONE if len(self._answers) == 1 else PREFILL_POSITIONS
        speaking = [answer for answer in self._answers.values() if answer.voice and not answer.silent]
        hurried = any(answer.lead_seconds < PREFILL_LEAD_SECONDS for answer in speaking)
        if hurried and self._waited < PREFILL_PATIENCE:
            self._waited += 1
            return
        self._waited = 0
        for answer in self._answers.values():
            rows = answer.rows
            if rows and len(rows[0].waiting) > 1:
                count = min(slice_, len(rows[0].waiting))
                self.prefilled += count
                self._run([(answer, row) for row in rows], count)
                return

    def _write(self, working: Sequence[Answer]) -> None:
        """One position of every row that is past its prompt."""
        pairs = [
            (answer, row)
            for answer in working
            if not self._far_ahead(answer)
            for row in answer.rows
            if len(row.waiting) == 1
        ]
        if pairs:
            self._run(pairs, 1)

    @staticmethod
    def _far_ahead(answer: Answer) -> bool:
        """Writing may rest: what is written lasts for a while, and a step of the body is time for five frames."""
        if not isinstance(answer, AdapterAnswer) or answer.planner is None or answer.silent:
            return False
        return answer.planner.backlog > (WORDS_AHEAD if answer.lead_seconds < LONG_LEAD_SECONDS else 10 * WORDS_AHEAD)

    def _run(self, pairs: Sequence[tuple[Answer, BodyRow]], count: int) -> None:
        """`count` waiting positions of each row through the body; rows that have no more waiting predict.

        When that breaks, each answer is tried alone, so that only those fail that cannot be computed.
        """
        rows = [row for _, row in pairs]
        answers = list({id(answer): answer for answer, _ in pairs}.values())
        try:
            hidden = self._rows.hidden(rows, count)
            done = [index for index, row in enumerate(rows) if len(row.waiting) == count]
            text, audio = self._rows.logits([rows[index] for index in done], hidden[done])
        except Exception as error:  # noqa: BLE001 - told to the one whose answer it is
            if len(answers) == 1:
                self._fail(answers[0], error)
            else:
                for answer in answers:
                    self._run([pair for pair in pairs if pair[0] is answer], count)
            return
        for row in rows:
            row.waiting = row.waiting[count:]
            row.position += count
        self._take([pairs[index] for index in done], text, audio)

    def _take(
        self, pairs: Sequence[tuple[Answer, BodyRow]], text_logits: Tensor | None, audio_logits: Tensor | None
    ) -> None:
        """Sample what the rows predicted and move their answers on."""
        written = [index for index, (_, row) in enumerate(pairs) if row.writes]
        spoken = [index for index, (_, row) in enumerate(pairs) if row.speaks]
        text: dict[int, int] = {}
        audio: dict[int, Tensor] = {}
        if text_logits is not None:
            tokens = sample(text_logits, [pairs[index][0].text_sampler for index in written])
            text = dict(zip(written, tokens.tolist(), strict=True))
        if audio_logits is not None:
            layers = sample(audio_logits, [pairs[index][0].audio_sampler for index in spoken]).cpu()
            audio = dict(zip(spoken, layers, strict=True))
        for index, (answer, row) in enumerate(pairs):
            answer.after_body(row, text.get(index), audio.get(index))
        for answer in {id(answer): answer for answer, _ in pairs}.values():
            try:
                answer.advance()
            except Exception as error:  # noqa: BLE001 - this answer fails, and says so; the others go on
                self._fail(answer, error)

    # -- the TTS adapter ------------------------------------------------------------------------------------------
    def _speak(self, working: Sequence[Answer]) -> None:
        """One decoder step of every answer whose next step is planned; more of those in a hurry.

        The first chunk of a new answer comes as a whole, as far as it is planned: its ten steps take about as long as
        one or two of the body, and somebody waits in silence for them.
        """
        self._speak_once(working)
        for extra in range(DELAY + CHUNKS[0] - 1):
            hurried = [
                answer
                for answer in working
                if answer.silent or (extra < HURRIED_FRAMES - 1 and answer.lead_seconds < SHORT_LEAD_SECONDS)
            ]
            if not self._speak_once(hurried):
                return

    def _speak_once(self, answers: Sequence[Answer]) -> bool:
        """One decoder step of those among `answers` whose next step is planned; False when there is none."""
        rows: list[AdapterAnswer] = []
        conditions = []
        for answer in answers:
            if not isinstance(answer, AdapterAnswer):
                continue
            try:
                if answer.ready_to_speak and answer.planner is not None:
                    conditions.append(answer.planner.condition(answer.step))
                    rows.append(answer)
            except Exception as error:  # noqa: BLE001 - this answer fails, and says so; the others go on
                self._fail(answer, error)
        if rows:
            self._speak_together(rows, conditions)
        return bool(rows)

    def _speak_together(self, rows: Sequence[AdapterAnswer], conditions: Sequence[Tensor]) -> None:
        """One decoder step of these answers; each alone when that breaks."""
        adapter = self.omni.adapter
        assert adapter is not None
        assert self._speech_cache is not None
        try:
            logits = adapter.step(
                torch.stack(list(conditions)),
                torch.stack([answer.previous for answer in rows]),
                torch.tensor([answer.step for answer in rows]),
                torch.tensor([answer.speech_slot for answer in rows]),
                self._speech_cache,
            )
        except Exception as error:  # noqa: BLE001 - told to the one whose answer it is
            if len(rows) == 1:
                self._fail(rows[0], error)
            else:
                for answer, condition in zip(rows, conditions, strict=True):
                    self._speak_together([answer], [condition])
            return
        for answer, tokens in zip(rows, sample(logits, [answer.audio_sampler for answer in rows]), strict=True):
            try:
                answer.after_speech(tokens)
            except Exception as error:  # noqa: BLE001 - this answer fails, and says so; the others go on
                self._fail(answer, error)


def as_omni_error(error: Exception) -> OmniError:
    """Errors made on purpose as they are; anything else as `GenerationFailed`, with its cause."""
    if isinstance(error, OmniError):
        return error
    failed = GenerationFailed(f"this answer could not be made ({type(error).__name__}: {error}); ask again")
    failed.__cause__ = error
    return failed
