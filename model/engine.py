"""Many answers at once: continuous batching over preallocated slots.

One `step()` moves every answer on by one position: a slice of the prompt of whoever is new, one body step for all
rows that are being written, one TTS-adapter step for all rows that are being spoken, and the codec for whoever has a
chunk due. Answers join, leave and are cancelled between steps; none changes what another one says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model import pacing
from model.answer import CHUNKS, Answer, Deferred, WrittenAnswer
from model.answer_maker import AnswerMaker
from model.fair_queue import FairQueue, may_take
from model.planned_answer import AdapterAnswer, PlannedAnswer
from model.prefill_ahead import PrefillAhead
from model.prepare import Prepared, prepare
from model.request import (
    Done,
    EngineFull,
    Event,
    GenerationFailed,
    OmniError,
    Request,
    TextDelta,
)
from model.rows import BodyRow, RowPool
from model.sampling import sample
from model.sharing import Shares, can_rest
from model.vocabulary import DELAY, Task

if TYPE_CHECKING:
    from model.omni import MiniOmni

PREFILL_POSITIONS = 32
"""Prompt positions a step: a longer slice would keep the other answers waiting for more than a frame (85 ms)."""
PREFILL_POSITIONS_ALONE = 128
"""The same while nobody else is being answered."""
SMALL_WINDOW = 1024
"""Positions of a conversation with a small language model, prompt and answer: more history costs more than it helps."""


class Engine:
    """Answers requests of one model, up to `max_slots` at once; up to `max_queue` more wait, and clients take turns.

    One client alone takes half of the slots at most."""

    def __init__(self, omni: MiniOmni, max_slots: int = 4, max_queue: int = 16, window: int | None = None) -> None:
        self.omni = omni
        self.max_slots, self.max_queue = max_slots, max_queue
        self.large = omni.network.is_large
        """A step keeps all cores busy: one of them alone would take as long as somebody hears. Slices of prompts are a
        quarter as long."""
        small = omni.config.audio_route == "tts_adapter" and not self.large
        self.window = window or (min(SMALL_WINDOW, omni.config.window) if small else omni.config.window)
        rows = max_slots * (2 if omni.config.audio_route == "body" else 1)  # batch-parallel decoding needs two
        self._rows = RowPool(omni.network, rows, self.window)
        self.prefilled = 0
        """Prompt positions that went through the body so far; what an earlier turn left in a slot is not run again."""
        self._speech_cache = omni.adapter.new_cache(max_slots) if omni.adapter else None
        self._free_speech = list(range(max_slots))
        self._queue: FairQueue[tuple[int, Prepared]] = FairQueue()
        self._answers: dict[int, Answer] = {}
        self._shares = Shares()
        self.listening: Callable[[], bool] = lambda: False
        """Somebody is being heard, on the same cores: answers that can rest meanwhile do."""
        self._number = 0
        self._failed: list[tuple[int, Event | OmniError]] = []
        self._maker = AnswerMaker(omni, self._rows, self.window)
        self._newcomers = pacing.Newcomers()
        self._ahead = PrefillAhead(omni, self._rows, self._slice(alone=False), max_slots)
        if self.large:
            self._ahead.load_shared(omni.prompt_file)

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
        self._queue.push(prepared.request.client, (self._number, prepared))
        return self._number

    def cancel(self, number: int) -> None:
        """Forget a request, wherever it is; its slots are free at once. Unknown numbers are ignored."""
        self._queue.remove(lambda item: item[0] == number)
        answer = self._answers.pop(number, None)
        if answer is not None:
            self._release(answer, all_rows=True)

    def cancel_all(self) -> None:
        """Forget every request."""
        for number in [*self._answers, *(number for number, _ in self._queue)]:
            self.cancel(number)

    def hold(self, number: int, held: bool) -> None:
        """Let an answer rest whose listener does not take what is made, or let it go on. It keeps its slot; unknown
        numbers are ignored."""
        if (answer := self._answers.get(number)) is not None:
            answer.held = held

    def prefill_ahead(self, request: Request) -> None:
        """The next prompt will probably begin as this request's would, whatever is asked: its instructions, its
        history. That beginning is read when nobody is being answered, by `step` while `prefills_ahead`."""
        self._ahead.expect(request)

    @property
    def prefills_ahead(self) -> bool:
        """Nobody is being answered, and there is an expected prompt to prefill."""
        return not self._answers and not self._queue and self._ahead.busy

    @property
    def busy(self) -> bool:
        """Somebody waits for an answer that can go on."""
        return self._queue.has(self._may_begin) or bool(self._active())

    @property
    def resting(self) -> bool:
        """There are answers that go on in a while, though nobody calls for it."""
        return any(not answer.held for answer in self._answers.values())

    def keeps_waiting(self, client: str | None) -> bool:
        """Whether somebody else than this client waits for a first sound. May be asked from any thread."""
        return self._shares.keeps_waiting(client, self._answers)

    @property
    def reading(self) -> bool:
        """The next step has a prompt to read, which is much arithmetic; other steps mostly read weights."""
        return self._queue.has(self._may_begin) or any(
            len(row.waiting) > 1 for a in self._answers.values() for row in a.rows
        )

    @property
    def active(self) -> int:
        """Answers in progress."""
        return len(self._answers)

    # -- one step -------------------------------------------------------------------------------------------------
    def step(self) -> list[tuple[int, Event | OmniError]]:
        """Move every answer on; returns what they have to tell, in order. An answer's last event is `Done` or an
        error."""
        told: list[tuple[int, Event | OmniError]] = []
        broken: set[int] = set()
        for number, event in self.step_deferred():
            if number in broken:
                continue
            try:
                made = event.make() if isinstance(event, Deferred) else event
            except Exception as error:  # noqa: BLE001 - told to the one whose answer it is
                broken.add(number)
                self.cancel(number)
                made = as_omni_error(error)
            if made is not None:
                told.append((number, made))
        return told

    @torch.inference_mode()
    def step_deferred(self) -> list[tuple[int, Event | OmniError | Deferred]]:
        """The same, but sound is left to be decoded: each answer's deferred events are to be made in order, by any one
        thread at a time. When one breaks, the answer is to be cancelled."""
        if self.prefills_ahead:
            self._ahead.step()
            return []
        told: list[tuple[int, Event | OmniError | Deferred]] = [*self._admit()]
        answers = self._active()
        newcomers = self._newcomers.may_work(answers)
        working = pacing.working(answers, newcomers)
        if newcomers:
            self._prefill(working)
        self._write(working)
        self._speak(working)
        for number, answer in list(self._answers.items()):
            told += [(number, event) for event in answer.events]
            answer.events = []
            self._release(answer)
            if answer.done:
                del self._answers[number]
                if (expected := answer.next_request) is not None:
                    self._ahead.expect(expected)
        told += self._failed
        self._failed = []
        return told

    def _active(self) -> list[Answer]:
        """The answers that go on in this step."""
        listening = self.listening()
        ranked = self._shares.in_turn(self._answers)
        return [answer for older, answer in ranked if not answer.held and not (listening and can_rest(older, answer))]

    def _fail(self, answer: Answer, error: Exception) -> None:
        for number, other in list(self._answers.items()):
            if other is answer:
                self._failed.append((number, as_omni_error(error)))
                del self._answers[number]
                for row in answer.rows:  # what broke it must not reach the next answer through a masked position
                    self._rows.distrust(row)
                if isinstance(answer, PlannedAnswer) and answer.speech_slot is not None and self._speech_cache:
                    self._speech_cache.clear(answer.speech_slot)
                self._release(answer, all_rows=True)

    def _release(self, answer: Answer, all_rows: bool = False) -> None:
        if all_rows:
            answer.released += [row.slot for row in answer.rows]
            answer.rows = []
        self._rows.free += answer.released
        answer.released = []
        if isinstance(answer, PlannedAnswer) and answer.speech_slot is not None and (all_rows or answer.done):
            self._free_speech.append(answer.speech_slot)
            answer.speech_slot = None

    def _admit(self) -> list[tuple[int, Event | OmniError]]:
        told: list[tuple[int, Event | OmniError]] = []
        while (waiting := self._queue.pop(self._may_begin)) is not None:
            number, prepared = waiting
            if not prepared.reported:
                told += [(number, event) for event in prepared.findings]
            if prepared.no_speech:
                told.append((number, Done("no_speech", "", 0.0, 0, 0)))
                continue
            if prepared.task is Task.A1T1 and prepared.question is not None:  # the ears have written it down already
                told.append((number, TextDelta(prepared.question)))
                told.append((number, Done("stop", prepared.question, 0.0, 0, 0)))
                continue
            try:
                self._answers[number] = self._begin(prepared)
                self._shares.began(number, prepared.request.client)
            except Exception as error:  # noqa: BLE001 - told to the one who asked, whatever it is
                told.append((number, as_omni_error(error)))
        return told

    def _may_begin(self, waiting: tuple[int, Prepared]) -> bool:
        """Whether there is a slot for a request, and its client does not hold its share already."""
        _, prepared = waiting
        free, client = self.max_slots - len(self._answers), prepared.request.client
        return may_take(self._shares.held(client, self._answers), free) and len(self._rows.free) >= self._maker.rows_of(
            prepared
        )

    def begin(self, prepared: Prepared) -> Answer:
        """Start an answer at once, past the queue, and hand it out: for those who want its tokens."""
        self._number += 1
        answer = self._answers[self._number] = self._begin(prepared)
        return answer

    def _begin(self, prepared: Prepared) -> Answer:
        self._ahead.pause()
        slot = self._free_speech[0] if self._free_speech and prepared.task.speaks and self.omni.adapter else None
        answer = self._maker.begin(prepared, slot)
        if slot is not None:
            self._free_speech.remove(slot)
        return answer

    # -- the body -------------------------------------------------------------------------------------------------
    def _slice(self, alone: bool) -> int:
        """Positions of a prompt that a step reads."""
        positions = PREFILL_POSITIONS_ALONE if alone else PREFILL_POSITIONS
        return positions // 4 if self.large else positions

    def _prefill(self, working: Sequence[Answer]) -> None:
        """Run the next slice of the first prompt that is waiting."""
        slice_ = self._slice(alone=len(self._answers) == 1)
        waiting = next((a for a in _written(working) if a.rows and len(a.rows[0].waiting) > 1), None)
        if waiting is None:
            return
        count = min(slice_, len(waiting.rows[0].waiting))
        alike = self._rows.alike(waiting.rows, count)
        self.prefilled += alike or count
        self._run([(waiting, row) for row in waiting.rows], alike or count, once=alike > 0)

    def _write(self, working: Sequence[Answer]) -> None:
        """One position of every row that is past its prompt."""
        pairs = [
            (answer, row)
            for answer in _written(working)
            if not self._rests_from_writing(answer)
            for row in answer.rows
            if len(row.waiting) == 1
        ]
        if len(pairs) == 1 and (drafts := pairs[0][0].draft()):
            self._verify(*pairs[0], drafts)
        elif pairs:
            self._run(pairs, 1)

    def _verify(self, answer: WrittenAnswer, row: BodyRow, drafts: list[int]) -> None:
        """The row's own token and drafts of the next ones in one step; drafts count as long as each is the token that
        the model chooses."""
        try:
            row.waiting = torch.cat([row.waiting, self.omni.network.embed(torch.tensor(drafts))])
            logits = self.omni.network.text_logits(self._rows.every_hidden(row))
        except Exception as error:  # noqa: BLE001 - told to the one whose answer it is
            self._fail(answer, error)
            return
        for index, draft in enumerate([*drafts, None]):
            row.position += 1
            self._take([(answer, row)], logits[index : index + 1], None)
            if row not in answer.rows or row.ids[-1] != draft:
                return

    @staticmethod
    def _rests_from_writing(answer: Answer) -> bool:
        if not isinstance(answer, AdapterAnswer) or answer.planner is None or answer.speech_ended:
            return False
        return pacing.speaks_before_writing(answer, answer.planner.backlog)

    def _run(self, pairs: Sequence[tuple[WrittenAnswer, BodyRow]], count: int, once: bool = False) -> None:
        """`count` waiting positions of each row through the body, `once` where rows of one answer are alike in them;
        rows that have no more waiting predict.

        When that breaks, each answer is tried alone, so that only those fail that cannot be computed.
        """
        rows = [row for _, row in pairs]
        answers = list({id(answer): answer for answer, _ in pairs}.values())
        try:
            hidden = self._rows.hidden_once(rows, count) if once else self._rows.hidden(rows, count)
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
            row.alike = row.alike and once
        self._take([pairs[index] for index in done], text, audio)

    def _take(
        self, pairs: Sequence[tuple[WrittenAnswer, BodyRow]], text_logits: Tensor | None, audio_logits: Tensor | None
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
            answer.watch.ends("reading")
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
            if not self._speak_once(pacing.hurried(working, extra)):
                return

    def _speak_once(self, answers: Sequence[Answer]) -> bool:
        """One decoder step of those among `answers` whose next step is planned; False when there is none."""
        rows: list[PlannedAnswer] = []
        conditions = []
        for answer in answers:
            if not isinstance(answer, PlannedAnswer):
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

    def _speak_together(self, rows: Sequence[PlannedAnswer], conditions: Sequence[Tensor]) -> None:
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


def _written(answers: Sequence[Answer]) -> Iterator[WrittenAnswer]:
    return (answer for answer in answers if isinstance(answer, WrittenAnswer))


def as_omni_error(error: Exception) -> OmniError:
    """Errors made on purpose as they are; anything else as `GenerationFailed`, with its cause."""
    if isinstance(error, OmniError):
        return error
    failed = GenerationFailed(f"this answer could not be made ({type(error).__name__}: {error}); ask again")
    failed.__cause__ = error
    return failed
