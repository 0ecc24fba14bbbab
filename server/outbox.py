"""What waits to be sent to one client: bounded, so that a slow reader slows its answer instead of filling memory."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import asdict

from server.events import AnswerAudio, Reply, SessionEvent

_ENVELOPE_BYTES = 512
"""Of an event besides its fields: what protocols write around them, and the Python objects."""


def size(event: SessionEvent) -> int:
    """Bytes that an event takes while it waits: of sound its samples, which are more than is sent of them; else its
    fields as JSON."""
    if isinstance(event, AnswerAudio):
        return _ENVELOPE_BYTES + event.samples.nbytes
    fields = event.message if isinstance(event, Reply) else vars(event)
    return _ENVELOPE_BYTES + len(json.dumps(fields, ensure_ascii=False, default=asdict).encode())


class Outbox:
    """A queue counted in bytes, at most `limit_bytes`. Answers wait for room under half of that, so that an
    interruption gets through while an answer is stuck. Belongs to one event loop.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._events: deque[tuple[SessionEvent, int]] = deque()
        self._bytes = 0
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def bytes(self) -> int:
        """What waits now."""
        return self._bytes

    def put(self, event: SessionEvent) -> None:
        """Append at once, unless closed; `wait_for_room` afterwards."""
        if not self._closed:
            count = size(event)
            self._events.append((event, count))
            self._bytes += count
            self._wake()

    async def wait_for_room(self, answer: bool, count: int = 0) -> None:
        """Until `count` bytes more are within the limit (of an answer: half the limit), nothing waits, or it is
        closed."""
        limit = self._limit_bytes // 2 if answer else self._limit_bytes
        await self._wait_until(lambda: self._closed or not self._events or self._bytes + count < limit)

    def drop_audio(self, response_id: int) -> float:
        """Throw away the sound of an answer that nobody wants to hear any more → milliseconds that were dropped."""
        unwanted: list[AnswerAudio] = []
        wanted: deque[tuple[SessionEvent, int]] = deque()
        for event, count in self._events:
            if isinstance(event, AnswerAudio) and event.response_id == response_id:
                unwanted.append(event)
                self._bytes -= count
            else:
                wanted.append((event, count))
        if unwanted:
            self._events = wanted
            self._wake()
        return sum(event.duration_ms for event in unwanted)

    async def get(self) -> SessionEvent | None:
        """The oldest event; None when it is closed and empty."""
        await self._wait_until(lambda: self._closed or bool(self._events))
        if not self._events:
            return None
        event, count = self._events.popleft()
        self._bytes -= count
        self._wake()
        return event

    def close(self) -> None:
        """Nothing more is put; what waits can still be got."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait_until(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
