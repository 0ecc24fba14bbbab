"""A question, and an answer being made to it: what a session keeps of them and tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from model.request import Done, EngineFull, Event, OmniError, TextDelta
from server.events import AnswerText, Output, Problem, ResponseDone, ResponseReason, Usage
from server.long_turns import Pieces
from server.memory import Answer, Message
from server.options import SessionOptions


@dataclass
class Numbers:
    """Counts what a conversation numbers; none is given twice."""

    turns: int = 0
    responses: int = 0
    generations: int = 0

    def turn(self) -> int:
        """Of a question."""
        self.turns += 1
        return self.turns

    def response(self) -> int:
        """Of an answer."""
        self.responses += 1
        return self.responses

    def generation(self) -> int:
        """Of what the generator is asked for."""
        self.generations += 1
        return self.generations


@dataclass
class Question:
    """The turn being heard or answered. Positions are samples of the microphone."""

    turn_id: int
    begin: int = 0
    end: int = 0
    text: str | None = None
    """Typed, or heard once it is known."""
    typed: bool = False
    confirmed_at: float = 0.0
    """Seconds of the clock."""
    pieces: Pieces = field(default_factory=lambda: Pieces(0))
    """Of a spoken turn."""
    message: Message | None = None
    """Where it is remembered, once it is."""
    hears: int | None = None
    """The number of the turn that is heard for it, where that is another."""
    asked: bool = False
    """The answer is wanted by itself: what it answers stands in the conversation already, or is nothing at all."""
    idle: bool = False
    """Nobody asked: they are asked whether they are still there."""
    options: SessionOptions | None = None
    """Of this answer alone."""
    rest_of: Question | None = None
    """The turn that this one goes on with, where that was ended too soon: they are answered as one."""
    asked_at: datetime | None = None
    """When its answer was first asked for: every request for it has the same time, and so has what is remembered."""

    @property
    def may_go_on(self) -> bool:
        """Speech that follows belongs to it."""
        return not self.typed and not self.asked


@dataclass
class Generation:
    """An answer being made. A speculative one's events are held back until the turn is confirmed."""

    generation_id: int
    started_at: float
    speculative: bool
    held: list[Event] = field(default_factory=list)
    judged: bool = False
    """It has told whether the turn may be over."""
    failure: OmniError | None = None
    finished_at: float | None = None
    answer: Answer | None = None
    first_text_ms: int | None = None
    first_audio_ms: int | None = None


def since_confirmed(question: Question, now: float) -> int:
    """Whole milliseconds."""
    return round((now - question.confirmed_at) * 1000)


def more_text(question: Question, generation: Generation, answer: Answer, piece: TextDelta, now: float) -> list[Output]:
    """More of an answer's text."""
    if not piece.text:
        return []
    if generation.first_text_ms is None:
        generation.first_text_ms = since_confirmed(question, now)
    answer.text += piece.text
    return [AnswerText(answer.response_id, piece.text)]


def failed(question: Question, generation: Generation, error: OmniError, now: float) -> list[Output]:
    """What is told of an answer that could not be made."""
    answer = generation.answer
    response_id = answer.response_id if answer else None
    problem = Problem(error.code, told(error), turn_id=question.turn_id, response_id=response_id)
    if answer is None:
        return [problem]
    answer.complete = True
    return [problem, response_done(question, generation, answer, "error", now)]


def response_done(
    question: Question,
    generation: Generation,
    answer: Answer,
    reason: ResponseReason,
    now: float,
    made: Done | None = None,
) -> ResponseDone:
    """The end of an answer, with its figures. `made` is there of complete ones."""
    seconds = answer.sent_ms / 1000
    took = (generation.finished_at or now) - generation.started_at
    return ResponseDone(
        answer.response_id,
        question.turn_id,
        reason,
        answer.text,
        round(answer.sent_ms),
        question.text,
        generation.first_text_ms,
        generation.first_audio_ms,
        round(took / seconds, 3) if seconds and reason in ("stop", "length") else None,
        {stage: round(1000 * took, 1) for stage, took in made.stages.items()} if made and made.stages else None,
        Usage(made.prompt_tokens, made.cached_tokens, made.text_tokens, made.audio_tokens) if made else None,
    )


def told(error: OmniError) -> str:
    """An error's message to the client."""
    if isinstance(error, EngineFull):
        return "every place for an answer is taken; ask again in a few seconds"
    return str(error) or "the answer could not be made; ask again"
