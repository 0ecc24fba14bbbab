"""What a conversation tells, as the Realtime API's server events: items, responses, and the ids that link them.

Nothing is decided here. A spoken turn becomes an item when its answer begins: until then the same turn may go on. Item
ids are the keys of the conversation's memory.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from server.audio import AnswerEncoder
from server.events import (
    AnswerAudio,
    AnswerPromised,
    AnswerText,
    IdlePrompted,
    Interrupted,
    Problem,
    QuestionHeard,
    Reply,
    ResponseDone,
    ResponseStarted,
    Resumed,
    SessionEvent,
    SpeechStarted,
    SpeechStopped,
    TurnTaken,
    Usage,
)
from server.memory import Memory, Message
from server.protocols.realtime_items import Status, item, new_id, show_item
from server.protocols.realtime_session import RealtimeSession
from server.turns import samples_to_ms

Event = dict[str, Any]

_SERVER_ERRORS = ("busy", "not_ready", "shutting_down", "internal_error", "generation_failed", "model_error")
_STATUS: dict[str, tuple[str, str | None]] = {
    "stop": ("completed", None),
    "length": ("incomplete", "max_output_tokens"),
    "interrupted": ("cancelled", "client_cancelled"),
    "error": ("failed", None),
}


@dataclass(frozen=True)
class Wanted:
    """A response that the client asked for."""

    session: RealtimeSession
    """As it is for this response."""
    metadata: dict[str, str] | None = None
    aside: bool = False
    """It is not part of the conversation."""


@dataclass
class _Turn:
    """A spoken turn, until it is an item."""

    key: str
    begin_ms: int = 0
    end_ms: int = 0
    committed: bool = False
    text: str | None = None


@dataclass
class _Response:
    """A response in progress."""

    id: str
    turn_id: int
    wanted: Wanted
    encoder: AnswerEncoder
    hears: int | None = None
    """The number of the spoken turn that is heard for it."""
    item_id: str | None = None
    deleted: bool = False
    """The client has deleted its item."""
    goes_on: bool = False
    """The rest of an answer that was interrupted by nothing."""
    left_ms: float | None = None
    """Sound that ends it; None: its end is told."""
    text: str = ""
    error: Problem | None = None
    usage: Usage | None = None
    output: list[Event] = field(default_factory=list)

    @property
    def speaks(self) -> bool:
        return self.wanted.session.output_modalities == ["audio"]

    def place(self) -> Event:
        """Where in the conversation more of it belongs."""
        return {"response_id": self.id, "item_id": self.item_id, "output_index": 0, "content_index": 0}


class RealtimeEvents:
    """Translates one conversation. `rate_limits` are told whenever a response begins."""

    def __init__(
        self,
        memory: Memory,
        session: RealtimeSession,
        clock: Callable[[], float],
        rate_limits: Callable[[], list[Event]],
    ) -> None:
        self.session = session
        self.conversation_id = new_id("conv")
        self._memory, self._clock, self._rate_limits = memory, clock, rate_limits
        self._labels: dict[str, Wanted] = {}
        self._cut: list[Event] = []
        """The end of a response that speech interrupted: clients want to be told of the speech first."""
        self._turns: dict[int, _Turn] = {}
        self._responses: dict[int, _Response] = {}
        """In progress, by the number of the turn that they answer."""
        self._continued: dict[str, tuple[str, int]] = {}
        """Items that are the rest of an answer: its key, and where in its sound they begin (ms)."""
        self._answers: dict[int, _Response] = {}
        """The same, by the number of the answer, once it has begun."""

    # what the client's reader needs to know

    def expect(self, wanted: Wanted) -> str:
        """A response will be asked for under this label."""
        label = new_id("resp")
        self._labels[label] = wanted
        return label

    def aside(self, response_id: str) -> int | None:
        """The turn of a response beside the conversation that is in progress."""
        open_ = self._responses.values()
        return next((one.turn_id for one in open_ if one.id == response_id and one.wanted.aside), None)

    def told_of(self, response_id: str | None) -> int | None:
        """The turn that the conversation's response in progress answers, if it is this one; None: any."""
        told = [one for one in self._responses.values() if not one.wanted.aside]
        return next((one.turn_id for one in told if response_id in (None, one.id)), None)

    def place_of(self, item_id: str) -> tuple[str, int]:
        """(the key of the message that an item is or belongs to, where in its sound the item begins in ms)."""
        return self._continued.get(item_id, (item_id, 0))

    def went_on(self, item_id: str) -> bool:
        """The rest of this item's answer is another item."""
        return any(key == item_id for key, _ in self._continued.values())

    def deleted(self, message: Message) -> None:
        """The client has deleted an item, perhaps of a response in progress."""
        for response in self._responses.values():
            if response.item_id is not None and self.place_of(response.item_id)[0] == message.key:
                response.deleted = True

    def will_hear(self, message: Message) -> None:
        """A spoken item that the client put into the conversation is being heard."""
        assert message.turn_id is not None
        assert message.audio is not None
        self._turns[message.turn_id] = _Turn(message.key, 0, samples_to_ms(len(message.audio)), committed=True)

    def show(self, message: Message) -> Event:
        """An item as it stands."""
        return show_item(message, self._clock())

    def added(self, message: Message) -> list[Event]:
        """An item that the client put into the conversation."""
        return [
            {"type": f"conversation.item.{what}", "previous_item_id": self._before(message), "item": self.show(message)}
            for what in ("added", "done")
        ]

    # events

    def translate(self, event: SessionEvent) -> list[Event]:
        """In order; each still without an event id."""
        if isinstance(event, Reply):
            return [dict(event.message)]
        if isinstance(event, SpeechStarted):
            turn = self._turn(event.turn_id)
            if not event.resumed:
                turn.begin_ms = event.at_ms
            started = {
                "type": "input_audio_buffer.speech_started",
                "audio_start_ms": event.at_ms,
                "item_id": turn.key,
            }
            cut, self._cut = self._cut, []
            return [started, *cut]
        if isinstance(event, SpeechStopped):
            turn = self._turn(event.turn_id)
            turn.end_ms = event.at_ms
            return [
                {
                    "type": "input_audio_buffer.speech_stopped",
                    "audio_end_ms": event.at_ms,
                    "item_id": turn.key,
                }
            ]
        if isinstance(event, IdlePrompted):
            return [
                {
                    "type": "input_audio_buffer.timeout_triggered",
                    "audio_start_ms": event.since_ms,
                    "audio_end_ms": event.at_ms,
                    "item_id": self._memory.turn_key(event.turn_id),
                }
            ]
        if isinstance(event, TurnTaken):
            turn = self._turn(event.turn_id)
            if event.committed or not turn.end_ms:
                turn.begin_ms, turn.end_ms = 0, event.audio_ms
            return self._commit(event.turn_id, turn)
        if isinstance(event, QuestionHeard):
            return self._heard(event)
        if isinstance(event, AnswerPromised):
            response, events = self._open(event.turn_id, self._labels.pop(event.label), event.label)
            response.hears = event.hears
            return events
        if isinstance(event, ResponseStarted):
            return self._started(event)
        if isinstance(event, Resumed):
            return self._resumed(event)
        if isinstance(event, AnswerText | AnswerAudio):
            return self._piece(event)
        if isinstance(event, ResponseDone):
            return self._done(event)
        if isinstance(event, Interrupted):
            return self._interrupted(event)
        return self._problem(event) if isinstance(event, Problem) else []

    # the person's turns

    def _turn(self, turn_id: int) -> _Turn:
        return self._turns.setdefault(turn_id, _Turn(self._memory.turn_key(turn_id)))

    def _commit(self, turn_id: int, turn: _Turn) -> list[Event]:
        if turn.committed:
            return []
        turn.committed = True
        message = self._memory.find(turn.key)
        if message is None:  # deleted before this was told
            return []
        previous = self._before(message)
        shown = item(message.key, "user", [{"type": "input_audio", "transcript": None}], "completed")
        events: list[Event] = [
            {"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": message.key},
            {"type": "conversation.item.added", "previous_item_id": previous, "item": shown},
            {"type": "conversation.item.done", "previous_item_id": previous, "item": shown},
        ]
        return events + self._transcription(turn_id, turn)

    def _heard(self, event: QuestionHeard) -> list[Event]:
        turn, events = self._turns.get(event.turn_id), []
        if turn is not None and event.no_speech and not turn.committed:
            del self._turns[event.turn_id]  # nobody said anything: no item, no answer
        elif turn is not None:
            turn.text = event.text
            events = self._transcription(event.turn_id, turn) if turn.committed else []
        asked = next((one for one in self._responses.values() if one.hears == event.turn_id), None)
        if event.no_speech and asked is not None:
            events += self._close(asked, "completed", None)
        return events

    def _transcription(self, turn_id: int, turn: _Turn) -> list[Event]:
        if turn.text is None:
            return []
        del self._turns[turn_id]
        if self.session.audio.input.transcription is None:
            return []
        place = {"item_id": turn.key, "content_index": 0}
        name = "conversation.item.input_audio_transcription"
        usage = {"type": "duration", "seconds": max(0, turn.end_ms - turn.begin_ms) / 1000}
        delta = [{"type": f"{name}.delta", **place, "delta": turn.text}] if turn.text else []
        return [*delta, {"type": f"{name}.completed", **place, "transcript": turn.text, "usage": usage}]

    def _before(self, message: Message | None) -> str | None:
        before = self._memory.before(message)
        return before.key if before else None

    # responses

    def _open(self, turn_id: int, wanted: Wanted, response_id: str) -> tuple[_Response, list[Event]]:
        encoder = AnswerEncoder(wanted.session.audio.output.format.encoding)
        response = self._responses[turn_id] = _Response(response_id, turn_id, wanted, encoder)
        return response, [
            {"type": "response.created", "response": self._show(response, "in_progress", None)},
            {"type": "rate_limits.updated", "rate_limits": self._rate_limits()},
        ]

    def _ensure_open(self, turn_id: int) -> tuple[_Response, list[Event]]:
        """A response to a turn; one that nobody asked for begins with the turn's item."""
        events: list[Event] = []
        if (turn := self._turns.get(turn_id)) is not None:
            events += self._commit(turn_id, turn)
        response = self._responses.get(turn_id)
        if response is None:
            response, opened = self._open(turn_id, Wanted(self.session), new_id("resp"))
            events += opened
        return response, events

    def _started(self, event: ResponseStarted) -> list[Event]:
        response, events = self._ensure_open(event.turn_id)
        self._answers[event.response_id] = response
        aside = response.wanted.aside
        key = new_id("item") if aside else self._memory.answer_key(event.response_id)
        message = self._memory.find(key)
        return events + self._begin_item(response, key, self._before(message) if message else None)

    def _resumed(self, event: Resumed) -> list[Event]:
        """The API has no way to go on with an item that was cut: the rest is another response."""
        response, events = self._open(event.turn_id, Wanted(self.session), new_id("resp"))
        response.goes_on, response.left_ms = True, event.left_ms
        self._answers[event.response_id] = response
        key, answer = self._memory.answer_key(event.response_id), self._memory.answer(event.response_id)
        item_id = new_id("item")
        self._continued[item_id] = (key, event.played_ms)
        events += self._begin_item(response, item_id, key)
        if answer is not None and (rest := answer.after(event.played_ms)):
            events += self._piece(AnswerText(event.response_id, rest))
        return events

    def _begin_item(self, response: _Response, item_id: str, previous: str | None) -> list[Event]:
        response.item_id = item_id
        shown = item(item_id, "assistant", [], "in_progress")
        events: list[Event] = [
            {"type": "response.output_item.added", "response_id": response.id, "output_index": 0, "item": shown}
        ]
        if not response.wanted.aside:
            events.append({"type": "conversation.item.added", "previous_item_id": previous, "item": shown})
        part = {"type": "audio", "transcript": ""} if response.speaks else {"type": "text", "text": ""}
        return [*events, {"type": "response.content_part.added", **response.place(), "part": part}]

    def _piece(self, event: AnswerText | AnswerAudio) -> list[Event]:
        response = self._answers.get(event.response_id)
        if response is None:  # closed: what comes after an interruption
            return []
        if isinstance(event, AnswerText):
            response.text += event.text
            kind = "response.output_audio_transcript.delta" if response.speaks else "response.output_text.delta"
            return [{"type": kind, **response.place(), "delta": event.text}]
        events = self._sound(response, response.encoder.encode(event.samples))
        if response.left_ms is not None:
            response.left_ms -= event.duration_ms
            if response.left_ms < 1:
                events += self._close(response, "completed", None)
        return events

    def _sound(self, response: _Response, data: bytes) -> list[Event]:
        if not data:
            return []
        delta = base64.b64encode(data).decode()
        return [{"type": "response.output_audio.delta", **response.place(), "delta": delta}]

    def _done(self, event: ResponseDone) -> list[Event]:
        response = self._answers.get(event.response_id)
        if response is None:
            return []
        response.usage = event.usage
        response.text = response.text if response.goes_on else event.text
        status, reason = _STATUS[event.reason]
        return self._close(response, status, reason)

    def _interrupted(self, event: Interrupted) -> list[Event]:
        if event.reason == "speech":
            self._cut += self._cancelled(event, "turn_detected")
            return []
        return self._cancelled(event, "client_cancelled")

    def _cancelled(self, event: Interrupted, reason: str) -> list[Event]:
        if event.response_id is not None:
            response = self._answers.get(event.response_id)
            return self._close(response, "cancelled", reason) if response else []
        events: list[Event] = []
        turn = self._turns.get(event.turn_id)
        if turn is not None and self._memory.find(turn.key):
            events += self._commit(event.turn_id, turn)
        response = self._responses.get(event.turn_id)
        return events + (self._close(response, "cancelled", reason) if response else [])

    def _problem(self, problem: Problem) -> list[Event]:
        turn = self._turns.get(problem.turn_id) if problem.turn_id is not None else None
        if problem.response_id is not None:  # its end follows
            if (answer := self._answers.get(problem.response_id)) is not None:
                answer.error = problem
            return []
        if problem.turn_id is None:
            return [error(problem)]
        if turn is not None and turn.committed and problem.turn_id not in self._responses:
            del self._turns[problem.turn_id]
            return [self._transcription_failed(problem, turn.key)]
        response, events = self._ensure_open(problem.turn_id)
        response.error = problem
        return events + self._close(response, "failed", None)

    def _transcription_failed(self, problem: Problem, key: str) -> Event:
        return {
            "type": "conversation.item.input_audio_transcription.failed",
            "item_id": key,
            "content_index": 0,
            "error": _details(problem),
        }

    def _close(self, response: _Response, status: str, reason: str | None) -> list[Event]:
        self._responses.pop(response.turn_id, None)
        self._turns.pop(response.turn_id, None)
        self._answers = {number: one for number, one in self._answers.items() if one is not response}
        events: list[Event] = []
        if response.item_id is not None:
            events += self._end_item(response, "completed" if status == "completed" else "incomplete")
        return [*events, {"type": "response.done", "response": self._show(response, status, reason)}]

    def _end_item(self, response: _Response, status: Status) -> list[Event]:
        key, place, text = response.item_id, response.place(), response.text
        assert key is not None
        part: Event
        if response.speaks:
            events = (
                self._sound(response, response.encoder.encode(_NO_SOUND, last=True)) if status == "completed" else []
            )
            events.append({"type": "response.output_audio.done", **place})
            events.append({"type": "response.output_audio_transcript.done", **place, "transcript": text})
            part = {"type": "audio", "transcript": text}
            content: Event = {"type": "output_audio", "transcript": text}
        else:
            events = [{"type": "response.output_text.done", **place, "text": text}]
            part = {"type": "text", "text": text}
            content = {"type": "output_text", "text": text}
        events.append({"type": "response.content_part.done", **place, "part": part})
        return events + self._finish_item(response, item(key, "assistant", [content], status))

    def _finish_item(self, response: _Response, shown: Event) -> list[Event]:
        """The item of a response is complete; nothing is told of one that the client has deleted meanwhile."""
        if response.deleted:
            return []
        message = None if response.wanted.aside else self._memory.find(self.place_of(shown["id"])[0])
        response.output = [shown]
        events: list[Event] = [
            {"type": "response.output_item.done", "response_id": response.id, "output_index": 0, "item": shown}
        ]
        if message is not None:
            before = message.key if response.goes_on else self._before(message)
            events.append({"type": "conversation.item.done", "previous_item_id": before, "item": shown})
        return events

    def _show(self, response: _Response, status: str, reason: str | None) -> Event:
        session = response.wanted.session
        details: Event | None = None
        if status != "in_progress":
            details = {"type": status, "reason": reason} if reason else {"type": status}
        if response.error is not None:
            details = {"type": "failed", "error": _details(response.error)}
        output = session.audio.output
        return {
            "object": "realtime.response",
            "id": response.id,
            "status": status,
            "status_details": details,
            "output": response.output,
            "conversation_id": None if response.wanted.aside else self.conversation_id,
            "output_modalities": session.output_modalities,
            "max_output_tokens": session.max_output_tokens,
            "audio": {"output": {"format": output.format.model_dump(exclude_none=True), "voice": output.voice}},
            "usage": _usage(response.usage),
            "metadata": response.wanted.metadata,
        }


_NO_SOUND = np.zeros(0, np.float32)


def error(problem: Problem, event_id: str | None = None) -> Event:
    """Something was wrong. `event_id` is that of the client's event."""
    return {"type": "error", "error": {**_details(problem), "param": problem.field, "event_id": event_id}}


def _details(problem: Problem) -> Event:
    kind = "server_error" if problem.code in _SERVER_ERRORS else "invalid_request_error"
    return {"type": kind, "code": problem.code, "message": problem.message}


def _usage(usage: Usage | None) -> Event | None:
    if usage is None:
        return None
    return {
        "total_tokens": usage.prompt + usage.text + usage.audio,
        "input_tokens": usage.prompt,
        "output_tokens": usage.text + usage.audio,
        "input_token_details": {
            "text_tokens": usage.prompt,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": usage.cached,
            "cached_tokens_details": {"text_tokens": usage.cached, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": usage.text, "audio_tokens": usage.audio},
    }
