"""What the generator does for a conversation beside its answers: hearing without answering, and answers apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from model.request import AudioChunk, Done, Event, Heard, OmniError, Request, TextDelta
from model.vocabulary import Task
from server.answering import Generation, Numbers, Question, failed, more_text, response_done, since_confirmed, told
from server.events import (
    AnswerAudio,
    AnswerPromised,
    AnswerTextDone,
    CancelGeneration,
    Output,
    Problem,
    QuestionHeard,
    ResponseReason,
    ResponseStarted,
    StartGeneration,
)
from server.long_turns import split_sound
from server.memory import Answer, Message


@dataclass
class _Hearing:
    """A message that is heard, in one piece or several."""

    message: Message
    texts: dict[int, str | None] = field(default_factory=dict)
    """By generation, in the order of speech; None: not heard yet."""


class Hearings:
    """Messages that came as sound and are only heard."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._open: list[_Hearing] = []

    def __contains__(self, generation_id: int) -> bool:
        return any(generation_id in hearing.texts for hearing in self._open)

    def hear(self, message: Message) -> list[Output]:
        """Find out what a message says; it has sound and a turn's number."""
        assert message.audio is not None
        hearing = _Hearing(message)
        self._open.append(hearing)
        outputs: list[Output] = []
        for piece in split_sound(message.audio):
            generation_id = self._numbers.generation()
            hearing.texts[generation_id] = None
            outputs.append(StartGeneration(generation_id, Request(audio=piece, task=Task.A1T1), False))
        return outputs

    def stop(self, message: Message) -> list[Output]:
        """Somebody else hears it, or nobody wants to know any more."""
        given_up = [hearing for hearing in self._open if hearing.message is message]
        self._open = [hearing for hearing in self._open if hearing.message is not message]
        waited_for = [number for hearing in given_up for number, text in hearing.texts.items() if text is None]
        return [CancelGeneration(number, False) for number in waited_for]

    def receive(self, generation_id: int, event: Event) -> tuple[Message | None, list[Output]]:
        """What was heard → the message, once all of it is known."""
        hearing = self._of(generation_id)
        if not isinstance(event, Done):
            return None, []
        hearing.texts[generation_id] = event.text.strip()
        if None in hearing.texts.values():
            return None, []
        self._open.remove(hearing)
        message, text = hearing.message, " ".join(text for text in hearing.texts.values() if text)
        message.heard(text)
        assert message.turn_id is not None
        return message, [QuestionHeard(message.turn_id, text, no_speech=not text)]

    def failed(self, generation_id: int, error: OmniError) -> tuple[Message, list[Output]]:
        """A message that could not be heard."""
        message = self._of(generation_id).message
        outputs = [output for output in self.stop(message) if output != CancelGeneration(generation_id, False)]
        return message, [*outputs, Problem(error.code, told(error), turn_id=message.turn_id)]

    def _of(self, generation_id: int) -> _Hearing:
        return next(hearing for hearing in self._open if generation_id in hearing.texts)


class Asides:
    """Answers beside the conversation: nothing is interrupted by them or remembered of them."""

    def __init__(self, numbers: Numbers, clock: Callable[[], float]) -> None:
        self._numbers, self._clock = numbers, clock
        self._open: dict[int, tuple[Question, Generation]] = {}

    def __contains__(self, generation_id: int) -> bool:
        return generation_id in self._open

    def ask(self, label: str, request: Request) -> list[Output]:
        """Begin one."""
        now, generation_id = self._clock(), self._numbers.generation()
        question = Question(self._numbers.turn(), asked=True, confirmed_at=now)
        self._open[generation_id] = (question, Generation(generation_id, now, speculative=False))
        return [AnswerPromised(question.turn_id, label), StartGeneration(generation_id, request, speculative=False)]

    def cancel(self, turn_id: int) -> list[Output]:
        """Stop the one that answers this turn."""
        for generation_id, (question, generation) in self._open.items():
            if question.turn_id == turn_id:
                del self._open[generation_id]
                outputs: list[Output] = [CancelGeneration(generation_id, False)]
                if generation.answer is not None:
                    now = self._clock()
                    outputs.append(response_done(question, generation, generation.answer, "interrupted", now))
                return outputs
        return []

    def receive(self, generation_id: int, event: Event) -> list[Output]:
        """What the generator made of one."""
        (question, generation), now = self._open[generation_id], self._clock()
        outputs: list[Output] = []
        if isinstance(event, TextDelta | AudioChunk | Done) and generation.answer is None:
            generation.answer = Answer(self._numbers.response())
            outputs.append(ResponseStarted(generation.answer.response_id, question.turn_id))
        answer = generation.answer
        if answer is None or isinstance(event, Heard):
            return outputs
        if isinstance(event, TextDelta):
            outputs += more_text(question, generation, answer, event, now)
        elif isinstance(event, AudioChunk) and len(event.samples):
            if generation.first_audio_ms is None:
                generation.first_audio_ms = since_confirmed(question, now)
            answer.add_audio(event, now)
            outputs.append(AnswerAudio(answer.response_id, event.samples))
        elif isinstance(event, Done):
            del self._open[generation_id]
            answer.complete = True
            generation.finished_at = now
            reason: ResponseReason = "length" if event.reason == "length" else "stop"
            outputs.append(AnswerTextDone(answer.response_id, answer.text))
            outputs.append(response_done(question, generation, answer, reason, now, event))
        return outputs

    def failed(self, generation_id: int, error: OmniError) -> list[Output]:
        """One could not be made."""
        question, generation = self._open.pop(generation_id)
        return failed(question, generation, error, self._clock())
