"""A raw client of the Realtime API. Every event that it receives must be one of the `openai` package's types, with no
field that those do not know."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import soxr
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from openai.types.realtime.realtime_session_create_response import RealtimeSessionCreateResponse
from pydantic import BaseModel, TypeAdapter
from websockets.asyncio.client import ClientConnection, connect

from tests.server.harness import Running, pcm

_EVENTS: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
_OURS = {"temperature"}
"""Of a session: the beta had it, and the server still does."""


def unknown_fields(value: Any, path: str = "") -> list[str]:
    """Fields that no type of the package names."""
    found: list[str] = []
    if isinstance(value, BaseModel):
        found += [f"{path}.{name}" for name in value.model_extra or {}]
        for name in type(value).model_fields:
            found += unknown_fields(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            found += unknown_fields(item, f"{path}[]")
    return found


def check(event: dict[str, Any]) -> None:
    """Fails unless the event is one of the API's, whole."""
    parsed = _EVENTS.validate_python(event)
    assert type(parsed).model_fields["type"].annotation.__args__ == (event["type"],), event["type"]
    if event["type"] in ("session.created", "session.updated"):  # the union knows it only as clients send it
        session = RealtimeSessionCreateResponse.model_validate(event["session"])
        assert set(unknown_fields(session)) <= {f".{name}" for name in _OURS}
    else:
        assert unknown_fields(parsed) == []


class Api:
    """Sends events, reads them back checked."""

    def __init__(self, socket: ClientConnection, checked: bool) -> None:
        self.socket, self._checked = socket, checked

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def receive(self, timeout_s: float = 20) -> dict[str, Any]:
        async with asyncio.timeout(timeout_s):
            event: dict[str, Any] = json.loads(await self.socket.recv())
        if self._checked:
            check(event)
        assert event.pop("event_id").startswith("event_")
        return event

    async def next(self, kind: str) -> dict[str, Any]:
        event = await self.receive()
        assert event["type"] == kind, event
        return event

    async def until(self, kind: str) -> list[dict[str, Any]]:
        events = [await self.receive()]
        while events[-1]["type"] != kind:
            events.append(await self.receive())
        return events

    async def greeted(self) -> dict[str, Any]:
        """The session that the server offers."""
        created = await self.next("session.created")
        await self.next("conversation.created")
        session: dict[str, Any] = created["session"]
        return session

    async def update(self, **session: Any) -> dict[str, Any]:
        await self.send("session.update", session={"type": "realtime", **session})
        updated: dict[str, Any] = (await self.next("session.updated"))["session"]
        return updated

    async def say(self, sound: np.ndarray) -> None:
        """(n,) float32, 16 kHz, appended in pieces of 100 ms."""
        data = pcm(soxr.resample(sound, 16_000, 24_000))
        for start in range(0, len(data), 4800):
            await self.send("input_audio_buffer.append", audio=base64.b64encode(data[start : start + 4800]).decode())

    async def type(self, text: str, role: str = "user", **fields: Any) -> dict[str, Any]:
        """A typed item, as the server tells it when it is done."""
        kind = "output_text" if role == "assistant" else "input_text"
        item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **fields.pop("item", {})}
        await self.send("conversation.item.create", item=item, **fields)
        await self.next("conversation.item.added")
        return await self.next("conversation.item.done")


@asynccontextmanager
async def api(
    server: Running, checked: bool = True, query: str = "?model=smol-omni", **options: Any
) -> AsyncIterator[Api]:
    """Connect."""
    url = server.base.replace("http", "ws") + "/v1/realtime" + query
    async with connect(url, max_size=None, compression=None, **options) as socket:
        yield Api(socket, checked)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Their types; repeats in a row count once."""
    names = [str(event["type"]) for event in events]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def sound_of(events: list[dict[str, Any]]) -> bytes:
    """All of the answer's sound."""
    return b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
