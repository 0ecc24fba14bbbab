"""Answers over HTTP: begun before the status is sent, streamed as they are made, given up when the client goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from model.request import AudioChunk, Done, Event, GenerationFailed, OmniError
from model.request import Request as Question
from server.generator import Generator
from server.protocols.http_requests import client_of
from server.service import Service

_Result = TypeVar("_Result")
EVENT_STREAM = "text/event-stream"


@dataclass
class Begun:
    """An answer whose first sound is made, or whose end came without one."""

    early: list[Event]
    """What came so far, the first sound included."""
    rest: AsyncGenerator[Event, None]

    @property
    def silent(self) -> bool:
        """There is no sound in it."""
        return not any(isinstance(event, AudioChunk) for event in self.early)

    async def events(self) -> AsyncGenerator[Event, None]:
        """All of it, from the beginning; closing it gives the answer up. Raises `GenerationFailed`."""
        async with aclosing(self.rest):
            for event in self.early:
                yield event
            async for event in self.rest:
                yield event


async def begin(model: Generator, question: Question, request: Request) -> Begun:
    """Ask a model, and wait for the first sound, so that what goes wrong before it has a status of its own.

    Raises what the generator raises, `ClientDisconnect` when the client goes meanwhile.
    """
    events = model.generate(replace(question, client=client_of(request)))
    early: list[Event] = []

    async def first() -> Begun:
        async for event in events:
            early.append(event)
            if isinstance(event, AudioChunk | Done):
                return Begun(early, events)
        raise GenerationFailed("the answer ended early; ask again")

    try:
        return await unless_gone(request, first())
    except BaseException:
        await events.aclose()
        raise


async def unless_gone(request: Request, work: Awaitable[_Result]) -> _Result:
    """The work's result; `ClientDisconnect`, and the work is cancelled, when the client goes first. The body must have
    been read."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class AnswerResponse(StreamingResponse):
    """Streams an answer no faster than its client reads: while nothing can be sent, nothing more is asked for.

    The client's going, or `send_timeout_s` in which it takes nothing, gives the answer up. An answer that breaks after
    its beginning ends without HTTP's own end, so that no client takes it for whole.
    """

    def __init__(self, service: Service, content: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(content, media_type=media_type, headers={"Cache-Control": "no-store"})
        self._service, self._content = service, content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        with service.asked():
            try:
                async with aclosing(self._content):
                    await super().__call__(scope, receive, self._in_time(send))
            except TimeoutError:
                service.metrics.errors.labels("slow_reader").inc()
            except OmniError as error:
                service.metrics.errors.labels(error.code).inc()
                service.log.warning("answer_broke", code=error.code, error=str(error))

    def _in_time(self, send: Send) -> Callable[[Message], Awaitable[None]]:
        async def sending(message: Message) -> None:
            async with asyncio.timeout(self._service.settings.send_timeout_s):
                await send(message)

        return sending


def sse(event: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
