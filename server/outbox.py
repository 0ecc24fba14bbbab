"""What waits to be sent to one client: bounded, so that a slow reader slows its answer instead of filling memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from server.events import AnswerAudio, SessionEvent

_EVENT_BYTES = 512
"""What an event without sound is counted as, besides its text."""


def _size(event: SessionEvent) -> int:
    if isinstance(event, AnswerAudio):
        return event.samples.nbytes
    return _EVENT_BYTES + 4 * len(getattr(event, "text", ""))


class Outbox:
    """A queue counted in bytes. Answers wait for room under `limit_bytes`; everything else under twice that, so an
    interruption gets through while an answer is stuck. Belongs to one event loop.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._events: deque[SessionEvent] = deque()
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
            self._events.append(event)
            self._bytes += _size(event)
            self._wake()

    async def wait_for_room(self, answer: bool) -> None:
        """Until less waits than the limit (an answer's) or twice the limit (anything else's), or it is closed."""
        limit = self._limit_bytes if answer else 2 * self._limit_bytes
        await self._wait_until(lambda: self._closed or self._bytes < limit)

    def drop_audio(self, response_id: int) -> float:
        """Throw away the sound of an answer that nobody wants to hear any more → milliseconds that were dropped."""
        unwanted: list[AnswerAudio] = []
        wanted: deque[SessionEvent] = deque()
        for event in self._events:
            if isinstance(event, AnswerAudio) and event.response_id == response_id:
                unwanted.append(event)
            else:
                wanted.append(event)
        if unwanted:
            self._events = wanted
            self._bytes -= sum(_size(event) for event in unwanted)
            self._wake()
        return sum(event.duration_ms for event in unwanted)

    async def get(self) -> SessionEvent | None:
        """The oldest event; None when it is closed and empty."""
        await self._wait_until(lambda: self._closed or bool(self._events))
        if not self._events:
            return None
        event = self._events.popleft()
        self._bytes -= _size(event)
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
