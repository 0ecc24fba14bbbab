"""Drives one `Session`: runs its commands on the generator and collects its events for whatever protocol sends them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import aclosing, nullcontext
from dataclasses import replace

import numpy as np

from model.request import Done, EngineFull, GenerationFailed, OmniError, Request, Turn
from model.vocabulary import Task
from server.echo.canceller import EchoCanceller
from server.events import (
    AnswerAudio,
    CancelGeneration,
    GenerationAdopted,
    IdlePrompted,
    Interrupted,
    Output,
    Problem,
    QuestionHeard,
    ResponseDone,
    Resumed,
    SessionEvent,
    SpeechStarted,
    SpeechStopped,
    StartGeneration,
)
from server.generator import Generator
from server.logs import LimitedLog
from server.memory import Message
from server.metrics import Metrics
from server.options import SessionOptions
from server.outbox import Outbox, size
from server.session import Session
from server.turn_taking.foreground import LevelMeter
from server.turns import SAMPLE_RATE
from server.voices import Voices, VoiceStream

_SLICE_SAMPLES = SAMPLE_RATE // 2
"""Sound that comes in a big piece is heard half a second at a time, so that others get their turn."""
_MOST_PENDING = 16
"""Requests to the model of one conversation, in progress or waiting: a message of 180 s is heard in seven pieces."""
_MOST_HEARD = 3
"""Pieces of messages that one conversation has with the model at once; the others wait here."""


class Conversation:
    """One client's conversation. Inputs are coroutines: they wait while too much is unsent, which stops the reading
    of a client that does not read. Events come from `outbox`.
    """

    def __init__(
        self,
        session: Session,
        voices: Voices,
        generator: Generator,
        outbox: Outbox,
        metrics: Metrics,
        log: LimitedLog,
        gap_commit_s: float = 1.0,
        log_text: bool = False,
        echo_guard: bool = True,
    ) -> None:
        self.session = session
        self.outbox = outbox
        self._voices, self._microphone = voices, VoiceStream()
        self._echo = EchoCanceller() if echo_guard else None
        self._meter = LevelMeter()
        self._generator = generator
        self._metrics = metrics
        self._log = log
        self._gap_commit_s = gap_commit_s
        self._log_text = log_text
        self._answers: dict[int, asyncio.Task[None]] = {}
        self._dropped_ms: dict[int, float] = {}
        """Sound of interrupted answers that was never sent, by answer."""
        self._heard = asyncio.Semaphore(_MOST_HEARD)
        self.client = secrets.token_hex(8)
        """This conversation's name where places are shared."""
        self._gap: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    # inputs

    @property
    def model(self) -> str:
        """The name of the model that the next question goes to."""
        return self._generator.name

    def choose_model(self, generator: Generator) -> None:
        """The next question goes to this one. What has been asked is answered by the model that was asked; memory is
        text, and stays."""
        if generator is not self._generator:
            self._generator = generator
            self._log.info("model_chosen", model=generator.name)

    def configure(self, options: SessionOptions, history: tuple[Turn, ...] | None) -> None:
        """See `Session.configure`."""
        self._perform(self.session.configure(options, history))
        self._prefill_ahead()

    async def receive_audio(self, samples: np.ndarray, message_s: float | None = None) -> None:
        """(n,) float32, 16 kHz, of a message that holds so many seconds; None: these."""
        for start in range(0, len(samples), _SLICE_SAMPLES):
            piece = samples[start : start + _SLICE_SAMPLES]
            cleaned, probabilities = await self._listen(piece)
            levels = None
            if self.session.options.rules.foreground:
                levels = self._meter.levels(piece, len(probabilities))
            self._perform(self.session.receive_audio(cleaned, probabilities, levels))
            if not (probabilities and self.session.options.find_turns):  # nothing was waited for: others get their turn
                await asyncio.sleep(0)
        self._watch_gap(len(samples) / SAMPLE_RATE if message_s is None else message_s)
        await self.outbox.wait_for_room(answer=False)

    async def _listen(self, piece: np.ndarray) -> tuple[np.ndarray, Sequence[float]]:
        """(the microphone without the answer's echo, how likely each window that is complete now holds somebody)."""
        own: Sequence[bool] = ()
        if self._echo is not None:
            cleaned = self._echo.clean(piece)
            piece, own = cleaned.samples, cleaned.own
        if not self.session.options.find_turns:
            # not judged, but counted: windows stay those of the echo's guard, positions those of the microphone
            return piece, [0.0] * len(self._microphone.windows(piece))
        probabilities = await self._voices.probabilities(self._microphone, piece)
        if any(own):
            probabilities = [0.0 if echo else p for echo, p in zip(own, probabilities, strict=True)]
        return piece, probabilities

    async def receive_text(self, text: str) -> None:
        """A typed question."""
        self._metrics.turns.labels("text").inc()
        await self._do(self.session.receive_text(text))

    async def commit(self) -> None:
        """End the turn now."""
        await self._do(self.session.commit())

    async def clear_audio(self) -> None:
        """Drop what was said but is no turn yet."""
        await self._do(self.session.clear_audio())

    async def respond(self, label: str, options: SessionOptions | None = None, request: Request | None = None) -> None:
        """Answer what stands last in the conversation, or a request instead; see `Session.respond`."""
        await self._do(self.session.respond(label, options, request))

    async def respond_aside(self, label: str, request: Request) -> None:
        """Answer beside the conversation."""
        await self._do(self.session.respond_aside(label, request))

    async def cancel_aside(self, turn_id: int) -> None:
        """Stop an answer beside the conversation."""
        await self._do(self.session.cancel_aside(turn_id))

    async def hear(self, message: Message) -> None:
        """Find out what a message says that came as sound."""
        await self._do(self.session.hear(message))

    async def interrupt(self, played_ms: float | None = None) -> None:
        """Stop speaking or thinking."""
        await self._do(self.session.interrupt(played_ms))

    def playback(self, played_ms: float, response_id: int | None) -> None:
        """What the client has played."""
        self.session.playback(played_ms, response_id)

    async def tell(self, event: SessionEvent) -> None:
        """Something that the protocol has to say, in order with the rest. It waits for room first: replies may be
        large, and a client that reads none of them may ask for many."""
        await self.outbox.wait_for_room(answer=False, count=size(event))
        self._perform([event])

    # endings

    def drain(self) -> None:
        """Finish the answer in progress, begin no other."""
        self.session.drain()

    async def wait_idle(self) -> None:
        """Until no answer is being made."""
        await self._idle.wait()

    async def dismiss(self, problem: Problem) -> None:
        """End it from the server's side: cut off what is still being made, say why, close the outbox."""
        self._perform(self.session.stop())
        self._perform([problem])
        await self.close()

    async def stop(self) -> None:
        """The client is done: cut off the answer, then close the outbox."""
        self._perform(self.session.stop())
        await self.close()

    async def close(self) -> None:
        """Cancel whatever is being made and close the outbox. Idempotent."""
        if self._gap:
            self._gap.cancel()
        answers = list(self._answers.values())
        for task in answers:
            task.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        self.outbox.close()
        self._log.close()

    # the work

    async def _do(self, outputs: list[Output]) -> None:
        self._perform(outputs)
        await self.outbox.wait_for_room(answer=False)

    def _perform(self, outputs: list[Output]) -> None:
        for output in outputs:
            self._metrics.observe(output)
            if isinstance(output, StartGeneration):
                self._start(output)
            elif isinstance(output, CancelGeneration):
                self._cancel(output)
            elif isinstance(output, GenerationAdopted):
                self._metrics.speculations.labels("used").inc()
            else:
                if isinstance(output, SpeechStarted):
                    self._prefill_ahead()
                output = self._follow(output)
                self._report(output)
                self.outbox.put(output)
        self._note_idle()

    def _prefill_ahead(self) -> None:
        """Somebody will ask: what comes before the question is known already."""
        self._generator.prefill_ahead(self.session.upcoming())

    def _follow(self, event: SessionEvent) -> SessionEvent:
        """Keep track of the sound that an event sends, drops or counts."""
        if isinstance(event, AnswerAudio):
            if self._echo is not None:
                self._echo.played(event.samples)
        elif isinstance(event, Interrupted):
            if event.response_id is not None:
                self._dropped_ms = {event.response_id: self.outbox.drop_audio(event.response_id)}
            if self._echo is not None:
                self._echo.stopped()
        elif isinstance(event, Resumed):
            self._dropped_ms.pop(event.response_id, None)  # it is sent after all
        elif isinstance(event, ResponseDone):
            dropped_ms = self._dropped_ms.pop(event.response_id, 0.0)
            return replace(event, audio_ms=round(event.audio_ms - dropped_ms))
        return event

    def _start(self, command: StartGeneration) -> None:
        answering = self._generate(command, self._generator, len(self._answers) >= _MOST_PENDING)
        task = asyncio.create_task(answering, name=f"answer-{command.generation_id}")
        self._answers[command.generation_id] = task
        task.add_done_callback(lambda _: self._answers.pop(command.generation_id, None))

    def _cancel(self, command: CancelGeneration) -> None:
        if command.speculative:
            self._metrics.speculations.labels("discarded").inc()
        if task := self._answers.get(command.generation_id):
            task.cancel()

    async def _generate(self, command: StartGeneration, generator: Generator, too_many: bool) -> None:
        try:
            if too_many:
                raise EngineFull(f"{_MOST_PENDING} requests of this conversation are pending; wait for one to end")
            only_heard = command.request.task is Task.A1T1
            async with self._heard if only_heard else nullcontext():
                await self._receive(command, generator)
        except OmniError as error:
            self._perform(self.session.generation_failed(command.generation_id, error))
        except Exception as error:  # noqa: BLE001 (counted, logged with its trace, told to the client)
            self._metrics.errors.labels("internal_error").inc()
            self._log.exception("generation_broke", generation_id=command.generation_id)
            failure = GenerationFailed(f"the answer could not be made ({type(error).__name__}); ask again")
            self._perform(self.session.generation_failed(command.generation_id, failure))

    async def _receive(self, command: StartGeneration, generator: Generator) -> None:
        complete = False
        async with aclosing(generator.generate(replace(command.request, client=self.client))) as events:
            async for event in events:
                complete = isinstance(event, Done)
                self._perform(self.session.receive_event(command.generation_id, event))
                await self.outbox.wait_for_room(answer=True)
        if not complete:
            raise GenerationFailed("the answer ended early; ask again")

    def _note_idle(self) -> None:
        if self.session.answering:
            self._idle.clear()
        else:
            self._idle.set()

    def _watch_gap(self, piece_s: float) -> None:
        """A client whose microphone falls silent by sending nothing has ended its turn as well. One that sends
        seconds at a time is given that much longer.
        """
        if self._gap:
            self._gap.cancel()
            self._gap = None
        if self.session.turn_open:
            loop = asyncio.get_running_loop()
            gap_s = self._gap_commit_s + min(piece_s, self._gap_commit_s)
            self._gap = loop.call_later(gap_s, self._end_turn)

    def _end_turn(self) -> None:
        """Unless what was heard has ended it meanwhile."""
        if self.session.turn_open:
            self._perform(self.session.commit())

    def _report(self, event: SessionEvent) -> None:
        said = {"text": event.text} if self._log_text and isinstance(event, (QuestionHeard, ResponseDone)) else {}
        if isinstance(event, SpeechStopped):
            self._log.info("turn_ended", turn_id=event.turn_id, reason=event.reason, at_ms=event.at_ms)
        elif isinstance(event, QuestionHeard) and (event.no_speech or said):
            self._log.info("heard", turn_id=event.turn_id, no_speech=event.no_speech, **said)
        elif isinstance(event, IdlePrompted):
            self._log.info("idle_prompted", turn_id=event.turn_id)
        elif isinstance(event, Interrupted):
            self._log.info("interrupted", turn_id=event.turn_id, reason=event.reason, played_ms=event.played_ms)
        elif isinstance(event, Resumed):
            self._log.info("resumed", turn_id=event.turn_id, played_ms=event.played_ms)
        elif isinstance(event, Problem):
            self._log.warning("problem", code=event.code, turn_id=event.turn_id, field=event.field)
        elif isinstance(event, ResponseDone):
            self._log.info(
                "answered",
                turn_id=event.turn_id,
                reason=event.reason,
                audio_ms=event.audio_ms,
                first_audio_ms=event.first_audio_ms,
                real_time_factor=event.real_time_factor,
                **said,
            )
