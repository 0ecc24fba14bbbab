"""`/v1/realtime`: the Realtime API over a WebSocket. docs/realtime.md says what of it is there.

A client's event is done on the conversation, or refused with the API's error; what the conversation tells goes through
`RealtimeEvents`. Turn-taking is the session's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field

from model.request import Request
from server.audio import MicrophoneDecoder
from server.auth import Grant
from server.conversation import Conversation
from server.events import Reply, SessionEvent
from server.limits import TokenBucket
from server.memory import Memory, Message
from server.options import SessionOptions, request_of
from server.protocols import realtime_beta
from server.protocols.admission import admit
from server.protocols.connection import Connection, serve_connection
from server.protocols.messages import JSON_BYTES, BadMessage, SoundField, read_object, too_large
from server.protocols.realtime_events import Event, RealtimeEvents, Wanted, error
from server.protocols.realtime_items import new_id, read_audio, read_item, seconds_of
from server.protocols.realtime_session import RealtimeSession, ResponseParameters, answer_options, parse
from server.push_to_talk import SHORTEST_COMMIT_MS
from server.service import Service

SUBPROTOCOL = "realtime"
_ROUNDING_MS = 50
"""Clients count what they played in pieces."""
_FRAMES_A_MESSAGE = 4
"""A message holds sound as base64, so it may be so many times as long as a binary frame of `/ws`."""
_APPEND = "input_audio_buffer.append"
_HOLD_SOUND = (_APPEND, "conversation.item.create", "response.create")
"""Only these messages may be longer than `JSON_BYTES`."""
_EVENT_ID_CHARACTERS = 512
"""As in the API."""


def realtime_router(service: Service) -> APIRouter:
    """The route of `/v1/realtime`."""
    router = APIRouter()

    @router.websocket("/v1/realtime")
    async def talk(websocket: WebSocket) -> None:
        grant = await admit(websocket, service)
        if grant is None:
            return
        offered = websocket.scope["subprotocols"]
        beta = websocket.headers.get(realtime_beta.HEADER) == realtime_beta.VALUE
        beta = beta or realtime_beta.SUBPROTOCOL in offered
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        make = partial(RealtimeConnection, websocket, service, grant, beta)
        await serve_connection(websocket, service, make, lambda problem: _frame(error(problem)))

    return router


_ITEM_LEAD_S = 300.0
"""Sound that comes in items, ahead of real time: a conversation may begin with some recordings."""


def _frame(event: Mapping[str, Any]) -> str:
    return json.dumps({"event_id": new_id("event"), **event}, ensure_ascii=False)


ItemId = Annotated[str, Field(max_length=128)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Update(_Message):
    session: dict[str, Any]


class _Append(_Message):
    audio: SoundField


class _Create(_Message):
    item: dict[str, Any]
    previous_item_id: ItemId | None = None


class _Named(_Message):
    item_id: ItemId


class _Truncate(_Named):
    content_index: int = Field(default=0, ge=0, le=64)
    audio_end_ms: int = Field(ge=0, le=3_600_000)


class _Respond(_Message):
    response: dict[str, Any] = {}


class _Cancel(_Message):
    response_id: ItemId | None = None


class RealtimeConnection(Connection):
    """One client of the Realtime API."""

    def __init__(
        self,
        websocket: WebSocket,
        service: Service,
        grant: Grant,
        beta: bool,
        session_id: str,
        conversation: Conversation,
    ) -> None:
        super().__init__(websocket, service, session_id, conversation)
        self._beta = beta
        self._session = RealtimeSession().merged(grant.session or {})
        self._events = RealtimeEvents(self._memory, self._session, time.monotonic, self._rate_limits)
        self._microphone = MicrophoneDecoder(24_000)
        self._item_sound = TokenBucket(1.0, _ITEM_LEAD_S)
        self._handlers: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "session.update": self._update,
            _APPEND: self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create,
            "conversation.item.retrieve": self._retrieve,
            "conversation.item.truncate": self._truncate,
            "conversation.item.delete": self._delete,
            "response.create": self._respond,
            "response.cancel": self._cancel,
        }

    @property
    def _memory(self) -> Memory:
        return self.conversation.session.memory

    async def run(self) -> None:
        """Greet, then talk."""
        if await self.wait_ready():
            named = self.websocket.query_params.get("model")
            self.conversation.choose_model(self.service.models.get_or_default(named))
            await self._apply(self._session)
            await self._tell({"type": "session.created", "session": self._shown()})
            conversation = {"id": self._events.conversation_id, "object": "realtime.conversation"}
            await self._tell({"type": "conversation.created", "conversation": conversation})
        await super().run()

    # server → client

    def render(self, event: SessionEvent) -> Sequence[str | bytes]:
        """One frame an event of the API."""
        events = self._events.translate(event)
        if self._beta:
            events = [old for new in events if (old := realtime_beta.beta(new)) is not None]
        return [_frame(one) for one in events]

    async def _tell(self, event: Event) -> None:
        await self.conversation.tell(Reply(event))

    def _shown(self) -> Event:
        instructions = self.service.options().system_prompt
        return self._session.render(f"sess_{self.session_id}", self.conversation.model, instructions)

    def _rate_limits(self) -> list[Event]:
        """Of control messages: the limit that a client of this server can run into."""
        bucket = self.messages
        return [
            {
                "name": "requests",
                "limit": round(bucket.burst),
                "remaining": int(bucket.level),
                "reset_seconds": round((bucket.burst - bucket.level) / bucket.rate, 3),
            }
        ]

    # client → server

    async def receive_bytes(self, data: bytes) -> None:
        """The API has none."""
        raise BadMessage("invalid_event", "binary frames are not part of this protocol; send JSON in text frames")

    async def receive_text(self, text: str) -> bool:
        """Do one event; errors name it by its id."""
        event_id: str | None = None
        try:
            encoded = text.encode()
            self.check_size(len(encoded), _FRAMES_A_MESSAGE * self.service.settings.max_frame_bytes)
            data = read_object(encoded, '{"type": "response.create"}')
            event_id = _event_id(data)
            kind = data.get("type")
            handler = self._handlers.get(kind) if isinstance(kind, str) else None
            if handler is None:
                raise BadMessage("invalid_value", _unknown(kind, self._handlers), "type")
            if kind != _APPEND:
                self.check_rate()
            if kind not in _HOLD_SOUND and len(encoded) > JSON_BYTES:
                raise too_large(len(encoded), JSON_BYTES)
            await handler(data)
        except BadMessage as bad:
            self.service.metrics.errors.labels(bad.problem.code).inc()
            await self._tell(error(bad.problem, event_id))
        return True

    async def _apply(self, session: RealtimeSession) -> None:
        options = session.options(self.service.options())
        audio_format = session.audio.input.format
        if (audio_format.sample_rate, audio_format.encoding) != (
            self._microphone.sample_rate,
            self._microphone.encoding,
        ):
            await self.end_stream(self._microphone)
            self._microphone = MicrophoneDecoder(audio_format.sample_rate, audio_format.encoding)
        self._session = self._events.session = session
        if session.model in self.service.models.names:  # any other name, as of OpenAI's models, changes nothing
            self.conversation.choose_model(self.service.models.get(session.model))
        self.conversation.configure(options, None)

    async def _update(self, data: dict[str, Any]) -> None:
        update = parse(_Update, data, "").session
        await self._apply(self._session.merged(realtime_beta.modern(update)))
        await self._tell({"type": "session.updated", "session": self._shown()})

    # the microphone

    async def _append(self, data: dict[str, Any]) -> None:
        audio = parse(_Append, data, "").audio
        await self.hear(self._microphone, await read_audio(audio, "audio"))

    async def _commit(self, data: dict[str, Any]) -> None:
        await self.end_stream(self._microphone)
        if (held_ms := self.conversation.session.uncommitted_ms) < SHORTEST_COMMIT_MS:
            message = f"{held_ms} ms of sound are not committed yet; append at least {SHORTEST_COMMIT_MS} ms first"
            raise BadMessage("input_audio_buffer_commit_empty", message)
        await self.conversation.commit()

    async def _clear(self, data: dict[str, Any]) -> None:
        self._microphone.restart()
        await self.conversation.clear_audio()
        await self._tell({"type": "input_audio_buffer.cleared"})

    # items

    async def _create(self, data: dict[str, Any]) -> None:
        create = parse(_Create, data, "")
        message = await self._read_item(create.item)
        if self._memory.find(message.key):
            raise BadMessage("item_create_duplicate_item_id", f"there is an item {message.key!r} already", "item.id")
        previous = create.previous_item_id
        if previous is not None and self._memory.full:
            text = "the conversation is full; delete items first, or append at its end, where the oldest are forgotten"
            raise BadMessage("invalid_value", text, "previous_item_id")
        if previous is None:
            self._memory.append(message)
        elif previous == "root":
            self._memory.insert(message, None)
        else:
            after = self._find(previous, "item_create_invalid_previous_item_id", "previous_item_id")
            self._memory.insert(message, after)
        for event in self._events.added(message):
            await self._tell(event)
        if message.audio is not None:
            message.turn_id = self.conversation.session.next_turn()
            self._events.will_hear(message)
            await self.conversation.hear(message)

    async def _retrieve(self, data: dict[str, Any]) -> None:
        message = self._find(parse(_Named, data, "").item_id, "item_retrieve_invalid_item_id")
        await self._tell({"type": "conversation.item.retrieved", "item": self._events.show(message)})

    async def _truncate(self, data: dict[str, Any]) -> None:
        truncate = parse(_Truncate, data, "")
        message = self._find(truncate.item_id, "item_truncate_invalid_item_id")
        answer = message.answer
        if answer is None or not answer.sent_ms:
            raise BadMessage("invalid_value", "only an answer's sound can be truncated", "item_id")
        begin_ms = self._events.place_of(truncate.item_id)[1]
        sent_ms = answer.sent_ms - begin_ms
        if truncate.audio_end_ms > sent_ms + _ROUNDING_MS:
            text = f"the answer's sound so far is {sent_ms:.0f} ms; it cannot end at {truncate.audio_end_ms} ms"
            raise BadMessage("invalid_value", text, "audio_end_ms")
        if not self._events.went_on(truncate.item_id):  # else it counts what is played of the rest
            self.conversation.session.truncate(answer, begin_ms + truncate.audio_end_ms)
        await self._tell({"type": "conversation.item.truncated", **truncate.model_dump()})

    async def _delete(self, data: dict[str, Any]) -> None:
        message = self._find(parse(_Named, data, "").item_id, "item_delete_invalid_item_id")
        self._memory.remove(message)
        self._events.deleted(message)
        await self._tell({"type": "conversation.item.deleted", "item_id": message.key})

    def _find(self, key: str, code: str, param: str = "item_id") -> Message:
        message = self._memory.find(self._events.place_of(key)[0])
        if message is None:
            raise BadMessage(code, f"there is no item {key!r} in this conversation", param)
        return message

    @property
    def _longest_s(self) -> float:
        return self.service.options().rules.max_turn_ms / 1000

    async def _read_item(self, given: Any, where: str = "item") -> Message:
        """An item of a client. Its sound is counted before it is decoded: that would hold up everybody else."""
        audio_format = self._session.audio.input.format
        if not self._item_sound.take(seconds_of(given, audio_format)):
            raise BadMessage(
                "audio_too_fast",
                f"the sound of items came more than {_ITEM_LEAD_S:g} s ahead of real time; send it slower",
                f"{where}.content",
            )
        return await read_item(given, audio_format, self._longest_s, where)

    # responses

    async def _respond(self, data: dict[str, Any]) -> None:
        parameters = parse(ResponseParameters, realtime_beta.modern(parse(_Respond, data, "").response), "response")
        session = parameters.session(self._session)
        options = answer_options(session, self.service.options())
        if parameters.conversation not in ("auto", "none", None):
            raise BadMessage("invalid_value", 'name "auto" or "none"', "response.conversation")
        context = self._memory if parameters.input is None else await self._own_context(parameters.input)
        wanted = Wanted(session, parameters.metadata, aside=parameters.conversation == "none")
        if wanted.aside:
            request = self._request(parameters, context, options)
            await self.conversation.respond_aside(self._events.expect(wanted), request)
            return
        if self.conversation.session.answering:
            message = "an answer is being made; cancel it, or wait for its response.done"
            raise BadMessage("conversation_already_has_active_response", message)
        stands_last = parameters.input is None and _asks(context)
        own = None if stands_last else self._request(parameters, context, options)
        await self.conversation.respond(self._events.expect(wanted), options, own)

    def _request(self, parameters: ResponseParameters, context: Memory, options: SessionOptions) -> Request:
        """What is asked. Where nothing is, the instructions are: a small model does what it is asked, sooner than what
        it is told."""
        request = request_of(context, options, time.monotonic())
        if _asks(context) or not parameters.instructions:
            return request
        own_prompt = answer_options(self._session, self.service.options()).system_prompt
        return replace(request, text=parameters.instructions, system_prompt=own_prompt)

    async def _own_context(self, items: list[Any]) -> Memory:
        """What a response is to answer instead of the conversation: items, or references to those that are there."""
        context = Memory()
        for index, given in enumerate(items):
            where = f"response.input[{index}]"
            if isinstance(given, dict) and given.get("type") == "item_reference":
                context.append(self._find(str(given.get("id"))[:128], "item_reference_invalid_item_id", f"{where}.id"))
            else:
                context.append(await self._read_item(given, where))
        return context

    async def _cancel(self, data: dict[str, Any]) -> None:
        """Of a response that the client was told of: what it cancels is not an answer that began meanwhile."""
        response_id = parse(_Cancel, data, "").response_id
        aside = self._events.aside(response_id) if response_id else None
        if aside is not None:
            await self.conversation.cancel_aside(aside)
            return
        turn_id = self._events.told_of(response_id)
        if turn_id is None or self.conversation.session.answered_turn not in (None, turn_id):
            raise _nothing_to_cancel(response_id, self._events.told_of(None) is not None)
        await self.conversation.interrupt()


def _nothing_to_cancel(response_id: str | None, answering: bool) -> BadMessage:
    message = "Cancellation failed: no response is in progress; there is nothing to cancel"
    if response_id is not None and answering:
        message = (
            f"Cancellation failed: no response {response_id!r} is in progress, another one is; name that one, or leave "
            "`response_id` out to cancel it"
        )
    return BadMessage("response_cancel_not_active", message, "response_id" if response_id is not None else None)


def _event_id(data: Mapping[str, Any]) -> str | None:
    """The client's name for its event, where it is one that the API allows."""
    name = data.get("event_id")
    return name if isinstance(name, str) and len(name) <= _EVENT_ID_CHARACTERS else None


def _unknown(kind: object, known: Mapping[str, object]) -> str:
    shown = f"{kind[:60]!r}" if isinstance(kind, str) else "missing or no string"
    return f"the type is {shown}; it must be one of {', '.join(known)}"


def _asks(context: Memory) -> bool:
    """Its last message is a question, and says something."""
    last = context.unanswered()
    return last is not None and (last.audio is not None or bool(last.text))
